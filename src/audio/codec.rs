//! The codecs of a leg: their names and clocks, and one decoder and encoder for all of them.
//!
//! A codec's **line rate** is what its samples have inside the gateway: 8 kHz for G.711, 16 kHz for G.722. Opus is opened
//! at the session's rate directly, so that its samples are never resampled.

use super::{Law, SampleRate};

/// An audio codec we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus, mono.
    Opus,
}

impl Codec {
    /// Every codec, in the order of their payload types.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// Its name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Its payload type in our offers: static (RFC 3551 table 4), or for Opus one of the dynamic ones.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 111,
        }
    }

    /// The clock of its RTP timestamps. That of G.722 is 8 kHz by an old mistake (RFC 3551 section 4.5.2).
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// How many channels its `a=rtpmap` says; Opus always says two (RFC 7587 section 7).
    pub const fn channels(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// The rate of its samples beside a session of this rate.
    pub const fn line_rate(self, session: SampleRate) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
            Self::G722 => SampleRate::Hz16000,
            Self::Opus => session,
        }
    }

    /// The law of G.711.
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
            Self::G722 | Self::Opus => None,
        }
    }
}

/// What the far end wants of the Opus we send (RFC 7587 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpusWishes {
    /// `maxaveragebitrate`, in bits per second.
    pub bitrate_max: Option<u32>,
    /// `maxplaybackrate`, in Hz.
    pub playback_hz_max: Option<u32>,
    /// `useinbandfec`.
    pub fec: bool,
    /// `usedtx`.
    pub dtx: bool,
    /// `cbr`.
    pub constant_bitrate: bool,
}

/// A codec cannot be set up or a payload not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The library does not give us one.
    #[error("{0} cannot be set up")]
    Unavailable(&'static str),
    /// Not a payload of this codec.
    #[error("not a payload of {0}")]
    BadPayload(&'static str),
}

/// Payloads to samples at the line rate.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    rate: SampleRate,
    law: Law,
}

impl Decoder {
    /// A decoder beside a session of this rate.
    pub fn new(codec: Codec, session: SampleRate) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            rate: codec.line_rate(session),
            law: codec.law().ok_or(CodecError::Unavailable(codec.name()))?,
        })
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The rate of the samples it gives.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Appends the samples of a payload.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        self.law.decode(payload, out);
        Ok(())
    }

    /// Appends what the codec itself makes up for lost samples; false when it has no way to, and nothing was appended.
    pub fn conceal(&mut self, _samples: usize, _out: &mut Vec<i16>) -> bool {
        false
    }

    /// Appends the samples of the packet before this one as far as it carries them (in-band FEC); false when it does
    /// not, and nothing was appended.
    pub fn recover(&mut self, _next_payload: &[u8], _samples: usize, _out: &mut Vec<i16>) -> bool {
        false
    }

    /// How many samples a payload holds, without decoding it.
    pub fn samples(&self, payload: &[u8]) -> usize {
        payload.len()
    }
}

/// Samples at the line rate to payloads.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    rate: SampleRate,
    law: Law,
}

impl Encoder {
    /// An encoder beside a session of this rate; the wishes matter to Opus alone.
    pub fn new(codec: Codec, session: SampleRate, _wishes: OpusWishes) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            rate: codec.line_rate(session),
            law: codec.law().ok_or(CodecError::Unavailable(codec.name()))?,
        })
    }

    /// What it encodes to.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The rate of the samples it takes.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Appends the payload of one packet, 10 to 60 ms. An empty one need not be sent (DTX).
    pub fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        self.law.encode(pcm, out);
    }

    /// How much of what we send the far end loses, in percent: what in-band FEC is for.
    pub fn expect_loss(&mut self, _percent: u8) {}

    /// How hard to try, 0 to 10: less under load. Opus only.
    pub fn set_complexity(&mut self, _complexity: u8) {}
}
