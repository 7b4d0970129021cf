//! Does an answering machine speak? Told by the one thing that is cheap to measure: people who answer say a word or two
//! and wait, machines go on.
//!
//! It is a guess and called one. Somebody who answers with a long sentence is taken for a machine, a machine with a short
//! greeting for somebody.

use std::time::Duration;

/// A pause of this length ends what is said first; those between words are shorter.
const PAUSE: Duration = Duration::from_millis(700);

/// How long anybody is waited for to begin.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// Listens to the first thing that is said.
#[derive(Debug, Clone)]
pub struct Monologue {
    limit: Duration,
    spoken: Duration,
    pause: Duration,
}

impl Monologue {
    /// What goes on for `limit` without a pause is likely a machine.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            spoken: Duration::ZERO,
            pause: Duration::ZERO,
        }
    }

    /// More sound of this length, with or without voice. Answers once, when it is clear; then ask no more.
    pub fn push(&mut self, voiced: bool, length: Duration) -> Option<bool> {
        if voiced {
            self.pause = Duration::ZERO;
        } else {
            self.pause += length;
        }
        let begun = self.spoken > Duration::ZERO;
        if voiced || begun {
            self.spoken += length;
        }
        match begun {
            false => (self.pause >= BEGIN_MAX).then_some(false),
            true if self.pause >= PAUSE => Some(false),
            true => (self.spoken >= self.limit).then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_and_a_pause_is_somebody() {
        assert_eq!(verdict(&[(false, 500), (true, 900), (false, 1_000)]), Some(false));
    }

    #[test]
    fn an_announcement_with_pauses_between_its_words_is_a_machine() {
        let words = [(true, 800), (false, 300)].repeat(5);
        assert_eq!(verdict(&words), Some(true));
    }

    #[test]
    fn silence_is_nobody_and_not_watched_for_ever() {
        assert_eq!(verdict(&[(false, 9_000)]), None);
        assert_eq!(verdict(&[(false, 10_000)]), Some(false));
    }

    fn verdict(sounds: &[(bool, u64)]) -> Option<bool> {
        let mut monologue = Monologue::new(Duration::from_secs(4));
        let frame = Duration::from_millis(20);
        sounds
            .iter()
            .flat_map(|(voiced, ms)| std::iter::repeat_n(*voiced, (*ms / 20) as usize))
            .find_map(|voiced| monologue.push(voiced, frame))
    }
}
