//! What a caller sends: its tone, coded before the call begins, so that sending costs the sender next to nothing.

use super::{
    pitch::{CALLER_LOOP_PACKETS, Scale, tone},
    speech::{MARK_EVERY, MARK_PEAK, PEAK},
};
use crate::{
    audio::{Codec, CodecError, Encoder, OpusWishes, SampleRate},
    rtp::Header,
};

/// Opus is coded at the rate that the gateway decodes it at.
pub const SESSION_RATE: SampleRate = SampleRate::Hz24000;

/// Bytes of the longest packet.
const PACKET_BYTES_MAX: usize = 1_500;

/// One caller's outgoing stream.
#[derive(Debug)]
pub struct Mouth {
    payloads: Vec<Vec<u8>>,
    payload_type: u8,
    ticks_per_packet: u32,
    ssrc: u32,
    packets: u64,
    packet: Vec<u8>,
}

impl Mouth {
    /// The stream of this caller.
    pub fn new(number: usize, codec: Codec) -> Result<Self, CodecError> {
        Ok(Self {
            payloads: payloads(Scale::of(codec).pitch(number), codec)?,
            payload_type: codec.payload_type(),
            ticks_per_packet: codec.clock_hz() / 50,
            ssrc: 0x5043_0000 + number as u32,
            packets: 0,
            packet: Vec::with_capacity(PACKET_BYTES_MAX),
        })
    }

    /// The next packet with its number, and whether it is a mark.
    pub fn next(&mut self) -> (u64, bool, &[u8]) {
        let number = self.packets;
        self.packets += 1;
        let header = Header {
            payload_type: self.payload_type,
            sequence: number as u16,
            timestamp: (number as u32).wrapping_mul(self.ticks_per_packet),
            ssrc: self.ssrc,
            marker: number == 0,
        };
        self.packet.clear();
        header.write(&mut self.packet);
        let payload = &self.payloads[number as usize % self.payloads.len()];
        self.packet.extend_from_slice(payload);
        (number, is_marked(number), &self.packet)
    }
}

fn is_marked(packet: u64) -> bool {
    packet.is_multiple_of(MARK_EVERY)
}

/// A loop of packets with a tone and its marks. An encoder that remembers has been through the loop once before, so that
/// its end fits its beginning.
fn payloads(hz: f32, codec: Codec) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut encoder = Encoder::new(codec, SESSION_RATE, OpusWishes::default())?;
    let rate = encoder.rate();
    let samples = rate.per_ms() * 20;
    let sound = tone(hz, rate.hz(), 1.0, samples * CALLER_LOOP_PACKETS);
    let mut encode = |(number, packet): (usize, &[f32])| {
        let peak = if is_marked(number as u64) { MARK_PEAK } else { PEAK };
        let pcm: Vec<i16> = packet.iter().map(|sample| (sample * peak) as i16).collect();
        let mut payload = Vec::new();
        encoder.encode(&pcm, &mut payload);
        payload
    };
    sound.chunks(samples).enumerate().map(&mut encode).for_each(drop);
    Ok(sound.chunks(samples).enumerate().map(&mut encode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::Decoder,
        cli::bench::{pitch, speech},
        rtp::Packet,
    };

    #[test]
    fn a_caller_holds_its_pitch_and_marks_every_tenth_packet() {
        for codec in Codec::ALL {
            for number in [0, 5, 77, Scale::of(codec).callers - 1] {
                let pitches = pitches_and_marks(number, codec);
                assert!(pitches.len() >= 4, "{codec:?} {number}");
                let right = |hz: &f32| Scale::of(codec).caller(*hz) == Some(number);
                // The first holds what a decoder that has just been set up makes of it.
                assert!(pitches.iter().skip(1).all(right), "{codec:?} {number}: {pitches:?}");
            }
        }
    }

    /// What is heard of a caller's pitch in ten seconds, whose marks are looked at meanwhile.
    fn pitches_and_marks(number: usize, codec: Codec) -> Vec<f32> {
        let mut mouth = Mouth::new(number, codec).unwrap();
        let mut decoder = Decoder::new(codec, SESSION_RATE).unwrap();
        let mut meter = pitch::Meter::new(decoder.rate().hz());
        let (mut heard, mut loud) = (Vec::new(), false);
        for number in 0..500 {
            let (counted, marked, packet) = mouth.next();
            let packet = Packet::read(packet).unwrap();
            assert_eq!((counted, packet.sequence), (number, number as u16));
            let mut pcm = Vec::new();
            decoder.decode(packet.payload, &mut pcm).unwrap();
            assert_eq!(marked, number % MARK_EVERY == 0);
            // Opus is some milliseconds behind, so the end of a mark is in the next packet: its beginning counts. And a
            // decoder that has just been set up must first learn how loud it is.
            let begins = !std::mem::replace(&mut loud, speech::is_mark(&pcm)) && loud;
            let settled = codec.law().is_some() || number > 1;
            assert!(!settled || begins == marked, "{codec:?} {number}");
            heard.extend(meter.hear(&pcm));
        }
        heard
    }
}
