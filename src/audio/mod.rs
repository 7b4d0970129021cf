//! Samples: the leg's codecs, the sample rates of a call, levels, voice activity and the sounds the gateway makes
//! itself.
//!
//! Three rates exist and no others: 8, 16 and 24 kHz, all mono `i16`. Everything here is a plain
//! value that its owner feeds; nothing here knows packets, clocks or calls, and nothing allocates beyond growing the
//! output vector the caller hands in.

pub mod codec;
pub mod comfort;
pub mod comfort_noise;
pub mod dtmf;
pub mod echo;
pub mod g711;
pub mod g722;
pub mod level;
pub mod opus;
pub mod rate;
pub mod resample;
pub mod speech;
pub mod stereo;
pub mod tone;
pub mod vad;

pub use codec::{Codec, CodecError, Decoder, Encoder, OpusWishes};
pub use comfort::Comfort;
pub use comfort_noise::ComfortNoise;
pub use dtmf::DtmfDetector;
pub use echo::EchoDetector;
pub use g711::Law;
pub use rate::Resampler;
pub use resample::{Downsampler, Upsampler};
pub use speech::{Heard, Utterance};
pub use stereo::StereoEncoder;
pub use tone::Tone;
pub use vad::{VoiceDetector, VoiceSettings};

/// How many samples make a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleRate {
    /// 8 kHz, what G.711 carries.
    Hz8000,
    /// 16 kHz, what G.722 carries and some backends speak.
    Hz16000,
    /// 24 kHz, what `audio/pcm` means in the Realtime protocol.
    Hz24000,
}

impl SampleRate {
    /// Samples per second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
        }
    }

    /// Samples per millisecond, a whole number for all rates.
    pub const fn per_ms(self) -> usize {
        match self {
            Self::Hz8000 => 8,
            Self::Hz16000 => 16,
            Self::Hz24000 => 24,
        }
    }
}
