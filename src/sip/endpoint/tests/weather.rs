//! Whatever the network does: every INVITE gets exactly one final answer, every leg is gone exactly once, nothing is left.

use super::*;
use crate::sip::proof::Algorithm;
use crate::sip::test_line::{Dice, Weather, peer};

const RUNS: u64 = 300;
const PHONES: usize = 6;

#[test]
fn in_any_weather_calls_end_once_and_leave_nothing() {
    for seed in 0..RUNS {
        let line = stormy_day(seed);
        check_final_answers(&line, seed);
        check_events(&line, seed);
        assert_eq!(line.endpoint.counts(), Counts::default(), "seed {seed}");
        assert_eq!(line.endpoint.poll_timeout(), None, "seed {seed}");
    }
}

#[test]
fn the_same_seed_makes_the_same_day() {
    let (one, other) = (stormy_day(42), stormy_day(42));
    assert_eq!(one.sent, other.sent);
}

/// Six phones with different habits call at odd moments, change their minds, hold, cancel and hang up.
fn stormy_day(seed: u64) -> TestLine {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let weather =
        Weather { lost_percent: dice.below(40), doubled_percent: dice.below(30), delay_ms_max: dice.below(800) };
    let mut line = TestLine::with_peers(peers()).with_weather(weather, seed);
    line.application = Some(decide);
    for _ in 0..PHONES {
        let transport = if dice.below(4) == 0 { Transport::Tcp } else { Transport::Udp };
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
    let credentials = Some(crate::sip::Credentials { username: "alice".into(), password: "wonderland".into() });
    vec![peer("lan", &["192.0.2.0/28"]), crate::sip::Peer { credentials, ..peer("pbx", &["192.0.2.0/24"]) }]
}

fn habits(dice: &mut Dice) -> Habits {
    Habits {
        rport: dice.below(2) == 0,
        acknowledges: dice.below(6) > 0,
        bye_status: [Some(200), Some(200), Some(481), None][dice.below(4) as usize],
        login: Some(("alice", "wonderland", [Algorithm::Md5, Algorithm::Sha256][dice.below(2) as usize])),
        ..Habits::default()
    }
}

/// An application with moods: it rings, answers, refuses, hangs up, or forgets the call.
fn decide(event: &Event, dice: &mut Dice) -> Vec<(Duration, Command)> {
    let mut after = |ms: u64, command| (Duration::from_millis(ms), command);
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

/// What the phones saw: never two different final answers to one INVITE, and none at all only when the network ate the INVITE
/// for 32 seconds or every copy of the answer.
fn check_final_answers(line: &TestLine, seed: u64) {
    for phone in &line.phones {
        for (branch, finals) in &phone.finals {
            assert!(finals.len() <= 1, "seed {seed}: {branch} got {finals:?}");
            assert!(finals.len() == 1 || line.weather.lost_percent > 20, "seed {seed}: {branch} got nothing");
        }
    }
}

fn check_events(line: &TestLine, seed: u64) {
    let mut legs: Vec<_> = line.events.iter().map(|(leg, _)| *leg).collect();
    legs.sort_unstable();
    legs.dedup();
    for leg in legs {
        let events: Vec<_> = line.events.iter().filter(|(of, _)| *of == leg).map(|(_, event)| event).collect();
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Incoming(_))), 1, "seed {seed}: {events:?}");
        assert_eq!(count(|event| matches!(event, Event::Gone)), 1, "seed {seed}: {events:?}");
        assert!(matches!(events.first(), Some(Event::Incoming(_))), "seed {seed}: {events:?}");
        assert!(matches!(events.last(), Some(Event::Gone)), "seed {seed}: {events:?}");
    }
}
