//! The whole leg, on a line with a clock of its own.

use std::time::Duration;

use super::*;
use crate::{
    audio::{Codec, Law, SampleRate, Tone, Upsampler, level},
    rtp::{Header, telephone_event::press},
    sdp::Direction,
};

mod agent;
mod caller;
mod codecs;
mod line;
mod link;
mod secured;
use line::{Line, SIGNALLED, far, terms};

const ONE: Utterance = Utterance(1);

#[test]
fn packets_from_elsewhere_are_dropped_until_the_source_is_silent() {
    let mut line = Line::new();
    line.speak();
    line.run(20);
    let before = line.heard.len();
    for _ in 0..100 {
        line.speak_from(far(6_666));
        line.speak();
        line.run(20);
    }
    assert_eq!(line.machine.statistics().foreign, 100);
    assert_eq!(line.heard.len() - before, 100 * 480);
    assert!(line.sent.iter().all(|packet| packet.to == SIGNALLED));
    line.run(3_000);
    line.speak_from(far(6_666));
    line.sent.clear();
    line.run(20);
    assert_eq!(line.sent[0].to, far(6_666));
}

#[test]
fn a_stranger_with_an_unagreed_payload_type_does_not_latch() {
    let mut line = Line::new();
    for payload_type in [3, 13, 96] {
        line.speak_as(far(6_666), payload_type);
    }
    line.run(20);
    assert_eq!(line.sent[0].to, SIGNALLED);
    let statistics = line.machine.statistics();
    assert_eq!(
        (statistics.packets_received, statistics.unexpected, statistics.foreign),
        (0, 2, 1)
    );
}

#[test]
fn a_new_address_in_the_description_latches_anew() {
    let mut line = Line::new();
    line.speak_from(far(7_000));
    let moved = Negotiated {
        remote_rtp: far(9_000),
        ..terms(Codec::Pcmu)
    };
    line.machine.apply(line.now, &moved);
    line.run(20);
    assert_eq!(line.sent[0].to, far(9_000));
    line.speak_from(far(9_100));
    assert_eq!(line.machine.statistics().foreign, 0);
}

#[test]
fn on_hold_words_wait_reports_go_on_and_nobody_calls_it_silence() {
    let mut line = Line::new();
    line.say(ONE, 1_000);
    line.speak();
    line.run(200);
    for direction in [Direction::RecvOnly, Direction::Inactive] {
        line.machine.apply(
            line.now,
            &Negotiated {
                direction,
                ..terms(Codec::Pcmu)
            },
        );
        line.sent.clear();
        line.reports.clear();
        line.run(70_000);
        assert!(line.sent.is_empty());
        assert!(line.reports.len() >= 10);
    }
    assert_eq!(line.events(), [Event::Started(ONE)]);
    line.machine.apply(line.now, &terms(Codec::Pcmu));
    line.run(100);
    assert!(line.sent[0].header.marker && line.sent[0].is_loud());
    // 300 ms had left, and 5 ms more fade out.
    assert_eq!(line.machine.flush(line.now)[0].sent_ms, 305);
}

#[test]
fn reports_say_what_came_and_went_and_the_last_says_goodbye() {
    let mut line = Line::new();
    for index in 0..500 {
        if index % 10 == 5 {
            line.skip()
        } else {
            line.speak()
        }
        line.run(20);
    }
    let report = line.reports.last().unwrap();
    assert_eq!((report[1], report[8..12] != [0; 4]), (200, true));
    line.machine.bye(line.now);
    line.drain();
    let goodbye = line.reports.last().unwrap();
    assert!(crate::rtp::rtcp::Incoming::read(goodbye, 0).unwrap().goodbye);
    assert_eq!(line.machine.poll_timeout(), None);
    let before = line.machine.statistics();
    line.speak();
    line.machine.apply(line.now, &terms(Codec::Pcmu));
    line.run(100);
    assert_eq!(line.machine.statistics().packets_received, before.packets_received);
    assert!(before.lost > 40);
}

#[test]
fn reports_from_strangers_are_foreign() {
    let mut line = Line::new();
    let stranger = SocketAddr::from(([203, 0, 113, 66], 4_001));
    line.machine.handle_rtcp(line.now, stranger, &mut [0x80, 200, 0, 6]);
    line.machine.handle_rtcp(line.now, far(4_001), &mut [1, 2, 3]);
    let statistics = line.machine.statistics();
    assert_eq!((statistics.foreign, statistics.malformed), (1, 1));
}

#[test]
fn nothing_happens_before_anything_is_agreed_on() {
    let now = Instant::now();
    let mut machine = Machine::new(now, Settings::from_seed(1));
    let mut datagram = Vec::new();
    Header {
        payload_type: 0,
        sequence: 0,
        timestamp: 0,
        ssrc: 1,
        marker: false,
    }
    .write(&mut datagram);
    machine.handle_rtp(now, far(1), &mut datagram);
    machine.handle_rtcp(now, far(2), &mut [0x80, 204, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
    machine.play(now, ONE, &[0; 480]);
    machine.handle_timeout(now);
    machine.bye(now);
    assert_eq!(machine.poll_timeout(), None);
    assert_eq!(machine.poll_transmit(), None);
    assert_eq!(machine.poll_caller(), None);
    let statistics = machine.statistics();
    assert_eq!((statistics.unexpected, statistics.foreign), (2, 0));
    assert_eq!(machine.flush(now)[0].received_ms, 20);
}

#[test]
fn random_and_mutilated_datagrams_never_panic() {
    let mut random = crate::media::settings::Random::new(5);
    let mut line = Line::new();
    for round in 0..20_000 {
        let mut datagram: Vec<u8> = (0..random.next() % 80).map(|_| random.next() as u8).collect();
        if round % 2 == 0 && datagram.len() > 1 {
            datagram[0] = 0x80 | random.next() as u8 & 0x3F;
            datagram[1] = [0, 8, 101, 13, 200, 201, 202, 203][random.next() as usize % 8];
        }
        line.machine.handle_rtp(line.now, SIGNALLED, &mut datagram.clone());
        line.machine.handle_rtcp(line.now, far(4_001), &mut datagram);
        if round % 16 == 0 {
            line.run(7);
        }
    }
    assert!(line.machine.statistics().malformed > 0);
}
