//! Whether a call is recorded now: what the agent's policy, the caller's consent and the control API say.
//!
//! A recording begins with the answer, or once the prompt has been heard to its end, or when the control API says so; it
//! needs media that has been agreed on, because the codec settles its rate. It ends with the call, or by the API, or by a
//! failure of its own, which is no matter of the call's. A call may have several, one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::audio::SampleRate;

/// Recordings of one call; past it the control API is refused, so that nobody fills the disk with beginnings.
pub const RECORDINGS_MAX: u32 = 64;

/// How often a caller who talks over the prompt hears it again; past it there is no recording.
const PROMPTS_MAX: u8 = 3;

/// How long one prompt may take, from asking for it to its end; past it it counts as not heard.
const PROMPT_MAX: Duration = Duration::from_secs(45);

/// When recording begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Policy {
    /// When the control API says so.
    #[default]
    Off,
    /// With the answer.
    On,
    /// Once the caller has heard this to its end.
    Consent(Prompt),
}

/// What a caller hears before being recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Words for the agent to say.
    Words(String),
    /// A sound to be played.
    Sound(Arc<Sound>),
}

/// A sound of our own.
#[derive(Debug, PartialEq, Eq)]
pub struct Sound {
    /// Its rate.
    pub rate: SampleRate,
    /// Its samples, mono.
    pub pcm: Vec<i16>,
}

/// What the caller has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consent {
    /// Nothing.
    #[default]
    NotAsked,
    /// It is being told, for this manieth time.
    Asking {
        /// From 1.
        times: u8,
        /// Then it counts as not heard.
        until: Instant,
    },
    /// The prompt, to its end.
    Heard,
    /// The prompt, and never to its end.
    NotHeard,
}

/// What follows from a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompted {
    /// It is said again.
    Again,
    /// It was heard: the recording may begin.
    Heard,
    /// It will not be heard: there is no recording.
    NotHeard,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Begin the recording of this number.
    Begin {
        /// From 1.
        number: u32,
        /// The rate of its samples.
        rate: SampleRate,
        /// On whose word.
        by: Wanted,
        /// Whether the caller has heard the prompt.
        told: bool,
    },
    /// Put silence in place of the sound, or the sound again.
    Pause(bool),
    /// End it.
    End,
}

/// On whose word a recording began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The agent's policy.
    Agent,
    /// The control API.
    Api,
}

/// What the control API asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Begin one.
    Start,
    /// End it.
    Stop,
    /// Put silence in place of the sound.
    Pause,
    /// Put the sound again.
    Resume,
}

/// Why that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// One is under way.
    #[error("the call is being recorded already")]
    Recording,
    /// None is under way.
    #[error("the call is not being recorded")]
    NotRecording,
    /// There have been too many.
    #[error("the call has as many recordings as one call may have")]
    TooMany,
}

/// Whether a call is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recording {
    state: State,
    consent: Consent,
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Off,
    /// As soon as there is media.
    Wanted(Wanted),
    On,
    Paused,
}

impl Misfit {
    /// The reason word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::NotRecording => "not_recording",
            Self::TooMany => "too_many_recordings",
        }
    }
}

impl Wanted {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Api => "api",
        }
    }
}

impl Recording {
    /// A prompt has been ordered.
    pub fn prompting(&mut self, now: Instant) {
        let times = match self.consent {
            Consent::Asking { times, .. } => times + 1,
            _ => 1,
        };
        self.consent = Consent::Asking {
            times,
            until: now + PROMPT_MAX,
        };
    }

    /// What became of the prompt; nothing when nobody waits for it.
    pub fn prompted(&mut self, heard: bool) -> Option<Prompted> {
        let Consent::Asking { times, .. } = self.consent else {
            return None;
        };
        let prompted = match heard {
            true => Prompted::Heard,
            false if times < PROMPTS_MAX => return Some(Prompted::Again),
            false => Prompted::NotHeard,
        };
        self.consent = if heard { Consent::Heard } else { Consent::NotHeard };
        Some(prompted)
    }

    /// What the caller has been told.
    pub fn consent(&self) -> Consent {
        self.consent
    }

