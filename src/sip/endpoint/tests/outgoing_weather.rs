//! Whatever the network does to calls we place: each ends with exactly one answer or rejection, unless we hung up before,
//! and one Gone; every 2xx of a phone is acknowledged and every phone but one is hung up on; nothing is left.

use std::collections::BTreeSet;

use super::*;
use crate::sip::test_line::{Dice, Weather};

const RUNS: u64 = 60;
const CALLS: usize = 5;

#[test]
fn in_any_weather_placed_calls_end_once_and_leave_nothing() {
    let mut endings = BTreeSet::new();
    for seed in 0..RUNS {
        let mut line = stormy_day(seed);
        check_events(&line, seed);
        check_phones(&line, seed);
        assert_eq!(line.endpoint.counts(), Counts::default(), "seed {seed}");
        assert_eq!(line.endpoint.poll_timeout(), None, "seed {seed}");
        endings.extend(line.take_events());
    }
    for expected in [
        "Answered",
        "Rejected 408",
        "Rejected 486",
        "Reanswered",
        "ByeReceived",
        "Progressed",
    ] {
        assert!(
            endings.iter().any(|event| event.starts_with(expected)),
            "{expected}: {endings:?}"
        );
    }
}

/// Five phones are called at odd moments; some calls are changed, given up or hung up on from either side.
fn stormy_day(seed: u64) -> TestLine {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let weather = Weather {
        lost_percent: dice.below(30),
        doubled_percent: dice.below(30),
        delay_ms_max: dice.below(500),
    };
    let peers = (0..CALLS).map(|number| {
        let mut called = called_peer();
        called.name = number.to_string();
        called.uplink.as_mut().unwrap().address = Uri::read(&format!("sip:192.0.2.{}:40000", 10 + number)).unwrap();
        called
    });
    let mut line = TestLine::with_peers(peers.collect()).with_weather(weather, seed);
    line.application = Some(decide);
    let mut legs = Vec::new();
    for number in 0..CALLS {
        let habits = Habits {
            manners: manners(&mut dice),
            ..Habits::default()
        };
        line.add_phone(Transport::Udp, habits);
        let placed = line.place(Outgoing {
            trunk: number.to_string(),
            ring_max: seconds(5 + dice.below(30)),
            ..outgoing()
        });
        legs.push(placed.unwrap());
        line.run_for(Duration::from_millis(dice.below(3000)));
    }
    for _ in 0..CALLS * 2 {
        let number = dice.below(CALLS as u64) as usize;
        match dice.below(3) {
            0 => line.command(legs[number], offer()),
            1 if line.phones[number].in_call => line.phone(number, |phone, now| phone.reinvite(now, Some(OFFER))),
            2 if dice.below(3) == 0 && line.phones[number].in_call => {
                line.phone(number, |phone, now| phone.request(now, Method::Bye));
            }
            _ => {}
        }
        line.run_for(Duration::from_millis(dice.below(4000)));
    }
    line.run_for(seconds(120));
    legs.into_iter().for_each(|leg| line.command(leg, hang_up()));
    line.run_for(seconds(300));
    line
}

fn manners(dice: &mut Dice) -> Manners {
    let challenge = (
        401,
        "WWW-Authenticate",
        "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"",
    );
    Manners {
        early: dice.below(3) == 0,
        decides_after: (dice.below(6) > 0).then(|| Duration::from_millis(dice.below(9000))),
        refuses: (dice.below(6) == 0).then(|| (486, Vec::new())),
        forks: 1 + dice.below(3) as usize,
        challenge: (dice.below(3) == 0).then_some(challenge),
        heeds_cancel: dice.below(3) > 0,
        reinvites: match dice.below(4) {
            0 => [491, 200].into(),
            1 => [488].into(),
            _ => [].into(),
        },
        ..Manners::default()
    }
}

/// An application that offers at once, answers re-offers, and now and then hangs up.
fn decide(event: &Event, dice: &mut Dice) -> Vec<(Duration, Command)> {
    let after = |ms: u64, command| (Duration::from_millis(ms), command);
    let (wait, mood) = (dice.below(9000), dice.below(6));
    match (event, mood) {
        (Event::Located { .. }, 0) => vec![after(0, offer()), after(wait, hang_up())],
        (Event::Located { .. }, _) => vec![after(0, offer())],
        (Event::Answered { .. }, 0) => vec![after(wait, hang_up())],
        (Event::Reoffered { .. }, _) => vec![after(wait / 20, answer())],
        _ => Vec::new(),
    }
}

fn check_events(line: &TestLine, seed: u64) {
    let legs: BTreeSet<_> = line.events.iter().map(|(leg, _)| *leg).collect();
    assert_eq!(legs.len(), CALLS, "seed {seed}");
    for leg in legs {
        let events: Vec<_> = line
            .events
            .iter()
            .filter(|(of, _)| *of == leg)
            .map(|(_, event)| event)
            .collect();
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        let decided = count(|event| matches!(event, Event::Answered { .. } | Event::Rejected { .. }));
        assert!(decided <= 1, "seed {seed}: {events:?}");
        assert_eq!(
            count(|event| matches!(event, Event::Gone)),
            1,
            "seed {seed}: {events:?}"
        );
        assert!(matches!(events.last(), Some(Event::Gone)), "seed {seed}: {events:?}");
        // Only who hangs up while it rings hears neither.
        let rings_on = decided == 0;
        let ended_by_us = !events
            .iter()
            .any(|event| matches!(event, Event::ByeReceived { .. } | Event::Failed { .. }));
        assert!(!rings_on || ended_by_us, "seed {seed}: {events:?}");
    }
}

/// What a phone sent as a 2xx was acknowledged, if its 2xx could reach us at all, and no phone is left in a call.
fn check_phones(line: &TestLine, seed: u64) {
    for phone in &line.phones {
        let called = &phone.called;
        let answered = called.answered.iter().filter(|(_, number)| *number <= 2);
        for (tag, number) in answered {
            let known = called.acknowledged.contains(&(tag.clone(), *number));
            let over = called.hung_up.contains(tag);
            assert!(known || over, "seed {seed}: {tag} {number} was never acknowledged");
        }
        let unwanted = called.answered.iter().map(|(tag, _)| tag).collect::<BTreeSet<_>>();
        let kept = unwanted.iter().filter(|tag| !called.hung_up.contains(**tag)).count();
        assert!(
            kept <= 1,
            "seed {seed}: {unwanted:?} answered, {:?} were hung up on",
            called.hung_up
        );
    }
}
