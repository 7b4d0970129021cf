//! How long the agent may go on: one that speaks without an end is stopped, between two words where it pauses in time.

use std::time::{Duration, Instant};

/// A silence of the agent of this length ends its turn.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a pause between two words is waited for.
const WORD_PAUSE_WAIT: Duration = Duration::from_secs(1);

/// Watches how long the agent has been speaking.
#[derive(Debug, Clone, Default)]
pub struct AgentTurn {
    max: Option<Duration>,
    /// Since when it speaks, and when it was last heard.
    turn: Option<(Instant, Instant)>,
}

impl AgentTurn {
    /// A turn of the agent that lasts longer than `max` is stopped.
    pub fn new(max: Option<Duration>) -> Self {
        Self { max, turn: None }
    }

    /// The caller has the word: what the agent says next is another turn.
    pub fn caller_was_heard(&mut self) {
        self.turn = None;
    }

    /// Whether the agent is to stop here. `pauses` tells whether it is between two words, and is asked only when it matters.
    pub fn observe(&mut self, now: Instant, speaks: bool, pauses: impl FnOnce() -> bool) -> bool {
        let Some(max) = self.max else { return false };
        if !speaks {
            self.turn.take_if(|(_, heard_at)| now >= *heard_at + PAUSE);
            return false;
        }
        let (began_at, heard_at) = self.turn.get_or_insert((now, now));
        *heard_at = now;
        let over = *began_at + max;
        let stops = now >= over && (now >= over + WORD_PAUSE_WAIT || pauses());
        if stops {
            self.turn = None;
        }
        stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn an_agent_without_an_end_is_stopped_between_two_words() {
        assert_eq!(stopped_after(|ms| ms == 5_480 || ms == 3_000), Some(5_480));
    }

    #[test]
    fn an_agent_that_never_pauses_is_stopped_a_second_later() {
        assert_eq!(stopped_after(|_| false), Some(6_000));
    }

    #[test]
    fn short_silences_are_part_of_the_turn_and_long_ones_and_the_caller_end_it() {
        let (mut turn, mut now) = (AgentTurn::new(Some(Duration::from_secs(5))), Instant::now());
        let mut speak = |turn: &mut AgentTurn, ms: u64, speaks: bool| {
            (0..ms / 20).any(|_| {
                now += FRAME;
                turn.observe(now, speaks, || true)
            })
        };
        for (silence, stops) in [(1_900, true), (2_100, false)] {
            assert!(!speak(&mut turn, 4_000, true));
            assert!(!speak(&mut turn, silence, false));
            assert_eq!(speak(&mut turn, 4_000, true), stops, "{silence} ms");
            turn.caller_was_heard();
        }
        assert!(!speak(&mut turn, 4_000, true));
        turn.caller_was_heard();
        assert!(!speak(&mut turn, 4_000, true));
    }

    #[test]
    fn without_a_limit_it_goes_on_for_ever() {
        let (mut turn, now) = (AgentTurn::new(None), Instant::now());
        let stopped = (0..10_000).any(|second| turn.observe(now + Duration::from_secs(second), true, || true));
        assert!(!stopped);
    }

    /// How long an agent that pauses at these milliseconds may speak, of ten seconds.
    fn stopped_after(pauses: impl Fn(u64) -> bool) -> Option<u64> {
        let (mut turn, now) = (AgentTurn::new(Some(Duration::from_secs(5))), Instant::now());
        (0..500)
            .map(|frame| frame * 20)
            .find(|ms| turn.observe(now + Duration::from_millis(*ms), true, || pauses(*ms)))
    }
}
