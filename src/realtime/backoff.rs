//! When to dial a lost session again.
//!
//! The delay grows exponentially and is drawn evenly from nothing up to its bound (full jitter), so that many calls
//! that lost the same backend do not come back to it at once. An outage may last as long as its budget, all outages of
//! a call together as long as [`OUTAGES_PER_CALL`] of them. An outage is over only when the session has held for
//! [`HEALTHY_MIN`]: one that connects and breaks again and again is still the same outage.

use std::time::{Duration, Instant};

/// How long a session must hold before the next loss is a new outage.
const HEALTHY_MIN: Duration = Duration::from_secs(10);

/// How many full outage budgets a call may use up.
const OUTAGES_PER_CALL: u32 = 4;

/// How to dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectSettings {
    /// The bound of the first delay.
    pub first: Duration,
    /// The bound of any delay.
    pub delay_max: Duration,
    /// How long an outage may last.
    pub budget: Duration,
}

/// One call's reconnecting to one backend.
#[derive(Debug, Clone)]
pub struct Reconnect {
    settings: ReconnectSettings,
    state: State,
    /// What earlier outages of this call lasted together.
    spent: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Up,
    Down {
        since: Instant,
        attempts: u32,
    },
    Recovering {
        outage_since: Instant,
        attempts: u32,
        up_since: Instant,
    },
}

impl Reconnect {
    /// A session that has not been lost yet.
    pub fn new(settings: ReconnectSettings) -> Self {
        Self {
            settings,
            state: State::Up,
            spent: Duration::ZERO,
        }
    }

    /// The session was lost, or could not be had. Returns how long to wait before dialling, or none when the budget is
    /// spent. `random` must be evenly distributed.
    pub fn next(&mut self, now: Instant, random: u64) -> Option<Duration> {
        let (since, attempts) = self.outage(now);
        self.state = State::Down {
            since,
            attempts: attempts.saturating_add(1),
        };
        let left = self.left(now.saturating_duration_since(since))?;
        Some(self.delay(attempts, random).min(left))
    }

    /// The session is up.
    pub fn succeeded(&mut self, now: Instant) {
        if let State::Down { since, attempts } = self.state {
            self.state = State::Recovering {
                outage_since: since,
                attempts,
                up_since: now,
            };
        }
    }

    /// The outage that a loss now belongs to.
    fn outage(&mut self, now: Instant) -> (Instant, u32) {
        match self.state {
            State::Up => (now, 0),
            State::Down { since, attempts } => (since, attempts),
            State::Recovering {
                outage_since,
                attempts,
                up_since,
            } => {
                if now.saturating_duration_since(up_since) < HEALTHY_MIN {
                    return (outage_since, attempts);
                }
                self.spent = self
                    .spent
                    .saturating_add(up_since.saturating_duration_since(outage_since));
                (now, 0)
            }
        }
    }

    fn left(&self, outage: Duration) -> Option<Duration> {
        let of_outage = self.settings.budget.checked_sub(outage)?;
        let call_budget = self.settings.budget.saturating_mul(OUTAGES_PER_CALL);
        let of_call = call_budget.checked_sub(self.spent)?.checked_sub(outage)?;
        Some(of_outage.min(of_call)).filter(|left| !left.is_zero())
    }

    fn delay(&self, attempts: u32, random: u64) -> Duration {
        let growth = 1u32.checked_shl(attempts).unwrap_or(u32::MAX);
        let bound = self.settings.first.saturating_mul(growth).min(self.settings.delay_max);
        let nanos = (bound.as_nanos().min(u128::from(u64::MAX)) * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_the_delay_doubles_up_to_its_limit() {
        let (mut reconnect, now) = (Reconnect::new(SETTINGS), Instant::now());
        let delays: Vec<u128> = (0..7)
            .map(|_| reconnect.next(now, u64::MAX).unwrap().as_millis())
            .collect();
        assert_eq!(delays, [249, 499, 999, 1999, 3999, 4999, 4999]);
    }

    #[test]
    fn the_delay_is_drawn_from_nothing_to_its_bound() {
        let now = Instant::now();
        let delay = |random| Reconnect::new(SETTINGS).next(now, random).unwrap();
        assert_eq!(delay(0), Duration::ZERO);
        assert_eq!(delay(1 << 63), Duration::from_millis(125));
    }

    #[test]
    fn an_outage_lasts_no_longer_than_its_budget() {
        let mut reconnect = Reconnect::new(SETTINGS);
        let start = Instant::now();
        let mut now = start;
        while let Some(delay) = reconnect.next(now, u64::MAX) {
            now += delay + Duration::from_millis(10);
        }
        assert!(now - start >= SETTINGS.budget);
        assert!(now - start <= SETTINGS.budget + Duration::from_millis(10));
        assert_eq!(reconnect.next(now, 0), None);
    }

    #[test]
    fn a_session_that_breaks_again_soon_is_still_the_same_outage() {
        let (mut reconnect, mut now) = (Reconnect::new(SETTINGS), Instant::now());
        let mut dials = 0;
        while reconnect.next(now, u64::MAX).is_some() {
            dials += 1;
            reconnect.succeeded(now);
            now += Duration::from_secs(3);
        }
        assert_eq!(dials, 10);
    }

    #[test]
    fn a_session_that_held_starts_afresh_until_the_call_has_spent_its_budget() {
        let (mut reconnect, mut now) = (Reconnect::new(SETTINGS), Instant::now());
        let mut outages = 0;
        while reconnect.next(now, 0).is_some() {
            outages += 1;
            now += SETTINGS.budget;
            reconnect.succeeded(now);
            now += HEALTHY_MIN;
        }
        assert_eq!(outages, OUTAGES_PER_CALL);
    }

    #[test]
    fn endless_attempts_do_not_overflow() {
        let (mut reconnect, now) = (Reconnect::new(SETTINGS), Instant::now());
        for _ in 0..100 {
            assert!(reconnect.next(now, u64::MAX).unwrap() <= SETTINGS.delay_max);
        }
    }

    const SETTINGS: ReconnectSettings = ReconnectSettings {
        first: Duration::from_millis(250),
        delay_max: Duration::from_secs(5),
        budget: Duration::from_secs(30),
    };
}
