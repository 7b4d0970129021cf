//! Legs whose packets are protected, against a far end that protects its own.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    media::secure::Secure,
    rtp::{
        dtls::{HANDSHAKE_MAX, Identity},
        rtcp::Incoming,
        srtp::{MasterKey, Suite},
    },
    sdp::{Fingerprint, Security},
};

#[test]
fn both_sides_hear_each_other_under_keys_of_the_descriptions() {
    for suite in Suite::ALL {
        let mut call = Call::with(keys(suite, 1, 2), keys(suite, 2, 1), false);
        call.talk(250);
        assert!(call.heard >= 248 * 480, "{suite:?}: {}", call.heard);
        assert_eq!((call.packets, call.unreadable), (250, 0), "{suite:?}");
        assert!(call.reports > 0, "{suite:?}");
    }
}

#[test]
fn what_is_not_protected_as_agreed_is_turned_away_counted_and_does_not_latch() {
    let mut call = Call::with(keys(SUITE, 1, 2), keys(SUITE, 2, 1), false);
    let mut stranger = Secure::new(None);
    for security in [Security::None, keys(SUITE, 9, 1)] {
        stranger.apply(call.now, &security);
        for sequence in 0..10 {
            let mut packet = speech(sequence);
            assert!(stranger.seal(&mut packet));
            call.machine.handle_rtp(call.now, far(6_666), &mut packet);
        }
    }
    let statistics = call.machine.statistics();
    assert_eq!((statistics.srtp_auth_failures, statistics.srtp_replays), (20, 0));
    assert_eq!((statistics.packets_received, statistics.foreign), (0, 0));
    call.talk(1);
    assert_eq!(call.sent_to, Some(SIGNALLED));
}

#[test]
fn keys_that_differ_are_diagnosed_within_three_seconds() {
    let mut call = Call::with(keys(SUITE, 1, 2), keys(SUITE, 9, 1), false);
    call.talk(150);
    let events: Vec<_> = std::iter::from_fn(|| call.machine.poll_event()).collect();
    let told =
        |event: &Event| matches!(event, Event::Diagnosis(diagnosis) if diagnosis.ailment.word() == "srtp_failures");
    assert!(events.iter().any(told), "{events:?}");
}

#[test]
fn a_replayed_packet_is_heard_once() {
    let mut call = Call::with(keys(SUITE, 1, 2), keys(SUITE, 2, 1), false);
    let mut packet = speech(1);
    assert!(call.far.seal(&mut packet));
    for _ in 0..3 {
        call.machine.handle_rtp(call.now, SIGNALLED, &mut packet.clone());
    }
    let statistics = call.machine.statistics();
    assert_eq!((statistics.packets_received, statistics.srtp_replays), (1, 2));
}

#[test]
fn new_keys_in_the_middle_of_the_call_lose_no_packet() {
    let mut call = Call::with(keys(SUITE, 1, 2), keys(SUITE, 2, 1), false);
    call.talk(20);
    let terms = protected(keys(Suite::AeadAes128Gcm, 3, 4), false);
    call.machine.apply(call.now, &terms);
    // The far end goes on under its old key, and hears us under our new one only once it has our answer.
    call.speak();
    call.far.apply(call.now, &keys(Suite::AeadAes128Gcm, 4, 3));
    call.talk(20);
    let statistics = call.machine.statistics();
    assert_eq!((statistics.srtp_auth_failures, statistics.packets_received), (0, 41));
    assert_eq!(call.unreadable, 0);
}

#[test]
fn reports_share_the_port_when_that_was_agreed_on() {
    for (shared, taken) in [(true, true), (false, false)] {
        let mut call = Call::with(keys(SUITE, 1, 2), keys(SUITE, 2, 1), shared);
        call.talk(5);
        let mut report = report();
        assert!(call.far.seal(&mut report));
        call.machine.handle_rtp(call.now, SIGNALLED, &mut report);
        assert_eq!(call.machine.statistics().malformed == 0, taken);
    }
}

#[test]
fn words_wait_for_the_handshake_and_none_is_lost() {
    for active in [true, false] {
        let mut call = Call::shaking(active);
        call.machine.play(call.now, ONE, &vec![8_000; 24 * 500]);
        call.run(400);
        assert_eq!(call.packets, 0, "nothing leaves before there are keys");
        call.far_is_deaf = false;
        call.talk(100);
        assert!(call.packets > 80 && call.unreadable == 0, "{}", call.packets);
        assert_eq!(call.loud, 25, "all 500 ms were heard");
        assert!(call.heard > 80 * 480);
        assert_eq!(call.machine.statistics().srtp_auth_failures, 0);
    }
}

