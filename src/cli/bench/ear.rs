//! What a caller hears: which packets came and when, and whether the voice is the agent's.

use super::{
    mouth::SESSION_RATE,
    pitch::Meter,
    reports::{Heard, HeardCall},
    speech,
};
use crate::{
    audio::{Codec, CodecError, Decoder},
    rtp::Packet,
};

/// Packets that are laid on one grid: five seconds. A stream that shifts is measured on its new grid after that.
const GRID_PACKETS: usize = 250;

/// A grid of fewer packets says too little.
const GRID_PACKETS_MIN: usize = 50;

/// The share of a grid's packets that are on time by definition: the grid is where the earliest tenth keeps it, so that
/// one early packet alone does not make all others late.
const GRID_ON_TIME: usize = 10;

/// A jump of the timestamps beyond this is a new stream, in nanoseconds.
const JUMP_NS: i64 = 2_000_000_000;

/// Beginnings and pitches kept of one call's measurement; what is beyond is not looked at.
const KEPT_MAX: usize = 4_096;

/// One caller's incoming stream.
#[derive(Debug)]
pub struct Ear {
    codec: Codec,
    /// None when only the packets' times are looked at.
    decoder: Option<Decoder>,
    last: Option<Last>,
    /// How much later than by its timestamp each packet came, against one origin.
    grid: Vec<i64>,
    voice: bool,
    meter: Meter,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at: u64,
    sequence: u16,
    timestamp: u32,
    /// The packet's time by its timestamp, against one origin, in nanoseconds.
    media: i64,
}

impl Ear {
    /// An ear for this codec, which listens to the voice or to the packets' times alone.
    pub fn new(codec: Codec, listens: bool) -> Result<Self, CodecError> {
        let decoder = Decoder::new(codec, SESSION_RATE)?;
        Ok(Self {
            codec,
            last: None,
            grid: Vec::with_capacity(GRID_PACKETS),
            voice: false,
            meter: Meter::new(decoder.rate().hz()),
            decoder: listens.then_some(decoder),
        })
    }

    /// Whether it listens to the voice.
    pub fn listens(&self) -> bool {
        self.decoder.is_some()
    }

    /// A measurement begins: packets before it are on no grid of it.
    pub fn begin(&mut self) {
        self.grid.clear();
    }

    /// A measurement is over.
    pub fn finish(&mut self, heard: &mut Heard) {
        if self.grid.len() >= GRID_PACKETS_MIN {
            self.lay(heard);
        }
        self.grid.clear();
    }

    /// A packet; `pcm` is a place to decode it in. While it is measured, `tally` is where, and the number of the call.
    pub fn hear(&mut self, at: u64, packet: &Packet<'_>, pcm: &mut Vec<i16>, tally: Option<(&mut Heard, usize)>) {
        let step = self
            .last
            .map_or(1, |last| packet.sequence.wrapping_sub(last.sequence) as i16);
        let (mut heard, number) = tally.unzip();
        if let Some(heard) = &mut heard {
            heard.heard += 1;
            heard.lost += (i64::from(step) - 1).max(0) as u64;
            heard.reordered += u64::from(step <= 0);
        }
        if step <= 0 {
            return;
        }
        self.time(at, packet, step, heard.as_deref_mut());
        pcm.clear();
        let decoder = self
            .decoder
            .as_mut()
            .filter(|_| packet.payload_type == self.codec.payload_type());
        if decoder.is_some_and(|decoder| decoder.decode(packet.payload, pcm).is_ok()) {
            let calls = heard.map(|heard| &mut heard.calls);
            self.listen(
                at,
                pcm,
                calls.zip(number).and_then(|(calls, number)| calls.get_mut(number)),
            );
        }
    }

    fn time(&mut self, at: u64, packet: &Packet<'_>, step: i16, heard: Option<&mut Heard>) {
        let moved = self
            .last
            .map_or(0, |last| packet.timestamp.wrapping_sub(last.timestamp) as i32);
        let moved = i64::from(moved) * 1_000_000_000 / i64::from(self.codec.clock_hz());
        let media = self.last.map_or(0, |last| last.media) + moved;
        if let Some(heard) = heard {
            if moved.abs() > JUMP_NS {
                self.grid.clear();
            }
            if let Some(last) = self.last.filter(|_| step == 1) {
                heard.deltas.record(at.saturating_sub(last.at));
            }
            self.grid.push(at as i64 - media);
            if self.grid.len() == GRID_PACKETS {
                self.lay(heard);
            }
        }
        self.last = Some(Last {
            at,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            media,
        });
    }

