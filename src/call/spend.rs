//! What one call has used, and what that cost: by backend, in whole numbers.
//!
//! Prices are given; which backend counted what is told by the session that was served by it.

use crate::{
    config::{Money, Prices},
    realtime::Usage,
};

/// Backends kept apart in one call; what more of them count is put down to the last. A call has as many as its agent
/// names.
const BACKENDS_MAX: usize = 16;

/// What one call has used.
#[derive(Debug, Clone, Default)]
pub struct Account {
    entries: Vec<Entry>,
}

/// What one backend counted in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The backend.
    pub backend: String,
    /// What it counted.
    pub usage: Usage,
    /// What that cost; nothing where the backend has no prices.
    pub cost: Option<Cost>,
}

/// An amount of some currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The currency.
    pub currency: String,
    /// How much.
    pub amount: Money,
}

impl Account {
    /// A backend counted this, at these prices. Returns what it costs.
    pub fn charge(&mut self, backend: &str, prices: Option<&Prices>, usage: Usage) -> Option<Cost> {
        let cost = prices.map(|prices| Cost {
            currency: prices.currency.clone(),
            amount: price(prices, &usage),
        });
        let known = self.entries.iter().position(|entry| entry.backend == backend);
        let full = || Some(BACKENDS_MAX - 1).filter(|_| self.entries.len() >= BACKENDS_MAX);
        match known.or_else(full).and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => entry.add(usage, cost.as_ref()),
            None => self.entries.push(Entry {
                backend: backend.to_owned(),
                usage,
                cost: cost.clone(),
            }),
        }
        cost
    }

    /// By backend, in the order they came.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All together.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        self.entries.iter().for_each(|entry| sum += entry.usage);
        sum
    }

    /// All together, by currency, in the order they came.
    pub fn costs(&self) -> Vec<Cost> {
        let mut sums: Vec<Cost> = Vec::new();
        for cost in self.entries.iter().filter_map(|entry| entry.cost.as_ref()) {
            match sums.iter_mut().find(|sum| sum.currency == cost.currency) {
                Some(sum) => sum.amount += cost.amount,
                None => sums.push(cost.clone()),
            }
        }
        sums
    }
}

impl Entry {
    /// A backend has one table of prices, so the currency is the same.
    fn add(&mut self, usage: Usage, cost: Option<&Cost>) {
        self.usage += usage;
        match (&mut self.cost, cost) {
            (Some(sum), Some(cost)) => sum.amount += cost.amount,
            (sum @ None, Some(cost)) => *sum = Some(cost.clone()),
            (_, None) => {}
        }
    }
}

/// What this costs. What is cached of a kind that the backend does not name costs in full.
fn price(prices: &Prices, usage: &Usage) -> Money {
    let fresh = |input: u64, cached: u64| input.saturating_sub(cached);
    let written = usage.transcription;
    let tokens: Money = [
        (
            prices.input_text,
            fresh(usage.input_text_tokens, usage.cached_text_tokens),
        ),
        (
            prices.input_audio,
            fresh(usage.input_audio_tokens, usage.cached_audio_tokens),
        ),
        (
            prices.input_image,
            fresh(usage.input_image_tokens, usage.cached_image_tokens),
        ),
        (prices.cached_text, usage.cached_text_tokens),
        (prices.cached_audio, usage.cached_audio_tokens),
        (prices.cached_image, usage.cached_image_tokens),
        (prices.output_text, usage.output_text_tokens),
        (prices.output_audio, usage.output_audio_tokens),
        (prices.transcription_input_text, written.input_text_tokens),
        (prices.transcription_input_audio, written.input_audio_tokens),
        (prices.transcription_output, written.output_tokens),
    ]
    .into_iter()
    .map(|(price, tokens)| Prices::tokens(price, tokens))
    .sum();
    tokens + prices.transcribed(written.heard_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::Transcription;

    #[test]
    fn every_kind_has_its_price_and_what_is_cached_costs_less() {
        let usage = Usage {
            input_text_tokens: 1_000,
            cached_tokens: 600,
            cached_text_tokens: 400,
            input_audio_tokens: 500,
            cached_audio_tokens: 200,
            output_audio_tokens: 100,
            transcription: Transcription {
                heard_ms: 30_000,
                ..Transcription::default()
            },
            ..Usage::default()
        };
        // 600 x 4 + 400 x 0.4 + 300 x 32 + 200 x 0.4 + 100 x 64, in millionths, and half a minute at 0.006.
        let expected = 2_400 + 160 + 9_600 + 80 + 6_400 + 3_000;
        assert_eq!(price(&prices(), &usage).micros(), expected);
    }

    #[test]
    fn what_backends_counted_is_kept_apart_and_summed() {
        let mut account = Account::default();
        let usage = Usage {
            output_audio_tokens: 1,
            ..Usage::default()
        };
        for backend in ["a", "b", "a"] {
            let cost = account.charge(backend, Some(&prices()), usage).unwrap();
            assert_eq!(cost.amount.micros(), 64);
        }
        assert_eq!(account.charge("free", None, usage), None);
        let of = |index: usize| account.entries()[index].usage.output_audio_tokens;
        assert_eq!((of(0), of(1), of(2)), (2, 1, 1));
        assert_eq!(account.usage().output_audio_tokens, 4);
        let costs = account.costs();
        assert_eq!((costs.len(), costs[0].amount.micros()), (1, 192));
    }

    #[test]
    fn however_many_backends_nothing_is_lost() {
        let mut account = Account::default();
        let usage = Usage {
            input_text_tokens: 1,
            ..Usage::default()
        };
        for number in 0..2 * BACKENDS_MAX {
            account.charge(&number.to_string(), Some(&prices()), usage);
        }
        assert_eq!(account.entries().len(), BACKENDS_MAX);
        assert_eq!(account.usage().input_text_tokens, 2 * BACKENDS_MAX as u64);
        assert_eq!(account.costs()[0].amount.micros(), 4 * 2 * BACKENDS_MAX as u64);
    }

    fn prices() -> Prices {
        let millionths = Money::from_micros;
        Prices {
            currency: "USD".to_owned(),
            input_text: millionths(4_000_000),
            input_audio: millionths(32_000_000),
            cached_text: millionths(400_000),
            cached_audio: millionths(400_000),
            output_audio: millionths(64_000_000),
            transcription_minute: millionths(6_000),
            ..Prices::default()
        }
    }
}
