//! RTP and RTCP bytes: a sequence of datagrams with pauses between them, to the readers and to the media of a leg.
//!
//! Each is a byte of milliseconds to wait, two bytes of length and the datagram itself; an odd byte of milliseconds
//! sends it to the RTCP port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use patchcord::audio::Utterance;
use patchcord::media::{Channel, Machine, Settings};
use patchcord::rtp::rtcp::Incoming;
use patchcord::rtp::{Header, Packet};
use patchcord::sdp::{self, Local, Negotiated};

use super::Work;

const OUR_SSRC: u32 = 0x0102_0304;
/// What one datagram may cause and be followed by: a frame each 20 ms of the longest wait, and what a gap released.
const STEPS_PER_DATAGRAM_MAX: usize = 400;

/// Feeds the datagrams to everything that reads RTP or RTCP.
pub fn rtp(bytes: &[u8]) {
    let mut leg = Leg::new();
    let mut rest = bytes;
    while let [wait_ms, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (datagram, next) = after.split_at(length);
        leg.wait(Duration::from_millis(u64::from(*wait_ms)));
        if wait_ms % 2 == 1 {
            let _ = Incoming::read(datagram, OUR_SSRC);
            leg.take(Channel::Rtcp, datagram);
        } else {
            same_when_written_again(datagram);
            leg.take(Channel::Rtp, datagram);
        }
        rest = next;
    }
    leg.end();
}

fn same_when_written_again(datagram: &[u8]) {
    let Ok(packet) = Packet::read(datagram) else { return };
    let header = Header {
        payload_type: packet.payload_type,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        marker: packet.marker,
    };
    let mut written = Vec::new();
    header.write(&mut written);
    written.extend_from_slice(packet.payload);
    assert_eq!(Packet::read(&written), Ok(packet));
}

/// A leg in the middle of a call: the agent speaks, and whatever comes is handed in.
struct Leg {
    now: Instant,
    began: Instant,
    machine: Machine,
    sent: u32,
    work: Work,
}

impl Leg {
    fn new() -> Self {
        let now = Instant::now();
        let settings = Settings {
            ssrc: OUR_SSRC,
            ..Settings::from_seed(7)
        };
        let mut machine = Machine::new(now, settings);
        machine.apply(now, &terms());
        machine.play(now, Utterance(1), &[1000; 24_000]);
        Self {
            now,
            began: now,
            machine,
            sent: 0,
            work: Work::new(STEPS_PER_DATAGRAM_MAX),
        }
    }

    fn take(&mut self, channel: Channel, datagram: &[u8]) {
        self.work = Work::new(STEPS_PER_DATAGRAM_MAX);
        match channel {
            Channel::Rtp => self
                .machine
                .handle_rtp(self.now, caller(Channel::Rtp), &mut datagram.to_vec()),
            Channel::Rtcp => self
                .machine
                .handle_rtcp(self.now, caller(Channel::Rtcp), &mut datagram.to_vec()),
        }
        self.drain();
    }

    /// Every deadline on the way is met.
    fn wait(&mut self, time: Duration) {
        self.work = Work::new(STEPS_PER_DATAGRAM_MAX);
        let until = self.now + time;
        while let Some(deadline) = self.machine.poll_timeout().filter(|deadline| *deadline <= until) {
            self.work.step();
            self.now = self.now.max(deadline);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// A little more, then the call is over and nothing leaves any more.
    fn end(mut self) {
        self.machine.flush(self.now);
        self.wait(Duration::from_millis(100));
        let due = self.now.duration_since(self.began).as_millis() / 20 + 2;
        assert!(
            u128::from(self.sent) <= due,
            "{} packets sent where {due} were due",
            self.sent
        );
        self.machine.bye(self.now);
        self.drain();
        assert!(
            self.machine.poll_timeout().is_none(),
            "a leg that is over still waits for something"
        );
    }

    fn drain(&mut self) {
        while let Some(frame) = self.machine.poll_caller() {
            assert!(!frame.is_empty(), "a frame of nothing");
            self.work.step();
        }
        while let Some(transmit) = self.machine.poll_transmit() {
            let sound = transmit.channel == Channel::Rtp;
            assert!(!sound || Packet::read(transmit.bytes).is_ok(), "we sent what is no RTP");
            self.sent += u32::from(sound);
            self.work.step();
        }
        while self.machine.poll_event().is_some() {
            self.work.step();
        }
    }
}

fn caller(channel: Channel) -> SocketAddr {
    ([127, 0, 0, 2], if channel == Channel::Rtp { 4000 } else { 4001 }).into()
}

fn terms() -> Negotiated {
    let far = caller(Channel::Rtp);
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n",
        ip = far.ip(),
        port = far.port()
    );
    let local = Local::new(far.ip(), 5000, 1);
    sdp::answer(offer.as_bytes(), &local).expect("an ordinary offer").0
}