    /// Lays the packets on the grid that fits them, and counts how far off each was.
    fn lay(&mut self, heard: &mut Heard) {
        let on_time = self.grid.len() / GRID_ON_TIME;
        let (_, &mut origin, _) = self.grid.select_nth_unstable(on_time);
        self.grid
            .drain(..)
            .for_each(|late| heard.pacing.record((late - origin).unsigned_abs()));
    }

    fn listen(&mut self, at: u64, pcm: &[i16], call: Option<&mut HeardCall>) {
        let began = !std::mem::replace(&mut self.voice, speech::is_voice(pcm)) && self.voice;
        // A voice may fade in, so its first packet tells no pitch.
        if began || !self.voice {
            self.meter.reset();
            if let Some(call) = call.filter(|call| began && call.onsets.len() < KEPT_MAX) {
                call.onsets.push(at);
            }
            return;
        }
        let pitch = self.meter.hear(pcm);
        if let (Some(pitch), Some(call)) = (pitch, call)
            && call.pitches.len() < KEPT_MAX
        {
            call.pitches.push(pitch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::Law,
        cli::bench::{clock::MS, pitch::pcm},
    };

    #[test]
    fn an_even_stream_is_on_its_grid_and_a_late_packet_is_not() {
        let heard = hear(|n| n * 20 * MS + if n == 100 { 7 * MS } else { 0 }, |_| false);
        assert_eq!((heard.0.heard, heard.0.lost, heard.0.pacing.total()), (250, 0, 250));
        assert_eq!(heard.0.pacing.quantile(0.99), Some(0));
        assert!(heard.0.pacing.quantile(1.0).unwrap() == 7 * MS);
        assert!(heard.0.deltas.quantile(1.0).unwrap() == 27 * MS);
    }

    #[test]
    fn bunched_packets_are_off_their_grid_although_they_come_as_often() {
        let heard = hear(|n| n / 3 * 60 * MS, |_| false);
        assert!(heard.0.pacing.quantile(0.5).unwrap() >= 20 * MS);
        assert!(heard.0.deltas.quantile(0.99).unwrap() >= 60 * MS);
    }

    #[test]
    fn what_never_comes_is_lost_and_no_uneven_pace() {
        let heard = hear(|n| n * 20 * MS, |n| n % 50 == 49);
        assert_eq!((heard.0.heard, heard.0.lost, heard.0.reordered), (245, 4, 0));
        assert_eq!(heard.0.pacing.quantile(1.0), Some(0));
    }

    #[test]
    fn the_beginning_and_the_pitch_of_a_voice_are_noticed() {
        let heard = hear(|n| n * 20 * MS, |_| false).1;
        assert_eq!(heard.onsets, [10 * 20 * MS]);
        assert!((heard.pitches[0] - 440.0).abs() < 0.1, "{:?}", heard.pitches);
    }

    /// Five seconds of a voice that begins with the tenth packet.
    fn hear(at: impl Fn(u64) -> u64, lost: impl Fn(u64) -> bool) -> (Heard, HeardCall) {
        let mut ear = Ear::new(Codec::Pcmu, true).unwrap();
        let mut heard = Heard::default();
        heard.calls.push(HeardCall::default());
        let sound = pcm(440.0, 8_000, 8_000.0, 160 * 250);
        for n in (0..250).filter(|n| !lost(*n)) {
            let silence = [0; 160];
            let begin = n as usize * 160;
            let pcm = if n < 10 {
                &silence[..]
            } else {
                &sound[begin..begin + 160]
            };
            let mut payload = Vec::new();
            Law::Mu.encode(pcm, &mut payload);
            let packet = Packet {
                payload_type: 0,
                sequence: 65_500_u16.wrapping_add(n as u16),
                timestamp: u32::MAX.wrapping_add(160 * n as u32),
                ssrc: 1,
                marker: false,
                payload: &payload,
            };
            ear.hear(at(n), &packet, &mut Vec::new(), Some((&mut heard, 0)));
        }
        ear.finish(&mut heard);
        let call = heard.calls.remove(0);
        (heard, call)
    }
}
