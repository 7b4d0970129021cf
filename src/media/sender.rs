//! The numbering of our outgoing RTP stream.

use super::Settings;
use crate::rtp::{Header, telephone_event::Event};

/// Sequence numbers count packets, timestamps count time: what is not sent leaves a hole in the latter only.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Something interrupted the stream: the next packet says so.
    marked: bool,
    packets: u64,
    bytes: u64,
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ssrc: settings.ssrc,
            sequence: settings.first_sequence,
            timestamp: settings.first_timestamp,
            marked: true,
            packets: 0,
            bytes: 0,
        }
    }

    /// The header of the next packet, which takes `samples` of time.
    pub(super) fn next(&mut self, payload_type: u8, spurt: bool, samples: u32) -> Header {
        let header = Header {
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            marker: spurt || self.marked,
        };
        self.marked = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.packets += 1;
        self.bytes += u64::from(samples);
        header
    }

    /// The header of a packet of a key press, in place of `samples` of audio.
    pub(super) fn next_event(&mut self, payload_type: u8, event: &Event, samples: u32) -> Header {
        let header = self.next(payload_type, false, samples);
        self.bytes = self.bytes - u64::from(samples) + event.payload.len() as u64;
        // The audio behind the press begins afresh.
        self.marked = true;
        Header {
            timestamp: event.timestamp,
            marker: event.marker,
            ..header
        }
    }

    /// Lets time pass without a packet.
    pub(super) fn skip(&mut self, samples: u64) {
        self.timestamp = self.timestamp.wrapping_add(samples as u32);
        self.marked |= samples > 0;
    }

    /// The timestamp of the next packet.
    pub(super) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes; a sample of G.711 is one.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
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
        let first = sender.next(0, false, 160);
        let second = sender.next(0, false, 160);
        sender.skip(480);
        let third = sender.next(0, false, 160);
        assert_eq!([first.sequence, second.sequence, third.sequence], [u16::MAX, 0, 1]);
        assert_eq!([second.timestamp, third.timestamp], [0, 640]);
        assert_eq!([first.marker, second.marker, third.marker], [true, false, true]);
        assert_eq!((sender.packets(), sender.bytes()), (3, 480));
    }
}
