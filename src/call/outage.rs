//! What to do about a session that is not there: dial again, try the next backend, or give up.
//!
//! The agent's backends are tried in their order. A backend is left when its fault is fatal (a wrong key does not get
//! right by asking again) or when its reconnect budget is spent; when the last one is left, the session is gone.

use std::time::{Duration, Instant};

use crate::realtime::{FaultClass, Reconnect, ReconnectSettings};

/// What to do after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Dial [`Outage::backend`] after this delay.
    Dial {
        /// How long to wait first.
        after: Duration,
    },
    /// No backend is left.
    GiveUp,
}

/// The reconnect state of one call's session.
#[derive(Debug)]
pub struct Outage {
    settings: ReconnectSettings,
    backends: usize,
    backend: usize,
    reconnect: Reconnect,
}

impl Outage {
    /// A session with this many backends to try.
    pub fn new(settings: ReconnectSettings, backends: usize) -> Self {
        Self {
            settings,
            backends,
            backend: 0,
            reconnect: Reconnect::new(settings),
        }
    }

    /// The backend in use, or being dialled.
    pub fn backend(&self) -> usize {
        self.backend
    }

    /// The session is up.
    pub fn ready(&mut self, now: Instant) {
        self.reconnect.succeeded(now);
    }

    /// The session broke, or could not be had. `random` spreads the retries of many calls.
    pub fn lost(&mut self, now: Instant, class: FaultClass, random: u64) -> Verdict {
        if class != FaultClass::Fatal
            && let Some(after) = self.reconnect.next(now, random)
        {
            return Verdict::Dial { after };
        }
        self.leave_backend()
    }

    /// Goes to the next backend although nothing is wrong with this one; false when there is none.
    pub fn move_on(&mut self) -> bool {
        let there_is = self.backend + 1 < self.backends;
        if there_is {
            self.leave_backend();
        }
        there_is
    }

    fn leave_backend(&mut self) -> Verdict {
        self.backend += 1;
        if self.backend >= self.backends {
            return Verdict::GiveUp;
        }
        self.reconnect = Reconnect::new(self.settings);
        Verdict::Dial { after: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retryable_loss_dials_the_same_backend_until_the_budget_is_spent() {
        let mut now = Instant::now();
        let mut outage = Outage::new(SETTINGS, 1);
        let start = now;
        let mut dials = 0;
        while let Verdict::Dial { after } = outage.lost(now, FaultClass::Retryable, u64::MAX) {
            assert_eq!(outage.backend(), 0);
            now += after + Duration::from_millis(1);
            dials += 1;
        }
        assert!(dials > 3);
        assert!(now - start <= SETTINGS.budget + SETTINGS.delay_max);
    }

    #[test]
    fn a_fatal_fault_moves_to_the_next_backend_at_once() {
        let mut outage = Outage::new(SETTINGS, 2);
        let now = Instant::now();
        let at_once = Verdict::Dial { after: Duration::ZERO };
        assert_eq!(outage.lost(now, FaultClass::Fatal, 0), at_once);
        assert_eq!(outage.backend(), 1);
        assert_eq!(outage.lost(now, FaultClass::Fatal, 0), Verdict::GiveUp);
    }

    #[test]
    fn a_call_that_moves_on_stays_where_there_is_no_next_backend() {
        let mut outage = Outage::new(SETTINGS, 2);
        assert!(outage.move_on() && !outage.move_on());
        assert_eq!(outage.backend(), 1);
        let retry = outage.lost(Instant::now(), FaultClass::Retryable, 0);
        assert!(matches!(retry, Verdict::Dial { .. }), "it has a budget of its own");
    }

    const SETTINGS: ReconnectSettings = ReconnectSettings {
        first: Duration::from_millis(250),
        delay_max: Duration::from_secs(5),
        budget: Duration::from_secs(30),
    };
}
