//! Caller to agent: packets in, 24 kHz audio out, in order and without a playout clock.
//!
//! A packet that is next in order is heard at once. A gap waits in [`Reorder`] and is then concealed by [`Voice`],
//! which also keeps the agent supplied while nothing comes.

use std::time::Instant;

use super::{statistics::Statistics, tap::Side, voice::Voice};
use crate::{
    audio::{Law, SampleRate},
    rtp::{Arrival, Packet, Reception, Released, Reorder, reception::Block},
};

/// The receiving half of a leg.
#[derive(Debug)]
pub(super) struct Caller {
    reception: Reception,
    reorder: Reorder,
    voice: Voice,
    /// On hold: what comes is music at best, and not for the agent.
    muted: bool,
    lost: u64,
    late: u64,
    duplicate: u64,
    reordered: u64,
}

impl Caller {
    /// The agent's time begins here.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            reception: Reception::new(SampleRate::Hz8000.hz()),
            reorder: Reorder::new(),
            voice: Voice::new(now),
            muted: false,
            lost: 0,
            late: 0,
            duplicate: 0,
            reordered: 0,
        }
    }

    /// New terms.
    pub(super) fn apply(&mut self, law: Law, muted: bool) {
        self.voice.set_law(law);
        self.muted = muted;
    }

    /// Takes in a packet from the far end. One that is not `audible` only holds its place in the order.
    pub(super) fn receive(&mut self, now: Instant, packet: &Packet<'_>, audible: bool) {
        self.reception.receive(now, packet, audible);
        self.reorder.set_jitter(self.reception.jitter());
        let payload = if audible && !self.muted { packet.payload } else { &[] };
        match self.reorder.push(now, &Packet { payload, ..*packet }) {
            Arrival::Next | Arrival::Restart => {}
            Arrival::Ahead => self.reordered += 1,
            Arrival::Duplicate => self.duplicate += 1,
            Arrival::Late => self.late += 1,
        }
        self.release(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.release(now);
        self.voice.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let silence = self.voice.poll_timeout();
        self.reorder.poll_timeout().map_or(silence, |gap| gap.min(silence))
    }

    /// The next frame, 20 ms or what there is.
    pub(super) fn poll(&mut self) -> Option<&[i16]> {
        self.voice.poll()
    }

    /// What the agent was given, for the recording.
    pub(super) fn tap(&mut self) -> &mut Side {
        &mut self.voice.tap
    }

    /// Figures for an RTCP report.
    pub(super) fn block(&mut self) -> Option<Block> {
        self.reception.block()
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.jitter_ms = self.reception.jitter().as_secs_f32() * 1_000.0;
        statistics.lost = self.lost;
        statistics.late = self.late;
        statistics.duplicate = self.duplicate;
        statistics.reordered = self.reordered;
        self.voice.fill_in(statistics);
    }

    fn release(&mut self, now: Instant) {
        while let Some(released) = self.reorder.pop(now) {
            match released {
                Released::Packet { payload: [], .. } => {}
                Released::Packet {
                    arrived_at, payload, ..
                } => self.voice.hear(now, arrived_at, payload),
                Released::Lost(packets) => {
                    self.lost += u64::from(packets);
                    if !self.muted {
                        self.voice.miss(now, packets);
                    }
                }
            }
        }
    }
}
