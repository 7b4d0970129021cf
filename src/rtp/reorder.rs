//! Puts packets back in order without a playout clock.
//!
//! What is next in order comes straight out. Only behind a gap does anything wait, and no longer than a few times the
//! jitter; then the gap is declared lost. A new source, or a jump in numbering that no network makes, is taken as a new
//! beginning at once: nothing waits for packets that will never come.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::packet::Packet;

/// A bounded queue of packets, empty as long as they come in order.
#[derive(Debug)]
pub struct Reorder {
    stream: Option<Stream>,
    /// Ascending by place, each place at most once, none before `next`.
    held: VecDeque<Slot>,
    lent: Slot,
    spare: Vec<Vec<u8>>,
    wait: Duration,
}

/// The numbering under way. Places are sequence numbers that never wrap and never go back.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    highest_sequence: u16,
    highest_timestamp: u32,
    highest: u64,
    next: u64,
    /// Gaps before this place belong to an older numbering: nothing waits for them and nobody counts them.
    begun: u64,
    /// Which of the 64 places before `next` were released, newest in the lowest bit.
    seen: u64,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    place: u64,
    payload_type: u8,
    timestamp: u32,
    arrived_at: Option<Instant>,
    payload: Vec<u8>,
}

/// What became of a packet handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Next in order: it can be taken out now.
    Next,
    /// It came before one that is missing.
    Ahead,
    /// Its place is filled already.
    Duplicate,
    /// Its place was given up.
    Late,
    /// A new beginning: another source, or numbering that does not continue.
    Restart,
}

/// What comes out, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released<'a> {
    /// A packet.
    Packet {
        /// What it carries is, by the numbers of the session description.
        payload_type: u8,
        /// Its timestamp.
        timestamp: u32,
        /// When it came in.
        arrived_at: Instant,
        /// What it carries.
        payload: &'a [u8],
    },
    /// So many packets are missing here, and were waited for long enough.
    Lost(u32),
}

/// Packets that may wait behind gaps. When one more comes the first gap is given up at once, whatever its age: what
/// would still have filled it counts as lost, and as late when it comes.
pub const HELD_MAX: usize = 12;
/// Bounds of the wait; within them it follows the jitter. The lower one lets a packet be overtaken by its successor.
pub const WAIT_MIN: Duration = Duration::from_millis(20);
/// A gap is never waited for longer than this: beyond it the answer would feel slow.
pub const WAIT_MAX: Duration = Duration::from_millis(60);
/// How many times the jitter is waited.
const WAIT_PER_JITTER: u32 = 3;
/// A jump ahead of more packets than this, a second of audio, is a new beginning.
const AHEAD_MAX: i16 = 50;
/// As far back as a packet can be late; before that it is a new beginning.
const BEHIND_MAX: i16 = -100;
/// As far back as the timestamp of a late packet can be, a long key press at the fastest clock included. A packet that
/// is old by its number but not by its timestamp is a new beginning, and so is one that is ahead by its number and far
/// behind by its timestamp.
const TIMESTAMP_BEHIND_MAX: u32 = 16 * 48_000;

