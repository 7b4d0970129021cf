//! A telephone line for tests: a far end that speaks a tone, a machine, and a clock that only moves when told to.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::super::Machine;
use crate::{
    audio::{SampleRate, Tone, Utterance},
    media::{Channel, Event, Settings},
    rtp::{
        Header, Packet,
        reception::Block,
        rtcp::{EXTENDED_MAX, Feedback, Outgoing},
    },
    sdp::{Codec, Direction, EventFormat, Format, Negotiated, Profile, Security},
};

/// Where the description says the far end is.
pub(super) const SIGNALLED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4_000);

/// The machine under test, its clock, and everything that came out of it.
pub(super) struct Line {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    pub(super) heard: Vec<i16>,
    pub(super) sent: Vec<SentPacket>,
    pub(super) reports: Vec<Vec<u8>>,
    /// How many packet times of the far end have passed.
    pub(super) index: u32,
    codec: Codec,
    tone: Vec<i16>,
}

/// An RTP packet that left, and when.
pub(super) struct SentPacket {
    pub(super) at: Instant,
    pub(super) to: SocketAddr,
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

impl SentPacket {
    pub(super) fn is_loud(&self) -> bool {
        self.words() > 0
    }

    /// Bytes up to the last that is not silence.
    pub(super) fn words(&self) -> usize {
        self.payload
            .iter()
            .rposition(|&byte| byte != 0xFF && byte != 0xD5)
            .map_or(0, |at| at + 1)
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self::with(&terms(Codec::Pcmu))
    }

    pub(super) fn with(terms: &Negotiated) -> Self {
        let now = Instant::now();
        let mut machine = Machine::new(now, Settings::from_seed(7));
        machine.apply(now, terms);
        // 400 Hz fits a packet of 20 ms exactly eight times: every packet is the same.
        let mut tone = vec![0; 160];
        Tone::new(SampleRate::Hz8000, 400.0, -12.0).fill(&mut tone);
        Self {
            machine,
            now,
            heard: Vec::new(),
            sent: Vec::new(),
            reports: Vec::new(),
            index: 0,
            codec: terms.send.codec,
            tone,
        }
    }

    /// The far end sends its next packet of tone.
    pub(super) fn speak(&mut self) {
        self.speak_from(SIGNALLED);
    }

    /// The far end reports that the packet of this index was the last that came.
    pub(super) fn report_until(&mut self, index: usize) {
        let header = &self.sent[index].header;
        let outgoing = Outgoing {
            ssrc: 77,
            name: "far",
            sent: None,
            received: Some(Feedback {
                block: Block {
                    ssrc: header.ssrc,
                    fraction_lost: 0,
                    lost: 0,
                    highest: header.sequence.into(),
                    jitter: 0,
                },
                last_report: 0,
                delay: 0,
            }),
            extended: [None; EXTENDED_MAX],
            goodbye: false,
        };
        let mut datagram = Vec::new();
        outgoing.write(&mut datagram);
        let from = SocketAddr::new(SIGNALLED.ip(), SIGNALLED.port() + 1);
        self.machine.handle_rtcp(self.now, from, &mut datagram);
        self.drain();
    }

    /// The same from elsewhere.
    pub(super) fn speak_from(&mut self, from: SocketAddr) {
        self.speak_as(from, self.codec.payload_type());
        if from == SIGNALLED {
            self.advance();
        }
    }

    pub(super) fn speak_as(&mut self, from: SocketAddr, payload_type: u8) {
        let mut payload = Vec::new();
        self.codec.law().unwrap().encode(&self.tone, &mut payload);
        self.deliver(from, payload_type, false, self.timestamp(), &payload);
    }

    /// The far end sends this packet of its tone, and goes on behind it.
    pub(super) fn speak_at(&mut self, index: u32) {
        self.index = index;
        self.speak();
    }

    /// A packet sent earlier comes now.
    pub(super) fn repeat(&mut self, index: u32) {
        let present = std::mem::replace(&mut self.index, index);
        self.speak();
        self.index = present;
    }

    /// A packet is lost.
    pub(super) fn skip(&mut self) {
        self.advance();
    }

    pub(super) fn advance(&mut self) {
        self.index += 1;
    }

    pub(super) fn timestamp(&self) -> u32 {
        self.index.wrapping_mul(160).wrapping_add(u32::MAX - 8_000)
    }

    /// The far end sends something in the place that is next.
    pub(super) fn send(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        self.deliver(SIGNALLED, payload_type, marker, timestamp, payload);
    }

    /// The agent says something loud and steady.
    pub(super) fn say(&mut self, utterance: Utterance, ms: usize) {
        self.machine.play(self.now, utterance, &vec![8_000; ms * 24]);
    }

    /// Lets time pass, with every deadline met.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(deadline) = self.machine.poll_timeout().filter(|&deadline| deadline <= end) {
            self.now = self.now.max(deadline);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Lets time pass, with every deadline missed.
    pub(super) fn sleep(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }

    /// Takes everything the machine has.
    pub(super) fn drain(&mut self) {
        while let Some(frame) = self.machine.poll_caller() {
            self.heard.extend_from_slice(frame);
        }
        while let Some(transmit) = self.machine.poll_transmit() {
            match transmit.channel {
                Channel::Rtp => self.sent.push(SentPacket::read(self.now, transmit.to, transmit.bytes)),
                Channel::Rtcp => self.reports.push(transmit.bytes.to_vec()),
            }
        }
    }

    fn deliver(&mut self, from: SocketAddr, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        let header = Header {
            payload_type,
            sequence: (self.index as u16).wrapping_add(65_500),
            timestamp,
            ssrc: 77,
            marker,
        };
        let mut datagram = Vec::new();
        header.write(&mut datagram);
        datagram.extend_from_slice(payload);
        self.machine.handle_rtp(self.now, from, &mut datagram);
        self.drain();
    }
}

impl SentPacket {
    fn read(at: Instant, to: SocketAddr, bytes: &[u8]) -> Self {
        let packet = Packet::read(bytes).unwrap();
        let header = Header {
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            marker: packet.marker,
        };
        Self {
            at,
            to,
            header,
            payload: packet.payload.to_vec(),
        }
    }
}

/// What an ordinary offer and answer settle.
pub(super) fn terms(codec: Codec) -> Negotiated {
    Negotiated {
        send: Format::plain(codec),
        receive: vec![Format::plain(codec)],
        events: vec![EventFormat {
            payload_type: 101,
            clock_hz: 8_000,
        }],
        event_send: Some(EventFormat {
            payload_type: 101,
            clock_hz: 8_000,
        }),
        comfort_noise: None,
        rtcp_mux: false,
        profile: Profile::default(),
        security: Security::None,
        voip_metrics: false,
        remote_rtp: SIGNALLED,
        remote_rtcp: far(4_001),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    }
}

/// Another port of the far end's host.
pub(super) fn far(port: u16) -> SocketAddr {
    SocketAddr::new(SIGNALLED.ip(), port)
}
