//! Opus in stereo, for recordings: two voices that have nothing to do with each other, side by side.

use audiopus::{Application, Bitrate, Channels, coder::Encoder};

use super::{CodecError, SampleRate};

/// The longest packet of 20 ms that is asked for, in bytes.
const PACKET_BYTES_MAX: usize = 1_275;

/// For both voices together. Narrowband needs less than wideband.
const NARROW_BITS_PER_S: i32 = 40_000;
const WIDE_BITS_PER_S: i32 = 56_000;

/// The fourth part of what the largest costs; at these bit rates nobody hears the difference.
const COMPLEXITY: u8 = 5;

/// Makes packets of 20 ms.
#[derive(Debug)]
pub struct StereoEncoder {
    encoder: Encoder,
    rate: SampleRate,
    packet: Vec<u8>,
}

impl StereoEncoder {
    /// Samples of this rate, in pairs.
    pub fn new(rate: SampleRate) -> Result<Self, CodecError> {
        let (library_rate, bits_per_s) = match rate {
            SampleRate::Hz8000 => (audiopus::SampleRate::Hz8000, NARROW_BITS_PER_S),
            SampleRate::Hz16000 => (audiopus::SampleRate::Hz16000, WIDE_BITS_PER_S),
            SampleRate::Hz24000 => (audiopus::SampleRate::Hz24000, WIDE_BITS_PER_S),
        };
        let set_up = || {
            let mut encoder = Encoder::new(library_rate, Channels::Stereo, Application::Audio)?;
            encoder.set_bitrate(Bitrate::BitsPerSecond(bits_per_s))?;
            encoder.set_complexity(COMPLEXITY)?;
            Ok(encoder)
        };
        let unavailable = |_: audiopus::Error| CodecError::Unavailable("Opus in stereo");
        Ok(Self {
            encoder: set_up().map_err(unavailable)?,
            rate,
            packet: vec![0; PACKET_BYTES_MAX],
        })
    }

    /// Samples of both channels together in one packet.
    pub fn packet_samples(&self) -> usize {
        2 * 20 * self.rate.per_ms()
    }

    /// By how many pairs what is decoded is late.
    pub fn delay(&self) -> u32 {
        self.encoder.lookahead().unwrap_or(0)
    }

    /// The packet of these samples, of which there are [`Self::packet_samples`].
    pub fn encode(&mut self, pcm: &[i16]) -> Result<&[u8], CodecError> {
        let length = self.encoder.encode(pcm, &mut self.packet);
        let length = length.map_err(|_| CodecError::Unavailable("Opus in stereo"))?;
        Ok(&self.packet[..length])
    }
}

/// Reads packets back: how tests know what is in a file.
#[cfg(test)]
pub fn decode(packets: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = audiopus::coder::Decoder::new(audiopus::SampleRate::Hz48000, Channels::Stereo).unwrap();
    let mut pcm = vec![0; 2 * 960 * packets.len()];
    for (packet, out) in packets.iter().zip(pcm.chunks_mut(2 * 960)) {
        let (packet, out) = (packet.as_slice().try_into().unwrap(), out.try_into().unwrap());
        assert_eq!(decoder.decode(Some(packet), out, false).unwrap(), 960);
    }
    pcm
}
