//! The codecs of a leg: their names and clocks, and one decoder and encoder for all of them.
//!
//! A codec's **line rate** is what its samples have inside the gateway: 8 kHz for G.711, 16 kHz for G.722. Opus is
//! opened at the session's rate directly, so that its samples are never resampled.

use super::{
    Law, SampleRate,
    g722::{G722Decoder, G722Encoder},
    opus::{OpusDecoder, OpusEncoder},
};

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
    kind: DecoderKind,
}

/// Boxed where the state is large, so that a call pays for the codec it speaks alone.
#[derive(Debug)]
enum DecoderKind {
    Law(Law),
    G722(Box<G722Decoder>),
    Opus(OpusDecoder),
}

impl Decoder {
    /// A decoder beside a session of this rate.
    pub fn new(codec: Codec, session: SampleRate) -> Result<Self, CodecError> {
        let rate = codec.line_rate(session);
        let kind = match codec {
            Codec::Pcmu => DecoderKind::Law(Law::Mu),
            Codec::Pcma => DecoderKind::Law(Law::A),
            Codec::G722 => DecoderKind::G722(Box::default()),
            Codec::Opus => DecoderKind::Opus(OpusDecoder::new(rate)?),
        };
        Ok(Self { codec, rate, kind })
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
        match &mut self.kind {
            DecoderKind::Law(law) => law.decode(payload, out),
            DecoderKind::G722(decoder) => decoder.decode(payload, out),
            DecoderKind::Opus(decoder) => return decoder.decode(payload, out),
        }
        Ok(())
    }

    /// Appends what the codec itself makes up for lost samples; false when it has no way to, and nothing was appended.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> bool {
        match &mut self.kind {
            DecoderKind::Law(_) | DecoderKind::G722(_) => false,
            DecoderKind::Opus(decoder) => decoder.conceal(samples, out),
        }
    }

    /// Appends so many samples before this packet, which it carries a copy of (in-band FEC); false when it
    /// does not, and nothing was appended. The packet itself is still to be decoded.
    pub fn recover(&mut self, next_payload: &[u8], samples: usize, out: &mut Vec<i16>) -> bool {
        match &mut self.kind {
            DecoderKind::Law(_) | DecoderKind::G722(_) => false,
            DecoderKind::Opus(decoder) => decoder.recover(next_payload, samples, out),
        }
    }

    /// How many samples a payload holds, without decoding it; 0 when it cannot be read.
    pub fn samples(&self, payload: &[u8]) -> usize {
        match &self.kind {
            DecoderKind::Law(_) => payload.len(),
            DecoderKind::G722(_) => 2 * payload.len(),
            DecoderKind::Opus(decoder) => decoder.samples(payload),
        }
    }
}

/// Samples at the line rate to payloads.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    rate: SampleRate,
    kind: EncoderKind,
}

#[derive(Debug)]
enum EncoderKind {
    Law(Law),
    G722(Box<G722Encoder>),
    Opus(OpusEncoder),
}

impl Encoder {
    /// An encoder beside a session of this rate; the wishes matter to Opus alone.
    pub fn new(codec: Codec, session: SampleRate, wishes: OpusWishes) -> Result<Self, CodecError> {
        let rate = codec.line_rate(session);
        let kind = match codec {
            Codec::Pcmu => EncoderKind::Law(Law::Mu),
            Codec::Pcma => EncoderKind::Law(Law::A),
            Codec::G722 => EncoderKind::G722(Box::default()),
            Codec::Opus => EncoderKind::Opus(OpusEncoder::new(rate, wishes)?),
        };
        Ok(Self { codec, rate, kind })
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
        match &mut self.kind {
            EncoderKind::Law(law) => law.encode(pcm, out),
            EncoderKind::G722(encoder) => encoder.encode(pcm, out),
            EncoderKind::Opus(encoder) => encoder.encode(pcm, out),
        }
    }

    /// How much of what we send the far end loses, in percent: what in-band FEC is for.
    pub fn expect_loss(&mut self, percent: u8) {
        if let EncoderKind::Opus(encoder) = &mut self.kind {
            encoder.expect_loss(percent);
        }
    }

    /// How hard to try, 0 to 10: less under load. Opus only.
    pub fn set_complexity(&mut self, complexity: u8) {
        if let EncoderKind::Opus(encoder) = &mut self.kind {
            encoder.set_complexity(complexity);
        }
    }
}
