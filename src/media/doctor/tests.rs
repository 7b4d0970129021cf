//! Each ailment appears within three seconds, is told once, and clears.

use super::*;
use crate::{
    audio::Codec,
    sdp::{Direction, Format, Security},
};

/// A call whose packets come and go every 20 ms, as told.
struct Patient {
    doctor: Doctor,
    events: Events,
    now: Instant,
    start: Instant,
    /// What each packet time brings.
    comes: Comes,
    sends: bool,
    unsent: bool,
    refused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Comes {
    Speech,
    DigitalSilence,
    Nothing,
    Useless(Useless),
}

#[test]
fn a_healthy_call_is_told_nothing() {
    let mut patient = Patient::new();
    patient.run(600_000);
    assert_eq!(patient.told(), []);
    assert_eq!(patient.doctor.sums().seen().count(), 0);
}

#[test]
fn nothing_that_comes_from_the_beginning_on() {
    let mut patient = Patient::new();
    patient.comes = Comes::Nothing;
    patient.appears_and_clears(Ailment::NoPackets);
}

#[test]
fn packets_that_come_no_more() {
    let mut patient = Patient::healthy();
    patient.comes = Comes::Nothing;
    patient.appears_and_clears(Ailment::PacketsStopped);
}

#[test]
fn packets_that_are_no_use() {
    for (useless, ailment) in [
        (Useless::Unverified, Ailment::SrtpFailures),
        (Useless::Foreign, Ailment::WrongSource),
        (Useless::Unexpected, Ailment::WrongPayloadType),
    ] {
        for mut patient in [Patient::new(), Patient::healthy()] {
            patient.comes = Comes::Useless(useless);
            patient.appears_and_clears(ailment);
        }
    }
}

#[test]
fn packets_with_nothing_in_them() {
    let mut patient = Patient::new();
    patient.comes = Comes::DigitalSilence;
    patient.appears_and_clears(Ailment::AllSilence);
}

#[test]
fn our_packets_refused() {
    let mut patient = Patient::healthy();
    patient.refused = true;
    patient.run(3_000);
    assert_eq!(patient.told(), [(Ailment::Refused, None)]);
    assert!(patient.doctor.is_refused());
    patient.refused = false;
    patient.run(3_600);
    assert!(matches!(patient.told()[..], [(Ailment::Refused, Some(_))]));
}

#[test]
fn our_packets_refused_by_a_host_that_says_so_once_a_second() {
    let mut patient = Patient::healthy();
    for _ in 0..3 {
        patient.doctor.refuse(patient.now);
        patient.run(1_000);
    }
    assert_eq!(patient.told(), [(Ailment::Refused, None)]);
}

#[test]
fn a_refusal_or_two_while_a_phone_opens_its_port_is_nothing() {
    let mut patient = Patient::healthy();
    for _ in 0..5 {
        patient.doctor.refuse(patient.now);
        patient.run(20);
    }
    patient.run(20_000);
    assert_eq!(patient.told(), []);
}

#[test]
fn nothing_of_ours_that_leaves() {
    let mut patient = Patient::healthy();
    patient.sends = false;
    patient.run(3_000);
    assert_eq!(patient.told(), [(Ailment::NotSending, None)]);
    patient.sends = true;
    patient.run(500);
    assert!(matches!(patient.told()[..], [(Ailment::NotSending, Some(_))]));
}

#[test]
fn nothing_of_ours_that_the_network_takes() {
    let mut patient = Patient::healthy();
    patient.unsent = true;
    patient.run(3_000);
    assert_eq!(patient.told(), [(Ailment::NotSending, None)]);
    patient.unsent = false;
    patient.run(500);
    assert!(matches!(patient.told()[..], [(Ailment::NotSending, Some(_))]));
}

#[test]
fn one_word_at_a_time_and_what_is_seen_before_what_is_missing() {
    let mut patient = Patient::healthy();
    patient.comes = Comes::Nothing;
    patient.run(5_000);
    patient.comes = Comes::Useless(Useless::Foreign);
    patient.run(1_000);
    let told: Vec<(Ailment, bool)> = patient
        .told()
        .iter()
        .map(|(word, lasted)| (*word, lasted.is_some()))
        .collect();
    let expected = [
        (Ailment::PacketsStopped, false),
        (Ailment::PacketsStopped, true),
        (Ailment::WrongSource, false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn stray_packets_from_elsewhere_beside_good_ones_are_nothing() {
    let mut patient = Patient::healthy();
    for _ in 0..500 {
        patient.doctor.turn_away(patient.now, Useless::Foreign);
        patient.run(20);
    }
    assert_eq!(patient.told(), []);
}

#[test]
fn hold_is_no_ailment_and_clears_what_there_was() {
    let mut patient = Patient::healthy();
    patient.comes = Comes::Nothing;
    patient.run(3_000);
    for direction in [Direction::RecvOnly, Direction::SendOnly, Direction::Inactive] {
        patient.apply(direction);
        patient.sends = direction.sends();
        patient.run(60_000);
    }
    let told = patient.told();
    assert!(matches!(
        told[..],
        [(Ailment::PacketsStopped, None), (Ailment::PacketsStopped, Some(_))]
    ));
    patient.apply(Direction::SendRecv);
    patient.sends = true;
    patient.run(1_900);
    assert_eq!(patient.told(), []);
    patient.run(1_000);
    assert_eq!(patient.told(), [(Ailment::PacketsStopped, None)]);
}

#[test]
fn before_the_answer_nothing_need_come() {
    let mut patient = Patient::new();
    patient.comes = Comes::Nothing;
    patient.doctor.set_early(patient.now, true);
    patient.run(20_000);
    assert_eq!(patient.told(), []);
    patient.doctor.set_early(patient.now, false);
    patient.run(1_900);
    assert_eq!(patient.told(), []);
    patient.run(1_000);
    assert_eq!(patient.told(), [(Ailment::NoPackets, None)]);
}

#[test]
fn a_sender_that_announced_silence_may_be_silent_for_longer() {
    let mut patient = Patient::healthy();
    patient.doctor.receive(patient.now, true);
    patient.comes = Comes::Nothing;
    patient.run(14_000);
    assert_eq!(patient.told(), []);
    patient.run(2_000);
    assert_eq!(patient.told(), [(Ailment::PacketsStopped, None)]);
}

#[test]
fn a_microphone_switched_off_later_is_told_only_after_a_while() {
    let mut patient = Patient::healthy();
    patient.comes = Comes::DigitalSilence;
    patient.run(29_000);
    assert_eq!(patient.told(), []);
    patient.run(2_000);
    assert_eq!(patient.told(), [(Ailment::AllSilence, None)]);
}

#[test]
fn a_worker_that_was_late_blames_nobody() {
    let mut patient = Patient::healthy();
    patient.now += Duration::from_secs(8);
    patient.doctor.handle_timeout(patient.now, &mut patient.events);
    patient.run(10_000);
    assert_eq!(patient.told(), []);
}

#[test]
fn another_address_begins_afresh() {
    let mut patient = Patient::healthy();
    patient.comes = Comes::Nothing;
    patient.run(3_000);
    let moved = Negotiated {
        remote_rtp: "192.0.2.9:7000".parse().unwrap(),
        ..terms(Direction::SendRecv)
    };
    patient.doctor.apply(patient.now, &moved);
    patient.run(3_000);
    let told: Vec<Ailment> = patient.told().iter().map(|(ailment, _)| *ailment).collect();
    assert_eq!(
        told,
        [Ailment::PacketsStopped, Ailment::PacketsStopped, Ailment::NoPackets]
    );
}

#[test]
fn the_record_knows_what_was_wrong_how_often_and_how_long() {
    let mut patient = Patient::healthy();
    for _ in 0..2 {
        patient.comes = Comes::Nothing;
        patient.run(10_000);
        patient.comes = Comes::Speech;
        patient.run(10_000);
    }
    patient.comes = Comes::Useless(Useless::Unverified);
    patient.run(10_000);
    patient.doctor.close(patient.now);
    let sums = patient.doctor.sums();
    let seen: Vec<_> = sums
        .seen()
        .map(|(word, times, lasted)| (word.word(), times, lasted.as_secs()))
        .collect();
    assert_eq!(seen, [("srtp_failures", 1, 8), ("packets_stopped", 2, 17)]);
}

#[test]
fn words_are_one_each() {
    let mut words: Vec<&str> = Ailment::ALL.iter().map(|ailment| ailment.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Ailment::ALL.len());
    for (index, ailment) in Ailment::ALL.into_iter().enumerate() {
        assert_eq!((ailment as usize, ailment.advice().is_empty()), (index, false));
    }
}

impl Patient {
    fn new() -> Self {
        let now = Instant::now();
        let mut patient = Self {
            doctor: Doctor::new(),
            events: Events::default(),
            now,
            start: now,
            comes: Comes::Speech,
            sends: true,
            unsent: false,
            refused: false,
        };
        patient.apply(Direction::SendRecv);
        patient
    }

    /// One that has talked for a minute.
    fn healthy() -> Self {
        let mut patient = Self::new();
        patient.run(60_000);
        assert_eq!(patient.told(), []);
        patient
    }

    fn apply(&mut self, direction: Direction) {
        self.doctor.apply(self.now, &terms(direction));
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            self.now += Duration::from_millis(20);
            if self.sends {
                self.doctor.send(self.now);
            }
            if self.unsent {
                self.doctor.unsend();
            }
            if self.refused {
                self.doctor.refuse(self.now);
            }
            self.bring();
            self.doctor.handle_timeout(self.now, &mut self.events);
        }
    }

    fn bring(&mut self) {
        match self.comes {
            Comes::Nothing => {}
            Comes::Useless(why) => self.doctor.turn_away(self.now, why),
            Comes::Speech => {
                self.doctor.receive(self.now, false);
                self.doctor.listen(&[0, 30, -30]);
            }
            Comes::DigitalSilence => {
                self.doctor.receive(self.now, false);
                self.doctor.listen(&[8, -8, 0]);
            }
        }
    }

    /// Within three seconds, once, and over soon after speech comes.
    fn appears_and_clears(&mut self, ailment: Ailment) {
        self.run(3_000);
        assert_eq!(self.told(), [(ailment, None)], "after {:?}", self.now - self.start);
        self.run(100_000);
        assert_eq!(self.told(), []);
        self.comes = Comes::Speech;
        self.run(1_000);
        let told = self.told();
        assert_eq!(told.len(), 1);
        assert!(told[0].0 == ailment && told[0].1.is_some_and(|lasted| lasted.as_secs() >= 100));
        self.run(100_000);
        assert_eq!(self.told(), []);
    }

    fn told(&mut self) -> Vec<(Ailment, Option<Duration>)> {
        let events = std::iter::from_fn(|| self.events.pop());
        events
            .filter_map(|event| match event {
                Event::Diagnosis(diagnosis) => Some((diagnosis.ailment, diagnosis.lasted)),
                _ => None,
            })
            .collect()
    }
}

fn terms(direction: Direction) -> Negotiated {
    Negotiated {
        send: Format::plain(Codec::Pcmu),
        receive: vec![Format::plain(Codec::Pcmu)],
        events: Vec::new(),
        event_send: None,
        comfort_noise: None,
        remote_rtp: "192.0.2.1:4000".parse().unwrap(),
        remote_rtcp: "192.0.2.1:4001".parse().unwrap(),
        rtcp_mux: false,
        ptime_ms: 20,
        direction,
        security: Security::None,
        profile: crate::sdp::Profile::default(),
        voip_metrics: false,
    }
}
