//! The three audio formats of the protocol.

use serde_json::{Value, json};

use super::error::Refusal;
use super::field::Field;
use crate::audio::{Law, SampleRate};

/// How audio bytes on the wire become samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `audio/pcm`: 24 kHz, mono, 16-bit little-endian.
    Pcm,
    /// `audio/pcmu` or `audio/pcma`: 8 kHz G.711.
    G711(Law),
}

impl Format {
    /// Reads a format object; `audio/pcm` must state its rate, G.711 has none.
    pub fn read(field: &Field<'_>) -> Result<Self, Refusal> {
        let kind = field
            .require("type")?
            .one_of(&["audio/pcm", "audio/pcmu", "audio/pcma"])?;
        if kind == "audio/pcm" {
            field.only(&["type", "rate"])?;
            field.require("rate")?.integer(24_000..=24_000)?;
            return Ok(Self::Pcm);
        }
        field.only(&["type"])?;
        Ok(Self::G711(if kind == "audio/pcmu" { Law::Mu } else { Law::A }))
    }

    /// The format object.
    pub fn to_json(self) -> Value {
        match self {
            Self::Pcm => json!({"type": "audio/pcm", "rate": 24_000}),
            Self::G711(Law::Mu) => json!({"type": "audio/pcmu"}),
            Self::G711(Law::A) => json!({"type": "audio/pcma"}),
        }
    }

    /// Samples per second.
    pub fn rate(self) -> SampleRate {
        match self {
            Self::Pcm => SampleRate::Hz24000,
            Self::G711(_) => SampleRate::Hz8000,
        }
    }

    /// Appends samples and says how many bytes were used; an odd last byte of PCM is left.
    pub fn decode(self, bytes: &[u8], pcm: &mut Vec<i16>) -> usize {
        match self {
            Self::Pcm => {
                let (pairs, rest) = bytes.as_chunks::<2>();
                pcm.extend(pairs.iter().map(|&pair| i16::from_le_bytes(pair)));
                bytes.len() - rest.len()
            }
            Self::G711(law) => {
                law.decode(bytes, pcm);
                bytes.len()
            }
        }
    }

    /// Appends bytes.
    pub fn encode(self, pcm: &[i16], bytes: &mut Vec<u8>) {
        match self {
            Self::Pcm => bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes())),
            Self::G711(law) => law.encode(pcm, bytes),
        }
    }
}
