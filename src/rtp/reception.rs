//! What a receiver counts about one source: expected and lost packets, and jitter (RFC 3550 sections 6.4.1, A.3, A.8).
//!
//! A change of source, or a jump no network makes, starts the sums again; totals over a whole call are its owner's
//! affair.

use std::time::{Duration, Instant};

use super::packet::Packet;

/// Feeds on every valid packet. Payload types may count time by different clocks (RFC 7160): transit times are compared
/// between packets of the same clock only.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    /// The clock of the last packet that was timed, which is what a report counts jitter in.
    clock_hz: u32,
    source: Option<Source>,
    /// In seconds; carries on across sources and clocks, because it is the same network.
    jitter: f32,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    base: u32,
    highest: u32,
    received: u32,
    expected_prior: u32,
    received_prior: u32,
    transit: Option<Transit>,
}

/// The last pair of arrival and timestamp, to compare the next with.
#[derive(Clone, Copy, Debug)]
struct Transit {
    arrived_at: Instant,
    timestamp: u32,
    clock_hz: u32,
}

/// The figures of one RTCP report block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whose packets these figures are about.
    pub ssrc: u32,
    /// Share of packets lost since the last block, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the source began; negative when duplicates outnumber losses.
    pub lost: i32,
    /// Highest sequence number, extended by the number of wraps.
    pub highest: u32,
    /// Present jitter in clock units.
    pub jitter: u32,
}

/// RFC 3550 A.1: a jump ahead of this many is a restart, not a loss.
const DROPOUT_MAX: u16 = 3_000;
/// RFC 3550 A.1: as far back as a packet may be late.
const MISORDER_MAX: u16 = 100;
/// A transit time that changes by more than this is a new clock, not jitter.
const TRANSIT_CHANGE_MAX: Duration = Duration::from_secs(2);

impl Reception {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a packet with the clock of its timestamp; none for packets whose timestamp does not tell when they were
    /// sent, as all but the first of a telephone-event.
    pub fn receive(&mut self, now: Instant, packet: &Packet<'_>, clock_hz: Option<u32>) {
        if !self.source.as_mut().is_some_and(|source| source.follows(packet)) {
            self.source = None;
        }
        let source = self.source.get_or_insert_with(|| Source::new(packet));
        source.received = source.received.wrapping_add(1);
        if let Some(clock_hz) = clock_hz {
            self.clock_hz = clock_hz;
            let transit = Transit {
                arrived_at: now,
                timestamp: packet.timestamp,
                clock_hz,
            };
            if let Some(change) = source.transit.replace(transit).and_then(|last| last.change(&transit)) {
                self.jitter += (change - self.jitter) / 16.0;
            }
        }
    }

    /// The smoothed variation of transit times.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f32(self.jitter.max(0.0))
    }

    /// Figures for a report; the next block counts its fraction from here.
    pub fn block(&mut self) -> Option<Block> {
        let jitter = (self.jitter * self.clock_hz as f32) as u32;
        let source = self.source.as_mut()?;
        let fraction_lost = source.fraction_lost();
        Some(Block {
            ssrc: source.ssrc,
            fraction_lost,
            lost: source.lost(),
            highest: source.highest,
            jitter,
        })
    }
}

impl Source {
    fn new(packet: &Packet<'_>) -> Self {
        let first = u32::from(packet.sequence);
        Self {
            ssrc: packet.ssrc,
            base: first,
            highest: first,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
        }
    }

    /// Whether the packet belongs to this run of sequence numbers; moves the highest along.
    fn follows(&mut self, packet: &Packet<'_>) -> bool {
        let ahead = packet.sequence.wrapping_sub(self.highest as u16);
        if ahead < DROPOUT_MAX {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
        let far = (DROPOUT_MAX..=u16::MAX - MISORDER_MAX).contains(&ahead);
        !far && self.ssrc == packet.ssrc
    }

    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }

    fn lost(&self) -> i32 {
        self.expected().wrapping_sub(self.received) as i32
    }

    fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected().wrapping_sub(self.expected_prior);
        let received = self.received.wrapping_sub(self.received_prior);
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        match expected.checked_sub(received) {
            None | Some(0) => 0,
            Some(lost) => (u64::from(lost) * 256 / u64::from(expected)).min(255) as u8,
        }
    }
}

impl Transit {
    /// |D(i-1, i)| of RFC 3550 section 6.4.1, in seconds; nothing when the clock is another or it is beyond belief.
    fn change(&self, next: &Self) -> Option<f32> {
        let arrived = next.arrived_at.saturating_duration_since(self.arrived_at);
        let sent = next.timestamp.wrapping_sub(self.timestamp) as i32;
        let change = (arrived.as_secs_f32() - sent as f32 / next.clock_hz.max(1) as f32).abs();
        (self.clock_hz == next.clock_hz && change <= TRANSIT_CHANGE_MAX.as_secs_f32()).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_no_jitter_and_no_loss() {
        let mut reception = Reception::new();
        let now = Instant::now();
        for index in 0..1_000 {
            reception.receive(
                now + Duration::from_millis(20) * index,
                &packet(65_000, index),
                Some(8_000),
            );
        }
        assert!(reception.jitter() < Duration::from_micros(10));
        let block = reception.block().unwrap();
        assert_eq!((block.lost, block.fraction_lost, block.highest), (0, 0, 65_999));
    }

    #[test]
    fn every_fourth_packet_lost_is_a_quarter_of_256() {
        let mut reception = Reception::new();
        let now = Instant::now();
        for index in (0..400).filter(|index| index % 4 != 2) {
            reception.receive(now + Duration::from_millis(20) * index, &packet(0, index), Some(8_000));
        }
        let block = reception.block().unwrap();
        assert_eq!((block.lost, block.fraction_lost), (100, 64));
        assert_eq!(reception.block().unwrap().fraction_lost, 0);
    }

    #[test]
    fn alternating_delays_show_as_jitter() {
        let mut reception = Reception::new();
        let now = Instant::now();
        for index in 0..1_000 {
            let delay = Duration::from_millis(if index % 2 == 0 { 0 } else { 10 });
            reception.receive(
                now + Duration::from_millis(20) * index + delay,
                &packet(0, index),
                Some(8_000),
            );
        }
        let jitter = reception.jitter().as_millis();
        assert!((9..=10).contains(&jitter), "{jitter}");
    }

    #[test]
    fn another_source_or_a_wild_jump_starts_again() {
        let mut reception = Reception::new();
        let now = Instant::now();
        reception.receive(now, &packet(100, 0), Some(8_000));
        reception.receive(now, &packet(30_000, 1), Some(8_000));
        assert_eq!(reception.block().unwrap().lost, 0);
        let stranger = Packet {
            ssrc: 99,
            ..packet(50, 0)
        };
        reception.receive(now, &stranger, Some(8_000));
        let block = reception.block().unwrap();
        assert_eq!((block.ssrc, block.lost), (99, 0));
        assert!(reception.jitter() < Duration::from_millis(2));
    }

    #[test]
    fn duplicates_make_the_loss_negative() {
        let mut reception = Reception::new();
        let now = Instant::now();
        for _ in 0..3 {
            reception.receive(now, &packet(7, 0), Some(8_000));
        }
        assert_eq!(reception.block().unwrap().lost, -2);
    }

    fn packet(first: u16, index: u32) -> Packet<'static> {
        Packet {
            payload_type: 0,
            sequence: first.wrapping_add(index as u16),
            timestamp: index.wrapping_mul(160),
            ssrc: 1,
            marker: false,
            payload: &[],
        }
    }
}
