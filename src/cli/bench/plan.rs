//! What a benchmark is to do, as the command line says it and as its processes are told.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::pitch::CALLERS_MAX;
use crate::audio;

/// The codec of the callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
    /// Opus, coded at 24 kHz.
    Opus,
}

impl Codec {
    /// The same among the codecs of a leg.
    pub fn audio(self) -> audio::Codec {
        match self {
            Self::Pcmu => audio::Codec::Pcmu,
            Self::Pcma => audio::Codec::Pcma,
            Self::G722 => audio::Codec::G722,
            Self::Opus => audio::Codec::Opus,
        }
    }
}

/// The audio of the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audio {
    /// 16 bit samples at 24 kHz.
    Pcm16,
    /// G.711 straight through.
    G711,
    /// G.711 when the callers speak it, else 16 bit samples.
    Auto,
}

impl Audio {
    /// As in the gateway's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pcm16 => "pcm16",
            Self::G711 => "g711",
            Self::Auto => "auto",
        }
    }
}

/// How the backend sends what its agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deltas {
    /// Two deltas of 200 ms ahead, then one every 200 ms.
    Realtime,
    /// Five times as fast as it is spoken, as models do.
    Burst,
}

/// The numbers of calls to measure, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(pub Vec<usize>);

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |word: &str| {
            let calls = word.trim().parse::<usize>().ok();
            calls.filter(|calls| (1..=CALLERS_MAX).contains(calls))
        };
        let steps: Option<Vec<usize>> = text.split(',').map(read).collect();
        let steps = steps.ok_or_else(|| format!("give numbers of calls from 1 to {CALLERS_MAX}, such as 1,50,100"))?;
        if !steps.is_sorted_by(|a, b| a < b) {
            return Err("each step must have more calls than the one before".to_owned());
        }
        Ok(Self(steps))
    }
}

/// What a process is to be; the first line it reads.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// All callers.
    Callers {
        /// The gateway's SIP address.
        gateway: SocketAddr,
        /// What they speak.
        codec: Codec,
    },
    /// The session server.
    Backend {
        /// How it sends speech.
        deltas: Deltas,
    },
    /// The gateway, with its files in this folder, which it removes in the end.
    Gateway {
        /// Holds its configuration.
        folder: PathBuf,
    },
}

/// What the callers and the backend are asked, a line each; the answer is a line as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Have this many calls going.
    Dial(usize),
    /// Measure between these two times, and tell what was measured.
    Measure {
        /// From when,
        from: u64,
        /// and until when.
        until: u64,
    },
    /// End all calls.
    HangUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_rising_numbers_of_calls() {
        assert_eq!("1,50, 100".parse(), Ok(Steps(vec![1, 50, 100])));
        for wrong in ["", "0", "5,5", "9,1", "1,,2", "99999", "-1", "ten"] {
            assert!(wrong.parse::<Steps>().is_err(), "{wrong}");
        }
    }
}
