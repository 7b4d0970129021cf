//! What a caller hears while there is no session: the comfort tone at once, and after a while words, again and again.
//!
//! Silence never lasts longer than the wait before the words, which is also the pause between them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::recording::Sound;
use crate::audio::{Law, SampleRate};

/// How often the words are said in one absence; past it the caller hears the comfort tone alone. Any sensible
/// `reconnect_budget_ms` is spent long before.
const TIMES_MAX: u32 = 100;

/// The built-in words, 8 kHz mu-law: "One moment, please."
const WORDS: &[u8] = include_bytes!("../media/prompts/one_moment.ulaw");

/// What fills an absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long the tone is heard alone.
    pub after: Duration,
    /// The words; none is the built-in ones.
    pub words: Option<Arc<Sound>>,
}

/// The filler of one call.
#[derive(Debug, Default)]
pub(super) struct Filler {
    settings: Option<Settings>,
    state: State,
    times: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    Waiting(Instant),
    Speaking,
}

impl Filler {
    /// What to fill an absence with; until then there are no words.
    pub fn set(&mut self, settings: Settings) {
        self.settings = Some(settings);
    }

    /// The caller waits from now on.
    pub fn begin(&mut self, now: Instant) {
        if self.state == State::Off {
            self.times = 0;
            self.wait(now);
        }
    }

    /// The caller waits no more. True when words are being said, which are to be cut off.
    pub fn end(&mut self) -> bool {
        std::mem::take(&mut self.state) == State::Speaking
    }

    /// The words have been heard.
    pub fn heard(&mut self, now: Instant) {
        if self.state == State::Speaking {
            self.wait(now);
        }
    }

    /// The words to say now, with their rate.
    pub fn take(&mut self, now: Instant) -> Option<(SampleRate, Vec<i16>)> {
        let State::Waiting(at) = self.state else { return None };
        if now < at {
            return None;
        }
        self.state = State::Speaking;
        self.times += 1;
        match self.settings.as_ref().and_then(|settings| settings.words.as_ref()) {
            Some(sound) => Some((sound.rate, sound.pcm.clone())),
            None => {
                let mut pcm = Vec::new();
                Law::Mu.decode(WORDS, &mut pcm);
                Some((SampleRate::Hz8000, pcm))
            }
        }
    }

    /// When words are due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => Some(at),
            State::Off | State::Speaking => None,
        }
    }

    fn wait(&mut self, now: Instant) {
        let after = self.settings.as_ref().map(|settings| settings.after);
        let at = after.and_then(|after| now.checked_add(after));
        self.state = match at {
            Some(at) if self.times < TIMES_MAX => State::Waiting(at),
            _ => State::Off,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(2_500);

    #[test]
    fn words_come_after_the_wait_and_again_until_the_session_is_back() {
        let (mut filler, now) = (Filler::default(), Instant::now());
        filler.set(Settings {
            after: AFTER,
            words: None,
        });
        filler.begin(now);
        assert_eq!(filler.poll_timeout(), Some(now + AFTER));
        assert!(filler.take(now).is_none());
        let (rate, pcm) = filler.take(now + AFTER).unwrap();
        assert!((500..4_000).contains(&(pcm.len() / rate.per_ms())), "{}", pcm.len());
        filler.begin(now + AFTER);
        assert_eq!(filler.poll_timeout(), None, "they are being said");
        filler.heard(now + 2 * AFTER);
        assert_eq!(filler.poll_timeout(), Some(now + 3 * AFTER));
        assert!(!filler.end(), "nothing is being said");
        assert_eq!(filler.poll_timeout(), None);
    }

    #[test]
    fn words_that_are_being_said_are_cut_off_and_a_call_without_filler_has_none() {
        let (mut filler, now) = (Filler::default(), Instant::now());
        filler.begin(now);
        assert_eq!(filler.poll_timeout(), None);
        let words = Arc::new(Sound {
            rate: SampleRate::Hz16000,
            pcm: vec![7; 160],
        });
        filler.set(Settings {
            after: AFTER,
            words: Some(words),
        });
        filler.begin(now);
        assert_eq!(filler.take(now + AFTER), Some((SampleRate::Hz16000, vec![7; 160])));
        assert!(filler.end());
    }
}
