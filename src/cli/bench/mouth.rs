//! What a caller sends: its tone, coded before the call begins, so that sending costs the sender next to nothing.

use super::{
    pitch::{CALLER_LOOP_PACKETS, of_caller, tone},
    plan::Codec,
    speech::{MARK_EVERY, MARK_PEAK, PEAK},
};
use crate::{audio::Law, rtp::Header};

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
    pub fn new(number: usize, codec: Codec) -> Self {
        Self {
            payloads: codec.payloads(of_caller(number)),
            payload_type: codec.payload_type(),
            ticks_per_packet: codec.clock_hz() / 50,
            ssrc: 0x5043_0000 + number as u32,
            packets: 0,
            packet: Vec::with_capacity(PACKET_BYTES_MAX),
        }
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

impl Codec {
    /// How the session description names it.
    pub fn rtpmap(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
        }
    }

    /// Its number in packets.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// What its timestamps count, a second.
    pub fn clock_hz(self) -> u32 {
        8_000
    }

    /// Samples a second of what is coded and decoded here.
    pub fn rate_hz(self) -> u32 {
        8_000
    }

    fn law(self) -> Law {
        match self {
            Self::Pcmu => Law::Mu,
            Self::Pcma => Law::A,
        }
    }

    /// Overwrites `pcm` with what a packet holds.
    pub fn decode(self, payload: &[u8], pcm: &mut Vec<i16>) {
        pcm.clear();
        self.law().decode(payload, pcm);
    }

    /// A loop of packets with a tone and its marks.
    fn payloads(self, hz: f32) -> Vec<Vec<u8>> {
        let samples = self.rate_hz() as usize / 50;
        let sound = tone(hz, self.rate_hz(), 1.0e4, samples * CALLER_LOOP_PACKETS);
        let packets = sound.chunks(samples).enumerate();
        packets
            .map(|(number, packet)| {
                let peak = if is_marked(number as u64) { MARK_PEAK } else { PEAK };
                let pcm: Vec<i16> = packet.iter().map(|&x| (f32::from(x) * peak / 1.0e4) as i16).collect();
                let mut payload = Vec::new();
                self.law().encode(&pcm, &mut payload);
                payload
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::bench::{pitch, speech},
        rtp::Packet,
    };

    #[test]
    fn a_caller_holds_its_pitch_and_marks_every_tenth_packet() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut mouth = Mouth::new(77, codec);
            let mut meter = pitch::Meter::new(codec.rate_hz());
            let mut pcm = Vec::new();
            let mut heard = None;
            for number in 0..100 {
                let (counted, marked, packet) = mouth.next();
                let packet = Packet::read(packet).unwrap();
                assert_eq!((counted, packet.sequence), (number, number as u16));
                codec.decode(packet.payload, &mut pcm);
                assert_eq!(
                    (speech::is_mark(&pcm), marked),
                    (number % MARK_EVERY == 0, number % MARK_EVERY == 0)
                );
                heard = heard.or(meter.hear(&pcm));
            }
            assert_eq!(heard.and_then(pitch::caller), Some(77), "{heard:?}");
        }
    }
}