impl Reorder {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            stream: None,
            held: VecDeque::with_capacity(HELD_MAX + 1),
            lent: Slot::default(),
            spare: Vec::with_capacity(HELD_MAX + 1),
            wait: WAIT_MIN,
        }
    }

    /// Follows the jitter of the source.
    pub fn set_jitter(&mut self, jitter: Duration) {
        self.wait = jitter.saturating_mul(WAIT_PER_JITTER).clamp(WAIT_MIN, WAIT_MAX);
    }

    /// Takes a packet in. One that holds its place but carries nothing to be heard is handed in with an empty payload.
    pub fn push(&mut self, now: Instant, packet: &Packet<'_>) -> Arrival {
        let (place, restart) = match self.place(packet) {
            Ok(placed) => placed,
            Err(dropped) => return dropped,
        };
        let at = self.held.partition_point(|slot| slot.place < place);
        if self.held.get(at).is_some_and(|slot| slot.place == place) {
            return Arrival::Duplicate;
        }
        let slot = self.slot(now, place, packet);
        self.held.insert(at, slot);
        self.bound();
        match self.stream {
            _ if restart => Arrival::Restart,
            Some(stream) if stream.next == place => Arrival::Next,
            _ => Arrival::Ahead,
        }
    }

    /// What is to be heard next, if it is there or was waited for long enough. Ask until there is nothing more.
    pub fn pop(&mut self, now: Instant) -> Option<Released<'_>> {
        let due = self.deadline().is_some_and(|deadline| now >= deadline) || self.held.len() > HELD_MAX;
        let stream = self.stream.as_mut()?;
        let first = self.held.front()?;
        let gap = first.place.saturating_sub(stream.next);
        let counted = gap > 0 && stream.next >= stream.begun;
        if counted && !due {
            return None;
        }
        stream.skip(gap);
        if counted {
            return Some(Released::Lost(u32::try_from(gap).unwrap_or(u32::MAX)));
        }
        self.release()
    }

    /// When the gap at the front is given up.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.stream?.next;
        let first = self.held.front()?;
        (first.place > next).then(|| self.deadline()).flatten()
    }

    /// Finds a packet's place in the order, or why it has none. True beside it: the order begins anew there.
    fn place(&mut self, packet: &Packet<'_>) -> Result<(u64, bool), Arrival> {
        let Some(stream) = &mut self.stream else {
            self.stream = Some(Stream::new(packet));
            return Ok((FIRST_PLACE, true));
        };
        let step = packet.sequence.wrapping_sub(stream.highest_sequence) as i16;
        if packet.ssrc != stream.ssrc || !(BEHIND_MAX..=AHEAD_MAX).contains(&step) {
            return Ok((stream.restart(packet), true));
        }
        let place = stream.highest.saturating_add_signed(i64::from(step));
        if place < stream.next {
            return stream.judge_old(place, packet).map(|place| (place, true));
        }
        if step > 1 && stream.fell_back(packet) {
            return Ok((stream.restart(packet), true));
        }
        if place > stream.highest {
            stream.raise(place, packet);
        }
        Ok((place, false))
    }

    /// A slot with this packet in it, in a buffer used before when there is one.
    fn slot(&mut self, now: Instant, place: u64, packet: &Packet<'_>) -> Slot {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(packet.payload);
        Slot {
            place,
            payload_type: packet.payload_type,
            timestamp: packet.timestamp,
            arrived_at: Some(now),
            payload,
        }
    }

    /// An owner that pops until there is nothing more never gets here.
    fn bound(&mut self) {
        if self.held.len() > HELD_MAX + 1 {
            self.held.pop_front();
        }
    }

    fn release(&mut self) -> Option<Released<'_>> {
        let slot = self.held.pop_front()?;
        let used = std::mem::replace(&mut self.lent, slot);
        if self.spare.len() <= HELD_MAX {
            self.spare.push(used.payload);
        }
        if let Some(stream) = &mut self.stream {
            stream.advance();
        }
        Some(Released::Packet {
            payload_type: self.lent.payload_type,
            timestamp: self.lent.timestamp,
            arrived_at: self.lent.arrived_at?,
            payload: &self.lent.payload,
        })
    }

    /// The oldest packet held tells how long the gap has been waited for.
    fn deadline(&self) -> Option<Instant> {
        let oldest = self.held.iter().filter_map(|slot| slot.arrived_at).min()?;
        oldest.checked_add(self.wait)
    }
}

impl Default for Reorder {
    fn default() -> Self {
        Self::new()
    }
}

/// Far enough from zero that no step back reaches it.
const FIRST_PLACE: u64 = 1 << 32;

impl Stream {
    fn new(packet: &Packet<'_>) -> Self {
        Self {
            ssrc: packet.ssrc,
            highest_sequence: packet.sequence,
            highest_timestamp: packet.timestamp,
            highest: FIRST_PLACE,
            next: FIRST_PLACE,
            begun: FIRST_PLACE,
            seen: 0,
        }
    }

    fn raise(&mut self, place: u64, packet: &Packet<'_>) {
        self.highest = place;
        self.highest_sequence = packet.sequence;
        self.highest_timestamp = packet.timestamp;
    }

    /// Begins anew right behind everything that came so far.
    fn restart(&mut self, packet: &Packet<'_>) -> u64 {
        self.ssrc = packet.ssrc;
        self.raise(self.highest + 1, packet);
        self.begun = self.highest;
        self.highest
    }

    /// Whether the far end began its clock anew: losses and pauses only move a timestamp forward.
    fn fell_back(&self, packet: &Packet<'_>) -> bool {
        let back = self.highest_timestamp.wrapping_sub(packet.timestamp);
        (TIMESTAMP_BEHIND_MAX..1 << 31).contains(&back)
    }

    /// A packet from before `next`: seen before, given up, or not old at all.
    fn judge_old(&mut self, place: u64, packet: &Packet<'_>) -> Result<u64, Arrival> {
        if self.highest_timestamp.wrapping_sub(packet.timestamp) > TIMESTAMP_BEHIND_MAX {
            return Ok(self.restart(packet));
        }
        let back = self.next - 1 - place;
        let seen = back < 64 && self.seen >> back & 1 == 1;
        Err(if seen { Arrival::Duplicate } else { Arrival::Late })
    }

    fn advance(&mut self) {
        self.seen = self.seen << 1 | 1;
        self.next += 1;
    }

    fn skip(&mut self, gap: u64) {
        self.seen = u32::try_from(gap)
            .ok()
            .and_then(|gap| self.seen.checked_shl(gap))
            .unwrap_or(0);
        self.next += gap;
    }
}

#[cfg(test)]
mod tests;
