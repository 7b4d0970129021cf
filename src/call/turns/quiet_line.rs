//! Is anybody still there? When neither side says anything the agent asks, a few times; then the call ends.

use std::time::{Duration, Instant};

/// What is to be done about the silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The agent asks whether the caller is still there.
    Ask,
    /// Nobody answered: the call ends.
    GiveUp,
}

/// Watches for both sides being silent.
#[derive(Debug, Clone)]
pub struct QuietLine {
    after: Duration,
    asks_max: u32,
    asked: u32,
    quiet_since: Option<Instant>,
}

impl QuietLine {
    /// Asks after so much silence, at most so often.
    pub fn new(after: Duration, asks_max: u32) -> Self {
        Self {
            after,
            asks_max,
            asked: 0,
            quiet_since: None,
        }
    }

    /// The caller spoke, pressed a key or wrote.
    pub fn caller_was_heard(&mut self) {
        self.asked = 0;
        self.quiet_since = None;
    }

    /// The agent speaks, or has something to say.
    pub fn agent_speaks(&mut self) {
        self.quiet_since = None;
    }

    /// Neither side says anything now.
    pub fn is_quiet(&mut self, now: Instant) {
        self.quiet_since.get_or_insert(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_since?.checked_add(self.after)
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        self.poll_timeout().filter(|deadline| now >= *deadline)?;
        // The answer, or silence, is waited for anew.
        self.quiet_since = Some(now);
        if self.asked == self.asks_max {
            return Some(Verdict::GiveUp);
        }
        self.asked += 1;
        Some(Verdict::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(8);

    #[test]
    fn silence_is_asked_about_and_then_ends_the_call() {
        let (mut line, mut now) = (QuietLine::new(AFTER, 2), Instant::now());
        line.is_quiet(now);
        let mut verdicts = Vec::new();
        for _ in 0..3 {
            assert_eq!(line.handle_timeout(now), None);
            now += AFTER;
            verdicts.extend(line.handle_timeout(now));
        }
        assert_eq!(verdicts, [Verdict::Ask, Verdict::Ask, Verdict::GiveUp]);
    }

    #[test]
    fn the_agent_asking_is_no_silence_and_an_answer_begins_anew() {
        let (mut line, mut now) = (QuietLine::new(AFTER, 1), Instant::now());
        line.is_quiet(now);
        now += AFTER;
        assert_eq!(line.handle_timeout(now), Some(Verdict::Ask));
        line.agent_speaks();
        assert_eq!(line.poll_timeout(), None);
        line.is_quiet(now);
        line.caller_was_heard();
        line.is_quiet(now);
        line.is_quiet(now + AFTER / 2);
        assert_eq!(line.poll_timeout(), Some(now + AFTER));
        assert_eq!(line.handle_timeout(now + AFTER), Some(Verdict::Ask));
    }
}
