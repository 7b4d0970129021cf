//! Opus by way of libopus, opened at the session's rate: nothing is resampled but the clock of the RTP timestamps.
//!
//! One mono encoder or decoder per direction and call; stereo is mixed down by the decoder. In-band FEC is written
//! while the far end wants it and loses something, and read from the packet after a lost one. What a payload holds is
//! read from its first bytes without decoding it. Nothing here allocates after the start.

use std::fmt;

use audiopus::{
    Application, Bandwidth, Bitrate, Channels, MutSignals, Signal,
    coder::{Decoder, Encoder},
    packet::{self, Packet},
};

use super::{CodecError, OpusWishes, SampleRate, codec::Codec};

/// Payloads to samples.
pub struct OpusDecoder {
    decoder: Decoder,
    rate: SampleRate,
}

/// Samples to payloads.
pub struct OpusEncoder {
    encoder: Encoder,
    rate: SampleRate,
    /// Silence need not be sent.
    dtx: bool,
}

/// The most one payload may hold (RFC 6716 section 3.2.5), and the most made up at once.
pub const PAYLOAD_MS_MAX: usize = 120;

/// Effort until somebody knows better: most of the quality at half of the cost.
pub const COMPLEXITY: u8 = 5;

/// The largest frame (RFC 6716 section 3.4); only rates far above ours come near it.
const FRAME_BYTES_MAX: usize = 1_275;

/// The largest frame whose length is one byte; 10 ms at 200 kbit/s.
const SHORT_FRAME_BYTES_MAX: usize = 252;

/// A payload this short says that there is nothing to say.
const DTX_BYTES_MAX: usize = 2;

/// Below this the codec does not work (RFC 7587 section 6.1).
const BITRATE_MIN: u32 = 6_000;
const BITRATE_MAX: u32 = 510_000;

const UNREADABLE: CodecError = CodecError::BadPayload(Codec::Opus.name());

impl OpusDecoder {
    /// A decoder to this rate.
    pub fn new(rate: SampleRate) -> Result<Self, CodecError> {
        let decoder = Decoder::new(library_rate(rate), Channels::Mono).map_err(unavailable)?;
        Ok(Self { decoder, rate })
    }

    /// Appends the samples of a payload.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        let samples = self.samples(payload);
        if samples == 0 {
            return Err(UNREADABLE);
        }
        self.append(Some(payload), samples, false, out)
    }

    /// Appends what libopus makes up for lost samples; at most [`PAYLOAD_MS_MAX`] at a time, silence beyond.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> bool {
        let end = out.len() + samples;
        let made_up = self.append(None, self.whole(samples), false, out).is_ok();
        if made_up {
            out.resize(end, 0);
        }
        made_up
    }

    /// Appends the samples before a payload, of which it carries a coarse copy; false when it does not.
    pub fn recover(&mut self, next_payload: &[u8], samples: usize, out: &mut Vec<i16>) -> bool {
        let (begin, frame) = (out.len(), self.frame_samples(next_payload));
        if !carries_copy(next_payload) || self.samples(next_payload) == 0 {
            return false;
        }
        // Less than the frame of the copy is not given out: its last part is what came right before the payload.
        let wanted = self.whole(samples.max(frame));
        if self.append(Some(next_payload), wanted, true, out).is_err() {
            return false;
        }
        let surplus = (out.len() - begin).saturating_sub(samples);
        out.drain(begin..begin + surplus);
        out.resize(begin + samples, 0);
        true
    }

    /// How many samples a payload holds; 0 when it is none of ours.
    pub fn samples(&self, payload: &[u8]) -> usize {
        let packet = Packet::try_from(payload).and_then(|packet| packet::nb_samples(packet, library_rate(self.rate)));
        packet.unwrap_or(0)
    }

    fn frame_samples(&self, payload: &[u8]) -> usize {
        let packet = Packet::try_from(payload);
        let samples = packet.and_then(|packet| packet::samples_per_frame(packet, library_rate(self.rate)));
        samples.unwrap_or(0)
    }

    /// The next multiple of 2.5 ms, which is how libopus counts, within bounds.
    fn whole(&self, samples: usize) -> usize {
        let step = self.rate.per_ms() * 5 / 2;
        samples
            .clamp(1, PAYLOAD_MS_MAX * self.rate.per_ms())
            .next_multiple_of(step)
    }

    fn append(
        &mut self,
        payload: Option<&[u8]>,
        samples: usize,
        copy: bool,
        out: &mut Vec<i16>,
    ) -> Result<(), CodecError> {
        let begin = out.len();
        out.resize(begin + samples, 0);
        let packet = payload.map(Packet::try_from).transpose();
        let signals = MutSignals::try_from(&mut out[begin..]);
        let decoded = match (packet, signals) {
            (Ok(packet), Ok(signals)) => self.decoder.decode(packet, signals, copy),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        out.truncate(begin + decoded.as_ref().map_or(0, |&samples| samples));
        decoded.map(drop).map_err(|_| UNREADABLE)
    }
}

