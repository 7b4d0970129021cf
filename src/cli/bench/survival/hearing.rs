//! What a caller hears, packet by packet: silence, comfort tone, the agent, or the gateway's own words.

use crate::{audio::Law, rtp::Packet};

/// The agent's voice, in Hz. Whole waves fill a packet.
pub const AGENT_HZ: f32 = 500.0;

/// The gateway's words to a caller who waits, in Hz.
pub const WORDS_HZ: f32 = 1_000.0;

/// Peak of both.
pub const PEAK: f32 = 16_000.0;

/// From this peak on there is a voice; the comfort tone's beep stays below.
const VOICE_PEAK: u16 = 1_500;

/// From this peak on there is more than silence.
const NOISE_PEAK: u16 = 8;

/// Below this peak a voice has been made quieter.
const QUIETER_PEAK: u16 = 10_000;

/// Between the two voices, in samples from wave to wave.
const WAVE_MIDDLE: f32 = 12.0;

/// Packets kept of one call: four minutes. What comes after that is not looked at.
const KEPT_MAX: usize = 12_000;

/// What is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Nothing.
    Silence,
    /// The sign of life that stands for an agent who is away.
    Comfort,
    /// The agent; made quieter, or as loud as ever.
    Agent {
        /// Whether it is quieter at the packet's end.
        quieter: bool,
    },
    /// The words that stand for an agent who is away.
    Words,
}

/// A packet that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: u64,
    /// What is in it.
    pub sound: Sound,
}

/// All packets of a call.
#[derive(Debug, Default)]
pub struct Hearing {
    packets: Vec<Heard>,
    pcm: Vec<i16>,
}

impl Sound {
    /// What is in these samples.
    pub fn of(pcm: &[i16]) -> Self {
        let peak = |pcm: &[i16]| pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        match peak(pcm) {
            loudest if loudest < NOISE_PEAK => Self::Silence,
            loudest if loudest < VOICE_PEAK => Self::Comfort,
            _ if wave(pcm).is_some_and(|wave| wave < WAVE_MIDDLE) => Self::Words,
            _ => Self::Agent {
                quieter: peak(&pcm[pcm.len() / 2..]) < QUIETER_PEAK,
            },
        }
    }

    /// Whether it is the agent.
    pub fn is_agent(self) -> bool {
        matches!(self, Self::Agent { .. })
    }
}

/// Samples from one wave to the next.
fn wave(pcm: &[i16]) -> Option<f32> {
    let rising = |pair: &[i16]| pair[0] < 0 && pair[1] >= 0;
    let mut waves = pcm.windows(2).enumerate().filter(|(_, pair)| rising(pair));
    let (first, _) = waves.next()?;
    let (between, last) = waves.fold((0, first), |(count, _), (at, _)| (count + 1, at));
    (between > 0).then(|| (last - first) as f32 / between as f32)
}

impl Hearing {
    /// A packet came at this time.
    pub fn hear(&mut self, at: u64, packet: &Packet<'_>) {
        self.pcm.clear();
        Law::Mu.decode(packet.payload, &mut self.pcm);
        if self.packets.len() < KEPT_MAX {
            let sound = Sound::of(&self.pcm);
            self.packets.push(Heard { at, sound });
        }
    }

    /// Another call begins.
    pub fn clear(&mut self) {
        self.packets.clear();
    }

    /// When the first packet after this time came that is like this.
    pub fn first(&self, after: u64, like: impl Fn(Sound) -> bool) -> Option<u64> {
        let mut later = self.packets.iter().filter(|heard| heard.at >= after);
        later.find(|heard| like(heard.sound)).map(|heard| heard.at)
    }

    /// When the last packet between these times came that is like this.
    pub fn last(&self, from: u64, until: u64, like: impl Fn(Sound) -> bool) -> Option<u64> {
        let between = |heard: &&Heard| (from..until).contains(&heard.at);
        let mut found = self.packets.iter().rev().filter(between);
        found.find(|heard| like(heard.sound)).map(|heard| heard.at)
    }

    /// Packets after this time that are like this.
    pub fn count(&self, after: u64, like: impl Fn(Sound) -> bool) -> usize {
        let later = self.packets.iter().filter(|heard| heard.at >= after);
        later.filter(|heard| like(heard.sound)).count()
    }

    /// The longest time without a packet between these times.
    pub fn hole(&self, from: u64, until: u64) -> u64 {
        let times = self.packets.iter().map(|heard| heard.at);
        let between = times.filter(|at| (from..until).contains(at));
        let edges = [from].into_iter().chain(between).chain([until]);
        let edges: Vec<u64> = edges.collect();
        // What lies before the first and behind the last is part of a hole that is not all within.
        edges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audio::Comfort, cli::bench::pitch::pcm};

    #[test]
    fn the_agent_the_words_and_the_comfort_tone_are_told_apart() {
        let loud = Sound::Agent { quieter: false };
        assert_eq!(Sound::of(&pcm(AGENT_HZ, 8_000, PEAK, 160)), loud);
        assert_eq!(Sound::of(&pcm(WORDS_HZ, 8_000, PEAK, 160)), Sound::Words);
        assert_eq!(Sound::of(&[0; 160]), Sound::Silence);
        let mut comfort = vec![0; 8 * 4_000];
        Comfort::new().fill(&mut comfort);
        assert!(comfort.chunks(160).all(|packet| Sound::of(packet) == Sound::Comfort));
        let mut fading = pcm(AGENT_HZ, 8_000, PEAK, 160);
        fading[40..].fill(0);
        assert!(Sound::of(&fading).is_agent());
    }

    #[test]
    fn an_agent_that_gets_quieter_within_a_packet_is_quieter() {
        let mut packet = pcm(AGENT_HZ, 8_000, PEAK, 160);
        packet[80..].iter_mut().for_each(|sample| *sample /= 4);
        assert_eq!(Sound::of(&packet), Sound::Agent { quieter: true });
    }

    #[test]
    fn the_first_the_last_and_the_longest_hole_are_found_within_their_times() {
        let hearing = Hearing {
            packets: [
                (20, Sound::Silence),
                (40, Sound::Comfort),
                (95, Sound::Words),
                (115, Sound::Silence),
            ]
            .map(|(at, sound)| Heard { at, sound })
            .to_vec(),
            pcm: Vec::new(),
        };
        assert_eq!(hearing.first(30, |sound| sound == Sound::Words), Some(95));
        assert_eq!(hearing.first(100, |sound| sound == Sound::Words), None);
        assert_eq!(hearing.last(0, 115, |sound| sound == Sound::Silence), Some(20));
        assert_eq!((hearing.hole(20, 116), hearing.hole(20, 40)), (55, 20));
        assert_eq!(hearing.count(40, |sound| sound == Sound::Silence), 1);
    }
}