#[test]
fn a_handshake_that_nobody_answers_is_told_and_nothing_ever_leaves() {
    let mut call = Call::shaking(true);
    call.run(HANDSHAKE_MAX.as_millis() as u64 + 1_000);
    let events: Vec<_> = std::iter::from_fn(|| call.machine.poll_event()).collect();
    let failures: Vec<_> = events
        .into_iter()
        .filter(|event| matches!(event, Event::SecurityFailed(_)))
        .collect();
    assert_eq!(failures, [Event::SecurityFailed("dtls_timeout")]);
    assert_eq!(call.packets, 0);
}

const SUITE: Suite = Suite::AesCm128HmacSha1_80;

/// A machine and a far end of which each speaks every 20 ms.
struct Call {
    machine: Machine,
    now: Instant,
    far: Secure,
    /// It does not take in handshakes.
    far_is_deaf: bool,
    sequence: u16,
    heard: usize,
    packets: u32,
    loud: u32,
    reports: u32,
    unreadable: u32,
    sent_to: Option<SocketAddr>,
}

impl Call {
    fn with(ours: Security, fars: Security, rtcp_mux: bool) -> Self {
        Self::between(Secure::new(None), None, &protected(ours, rtcp_mux), &fars)
    }

    fn shaking(active: bool) -> Self {
        let [ours, fars] = [(); 2].map(|()| Arc::new(Identity::generate().unwrap()));
        let terms = protected(greeting(active, &fars), true);
        let mut call = Self::between(
            Secure::new(Some(fars)),
            Some(ours.clone()),
            &terms,
            &greeting(!active, &ours),
        );
        call.far_is_deaf = true;
        call
    }

    fn between(mut far: Secure, identity: Option<Arc<Identity>>, terms: &Negotiated, fars: &Security) -> Self {
        let now = Instant::now();
        let mut machine = Machine::new(
            now,
            Settings {
                identity,
                ..Settings::from_seed(7)
            },
        );
        machine.apply(now, terms);
        far.apply(now, fars);
        Self {
            machine,
            now,
            far,
            far_is_deaf: false,
            sequence: 65_500,
            heard: 0,
            packets: 0,
            loud: 0,
            reports: 0,
            unreadable: 0,
            sent_to: None,
        }
    }

    fn talk(&mut self, packets: u32) {
        for _ in 0..packets {
            self.speak();
            self.run(20);
        }
    }

    fn speak(&mut self) {
        let mut packet = speech(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        if self.far.seal(&mut packet) {
            self.machine.handle_rtp(self.now, SIGNALLED, &mut packet);
        }
        self.drain();
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.drain();
        while let Some(deadline) = self.machine.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.far.handle_timeout(end);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(frame) = self.machine.poll_caller() {
            self.heard += frame.len();
        }
        while let Some(transmit) = self.machine.poll_transmit() {
            let (to, mut bytes) = (transmit.to, transmit.bytes.to_vec());
            self.take(to, &mut bytes);
        }
        while let Some(mut datagram) = self.far.poll_handshake().filter(|_| !self.far_is_deaf) {
            self.machine.handle_rtp(self.now, SIGNALLED, &mut datagram);
        }
    }

    fn take(&mut self, to: SocketAddr, bytes: &mut [u8]) {
        self.sent_to = Some(to);
        match Datagram::of(bytes) {
            Datagram::Dtls if self.far_is_deaf => {}
            Datagram::Dtls => self.far.handle_handshake(self.now, bytes),
            Datagram::Rtcp => self.reports += u32::from(self.far.open(self.now, bytes).is_ok()),
            _ => match self.far.open(self.now, bytes) {
                Ok(plain) => {
                    let packet = Packet::read(plain).unwrap();
                    self.packets += 1;
                    self.loud += u32::from(packet.payload.iter().any(|byte| byte & 0x7F < 0x60));
                }
                Err(_) => self.unreadable += 1,
            },
        }
    }
}

fn protected(security: Security, rtcp_mux: bool) -> Negotiated {
    Negotiated {
        security,
        rtcp_mux,
        ..terms(Codec::Pcmu)
    }
}

fn keys(suite: Suite, ours: u8, theirs: u8) -> Security {
    let key = |byte| MasterKey::new(suite, &vec![byte; suite.key_and_salt_len()]).unwrap();
    Security::Sdes {
        ours: key(ours),
        theirs: key(theirs),
    }
}

fn greeting(active: bool, of: &Identity) -> Security {
    let fingerprint = Fingerprint {
        algorithm: of.fingerprint().algorithm().to_owned(),
        bytes: of.fingerprint().bytes().to_vec(),
    };
    Security::Dtls { active, fingerprint }
}

fn speech(sequence: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        payload_type: 0,
        sequence,
        timestamp: u32::from(sequence.wrapping_sub(65_500)) * 160,
        ssrc: 9,
        marker: false,
    };
    header.write(&mut bytes);
    bytes.extend([0x10; 160]);
    bytes
}

/// An empty receiver report, which reads.
fn report() -> Vec<u8> {
    let bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
    assert!(Incoming::read(&bytes, 7).is_some());
    bytes
}