impl fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusDecoder")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl OpusEncoder {
    /// An encoder from this rate, as the far end wants it.
    pub fn new(rate: SampleRate, wishes: OpusWishes) -> Result<Self, CodecError> {
        let encoder = Encoder::new(library_rate(rate), Channels::Mono, Application::Voip).map_err(unavailable)?;
        let mut encoder = Self {
            encoder,
            rate,
            dtx: wishes.dtx,
        };
        encoder.set_up(wishes).map_err(unavailable)?;
        Ok(encoder)
    }

    fn set_up(&mut self, wishes: OpusWishes) -> audiopus::Result<()> {
        let encoder = &mut self.encoder;
        encoder.set_signal(Signal::Voice)?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_bitrate(Bitrate::BitsPerSecond(bitrate(self.rate, wishes) as i32))?;
        encoder.set_max_bandwidth(bandwidth(wishes.playback_hz_max))?;
        encoder.set_vbr(!wishes.constant_bitrate)?;
        encoder.set_inband_fec(wishes.fec)?;
        encoder.set_dtx(wishes.dtx)
    }

    /// Appends the payload of one packet of 10 to 60 ms; nothing when it need not be sent.
    pub fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let ms = pcm.len() / self.rate.per_ms();
        match ms {
            30 | 50 => self.encode_frames(pcm, out),
            _ => self.encode_frame(pcm, out),
        }
    }

    /// How much of what we send is lost, in percent.
    pub fn expect_loss(&mut self, percent: u8) {
        // Refused only above 100.
        let _ = self.encoder.set_packet_loss_perc(percent.min(100));
    }

    /// How hard to try.
    pub fn set_complexity(&mut self, complexity: u8) {
        let _ = self.encoder.set_complexity(complexity.min(10));
    }

    fn encode_frame(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let mut frame = [0; FRAME_BYTES_MAX];
        let length = self.frame(pcm, &mut frame);
        if !self.dtx || length > DTX_BYTES_MAX {
            out.extend_from_slice(&frame[..length]);
        }
    }

    /// There is no frame of 30 or 50 ms, so the payload holds several of 10 ms, with their lengths before them (RFC
    /// 6716 section 3.2.5).
    fn encode_frames(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let parts = pcm.chunks(10 * self.rate.per_ms());
        let (begin, count) = (out.len(), parts.len());
        // All but the last have a length.
        out.resize(begin + 1 + count, 0);
        let mut speaks = false;
        for (index, part) in parts.enumerate() {
            let mut frame = [0; SHORT_FRAME_BYTES_MAX];
            let length = self.frame(part, &mut frame);
            speaks |= length > DTX_BYTES_MAX;
            if index == 0 {
                out[begin] = frame[0] | 3;
                out[begin + 1] = 0x80 | count as u8;
            }
            // One first byte speaks for all. A frame of another kind is left to the far end's concealment: it comes
            // when the encoder changes its mode, which is rare.
            let same_kind = frame[0] | 3 == out[begin];
            let body = if same_kind {
                frame.get(1..length).unwrap_or(&[])
            } else {
                &[]
            };
            if index + 1 < count {
                out[begin + 2 + index] = body.len() as u8;
            }
            out.extend_from_slice(body);
        }
        if self.dtx && !speaks {
            out.truncate(begin);
        }
    }

    /// Encodes a frame and says how long it is; 0 when libopus takes no frame of so many samples.
    fn frame(&mut self, pcm: &[i16], frame: &mut [u8]) -> usize {
        self.encoder.encode(pcm, frame).unwrap_or(0)
    }
}

