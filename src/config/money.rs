//! Amounts of money: whole numbers, however small, so that sums are exact.

use std::{
    fmt,
    ops::{Add, AddAssign, RangeInclusive},
};

use super::section::Section;

/// Millionths of a millionth in one.
const PICOS: u128 = 1_000_000_000_000;

/// Millionths of a millionth in a millionth.
const PICOS_PER_MICRO: u128 = 1_000_000;

/// Amounts that may be configured.
const AMOUNTS: RangeInclusive<f64> = 0.0..=1_000_000_000.0;

/// An amount of some currency, exact to a millionth of a millionth: one token at a price for a million of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    picos: u128,
}

impl Money {
    /// So many millionths.
    pub fn from_micros(micros: u64) -> Self {
        Self {
            picos: u128::from(micros) * PICOS_PER_MICRO,
        }
    }

    /// Millionths, rounded to the nearest.
    pub fn micros(self) -> u64 {
        let micros = self.picos.saturating_add(PICOS_PER_MICRO / 2) / PICOS_PER_MICRO;
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// What so many of something cost when `per` of them cost this.
    pub fn of(self, count: u64, per: u64) -> Self {
        Self {
            picos: self.picos.saturating_mul(u128::from(count)) / u128::from(per.max(1)),
        }
    }

    /// So many hundredths of it.
    pub fn percent(self, percent: u32) -> Self {
        self.of(percent.into(), 100)
    }

    /// Whether it is nothing.
    pub fn is_nothing(self) -> bool {
        self.picos == 0
    }

    /// Reads an amount such as `2.50`. A price of a configuration has at most six decimals; what is finer is rounded.
    pub(super) fn read(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let amount = section.optional_number(key, AMOUNTS)?;
        // The one place where an amount is no whole number: as it stands in the file.
        Some(Self::from_micros((amount * 1e6).round() as u64))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            picos: self.picos.saturating_add(other.picos),
        }
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// As TOML reads it.
impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.picos / PICOS, self.picos % PICOS / PICOS_PER_MICRO);
        match rest {
            0 => write!(out, "{whole}"),
            rest => write!(out, "{}", format!("{whole}.{rest:06}").trim_end_matches('0')),
        }
    }
}

/// Reads the word for a currency.
pub(super) fn read_currency(section: &mut Section<'_>) -> String {
    const DEFAULT: &str = "USD";
    section.parsed("currency", DEFAULT.to_owned(), |text| {
        let is_code = text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase());
        is_code
            .then(|| text.to_owned())
            .ok_or_else(|| "is no currency: write its three letters, such as \"USD\"".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_price_of_one_token_is_not_lost() {
        let price = Money::from_micros(1);
        let one = price.of(1, 1_000_000);
        assert!(!one.is_nothing());
        let sum: Money = std::iter::repeat_n(one, 1_000_000).sum();
        assert_eq!(sum, price);
    }

    #[test]
    fn amounts_are_shown_as_they_are_read() {
        for (micros, shown) in [(0, "0"), (2_500_000, "2.5"), (400, "0.0004"), (32_000_000, "32")] {
            assert_eq!(Money::from_micros(micros).to_string(), shown);
        }
    }

    #[test]
    fn millionths_are_rounded_to_the_nearest() {
        let half = Money::from_micros(1).of(1, 2);
        assert_eq!((half.micros(), (half + half).micros()), (1, 1));
        assert_eq!(Money::from_micros(1).of(49, 100).micros(), 0);
        assert_eq!(Money::from_micros(200).percent(80), Money::from_micros(160));
    }
}
