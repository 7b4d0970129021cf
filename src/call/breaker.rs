//! A circuit breaker: whether a backend is worth dialling, by how dialling it went lately for all calls.
//!
//! Closed, it lets every dial through and counts failures since the last success. So many of them within a window open
//! it: then no call waits for a backend that is not there. After a while it is half open and lets one probe through at a
//! time, which closes it or opens it again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A probe that nobody tells the end of, because its call was over first, counts as none after this long.
const PROBE_MAX: Duration = Duration::from_secs(20);

/// When to open, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// So many failures since the last success open it; zero never does.
    pub failures: u32,
    /// They count for so long.
    pub window: Duration,
    /// How long it is open before a probe.
    pub open: Duration,
}

/// How a backend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Everybody may dial it.
    Closed,
    /// Nobody may.
    Open,
    /// One at a time may, to see whether it is back.
    HalfOpen,
}

/// The breaker of one backend.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: Settings,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Closed { failures: VecDeque<Instant> },
    Open { until: Instant },
    HalfOpen { probe: Option<Instant> },
}

impl Stand {
    /// Its word in the API and the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    /// One that nothing is known to.
    pub fn new(settings: Settings) -> Self {
        let failures = VecDeque::new();
        Self {
            settings,
            state: State::Closed { failures },
        }
    }

    /// Whether the backend may be dialled now; when it may, it counts as dialled.
    pub fn admit(&mut self, now: Instant) -> bool {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.state = State::HalfOpen { probe: None };
        }
        match &mut self.state {
            State::Closed { .. } => true,
            State::Open { .. } => false,
            State::HalfOpen { probe } => {
                let free = probe.is_none_or(|since| now >= since + PROBE_MAX);
                if free {
                    *probe = Some(now);
                }
                free
            }
        }
    }

    /// A session came about.
    pub fn succeeded(&mut self) {
        self.state = Self::new(self.settings).state;
    }

    /// A dial failed, or what it led to never became a session.
    pub fn failed(&mut self, now: Instant) {
        let Settings {
            failures: most,
            window,
            open,
        } = self.settings;
        if most == 0 {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => {
                failures.retain(|at| now < *at + window);
                failures.push_back(now);
                if failures.len() >= most as usize {
                    self.state = State::Open { until: now + open };
                }
            }
            // Dials of before it opened fail late; they say nothing new.
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.state = State::Open { until: now + open },
        }
    }

    /// How the backend stands.
    pub fn stand(&self, now: Instant) -> Stand {
        match self.state {
            State::Closed { .. } => Stand::Closed,
            State::Open { until } if now < until => Stand::Open,
            State::Open { .. } | State::HalfOpen { .. } => Stand::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        failures: 3,
        window: Duration::from_secs(30),
        open: Duration::from_secs(10),
    };

    #[test]
    fn failures_without_a_success_between_them_open_it_and_one_probe_at_a_time_goes_through() {
        let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..3 {
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
        assert_eq!(breaker.stand(now), Stand::Open);
        assert!(!breaker.admit(now));
        breaker.failed(now);
        now += SETTINGS.open;
        assert_eq!(breaker.stand(now), Stand::HalfOpen);
        assert!(breaker.admit(now) && !breaker.admit(now));
        breaker.failed(now);
        assert!(!breaker.admit(now));
        now += SETTINGS.open;
        assert!(breaker.admit(now));
        breaker.succeeded();
        assert!(breaker.admit(now) && breaker.admit(now));
        assert_eq!(breaker.stand(now), Stand::Closed);
    }

    #[test]
    fn failures_far_apart_or_among_successes_do_not_open_it() {
        let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..10 {
            breaker.failed(now);
            now += SETTINGS.window / 2;
        }
        assert_eq!(breaker.stand(now), Stand::Closed);
        for _ in 0..10 {
            breaker.failed(now);
            breaker.succeeded();
        }
        assert_eq!(breaker.stand(now), Stand::Closed);
    }

    #[test]
    fn a_probe_that_nobody_tells_the_end_of_does_not_block_for_ever() {
        let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
        (0..3).for_each(|_| breaker.failed(now));
        now += SETTINGS.open;
        assert!(breaker.admit(now) && !breaker.admit(now));
        now += PROBE_MAX;
        assert!(breaker.admit(now));
    }

    #[test]
    fn without_a_number_of_failures_it_never_opens() {
        let settings = Settings {
            failures: 0,
            ..SETTINGS
        };
        let (mut breaker, now) = (Breaker::new(settings), Instant::now());
        (0..100).for_each(|_| breaker.failed(now));
        assert!(breaker.admit(now));
    }
}
