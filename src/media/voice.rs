//! The caller's voice as the agent gets it: decoded, made up where it is missing, at 24 kHz.
//!
//! When nothing comes at all (silence suppression, hold, a dead network) silence is made up in real time, because an
//! agent's turn detection moves on only with audio. What was made up counts against what a gap still owes, so that an
//! outage is not heard twice.

use std::time::{Duration, Instant};

use super::{conceal::Concealment, statistics::Statistics, tap::Side};
use crate::audio::{Law, SampleRate, Upsampler};

/// Decoding, and everything behind it.
#[derive(Debug)]
pub(super) struct Voice {
    law: Law,
    concealment: Concealment,
    pub(super) tap: Side,
    upsampler: Upsampler,
    /// Up to when the agent has been given audio.
    fed_until: Instant,
    /// Samples in the last packet, which is how long a lost one probably was.
    packet_len: usize,
    /// Samples made up since the last packet that was heard, not yet set against a loss.
    made_up: usize,
    narrow: Vec<i16>,
    wide: Vec<i16>,
    taken: usize,
    excess: u64,
    concealed: u64,
    silence: u64,
}

/// How long the agent is left without audio before silence is made up: past it even a bad network's packets have come.
pub(super) const HANGOVER: Duration = Duration::from_millis(80);
/// Coming later than this to make up silence, we were asleep ourselves: packets may be waiting in the socket, and the
/// time slept through is not made up.
const ASLEEP: Duration = Duration::from_millis(40);
/// How far the agent may be ahead of time, after a burst that made up for a stall. Past it audio packets are dropped
/// and counted: a far end that sends faster than time passes would only cost tokens.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(2);
/// The most that is made up for one gap.
const OWED_MAX: usize = 1_000 * NARROW_PER_MS;
/// Audio the owner has not asked for; past it packets are dropped and counted as excess.
const WIDE_MAX: usize = 4_000 * SampleRate::Hz24000.per_ms();
/// A frame handed on, and the portion silence is made up in: 20 ms.
const WIDE_FRAME: usize = 20 * SampleRate::Hz24000.per_ms();
const NARROW_FRAME: usize = 20 * NARROW_PER_MS;
const NARROW_PER_MS: usize = SampleRate::Hz8000.per_ms();

