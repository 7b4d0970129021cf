//! Caller to agent: packets in, 24 kHz audio out, in order and without a playout clock.
//!
//! A packet that is next in order is heard at once. A gap waits in [`Reorder`] and is then concealed. When nothing comes at
//! all (silence suppression, hold, a dead network) silence is made up in real time, because an agent's turn detection only
//! moves on with audio. Made-up silence counts against what a gap still owes, so that an outage is not heard twice.

use std::time::{Duration, Instant};

use super::{conceal::Concealment, statistics::Statistics};
use crate::{
    audio::{Law, SampleRate, Upsampler},
    rtp::{Arrival, Packet, Reception, Released, Reorder, reception::Block},
};

/// The receiving half of a leg.
#[derive(Debug)]
pub(super) struct Caller {
    reception: Reception,
    reorder: Reorder,
    voice: Voice,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    late: u64,
    duplicate: u64,
    reordered: u64,
}

/// Decoding and everything behind it.
#[derive(Debug)]
struct Voice {
    law: Law,
    /// On hold: what comes is music at best, and not for the agent.
    muted: bool,
    concealment: Concealment,
    upsampler: Upsampler,
    /// Up to when the agent has been given audio; nothing before the leg starts.
    fed_until: Option<Instant>,
    /// Samples in the last packet, which is how long a lost one probably was.
    packet_len: usize,
    /// Samples made up since the last packet that was heard, not yet set against a loss.
    made_up: usize,
    narrow: Vec<i16>,
    wide: Vec<i16>,
    taken: usize,
    lost: u64,
    excess: u64,
    concealed: u64,
    silence: u64,
}

/// Audio without which the agent is left before silence is made up: past it even a bad network's packets would have come.
pub(super) const HANGOVER: Duration = Duration::from_millis(80);
/// The portion silence is made up in, and the length of a frame handed on.
const FRAME: Duration = Duration::from_millis(20);
/// Coming later than this to make up silence, we were asleep ourselves: packets may be waiting in the socket, and the time
/// slept through is not made up.
const ASLEEP: Duration = Duration::from_millis(40);
/// How far the agent may be ahead of time, after a burst that made up for a stall. Past it audio packets are dropped and
/// counted: a far end that sends faster than time passes would only cost tokens.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(2);
/// The most a single gap is made up for.
const OWED_MAX: usize = 1_000 * SampleRate::Hz8000.per_ms();
/// Audio the owner has not asked for yet; past it what comes is dropped and counted as excess.
const WIDE_MAX: usize = 4_000 * SampleRate::Hz24000.per_ms();
const FRAME_LEN: usize = 20 * SampleRate::Hz24000.per_ms();
const PACKET_LEN: usize = 20 * SampleRate::Hz8000.per_ms();

impl Caller {
    pub(super) fn new() -> Self {
        Self {
            reception: Reception::new(SampleRate::Hz8000.hz()),
            reorder: Reorder::new(),
            voice: Voice::new(),
            counts: Counts::default(),
        }
    }

    /// New terms. The leg's time begins with the first.
    pub(super) fn apply(&mut self, now: Instant, law: Law, muted: bool) {
        self.voice.law = law;
        self.voice.muted = muted;
        self.voice.fed_until.get_or_insert(now);
    }

