//! Two legs on one virtual clock: what each hears of the other, and when.

use std::time::Duration;

use super::*;
use crate::{
    audio::Law,
    call::order::Order,
    rtp::{Header, Packet},
    sdp::{self, Local},
};

const STEP: Duration = Duration::from_millis(20);

#[test]
fn each_leg_hears_the_other_within_a_tenth_of_a_second() {
    for second in ["0", "8"] {
        let mut legs = Legs::joined(second);
        legs.run(10, 0.0, 0.0);
        let before = (legs.first.heard.len(), legs.second.heard.len());
        legs.run(50, 700.0, 1_000.0);
        for (far, before, hz) in [(&legs.second, before.1, 700.0), (&legs.first, before.0, 1_000.0)] {
            let heard = &far.heard[before..];
            let began = heard
                .iter()
                .position(|pcm| is_tone(pcm, hz))
                .expect("the tone is heard");
            assert!(began <= 5, "{} ms", began * 20);
            assert!(
                heard[began + 1..].iter().all(|pcm| is_tone(pcm, hz)),
                "a hole in the tone"
            );
        }
    }
}

#[test]
fn nothing_passes_before_the_legs_are_joined() {
    let mut legs = Legs::apart("0");
    legs.run(50, 700.0, 1_000.0);
    let tones = legs.second.heard.iter().filter(|pcm| is_tone(pcm, 700.0)).count();
    assert_eq!(
        tones + legs.first.heard.iter().filter(|pcm| is_tone(pcm, 1_000.0)).count(),
        0
    );
    assert!(!legs.bridge.is_joined());
}

#[test]
fn what_comes_faster_than_it_leaves_is_dropped_and_never_makes_the_legs_late() {
    let mut legs = Legs::joined("0");
    legs.run(20, 700.0, 700.0);
    for _ in 0..20 {
        // As after a stall of the network: two seconds at once.
        for _ in 0..100 {
            legs.first.speak(700.0);
            let Legs { now, bridge, first, .. } = &mut legs;
            first.deliver(*now, bridge, true);
        }
        let waiting = legs.bridge.second_leg.as_ref().unwrap().media.waiting_ms();
        assert!(waiting <= BETWEEN_MS_MAX + 20, "{waiting} ms");
        legs.run(5, 700.0, 700.0);
    }
}

#[test]
fn keys_are_pressed_on_the_second_leg_as_events_or_as_tones() {
    let mut legs = Legs::joined("0 101");
    legs.obey(SecondLegOrder::SendDigits("5".to_owned()));
    legs.run(20, 0.0, 0.0);
    assert!(legs.second.events > 3, "{}", legs.second.events);
    assert_eq!(legs.first.events, 0);
    let mut legs = Legs::joined("0");
    legs.run(10, 0.0, 0.0);
    let before = legs.second.heard.len();
    legs.obey(SecondLegOrder::PlayDigits("5".to_owned()));
    legs.run(20, 0.0, 0.0);
    let loud = legs.second.heard[before..].iter().filter(|pcm| is_loud(pcm)).count();
    assert!((4..=7).contains(&loud), "{loud} packets");
}

#[test]
fn a_second_leg_that_falls_silent_is_told_as_lost_once() {
    let mut legs = Legs::joined("0");
    legs.run(10, 0.0, 0.0);
    legs.second.shut = true;
    legs.run(70 * 50, 0.0, 0.0);
    let lost: Vec<Report> = std::iter::from_fn(|| legs.bridge.poll_report())
        .filter(|report| matches!(report, Report::SecondLegLost(_)))
        .collect();
    assert_eq!(lost, [Report::SecondLegLost(Cause::MediaTimeout)]);
}

#[test]
fn what_the_second_leg_says_is_not_the_agents_talk() {
    let mut legs = Legs::joined("0");
    legs.run(100, 700.0, 1_000.0);
    for joined in [true, false] {
        assert_eq!(legs.bridge.is_joined(), joined);
        assert_eq!(legs.bridge.summary().agent_talk, Duration::ZERO);
        assert!(legs.bridge.summary().media.spoken_ms > 1_000);
        legs.bridge.end_second_leg();
    }
}

#[test]
fn a_caller_who_waits_hears_a_tone_and_stops_hearing_it_when_joined() {
    let mut legs = Legs::apart("0");
    legs.bridge.obey(legs.now, Order::Hold(true));
    legs.run(50, 0.0, 0.0);
    assert!(legs.first.heard.iter().any(|pcm| is_loud(pcm)));
    legs.bridge.join(legs.now);
    legs.run(5, 0.0, 0.0);
    let before = legs.first.heard.len();
    legs.run(500, 0.0, 0.0);
    assert!(!legs.first.heard[before..].iter().any(|pcm| is_loud(pcm)));
}

struct Legs {
    now: Instant,
    bridge: Bridge,
    first: Far,
    second: Far,
}

