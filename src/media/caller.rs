//! Caller to agent: packets in, audio at the session's rate out, in order and without a playout clock.
//!
//! A packet that is next in order is heard at once. A gap waits in [`Reorder`] and is then made up for by [`Voice`],
//! which also keeps the agent supplied while nothing comes.

use std::time::Instant;

use super::{
    statistics::Statistics,
    tap::Side,
    voice::{Payload, Voice},
};
use crate::{
    audio::{Codec, SampleRate},
    rtp::{Arrival, Losses, Packet, Reception, Released, Reorder, reception::Block},
    sdp::Format,
};

/// What a payload type carries, by the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Audio(Codec),
    Key,
    /// Comfort noise (RFC 3389): senders slip it in between even where it was not agreed on.
    Noise,
}

/// The static payload type of comfort noise.
const COMFORT_NOISE: u8 = 13;

/// Whether this is comfort noise, by number or by agreement.
pub(super) fn is_noise(payload_type: u8, agreed: Option<u8>) -> bool {
    payload_type == COMFORT_NOISE || Some(payload_type) == agreed
}

/// The receiving half of a leg.
#[derive(Debug)]
pub(super) struct Caller {
    reception: Reception,
    reorder: Reorder,
    voice: Voice,
    /// The payload type of comfort noise that was agreed on.
    noise: Option<u8>,
    /// On hold: what comes is music at best, and not for the agent.
    muted: bool,
    losses: Losses,
    lost: u64,
    late: u64,
    duplicate: u64,
    reordered: u64,
}

impl Caller {
    /// The agent's time begins here.
    pub(super) fn new(now: Instant, session: SampleRate) -> Self {
        Self {
            reception: Reception::new(),
            reorder: Reorder::new(),
            voice: Voice::new(now, session),
            noise: None,
            muted: false,
            losses: Losses::default(),
            lost: 0,
            late: 0,
            duplicate: 0,
            reordered: 0,
        }
    }

    /// New terms.
    pub(super) fn apply(&mut self, formats: &[Format], noise: Option<u8>, muted: bool) {
        self.voice.set_formats(formats);
        self.noise = noise;
        self.muted = muted;
    }

    pub(super) fn set_session_rate(&mut self, session: SampleRate) {
        self.voice.set_session_rate(session);
    }

    /// Takes in a packet from the far end. One that is nothing to be heard only holds its place in the order.
    pub(super) fn receive(&mut self, now: Instant, packet: &Packet<'_>, kind: Kind) {
        let clock_hz = match kind {
            Kind::Audio(codec) => Some(codec.clock_hz()),
            Kind::Key | Kind::Noise => None,
        };
        self.reception.receive(now, packet, clock_hz);
        self.reorder.set_jitter(self.reception.jitter());
        let audible = kind != Kind::Key && !self.muted;
        let payload = if audible { packet.payload } else { &[] };
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

    /// What came and what did not, in order.
    pub(super) fn losses(&self) -> Losses {
        self.losses
    }

    /// Present variation of transit times.
    pub(super) fn jitter_ms(&self) -> f32 {
        self.reception.jitter().as_secs_f32() * 1_000.0
    }

    /// Packets that came too late.
    pub(super) fn late(&self) -> u64 {
        self.late
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

    /// Behind a loss always stands a packet, which may help to make up for it.
    fn release(&mut self, now: Instant) {
        let mut missing = 0;
        while let Some(released) = self.reorder.pop(now) {
            match released {
                Released::Lost(packets) => {
                    self.lost += u64::from(packets);
                    self.losses.lost(packets);
                    missing = if self.muted { 0 } else { packets };
                }
                Released::Packet {
                    payload_type,
                    arrived_at,
                    timestamp,
                    payload,
                } => {
                    self.losses.received();
                    let payload = Payload {
                        arrived_at,
                        payload_type,
                        timestamp,
                        bytes: payload,
                    };
                    if missing > 0 {
                        self.voice.miss(now, missing, Some(&payload));
                        missing = 0;
                    }
                    match payload.bytes {
                        [] => {}
                        noise if is_noise(payload_type, self.noise) => self.voice.hear_noise(noise),
                        _ => self.voice.hear(now, &payload),
                    }
                }
            }
        }
    }
}