    /// Takes in a packet from the far end. One that is not `audible` only holds its place in the order.
    pub(super) fn receive(&mut self, now: Instant, packet: &Packet<'_>, audible: bool) {
        self.reception.receive(now, packet, audible);
        self.reorder.set_jitter(self.reception.jitter());
        let payload = if audible && !self.voice.muted { packet.payload } else { &[] };
        match self.reorder.push(now, &Packet { payload, ..*packet }) {
            Arrival::Next | Arrival::Restart => {}
            Arrival::Ahead => self.counts.reordered += 1,
            Arrival::Duplicate => self.counts.duplicate += 1,
            Arrival::Late => self.counts.late += 1,
        }
        self.release(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.release(now);
        self.voice.make_up_silence(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.reorder.poll_timeout(), self.voice.silence_due()].into_iter().flatten().min()
    }

    /// The next frame, 20 ms or what there is.
    pub(super) fn poll(&mut self) -> Option<&[i16]> {
        self.voice.poll()
    }

    /// Figures for an RTCP report.
    pub(super) fn block(&mut self) -> Option<Block> {
        self.reception.block()
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        let per_ms = SampleRate::Hz8000.per_ms() as u64;
        statistics.jitter_ms = self.reception.jitter().as_secs_f32() * 1_000.0;
        statistics.late = self.counts.late;
        statistics.duplicate = self.counts.duplicate;
        statistics.reordered = self.counts.reordered;
        statistics.lost = self.voice.lost;
        statistics.excess = self.voice.excess;
        statistics.concealed_ms = self.voice.concealed / per_ms;
        statistics.silence_ms = self.voice.silence / per_ms;
    }

    fn release(&mut self, now: Instant) {
        while let Some(released) = self.reorder.pop(now) {
            match released {
                Released::Packet { payload: [], .. } => {}
                Released::Packet { arrived_at, payload, .. } => self.voice.hear(now, arrived_at, payload),
                Released::Lost(packets) => self.voice.miss(packets),
            }
        }
    }
}

impl Voice {
    fn new() -> Self {
        Self {
            law: Law::Mu,
            muted: false,
            concealment: Concealment::new(),
            upsampler: Upsampler::new(),
            fed_until: None,
            packet_len: PACKET_LEN,
            made_up: 0,
            narrow: Vec::new(),
            wide: Vec::new(),
            taken: 0,
            lost: 0,
            excess: 0,
            concealed: 0,
            silence: 0,
        }
    }

    fn hear(&mut self, now: Instant, arrived_at: Instant, payload: &[u8]) {
        let ahead = self.fed_until.is_some_and(|fed| fed > now + AHEAD_MAX);
        if ahead || self.wide.len() >= WIDE_MAX {
            self.excess += 1;
            return;
        }
        self.narrow.clear();
        self.law.decode(payload, &mut self.narrow);
        self.concealment.hear(&mut self.narrow);
        self.packet_len = self.narrow.len();
        self.made_up = 0;
        // A stretch in which nothing came is over: time already passed is not owed.
        let fed = self.hand_on().max(arrived_at);
        self.fed_until = Some(fed);
    }

    /// Conceals lost packets, as far as silence did not do so already.
    fn miss(&mut self, packets: u32) {
        self.lost += u64::from(packets);
        if self.muted {
            return;
        }
        let owed = (packets as usize).saturating_mul(self.packet_len).saturating_sub(self.made_up).min(OWED_MAX);
        self.made_up = 0;
        self.concealed += owed as u64;
        self.make_up(owed);
    }

    fn silence_due(&self) -> Option<Instant> {
        Some(self.fed_until? + HANGOVER)
    }

    fn make_up_silence(&mut self, now: Instant) {
        let Some(late) = self.silence_due().and_then(|due| now.checked_duration_since(due)) else { return };
        if late > ASLEEP {
            self.fed_until = self.fed_until.map(|fed| fed + late);
        }
        let samples = SampleRate::Hz8000.per_ms() * FRAME.as_millis() as usize;
        self.made_up = self.made_up.saturating_add(samples);
        self.silence += samples as u64;
        self.make_up(samples);
    }

    fn make_up(&mut self, samples: usize) {
        if self.wide.len() >= WIDE_MAX {
            self.fed_until = self.fed_until.map(|fed| fed + FRAME);
            return;
        }
        self.narrow.clear();
        self.concealment.make_up(samples, &mut self.narrow);
        self.fed_until = Some(self.hand_on());
    }

    /// Hands the narrow samples on; tells up to when the agent is fed with them.
    fn hand_on(&mut self) -> Instant {
        self.upsampler.process(&self.narrow, &mut self.wide);
        unimplemented!()
    }
}