impl fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusEncoder")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// Good speech for the band the rate leaves, within what the far end takes.
fn bitrate(rate: SampleRate, wishes: OpusWishes) -> u32 {
    let good = match rate {
        SampleRate::Hz8000 => 16_000,
        SampleRate::Hz16000 => 24_000,
        SampleRate::Hz24000 => 32_000,
    };
    good.min(wishes.bitrate_max.unwrap_or(BITRATE_MAX))
        .clamp(BITRATE_MIN, BITRATE_MAX)
}

/// The widest band somebody who plays at this rate hears.
fn bandwidth(playback_hz_max: Option<u32>) -> Bandwidth {
    match playback_hz_max.unwrap_or(u32::MAX) {
        ..=8_000 => Bandwidth::Narrowband,
        8_001..=12_000 => Bandwidth::Mediumband,
        12_001..=16_000 => Bandwidth::Wideband,
        16_001..=24_000 => Bandwidth::Superwideband,
        _ => Bandwidth::Fullband,
    }
}

fn library_rate(rate: SampleRate) -> audiopus::SampleRate {
    match rate {
        SampleRate::Hz8000 => audiopus::SampleRate::Hz8000,
        SampleRate::Hz16000 => audiopus::SampleRate::Hz16000,
        SampleRate::Hz24000 => audiopus::SampleRate::Hz24000,
    }
}

fn unavailable(_: audiopus::Error) -> CodecError {
    CodecError::Unavailable(Codec::Opus.name())
}

/// Whether a payload carries a coarse copy of what came before it: the LBRR flag, which follows the voice flags of its
/// first frame (RFC 6716 section 4.2.3), and which only the lower modes have.
fn carries_copy(payload: &[u8]) -> bool {
    let Some((&toc, _)) = payload.split_first() else {
        return false;
    };
    let config = toc >> 3;
    let Some(first) = first_frame_byte(payload).filter(|_| config < FIRST_CELT_CONFIG) else {
        return false;
    };
    // 40 and 60 ms frames of SILK hold two and three of 20 ms.
    let parts = match (config < FIRST_HYBRID_CONFIG, config & 3) {
        (true, 2) => 2,
        (true, 3) => 3,
        _ => 1,
    };
    let stereo = toc & 4 != 0;
    let middle = first >> (7 - parts) & 1 == 1;
    let side = stereo && first >> (6 - 2 * parts) & 1 == 1;
    middle || side
}

const FIRST_HYBRID_CONFIG: u8 = 12;
const FIRST_CELT_CONFIG: u8 = 16;

/// The first byte of the first frame, past lengths and padding (RFC 6716 section 3.2).
fn first_frame_byte(payload: &[u8]) -> Option<u8> {
    let (&toc, rest) = payload.split_first()?;
    match toc & 3 {
        0 | 1 => rest.first().copied(),
        2 => {
            let (length, rest) = frame_length(rest)?;
            rest.first().copied().filter(|_| length > 0)
        }
        _ => first_of_many(rest),
    }
}

fn first_of_many(rest: &[u8]) -> Option<u8> {
    let (&header, mut rest) = rest.split_first()?;
    let (variable, padded, count) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x3F);
    let mut padding = padded;
    while padding {
        let (&length, later) = rest.split_first()?;
        rest = later;
        padding = length == 255;
    }
    let mut first_length = 1;
    for frame in 1..count {
        if variable {
            let (length, later) = frame_length(rest)?;
            first_length = if frame == 1 { length } else { first_length };
            rest = later;
        }
    }
    rest.first().copied().filter(|_| first_length > 0)
}

/// One or two bytes (RFC 6716 section 3.2.1).
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [low, ref rest @ ..] if low < 252 => Some((usize::from(low), rest)),
        [low, high, ref rest @ ..] => Some((4 * usize::from(high) + usize::from(low), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
