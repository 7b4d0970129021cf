//! Probe: whether a trunk is there, asked by OPTIONS now and then (RFC 3261 section 11).
//!
//! Any answer shows that somebody is there, even a refusal; only silence and the answers that mean silence do not. One
//! lost question says nothing, so it takes two in a row to call a trunk unreachable, and one answer to call it reachable
//! again. What follows from that is not decided here.

use std::time::{Duration, Instant};

/// Questions in a row without an answer that make a trunk unreachable.
pub const SILENT_MAX: u8 = 2;

/// The questions to one trunk.
#[derive(Debug)]
pub struct Probe {
    interval: Duration,
    /// When the next question is due; `None` while one is under way.
    next_at: Option<Instant>,
    silent: u8,
    reachable: Option<bool>,
    error: String,
}

impl Probe {
    /// Questions at this interval, the first at `first_at`.
    pub fn new(interval: Duration, first_at: Instant) -> Self {
        Self {
            interval,
            next_at: Some(first_at),
            silent: 0,
            reachable: None,
            error: String::new(),
        }
    }

    /// Whether a question is due now; it then counts as asked.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.next_at.is_some_and(|at| at <= now);
        if is_due {
            self.next_at = None;
        }
        is_due
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    /// Takes the final status, or `None` when there was none and why; whether the opinion changed. `dice`, from 0 to 255,
    /// spreads the questions.
    pub fn handle_answer(&mut self, now: Instant, answer: Result<u16, &str>, dice: u64) -> bool {
        let before = self.reachable;
        let jitter = self.interval.mul_f64(dice.min(255) as f64 / 255.0 * 0.1);
        self.next_at = Some(now + self.interval.saturating_sub(jitter));
        match answer {
            Ok(status @ (408 | 503)) => self.hear_nothing(format!("the answer to OPTIONS is {status}")),
            Ok(_) => self.hear(),
            Err(detail) => self.hear_nothing(detail.to_owned()),
        }
        self.reachable != before
    }

    /// Whether it is there; `None` before that is known.
    pub fn reachable(&self) -> Option<bool> {
        self.reachable
    }

    /// Why it is not there; empty when it is.
    pub fn error(&self) -> &str {
        &self.error
    }

    fn hear(&mut self) {
        self.silent = 0;
        self.reachable = Some(true);
        self.error.clear();
    }

    fn hear_nothing(&mut self, detail: String) {
        self.silent = self.silent.saturating_add(1);
        if self.silent >= SILENT_MAX {
            self.reachable = Some(false);
            self.error = detail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn any_answer_but_those_that_mean_silence_shows_that_somebody_is_there() {
        for (status, reachable) in [
            (200, Some(true)),
            (404, Some(true)),
            (481, Some(true)),
            (603, Some(true)),
            (408, None),
            (503, None),
        ] {
            let (now, mut probe) = probe();
            assert!(probe.handle_timeout(now));
            assert_eq!(probe.handle_answer(now, Ok(status), 0), reachable.is_some());
            assert_eq!(probe.reachable(), reachable, "{status}");
        }
    }

    #[test]
    fn two_silences_in_a_row_mark_it_down_and_one_answer_marks_it_up() {
        let (now, mut probe) = probe();
        assert!(probe.handle_answer(now, Ok(200), 0));
        assert!(!probe.handle_answer(now, Err("lost"), 0));
        assert!(!probe.handle_answer(now, Ok(200), 0));
        assert!(!probe.handle_answer(now, Err("lost"), 0));
        assert!(probe.handle_answer(now, Ok(503), 0));
        assert_eq!(
            (probe.reachable(), probe.error()),
            (Some(false), "the answer to OPTIONS is 503")
        );
        assert!(!probe.handle_answer(now, Err("lost"), 0));
        assert!(probe.handle_answer(now, Ok(200), 0));
        assert_eq!((probe.reachable(), probe.error()), (Some(true), ""));
    }

    #[test]
    fn the_next_question_waits_for_the_answer_and_about_an_interval() {
        let (now, mut probe) = probe();
        assert!(probe.handle_timeout(now) && !probe.handle_timeout(now));
        assert_eq!(probe.poll_timeout(), None);
        for dice in [0, 255, 9999] {
            probe.handle_answer(now, Ok(200), dice);
            let wait = probe.poll_timeout().unwrap() - now;
            assert!(wait <= INTERVAL && wait >= INTERVAL * 9 / 10, "{wait:?}");
        }
    }

    fn probe() -> (Instant, Probe) {
        let now = Instant::now();
        (now, Probe::new(INTERVAL, now))
    }
}
