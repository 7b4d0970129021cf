//! "Mm-hm" is no turn: what a caller says while the agent is heard, and that only says "go on", is not answered.
//!
//! It is for sessions whose interruptions are ours (`own_ear`), and the server is told to answer nothing by itself: every
//! turn is answered from here, at once where the agent was silent. Where the caller began over the agent and our ear did not
//! cut it off, the words are waited for. Nothing but words of the list, while the agent is still heard: it goes on, and
//! nothing is asked for. Anything else, no words in time, or an agent that has finished by then, so that "yes" may be an
//! answer: the turn is answered behind what the agent says.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Machine;

/// How long the words of a turn are waited for.
const WORDS_MAX: Duration = Duration::from_secs(3);

/// Turns that may wait for their words; past it the oldest is answered at once.
const WAITING_MAX: usize = 8;

/// As many words of the list in one turn still say nothing more.
const REPEATS_MAX: usize = 4;

/// The caller's turns that may be none.
#[derive(Debug, Default)]
pub(super) struct BackChannel {
    /// The caller began to speak while the agent was heard, and has not cut it off.
    over_agent: bool,
    /// Turns whose words are waited for, and until when.
    waiting: VecDeque<(String, Instant)>,
}

impl BackChannel {
    /// The agent was cut off: what the caller says is a turn.
    pub fn cut_in(&mut self) {
        self.over_agent = false;
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(_, until)| *until)
    }

    /// Waits for the words of a turn; true when another cannot be waited for any more.
    fn wait(&mut self, item: &str, until: Instant) -> bool {
        self.waiting.push_back((item.to_owned(), until));
        self.waiting.len() > WAITING_MAX && self.waiting.pop_front().is_some()
    }

    fn take(&mut self, item: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| waiting != item);
        self.waiting.len() < before
    }

    fn take_expired(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(_, until)| now < *until);
        self.waiting.len() < before
    }
}

impl Machine {
    /// The caller began to speak, and nothing is cut off by it.
    pub(super) fn voice_began(&mut self) {
        self.back_channel.over_agent = self.is_speaking();
    }

    /// The server took a turn that it does not answer by itself.
    pub(super) fn answer_turn(&mut self, now: Instant, item: &str) {
        if self.settings.back_channel.is_empty() || self.has_disclosure() {
            return;
        }
        let over_agent = std::mem::take(&mut self.back_channel.over_agent);
        if !over_agent || item.is_empty() || self.back_channel.wait(item, now + WORDS_MAX) {
            self.wish(now, None);
        }
    }

    /// The words of a turn have come, or never will.
    pub(super) fn turn_understood(&mut self, now: Instant, item: &str, words: Option<&str>) {
        if !self.back_channel.take(item) {
            return;
        }
        let nothing = words.is_some_and(|words| says_go_on(words, &self.settings.back_channel));
        if !nothing || !self.is_speaking() {
            self.wish(now, None);
        }
    }

    /// Turns whose words have not come in time are answered.
    pub(super) fn give_up_words(&mut self, now: Instant) {
        if self.back_channel.take_expired(now) {
            self.wish(now, None);
        }
    }
}

/// Whether this is nothing but words of the list. Silence says nothing either.
fn says_go_on(text: &str, list: &[String]) -> bool {
    let text = plain(text);
    let mut rest = text.as_str();
    for _ in 0..REPEATS_MAX {
        if rest.is_empty() {
            return true;
        }
        let after = |word: &String| {
            let rest = rest.strip_prefix(plain(word).as_str())?;
            (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
        };
        match list.iter().filter_map(after).min_by_key(|rest| rest.len()) {
            Some(shorter) if shorter.len() < rest.len() => rest = shorter,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// In small letters, with one space in place of everything that is no letter.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_words_of_the_list_says_go_on() {
        let list = ["mm-hm", "yeah", "okay", "I see", "ja"].map(str::to_owned);
        for (text, goes_on) in [
            ("Mm-hm.", true),
            ("Yeah, yeah.", true),
            ("Okay… I see!", true),
            ("Ja", true),
            ("", true),
            ("Yeah, but when?", false),
            ("Okayish", false),
            ("No.", false),
            ("yeah yeah yeah yeah yeah", false),
        ] {
            assert_eq!(says_go_on(text, &list), goes_on, "{text}");
        }
        assert!(!says_go_on("hm", &[String::new()]));
    }
}
