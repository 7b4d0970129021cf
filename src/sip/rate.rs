//! Rate: so many a second, a second's worth of them at once.
//!
//! One instant is all that is remembered: when the allowance would be whole again (the generic cell rate algorithm).
//! Time is an argument; nothing has to be refilled.

use std::time::{Duration, Instant};

/// So many a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_s: u32,
}

/// How much of a [`Rate`] is left to one user of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    whole_at: Option<Instant>,
}

impl Rate {
    /// This many a second, and as many at once; `None` for 0, which is no limit.
    pub fn per_second(per_s: u32) -> Option<Self> {
        (per_s > 0).then_some(Self { per_s })
    }

    /// How many a second.
    pub fn get(self) -> u32 {
        self.per_s
    }

    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_s
    }

    /// How far ahead of the even pace a burst may run: one less than a second's worth.
    fn lead(self) -> Duration {
        self.interval() * (self.per_s - 1)
    }
}

impl Allowance {
    /// Whether one more is allowed now.
    pub fn is_left(&self, rate: Rate, now: Instant) -> bool {
        self.whole_at.is_none_or(|whole_at| whole_at <= now + rate.lead())
    }

    /// Takes one; false when none is left, and then nothing changes.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let is_left = self.is_left(rate, now);
        if is_left {
            let from = self.whole_at.map_or(now, |whole_at| whole_at.max(now));
            self.whole_at = Some(from + rate.interval());
        }
        is_left
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_whole(&self, now: Instant) -> bool {
        self.whole_at.is_none_or(|whole_at| whole_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_each_interval() {
        let (rate, start) = (Rate::per_second(4).unwrap(), Instant::now());
        let mut allowance = Allowance::default();
        assert_eq!(taken(&mut allowance, rate, start, 10), 4);
        let interval = Duration::from_millis(250);
        assert!(!allowance.is_left(rate, start + interval - Duration::from_nanos(1)));
        assert_eq!(taken(&mut allowance, rate, start + interval, 10), 1);
        assert_eq!(taken(&mut allowance, rate, start + Duration::from_secs(60), 10), 4);
    }

    #[test]
    fn one_a_second_is_one_at_once() {
        let (rate, start) = (Rate::per_second(1).unwrap(), Instant::now());
        let mut allowance = Allowance::default();
        assert_eq!(taken(&mut allowance, rate, start, 3), 1);
        assert_eq!(taken(&mut allowance, rate, start + Duration::from_millis(999), 3), 0);
        assert_eq!(taken(&mut allowance, rate, start + Duration::from_secs(1), 3), 1);
        assert!(!allowance.is_whole(start + Duration::from_millis(1999)));
        assert!(allowance.is_whole(start + Duration::from_secs(2)));
    }

    #[test]
    fn over_any_time_no_more_come_through_than_the_rate_and_one_burst() {
        for per_s in [1, 3, 7, 50] {
            let (rate, start) = (Rate::per_second(per_s).unwrap(), Instant::now());
            let mut allowance = Allowance::default();
            let tries = (0..20_000).map(|millis| start + Duration::from_millis(millis));
            let through = tries.filter(|now| allowance.take(rate, *now)).count();
            assert!(
                (20 * per_s as usize..=21 * per_s as usize).contains(&through),
                "{per_s}: {through}"
            );
        }
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(Rate::per_second(0), None);
    }

    fn taken(allowance: &mut Allowance, rate: Rate, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| allowance.take(rate, now)).count()
    }
}
