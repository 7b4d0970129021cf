//! A circuit breaker: whether a backend is worth dialling, by how dialling it went lately for all calls.
//!
//! Closed, it lets every dial through and counts failures since the last success. So many of them within a window open
//! it: then no call waits for a backend that is not there. After a while it is half open and lets one probe through at a
//! time, which closes it or opens it again.
//!
//! A session that is lost young is a failure as well, and one that no other session's beginning makes up for, only one that
//! lives: a backend that takes every call and drops it is not there either. What a probe led to has to live, too, before
//! the failures are forgotten.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A probe that nobody tells the end of, because its call was over first, counts as none after this long.
const PROBE_MAX: Duration = Duration::from_secs(20);

/// A session that is lost sooner than this after it was ready was lost young.
const SHORT_LIVED: Duration = Duration::from_secs(10);

/// Sessions of which it is not known yet whether they live; past it the oldest makes up for nothing.
const YOUNG_MAX: usize = 64;

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
    Closed {
        failures: VecDeque<Failure>,
        /// When sessions came about that may yet be lost young.
        young: VecDeque<Instant>,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        probe: Option<Instant>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    at: Instant,
    /// What became of a session, and not of a dial.
    young: bool,
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
        Self {
            settings,
            state: State::Closed {
                failures: VecDeque::new(),
                young: VecDeque::new(),
            },
        }
    }

    /// Whether a session that was ready then and is lost now was lost young.
    pub fn is_young(now: Instant, ready_at: Instant) -> bool {
        now < ready_at + SHORT_LIVED
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
    pub fn succeeded(&mut self, now: Instant) {
        self.grow_up(now);
        let probed = !matches!(self.state, State::Closed { .. });
        if probed {
            // One that is lost young opens it again.
            let spared = self.settings.failures.saturating_sub(1) as usize;
            let failure = Failure { at: now, young: true };
            self.state = State::Closed {
                failures: std::iter::repeat_n(failure, spared).collect(),
                young: VecDeque::new(),
            };
        }
        if let State::Closed { failures, young } = &mut self.state {
            failures.retain(|failure| failure.young);
            young.push_back(now);
            if young.len() > YOUNG_MAX {
                young.pop_front();
            }
        }
    }

    /// A session that came about then was lost, by nobody here; see [`Self::is_young`].
    pub fn lost_young(&mut self, now: Instant, ready_at: Instant) {
        if let State::Closed { young, .. } = &mut self.state
            && let Some(index) = young.iter().position(|at| *at == ready_at)
        {
            young.remove(index);
        }
        self.fail(now, true);
    }

    /// A dial failed, or what it led to never became a session.
    pub fn failed(&mut self, now: Instant) {
        self.fail(now, false);
    }

    /// Sessions that live make up for what was before them.
    fn grow_up(&mut self, now: Instant) {
        if let State::Closed { failures, young } = &mut self.state {
            while let Some(ready_at) = young.pop_front_if(|ready_at| !Self::is_young(now, *ready_at)) {
                failures.retain(|failure| failure.at > ready_at + SHORT_LIVED);
            }
        }
    }

    fn fail(&mut self, now: Instant, young: bool) {
        self.grow_up(now);
        let Settings {
            failures: most,
            window,
            open,
        } = self.settings;
        if most == 0 {
            return;
        }
        match &mut self.state {
            State::Closed { failures, .. } => {
                failures.retain(|failure| now < failure.at + window);
                failures.push_back(Failure { at: now, young });
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
        breaker.succeeded(now);
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
            breaker.succeeded(now);
        }
        assert_eq!(breaker.stand(now), Stand::Closed);
    }

    #[test]
    fn sessions_that_are_lost_young_open_it_although_each_began_well() {
        let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..3 {
            assert_eq!(breaker.stand(now), Stand::Closed);
            breaker.succeeded(now);
            now += SHORT_LIVED / 2;
            breaker.lost_young(now, now - SHORT_LIVED / 2);
        }
        assert_eq!(breaker.stand(now), Stand::Open);
        // A probe that becomes a session has to live.
        now += SETTINGS.open;
        assert!(breaker.admit(now));
        breaker.succeeded(now);
        assert_eq!(breaker.stand(now), Stand::Closed);
        breaker.lost_young(now, now);
        assert_eq!(breaker.stand(now), Stand::Open);
        now += SETTINGS.open;
        assert!(breaker.admit(now));
        breaker.succeeded(now);
        now += SHORT_LIVED;
        breaker.failed(now);
        assert_eq!(breaker.stand(now), Stand::Closed);
    }

    #[test]
    fn a_few_sessions_lost_young_among_others_that_live_do_not_open_it() {
        let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..20 {
            breaker.succeeded(now);
            let other = now + Duration::from_secs(1);
            breaker.succeeded(other);
            breaker.lost_young(other, other);
            now += SHORT_LIVED + Duration::from_secs(1);
            assert_eq!(breaker.stand(now), Stand::Closed);
        }
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
