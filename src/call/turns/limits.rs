//! How long one may go on: a caller who speaks without end is interrupted, a call that nears its end is told so.

use std::time::{Duration, Instant};

/// A pause of this length ends a caller's turn.
const PAUSE: Duration = Duration::from_secs(2);

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The agent steps in.
    StepIn,
    /// The agent says that the call ends soon.
    Warn,
}

/// Watches one call's lengths.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    turn_max: Option<Duration>,
    turn: Duration,
    pause: Duration,
    warn_at: Option<Instant>,
}

impl Limits {
    /// A turn of the caller that lasts longer than `turn_max` is stepped into.
    pub fn new(turn_max: Option<Duration>) -> Self {
        Self {
            turn_max,
            ..Self::default()
        }
    }

    /// The call ends soon after this time.
    pub fn warn_at(&mut self, at: Instant) {
        self.warn_at = Some(at);
    }

    /// More sound of this length from the caller.
    pub fn hear(&mut self, voiced: bool, length: Duration) -> Option<Verdict> {
        if voiced {
            // A short pause is part of the turn, once it goes on.
            self.turn += std::mem::take(&mut self.pause) + length;
        } else if !self.turn.is_zero() {
            self.pause += length;
        }
        if self.pause >= PAUSE {
            (self.turn, self.pause) = (Duration::ZERO, Duration::ZERO);
        }
        self.turn_max.filter(|max| self.turn >= *max)?;
        self.turn = Duration::ZERO;
        Some(Verdict::StepIn)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.warn_at
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        self.warn_at.take_if(|at| now >= *at).map(|_| Verdict::Warn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn a_caller_without_an_end_is_stepped_into_once_a_turn() {
        let mut limits = Limits::new(Some(Duration::from_secs(30)));
        let told = (0..1_600).filter_map(|_| limits.hear(true, FRAME)).count();
        assert_eq!(told, 1);
    }

    #[test]
    fn a_pause_begins_a_new_turn_and_breath_does_not() {
        let mut limits = Limits::new(Some(Duration::from_secs(10)));
        let mut speak = |pause_ms: u64| {
            let voice = std::iter::repeat_n(true, 450);
            let pause = std::iter::repeat_n(false, (pause_ms / 20) as usize);
            voice
                .chain(pause)
                .filter_map(|voiced| limits.hear(voiced, FRAME))
                .count()
        };
        assert_eq!(speak(2_000), 0);
        assert_eq!(speak(500), 0);
        assert_eq!(speak(0), 1);
    }

    #[test]
    fn the_end_of_the_call_is_told_once() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        assert_eq!(limits.poll_timeout(), None);
        limits.warn_at(now + FRAME);
        assert_eq!(limits.handle_timeout(now), None);
        assert_eq!(limits.handle_timeout(now + FRAME), Some(Verdict::Warn));
        assert_eq!(
            (limits.handle_timeout(now + FRAME), limits.poll_timeout()),
            (None, None)
        );
        assert_eq!(limits.hear(true, Duration::from_secs(3_600)), None);
    }
}
