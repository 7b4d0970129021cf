//! RTP and RTCP bytes: a sequence of datagrams with pauses between them.
//!
//! Each is a byte of milliseconds to wait, two bytes of length and the datagram itself; an odd byte of milliseconds
//! sends it to the RTCP port.

use std::time::{Duration, Instant};

use patchcord::rtp::rtcp::Incoming;
use patchcord::rtp::{Header, Latch, Packet, Reception, Released, Reorder, telephone_event};

use super::Work;

const OUR_SSRC: u32 = 0x0102_0304;
/// Events and packets that one datagram may release.
const STEPS_PER_DATAGRAM_MAX: usize = 64;

/// Feeds the datagrams to everything that reads RTP or RTCP.
pub fn rtp(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    let mut rest = bytes;
    while let [wait_ms, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (datagram, next) = after.split_at(length);
        receiver.now += Duration::from_millis(u64::from(*wait_ms));
        if wait_ms % 2 == 1 {
            let _ = Incoming::read(datagram, OUR_SSRC);
        } else {
            receiver.take(datagram);
        }
        rest = next;
    }
    receiver.run_out();
}

/// What a leg does with the packets of its caller.
struct Receiver {
    now: Instant,
    latch: Latch,
    reorder: Reorder,
    reception: Reception,
    events: telephone_event::Reader,
}

impl Receiver {
    fn new() -> Self {
        let mut latch = Latch::new();
        latch.signal(([127, 0, 0, 2], 4000).into());
        Self {
            now: Instant::now(),
            latch,
            reorder: Reorder::new(),
            reception: Reception::new(8000),
            events: telephone_event::Reader::default(),
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let Ok(packet) = Packet::read(datagram) else { return };
        same_when_written_again(&packet);
        self.latch.accepts(
            self.now,
            ([127, 0, 0, 2], 4000 + u16::from(packet.payload_type % 2)).into(),
        );
        self.reception.receive(self.now, &packet, packet.payload_type < 96);
        if packet.payload_type == 101 {
            let _ = self.events.read(packet.timestamp, packet.marker, packet.payload);
        }
        self.reorder.set_jitter(self.reception.jitter());
        self.reorder.push(self.now, &packet);
        self.release();
        let _ = self.reception.block();
    }

    fn release(&mut self) {
        let mut work = Work::new(STEPS_PER_DATAGRAM_MAX);
        while let Some(released) = self.reorder.pop(self.now) {
            work.step();
            if let Released::Lost(count) = released {
                assert!(count > 0, "nothing was lost");
            }
        }
    }

    /// Nothing waits for ever.
    fn run_out(mut self) {
        let mut work = Work::new(STEPS_PER_DATAGRAM_MAX);
        while let Some(deadline) = self.reorder.poll_timeout() {
            work.step();
            self.now = self.now.max(deadline);
            self.release();
        }
    }
}

fn same_when_written_again(packet: &Packet<'_>) {
    let Packet {
        payload_type,
        sequence,
        timestamp,
        ssrc,
        marker,
        payload,
    } = *packet;
    let mut written = Vec::new();
    Header {
        payload_type,
        sequence,
        timestamp,
        ssrc,
        marker,
    }
    .write(&mut written);
    written.extend_from_slice(payload);
    assert_eq!(Packet::read(&written).as_ref(), Ok(packet));
}
