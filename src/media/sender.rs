//! The numbering of our outgoing RTP stream.
//!
//! Timestamps run at the clock of the codec. A codec with another clock goes on under another SSRC, because a receiver
//! could not tell the two clocks apart in its reports (RFC 7160 section 4.1); sequence numbers go on as they are.

use super::{Settings, settings::Random};
use crate::rtp::{Header, telephone_event::Event};

/// Sequence numbers count packets, timestamps count time: what is not sent leaves a hole in the latter only.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    ssrc: u32,
    random: Random,
    clock_hz: u32,
    sequence: u16,
    timestamp: u32,
    /// Something interrupted the stream: the next packet says so.
    marked: bool,
    packets: u64,
    bytes: u64,
    /// The two sums when this SSRC began.
    before: (u64, u64),
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ssrc: settings.ssrc,
            random: Random::new(settings.seed.rotate_left(17) ^ u64::from(settings.ssrc)),
            clock_hz: 8_000,
            sequence: settings.first_sequence,
            timestamp: settings.first_timestamp,
            marked: true,
            packets: 0,
            bytes: 0,
            before: (0, 0),
        }
    }

    /// The clock of what is sent from now on.
    pub(super) fn set_clock(&mut self, clock_hz: u32) {
        if clock_hz == self.clock_hz {
            return;
        }
        self.clock_hz = clock_hz;
        self.marked = true;
        if self.packets > 0 {
            self.ssrc = self.random.next() as u32;
            self.timestamp = self.random.next() as u32;
            self.before = (self.packets, self.bytes);
        }
    }

    /// The header of the next packet, which takes so long and carries so many bytes.
    pub(super) fn next(&mut self, payload_type: u8, spurt: bool, ms: u32, bytes: usize) -> Header {
        let header = Header {
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            marker: spurt || self.marked,
        };
        self.marked = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.rest(ms.into());
        self.packets += 1;
        self.bytes += bytes as u64;
        header
    }

    /// The header of a packet of a key press, in place of audio.
    pub(super) fn next_event(&mut self, payload_type: u8, event: &Event, ms: u32) -> Header {
        let header = self.next(payload_type, false, ms, event.payload.len());
        // The audio behind the press begins afresh.
        self.marked = true;
        Header {
            timestamp: event.timestamp,
            marker: event.marker,
            ..header
        }
    }

    /// Lets time pass without a packet, because the stream is interrupted.
    pub(super) fn skip(&mut self, ms: u64) {
        self.rest(ms);
        self.marked |= ms > 0;
    }

    /// Lets time pass without a packet, because there is nothing in it to be heard.
    pub(super) fn rest(&mut self, ms: u64) {
        let ticks = ms.wrapping_mul(u64::from(self.clock_hz / 1_000));
        self.timestamp = self.timestamp.wrapping_add(ticks as u32);
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timestamp of the next packet.
    pub(super) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// The how manieth packet last had this sequence number, from 0.
    pub(super) fn number_of(&self, sequence: u16) -> Option<u64> {
        let behind = self.sequence.wrapping_sub(1).wrapping_sub(sequence);
        self.packets.checked_sub(1)?.checked_sub(behind.into())
    }

    /// Payload bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets and bytes under the present SSRC, which is what a report counts.
    pub(super) fn reported(&self) -> (u64, u64) {
        (self.packets - self.before.0, self.bytes - self.before.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sent_is_missing_in_time_but_not_in_sequence() {
        let mut sender = Sender::new(&Settings {
            first_sequence: u16::MAX,
            first_timestamp: u32::MAX - 159,
            ..Settings::from_seed(1)
        });
        let first = sender.next(0, false, 20, 160);
        let second = sender.next(0, false, 20, 160);
        sender.skip(60);
        let third = sender.next(0, false, 20, 160);
        sender.rest(20);
        let fourth = sender.next(0, false, 20, 160);
        assert_eq!([first.sequence, second.sequence, third.sequence], [u16::MAX, 0, 1]);
        assert_eq!([second.timestamp, third.timestamp, fourth.timestamp], [0, 640, 960]);
        assert_eq!([first.marker, second.marker, third.marker], [true, false, true]);
        assert!(!fourth.marker);
        assert_eq!((sender.packets(), sender.bytes()), (4, 640));
        let numbers = [u16::MAX, 0, 2, 3, u16::MAX - 1].map(|sequence| sender.number_of(sequence));
        assert_eq!(numbers, [Some(0), Some(1), Some(3), None, None]);
    }

    #[test]
    fn another_clock_is_another_source_that_goes_on_with_the_sequence() {
        let mut sender = Sender::new(&Settings::from_seed(1));
        sender.set_clock(48_000);
        let first = sender.next(111, true, 20, 80);
        let second = sender.next(111, false, 20, 80);
        assert_eq!(first.ssrc, Settings::from_seed(1).ssrc);
        assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960);
        sender.set_clock(8_000);
        let third = sender.next(0, false, 20, 160);
        let fourth = sender.next(0, false, 20, 160);
        assert_ne!(third.ssrc, second.ssrc);
        assert!(third.marker && !fourth.marker);
        assert_eq!(third.sequence, second.sequence.wrapping_add(1));
        assert_eq!(fourth.timestamp.wrapping_sub(third.timestamp), 160);
        assert_eq!(sender.reported(), (2, 320));
        assert_eq!((sender.packets(), sender.bytes()), (4, 480));
    }
}