/// The far end of a leg.
struct Far {
    address: SocketAddr,
    law: Law,
    sequence: u16,
    phase: f32,
    shut: bool,
    heard: Vec<Vec<i16>>,
    events: usize,
    waiting: Vec<u8>,
}

impl Legs {
    fn apart(second_formats: &str) -> Self {
        let now = Instant::now();
        let (first, second) = (Far::new(4000, "0"), Far::new(6000, second_formats));
        let mut bridge = Bridge::new(now, media::Settings::from_seed(1));
        bridge.obey(now, Order::Apply(Box::new(agreed(4000, "0"))));
        bridge.begin_second_leg(now, media::Settings::from_seed(2));
        let mut legs = Self {
            now,
            bridge,
            first,
            second,
        };
        legs.obey(SecondLegOrder::Apply(Box::new(agreed(6000, second_formats))));
        legs
    }

    fn joined(second_formats: &str) -> Self {
        let mut legs = Self::apart(second_formats);
        legs.bridge.join(legs.now);
        legs
    }

    fn obey(&mut self, order: SecondLegOrder) {
        self.bridge.obey(self.now, Order::SecondLeg(order));
    }

    /// So many packet times, while each far end says a tone of this pitch, or nothing.
    fn run(&mut self, packets: usize, first_hz: f32, second_hz: f32) {
        for _ in 0..packets {
            for (hz, is_first) in [(first_hz, true), (second_hz, false)] {
                let far = if is_first { &mut self.first } else { &mut self.second };
                if !far.shut {
                    far.speak(hz);
                    far.deliver(self.now, &mut self.bridge, is_first);
                }
            }
            let until = self.now + STEP;
            while let Some(at) = self.bridge.poll_timeout().filter(|at| *at <= until) {
                self.bridge.handle_timeout(at.max(self.now));
            }
            self.now = until;
            while let Some(packet) = self.bridge.poll_transmit() {
                self.first.hear(packet.channel, packet.bytes);
            }
            while let Some(packet) = self.bridge.poll_second_leg_transmit() {
                self.second.hear(packet.channel, packet.bytes);
            }
        }
    }
}

impl Far {
    fn new(port: u16, formats: &str) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            law: if formats.starts_with('8') { Law::A } else { Law::Mu },
            sequence: 1,
            phase: 0.0,
            shut: false,
            heard: Vec::new(),
            events: 0,
            waiting: Vec::new(),
        }
    }

    fn speak(&mut self, hz: f32) {
        let pcm: Vec<i16> = (0..160)
            .map(|_| {
                self.phase = (self.phase + hz / 8_000.0).fract();
                ((self.phase * std::f32::consts::TAU).sin() * 8_000.0) as i16
            })
            .collect();
        self.waiting.clear();
        let header = Header {
            payload_type: if self.law == Law::A { 8 } else { 0 },
            marker: false,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 160,
            ssrc: self.address.port().into(),
        };
        header.write(&mut self.waiting);
        self.law.encode(&pcm, &mut self.waiting);
        self.sequence += 1;
    }

    fn deliver(&mut self, now: Instant, bridge: &mut Bridge, is_first: bool) {
        match is_first {
            true => bridge.handle_rtp(now, self.address, &mut self.waiting),
            false => bridge.handle_second_leg(now, Channel::Rtp, self.address, &mut self.waiting),
        }
    }

    fn hear(&mut self, channel: Channel, bytes: &[u8]) {
        if channel == Channel::Rtcp {
            return;
        }
        let packet = Packet::read(bytes).unwrap();
        if packet.payload_type == 101 {
            self.events += 1;
            return;
        }
        let mut pcm = Vec::new();
        self.law.decode(packet.payload, &mut pcm);
        self.heard.push(pcm);
    }
}

fn agreed(port: u16, formats: &str) -> Negotiated {
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    let map = "a=rtpmap:101 telephone-event/8000\r\n";
    let offer = format!("{head}m=audio {port} RTP/AVP {formats}\r\n{map}");
    let local = Local::new("127.0.0.1".parse().unwrap(), 5000, 1);
    sdp::answer(offer.as_bytes(), &local).unwrap().0
}

fn is_loud(pcm: &[i16]) -> bool {
    crate::audio::level::dbfs(pcm) > -40.0
}

/// Nearly all of it lies at this pitch.
fn is_tone(pcm: &[i16], hz: f32) -> bool {
    let (mut real, mut imaginary, mut energy) = (0.0, 0.0, 1.0);
    for (at, sample) in pcm.iter().enumerate() {
        let (sine, cosine) = (at as f32 * hz / 8_000.0 * std::f32::consts::TAU).sin_cos();
        let sample = f32::from(*sample);
        real += sample * cosine;
        imaginary += sample * sine;
        energy += sample * sample;
    }
    is_loud(pcm) && 2.0 * (real * real + imaginary * imaginary) / pcm.len() as f32 / energy > 0.9
}
