//! What a phone hears: the packets that came, put in order, and the tones in them.

use std::{collections::BTreeMap, time::Instant};

use patchcord::audio::Law;

use crate::{mouth::FRAME, rtp::Packet};

/// The ear of one phone.
#[derive(Debug)]
pub struct Ear {
    start: Instant,
    packets: BTreeMap<i64, Heard>,
    last: i64,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    timestamp: u32,
    pcm: Vec<i16>,
}

/// A stretch of one tone.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// Where it begins, in samples of the stream.
    pub from: usize,
    /// How long it is.
    pub samples: usize,
    /// How high.
    pub hz: f32,
}

/// Louder than this is no silence.
const LOUD: u16 = 600;
/// Louder than this is no sign of life.
const SOFT: u16 = 1_500;
/// A pause longer than this ends a burst.
const PAUSE: usize = 100 * 8;

impl Ear {
    /// An ear that has heard nothing since the run began.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            packets: BTreeMap::new(),
            last: 0,
        }
    }

    /// A packet came.
    pub fn hear(&mut self, at: Instant, bytes: &[u8]) {
        let packet = Packet::read(bytes);
        let law = if packet.payload_type == 8 { Law::A } else { Law::Mu };
        let mut pcm = Vec::new();
        law.decode(packet.payload, &mut pcm);
        let number = match self.packets.is_empty() {
            true => i64::from(packet.sequence),
            false => self.last + i64::from(packet.sequence.wrapping_sub(self.last as u16) as i16),
        };
        self.last = self.last.max(number);
        if self.packets.is_empty() {
            self.last = number;
        }
        self.packets.entry(number).or_insert(Heard {
            at,
            timestamp: packet.timestamp,
            pcm,
        });
    }

    /// The longest time without a packet.
    pub fn longest_wait(&self) -> std::time::Duration {
        let times: Vec<Instant> = self.packets.values().map(|packet| packet.at).collect();
        times
            .windows(2)
            .map(|pair| pair[1].saturating_duration_since(pair[0]))
            .max()
            .unwrap_or_default()
    }

    /// All that was heard, with silence for what was not sent.
    pub fn pcm(&self) -> Vec<i16> {
        let Some(first) = self.packets.values().next() else {
            return Vec::new();
        };
        let mut pcm = Vec::with_capacity(self.packets.len() * FRAME);
        for packet in self.packets.values() {
            let from = packet.timestamp.wrapping_sub(first.timestamp) as usize;
            assert!(from < 1 << 28, "a timestamp that goes back");
            pcm.resize(from.max(pcm.len()), 0);
            pcm.truncate(from);
            pcm.extend(&packet.pcm);
        }
        pcm
    }

    /// The tones heard, in order. Pauses inside a burst are shorter than 100 ms.
    pub fn bursts(&self) -> Vec<Burst> {
        let pcm = self.pcm();
        let mut bursts: Vec<(usize, usize)> = Vec::new();
        for at in (0..pcm.len()).filter(|&at| pcm[at].unsigned_abs() > LOUD) {
            match bursts.last_mut() {
                Some((_, end)) if at - *end < PAUSE => *end = at + 1,
                _ => bursts.push((at, at + 1)),
            }
        }
        bursts
            .into_iter()
            .map(|(from, to)| Burst {
                from,
                samples: to - from,
                hz: pitch(&pcm[from..to]),
            })
            .collect()
    }

    /// How much of a stretch, in milliseconds of the run, is louder than a sign of life.
    pub fn loud_ms(&self, from_ms: usize, to_ms: usize) -> usize {
        let heard = self.stretch(from_ms, to_ms);
        heard
            .chunks(8)
            .filter(|pcm| pcm.iter().any(|sample| sample.unsigned_abs() > SOFT))
            .count()
    }

    /// How many of the 20 ms pieces of a stretch are neither silent nor loud.
    pub fn murmur(&self, from_ms: usize, to_ms: usize) -> f32 {
        let heard = self.stretch(from_ms, to_ms);
        let pieces = heard.chunks(FRAME);
        let count = pieces.len().max(1) as f32;
        let soft = |pcm: &[i16]| pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or_default();
        pieces.filter(|pcm| (20..=SOFT).contains(&soft(pcm))).count() as f32 / count
    }

    /// What was heard from one time of the run to another.
    fn stretch(&self, from_ms: usize, to_ms: usize) -> Vec<i16> {
        let within = |packet: &&Heard| {
            let ms = packet.at.saturating_duration_since(self.start).as_millis() as usize;
            (from_ms..to_ms).contains(&ms)
        };
        self.packets
            .values()
            .filter(within)
            .flat_map(|packet| packet.pcm.iter().copied())
            .collect()
    }

    /// The longest silence inside a burst, in samples.
    pub fn longest_pause(&self, burst: &Burst) -> usize {
        let pcm = self.pcm();
        let loud = (burst.from..burst.from + burst.samples).filter(|&at| pcm[at].unsigned_abs() > LOUD);
        let loud: Vec<usize> = loud.collect();
        loud.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// The mean frequency, by the rises through zero.
fn pitch(pcm: &[i16]) -> f32 {
    let rises: Vec<usize> = (1..pcm.len()).filter(|&at| pcm[at - 1] < 0 && pcm[at] >= 0).collect();
    match (rises.first(), rises.last()) {
        (Some(first), Some(last)) if last > first => 8_000.0 * (rises.len() - 1) as f32 / (last - first) as f32,
        _ => 0.0,
    }
}
