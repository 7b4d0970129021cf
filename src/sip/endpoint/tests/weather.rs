//! Whatever the network does: every INVITE gets exactly one final answer, every leg is gone exactly once, nothing is
//! left, and every message says to another reader what it says to ours.

use std::collections::BTreeSet;

use super::*;
use crate::sip::proof::Algorithm;
use crate::sip::second_reader;
use crate::sip::test_line::{Dice, Weather};

const RUNS: u64 = 100;
/// Of these runs another reader reads every message; it is slow in a build that is not optimised.
const RUNS_WITNESSED: u64 = 10;
const PHONES: usize = 6;

#[test]
fn in_any_weather_calls_end_once_and_leave_nothing() {
    let mut finals = BTreeSet::new();
    let mut endings = BTreeSet::new();
    for seed in 0..RUNS {
        let mut line = stormy_day(seed);
        check_final_answers(&line, seed);
        check_events(&line, seed);
        assert_eq!(line.endpoint.counts(), Counts::default(), "seed {seed}");
        assert_eq!(line.endpoint.poll_timeout(), None, "seed {seed}");
        finals.extend(line.finals.values().flatten().copied());
        endings.extend(
            line.take_events()
                .into_iter()
                .filter(|event| !event.starts_with("Incoming")),
        );
    }
    let expected = [200, 401, 403, 481, 486, 487, 488, 491, 500, 503];
    assert!(expected.iter().all(|status| finals.contains(status)), "{finals:?}");
    assert!(endings.len() >= 8, "{endings:?}");
}

#[test]
fn the_same_seed_makes_the_same_day() {
    let (one, other) = (stormy_day(42), stormy_day(42));
    assert_eq!(one.sent, other.sent);
}

#[test]
fn damaged_messages_hurt_nobody() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, answer());
    line.phones[0].reinvite(line.now, Some(OFFER));
    line.phones[0].request(line.now, Method::Info);
    let mut whole = vec![line.phones[0].last_ack()];
    whole.extend(std::iter::from_fn(|| line.phones[0].poll_output()));
    let (flow, mut dice) = (line.phones[0].flow, Dice(5));
    for _ in 0..4_000 {
        let mut bytes = whole[dice.below(whole.len() as u64) as usize].clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.below(256) as u8;
        }
        line.endpoint.handle_datagram(line.now, flow, &bytes);
        while line.endpoint.poll_output().is_some() {}
    }
    line.command(leg, refuse(488, "bad_sdp"));
    line.command(leg, hang_up());
    for extra in 0..10_000 {
        line.endpoint.command(line.now, LegId(extra), hang_up());
    }
    expect_nothing_left(&mut line);
}

/// Six phones with different habits call at odd moments, change their minds, hold, cancel and hang up.
fn stormy_day(seed: u64) -> TestLine {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let weather = Weather {
        lost_percent: dice.below(40),
        doubled_percent: dice.below(30),
        delay_ms_max: dice.below(800),
    };
    let mut line = TestLine::with_peers(peers()).with_weather(weather, seed);
    line.application = Some(decide);
    line.witness = (seed < RUNS_WITNESSED).then_some(second_reader::agree);
    for _ in 0..PHONES {
        let transport = if dice.below(4) == 0 {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let habits = habits(&mut dice);
        line.add_phone(transport, habits);
    }
    for _ in 0..PHONES * 5 {
        let number = dice.below(PHONES as u64) as usize;
        let act = dice.below(8);
        line.phone(number, |phone, now| match act {
            0..=3 if !phone.has_called() => phone.invite(now, (act > 0).then_some(OFFER)),
            2 | 3 => phone.request(now, Method::Options),
            4 => phone.cancel(now),
            5 | 6 if phone.in_call => phone.reinvite(now, (act == 5).then_some(OFFER)),
            7 if phone.in_call => phone.request(now, Method::Bye),
            _ => {}
        });
        line.run_for(Duration::from_millis(dice.below(4000)));
    }
    line.run_for(seconds(300));
    let legs: Vec<_> = line.events.iter().map(|(leg, _)| *leg).collect();
    legs.into_iter().for_each(|leg| line.command(leg, hang_up()));
    line.run_for(seconds(300));
    line
}

fn peers() -> Vec<crate::sip::Peer> {
    let credentials = Some(crate::sip::Credentials {
        username: "alice".into(),
        password: "wonderland".into(),
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
    });
    vec![
        peer("lan", &["192.0.2.12/30"]),
        crate::sip::Peer {
            credentials,
            ..peer("pbx", &["192.0.2.0/24"])
        },
    ]
}

fn habits(dice: &mut Dice) -> Habits {
    let password = if dice.below(8) == 0 { "guess" } else { "wonderland" };
    Habits {
        rport: dice.below(2) == 0,
        acknowledges: dice.below(6) > 0,
        bye_status: [Some(200), Some(200), Some(481), None][dice.below(4) as usize],
        login: Some((
            "alice",
            password,
            [Algorithm::Md5, Algorithm::Sha256][dice.below(2) as usize],
        )),
        ..Habits::default()
    }
}

/// An application with moods: it rings, answers, refuses, hangs up, or forgets the call.
fn decide(event: &Event, dice: &mut Dice) -> Vec<(Duration, Command)> {
    let after = |ms: u64, command| (Duration::from_millis(ms), command);
    let (wait, mood) = (dice.below(3000), dice.below(10));
    match (event, mood) {
        (Event::Incoming(_), 0) => Vec::new(),
        (Event::Incoming(_), 1 | 2) => vec![after(wait, refuse(486, "busy"))],
        (Event::Incoming(_), 3) => vec![after(wait, hang_up())],
        (Event::Incoming(_), 4 | 5) => vec![after(wait, answer()), after(wait + dice.below(5000), hang_up())],
        (Event::Incoming(_), _) => vec![after(0, Command::Ring), after(wait, answer())],
        (Event::Reoffered { .. }, 0) => Vec::new(),
        (Event::Reoffered { .. }, 1) => vec![after(wait, refuse(488, "no_common_codec"))],
        (Event::Reoffered { .. }, 2) => vec![after(wait, hang_up())],
        (Event::Reoffered { .. }, _) => vec![after(wait / 10, answer())],
        _ => Vec::new(),
    }
}

/// Every INVITE that arrived got one final answer, however often it was sent, and no phone ever saw two.
pub(super) fn check_final_answers(line: &TestLine, seed: u64) {
    for (branch, finals) in &line.finals {
        assert_eq!(finals.len(), 1, "seed {seed}: {branch} got {finals:?}");
    }
    for (branch, finals) in line.phones.iter().flat_map(|phone| &phone.finals) {
        assert!(finals.len() <= 1, "seed {seed}: {branch} got {finals:?}");
    }
}

pub(super) fn check_events(line: &TestLine, seed: u64) {
    let mut legs: Vec<_> = line.events.iter().map(|(leg, _)| *leg).collect();
    legs.sort_unstable();
    legs.dedup();
    for leg in legs {
        let events: Vec<_> = line
            .events
            .iter()
            .filter(|(of, _)| *of == leg)
            .map(|(_, event)| event)
            .collect();
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(
            count(|event| matches!(event, Event::Incoming(_))),
            1,
            "seed {seed}: {events:?}"
        );
        assert_eq!(
            count(|event| matches!(event, Event::Gone)),
            1,
            "seed {seed}: {events:?}"
        );
        assert!(
            matches!(events.first(), Some(Event::Incoming(_))),
            "seed {seed}: {events:?}"
        );
        assert!(matches!(events.last(), Some(Event::Gone)), "seed {seed}: {events:?}");
    }
}
