//! Samples: G.711 bytes, the two sample rates of a call, levels, voice activity and the sounds the gateway makes itself.
//!
//! Two rates exist and no others: the leg speaks 8 kHz, the session 24 kHz, both mono `i16`. Everything here is a plain
//! value that its owner feeds; nothing here knows packets, clocks or calls, and nothing allocates beyond growing the
//! output vector the caller hands in.

pub mod comfort;
pub mod g711;
pub mod level;
pub mod resample;
pub mod speech;
pub mod tone;
pub mod vad;

pub use comfort::Comfort;
pub use g711::Law;
pub use resample::{Downsampler, Upsampler};
pub use speech::{Heard, Utterance};
pub use tone::Tone;
pub use vad::{VoiceDetector, VoiceSettings};

/// How many samples make a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleRate {
    /// The leg: 8 kHz, what G.711 carries.
    Hz8000,
    /// The session: 24 kHz, what `audio/pcm` means in the Realtime protocol.
    Hz24000,
}

impl SampleRate {
    /// Samples per second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz24000 => 24_000,
        }
    }

    /// Samples per millisecond, a whole number for both rates.
    pub const fn per_ms(self) -> usize {
        match self {
            Self::Hz8000 => 8,
            Self::Hz24000 => 24,
        }
    }
}
