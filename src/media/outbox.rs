//! Datagrams on their way out, in buffers that are used again.

use std::net::{Ipv4Addr, SocketAddr};

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// From which of our two ports.
    pub channel: Channel,
    /// What.
    pub bytes: &'a [u8],
}

/// One of a leg's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The even one.
    Rtp,
    /// The odd one.
    Rtcp,
}

/// A short queue; an owner that takes what is there after every input never fills it.
#[derive(Debug)]
pub(super) struct Outbox {
    slots: [Slot; SLOTS],
    first: usize,
    len: usize,
    unsent: u64,
}

#[derive(Debug)]
struct Slot {
    to: SocketAddr,
    channel: Channel,
    bytes: Vec<u8>,
}

/// Past this many the oldest datagram is dropped and counted: a packet is worth less the later it leaves.
const SLOTS: usize = 8;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot::empty()),
            first: 0,
            len: 0,
            unsent: 0,
        }
    }

    /// Queues a datagram and gives its empty buffer, to be written at once.
    pub(super) fn push(&mut self, to: SocketAddr, channel: Channel) -> &mut Vec<u8> {
        if self.len == SLOTS {
            self.drop_first();
            self.unsent += 1;
        }
        let slot = &mut self.slots[(self.first + self.len) % SLOTS];
        self.len += 1;
        slot.to = to;
        slot.channel = channel;
        slot.bytes.clear();
        &mut slot.bytes
    }

    /// The oldest datagram that may leave, after `seal` has done what it does to all of them; those it refuses are gone.
    pub(super) fn pop(&mut self, mut seal: impl FnMut(&mut Vec<u8>) -> bool) -> Option<Transmit<'_>> {
        while self.len > 0 {
            let at = self.first;
            self.drop_first();
            if seal(&mut self.slots[at].bytes) {
                return Some(self.slots[at].transmit());
            }
        }
        None
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    fn drop_first(&mut self) {
        self.first = (self.first + 1) % SLOTS;
        self.len -= 1;
    }
}

impl Slot {
    fn empty() -> Self {
        Self {
            to: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            channel: Channel::Rtp,
            bytes: Vec::new(),
        }
    }

    fn transmit(&self) -> Transmit<'_> {
        Transmit {
            to: self.to,
            channel: self.channel,
            bytes: &self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_in_order_and_the_oldest_is_dropped_when_nobody_takes_them() {
        let mut outbox = Outbox::new();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        for index in 0..SLOTS as u8 + 3 {
            outbox.push(to, Channel::Rtp).push(index);
        }
        assert_eq!(outbox.unsent(), 3);
        for index in 3..SLOTS as u8 + 3 {
            assert_eq!(outbox.pop(|_| true).map(|transmit| transmit.bytes[0]), Some(index));
        }
        assert_eq!(outbox.pop(|_| true), None);
    }

    #[test]
    fn what_may_not_leave_is_passed_over() {
        let mut outbox = Outbox::new();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        for byte in [1, 2, 3] {
            outbox.push(to, Channel::Rtp).push(byte);
        }
        let sealed = outbox.pop(|bytes| {
            bytes.push(9);
            bytes[0] == 2
        });
        assert_eq!(sealed.map(|transmit| transmit.bytes), Some(&[2, 9][..]));
    }
}