impl Voice {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            law: Law::Mu,
            concealment: Concealment::new(),
            tap: Side::new(),
            upsampler: Upsampler::new(),
            fed_until: now,
            packet_len: NARROW_FRAME,
            made_up: 0,
            narrow: Vec::new(),
            wide: Vec::new(),
            taken: 0,
            excess: 0,
            concealed: 0,
            silence: 0,
        }
    }

    pub(super) fn set_law(&mut self, law: Law) {
        self.law = law;
    }

    /// Takes in the payload of the packet that is next in order.
    pub(super) fn hear(&mut self, now: Instant, arrived_at: Instant, payload: &[u8]) {
        if self.is_ahead(now) {
            self.excess += 1;
            return;
        }
        self.narrow.clear();
        self.law.decode(payload, &mut self.narrow);
        self.concealment.hear(&mut self.narrow);
        self.packet_len = payload.len();
        self.made_up = 0;
        self.hand_on();
        // What passed before the packet came was silence nobody made up, and is not owed.
        self.fed_until = self.fed_until.max(arrived_at);
    }

    /// Makes up for lost packets, as far as that has not been done while nothing came.
    pub(super) fn miss(&mut self, now: Instant, packets: u32) {
        if self.is_ahead(now) {
            return;
        }
        let missing = (packets as usize).saturating_mul(self.packet_len);
        let owed = missing.saturating_sub(self.made_up).min(OWED_MAX);
        self.made_up = 0;
        self.concealed += owed as u64;
        self.make_up(owed);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.poll_timeout()) else {
            return;
        };
        if late > ASLEEP {
            self.fed_until += late;
        }
        self.made_up = self.made_up.saturating_add(NARROW_FRAME);
        self.silence += NARROW_FRAME as u64;
        self.make_up(NARROW_FRAME);
    }

    /// When silence is made up unless something comes.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.fed_until + HANGOVER
    }

    /// The next frame, 20 ms or what there is.
    pub(super) fn poll(&mut self) -> Option<&[i16]> {
        if self.taken >= self.wide.len() {
            self.wide.clear();
            self.taken = 0;
            return None;
        }
        let from = self.taken;
        self.taken = self.wide.len().min(from + WIDE_FRAME);
        self.wide.get(from..self.taken)
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.excess = self.excess;
        statistics.concealed_ms = self.concealed / NARROW_PER_MS as u64;
        statistics.silence_ms = self.silence / NARROW_PER_MS as u64;
    }

    fn is_ahead(&self, now: Instant) -> bool {
        self.fed_until > now + AHEAD_MAX || self.wide.len() >= WIDE_MAX
    }

    fn make_up(&mut self, samples: usize) {
        self.narrow.clear();
        self.concealment.make_up(samples, &mut self.narrow);
        self.hand_on();
    }

    /// Brings the narrow samples to the owner, unless it does not take them, and the agent's time forward.
    fn hand_on(&mut self) {
        self.tap.hear(SampleRate::Hz8000, &self.narrow);
        if self.wide.len() < WIDE_MAX {
            self.upsampler.process(&self.narrow, &mut self.wide);
        }
        self.fed_until += Duration::from_micros(self.narrow.len() as u64 * 1_000 / NARROW_PER_MS as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_after_the_hangover_and_goes_on_in_real_time() {
        let start = Instant::now();
        let mut voice = Voice::new(start);
        voice.hear(start, start, &[0xFF; 160]);
        assert_eq!(drain(&mut voice), 480);
        let mut samples = 0;
        while voice.poll_timeout() <= start + Duration::from_secs(10) {
            let due = voice.poll_timeout();
            assert!(due >= start + HANGOVER);
            voice.handle_timeout(due);
            samples += drain(&mut voice);
        }
        let expected = 24 * (10_000 - HANGOVER.as_millis() as usize);
        assert!(samples.abs_diff(expected) <= 480, "{samples} {expected}");
    }

    #[test]
    fn time_slept_through_is_not_made_up() {
        let start = Instant::now();
        let mut voice = Voice::new(start);
        voice.handle_timeout(start + Duration::from_secs(5));
        assert_eq!(drain(&mut voice), 480);
        assert!(voice.poll_timeout() > start + Duration::from_secs(5));
    }

    #[test]
    fn silence_made_up_during_an_outage_counts_against_its_losses() {
        let start = Instant::now();
        let mut voice = Voice::new(start);
        voice.hear(start, start, &[0x90; 160]);
        drain(&mut voice);
        for _ in 0..5 {
            voice.handle_timeout(voice.poll_timeout());
        }
        assert_eq!(drain(&mut voice), 5 * 480);
        voice.miss(voice.fed_until, 8);
        assert_eq!(drain(&mut voice), 3 * 480);
        voice.miss(voice.fed_until, 2);
        assert_eq!(drain(&mut voice), 2 * 480);
    }

    #[test]
    fn a_far_end_faster_than_time_is_held_to_time() {
        let start = Instant::now();
        let mut voice = Voice::new(start);
        let mut samples = 0;
        for tick in 0..5_000 {
            let now = start + Duration::from_millis(2) * tick;
            voice.hear(now, now, &[0x90; 160]);
            samples += drain(&mut voice);
        }
        let most = 24 * (10_000 + AHEAD_MAX.as_millis() as usize + 40);
        assert!(samples <= most, "{samples}");
        let mut statistics = Statistics::default();
        voice.fill_in(&mut statistics);
        assert!(statistics.excess > 4_000);
    }

    #[test]
    fn an_owner_that_never_asks_costs_audio_but_not_memory() {
        let start = Instant::now();
        let mut voice = Voice::new(start);
        for tick in 0..1_000 {
            let now = start + Duration::from_millis(20) * tick;
            voice.hear(now, now, &[0x90; 160]);
            voice.handle_timeout(now + HANGOVER * 2);
        }
        assert!(voice.wide.len() <= WIDE_MAX + OWED_MAX * 3);
    }

    fn drain(voice: &mut Voice) -> usize {
        let mut samples = 0;
        while let Some(frame) = voice.poll() {
            samples += frame.len();
        }
        samples
    }
}