    /// When a prompt that has not been heard counts as cut off.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.consent {
            Consent::Asking { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Somebody wants one.
    pub fn want(&mut self, by: Wanted) {
        if self.state == State::Off {
            self.state = State::Wanted(by);
        }
    }

    /// Media has been agreed on, perhaps again; a recording that is wanted begins, at the rate of this leg.
    pub fn agreed(&mut self, rate: SampleRate) -> Option<Step> {
        let State::Wanted(by) = self.state else { return None };
        self.state = State::On;
        self.count += 1;
        Some(Step::Begin {
            number: self.count,
            rate,
            by,
            told: self.consent == Consent::Heard,
        })
    }

    /// The control API asks for something. A start is a wish, which [`Self::agreed`] fulfils.
    pub fn ask(&mut self, ask: Ask) -> Result<Option<Step>, Misfit> {
        match (ask, self.state) {
            (Ask::Start, State::Off) if self.count >= RECORDINGS_MAX => Err(Misfit::TooMany),
            (Ask::Start, State::Off) => {
                self.want(Wanted::Api);
                Ok(None)
            }
            (Ask::Start, _) => Err(Misfit::Recording),
            (_, State::Off | State::Wanted(_)) => Err(Misfit::NotRecording),
            (Ask::Stop, _) => Ok(self.end()),
            (Ask::Pause, _) => Ok(self.pause(true)),
            (Ask::Resume, _) => Ok(self.pause(false)),
        }
    }

    /// Nobody wants one any more that has not begun.
    pub fn give_up(&mut self) {
        if !self.is_on() {
            self.state = State::Off;
        }
    }

    /// The recording of this number is over without anybody wanting it.
    pub fn failed(&mut self, number: u32) {
        if number == self.count {
            self.state = State::Off;
        }
    }

    /// Whether the one under way has this number.
    pub fn is_current(&self, number: u32) -> bool {
        self.is_on() && number == self.count
    }

    /// Whether one is under way, paused or not.
    pub fn is_on(&self) -> bool {
        matches!(self.state, State::On | State::Paused)
    }

    fn end(&mut self) -> Option<Step> {
        let was_on = self.is_on();
        self.state = State::Off;
        was_on.then_some(Step::End)
    }

    fn pause(&mut self, paused: bool) -> Option<Step> {
        let (from, to) = match paused {
            true => (State::On, State::Paused),
            false => (State::Paused, State::On),
        };
        if self.state != from {
            return None;
        }
        self.state = to;
        Some(Step::Pause(paused))
    }
}

/// The rate a leg with this rate is recorded at: G.711 as it is, everything else wideband.
pub fn rate(line: SampleRate) -> SampleRate {
    match line {
        SampleRate::Hz8000 => SampleRate::Hz8000,
        SampleRate::Hz16000 | SampleRate::Hz24000 => SampleRate::Hz16000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    fn a_recording_begins_once_somebody_wants_it_and_there_is_media() {
        let mut recording = Recording::default();
        assert_eq!(recording.agreed(RATE), None);
        recording.want(Wanted::Agent);
        let begun = recording.agreed(RATE);
        assert_eq!(
            begun,
            Some(Step::Begin {
                number: 1,
                rate: RATE,
                by: Wanted::Agent,
                told: false
            })
        );
        assert_eq!(recording.agreed(RATE), None);
        assert_eq!(recording.ask(Ask::Start), Err(Misfit::Recording));
    }

    #[test]
    fn pausing_twice_is_pausing_once() {
        let mut recording = on();
        assert_eq!(recording.ask(Ask::Pause), Ok(Some(Step::Pause(true))));
        assert_eq!(recording.ask(Ask::Pause), Ok(None));
        assert_eq!(recording.ask(Ask::Resume), Ok(Some(Step::Pause(false))));
        assert_eq!(recording.ask(Ask::Resume), Ok(None));
        assert_eq!(recording.ask(Ask::Stop), Ok(Some(Step::End)));
        assert_eq!(recording.ask(Ask::Stop), Err(Misfit::NotRecording));
    }

    #[test]
    fn one_that_failed_can_be_begun_again_and_is_another() {
        let mut recording = on();
        recording.failed(7);
        assert!(recording.is_on());
        recording.failed(1);
        assert_eq!(recording.ask(Ask::Start), Ok(None));
        assert!(matches!(recording.agreed(RATE), Some(Step::Begin { number: 2, .. })));
    }

    #[test]
    fn there_is_an_end_to_beginnings() {
        let mut recording = Recording::default();
        for _ in 0..RECORDINGS_MAX {
            recording.ask(Ask::Start).unwrap();
            recording.agreed(RATE).unwrap();
            recording.ask(Ask::Stop).unwrap();
        }
        assert_eq!(recording.ask(Ask::Start), Err(Misfit::TooMany));
    }

    fn on() -> Recording {
        let mut recording = Recording::default();
        recording.want(Wanted::Agent);
        recording.agreed(RATE).unwrap();
        recording
    }
}
