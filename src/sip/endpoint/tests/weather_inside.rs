//! Everything that can happen inside a call, at once and in any weather: each request gets exactly one final answer,
//! each leg is gone once, and nothing is left.

use std::collections::BTreeSet;

use super::weather::{check_events, check_final_answers};
use super::*;
use crate::sip::test_line::{Dice, Weather};
use crate::sip::test_phone::Phone;

const RUNS: u64 = 40;
const PHONES: usize = 5;
const EARLY: &[u8] = b"v=0 early";

#[test]
fn whatever_happens_inside_calls_is_answered_once_and_leaves_nothing() {
    let (mut statuses, mut events) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..RUNS {
        let mut line = busy_day(seed);
        check_final_answers(&line, seed);
        check_events(&line, seed);
        for (request, answers) in &line.answers {
            assert_eq!(answers.len(), 1, "seed {seed}: {request:?} got {answers:?}");
            statuses.extend(answers.iter().map(|status| (request.0.clone(), *status)));
        }
        assert_eq!(line.endpoint.counts(), Counts::default(), "seed {seed}");
        assert_eq!(line.endpoint.poll_timeout(), None, "seed {seed}");
        let words = line.take_events().into_iter();
        events.extend(words.filter_map(|event| event.split(' ').next().map(str::to_owned)));
    }
    for (method, status) in [
        ("PRACK", 200),
        ("PRACK", 481),
        ("UPDATE", 200),
        ("UPDATE", 487),
        ("UPDATE", 488),
        ("UPDATE", 500),
        ("REFER", 202),
        ("REFER", 491),
        ("REFER", 603),
        ("NOTIFY", 200),
        ("NOTIFY", 481),
        ("INFO", 200),
        ("INFO", 415),
        ("MESSAGE", 200),
    ] {
        assert!(
            statuses.contains(&(method.to_owned(), status)),
            "{method} {status}: {statuses:?}"
        );
    }
    for event in [
        "Digit",
        "MessageReceived",
        "TransferAsked",
        "TransferProgress",
        "Reoffered",
        "Failed",
    ] {
        assert!(events.contains(event), "{event}: {events:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_busy_day() {
    assert_eq!(busy_day(7).sent, busy_day(7).sent);
}

fn busy_day(seed: u64) -> TestLine {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let weather = Weather {
        lost_percent: dice.below(35),
        doubled_percent: dice.below(30),
        delay_ms_max: dice.below(600),
    };
    let mut line = TestLine::new().with_weather(weather, seed);
    line.application = Some(decide);
    for _ in 0..PHONES {
        let transport = [Transport::Udp, Transport::Udp, Transport::Tcp][dice.below(3) as usize];
        let habits = habits(&mut dice);
        line.add_phone(transport, habits);
    }
    for _ in 0..PHONES * 12 {
        let number = dice.below(PHONES as u64) as usize;
        let deed = dice.below(14);
        line.phone(number, |phone, now| act(phone, now, deed));
        line.run_for(Duration::from_millis(dice.below(2500)));
    }
    line.run_for(seconds(400));
    let legs: Vec<_> = line.events.iter().map(|(leg, _)| *leg).collect();
    legs.into_iter().for_each(|leg| line.command(leg, hang_up()));
    line.run_for(seconds(400));
    line
}

fn act(phone: &mut Phone, now: std::time::Instant, deed: u64) {
    let sipfrag = |status: &'static [u8]| Some(("message/sipfrag", status));
    match deed {
        _ if !phone.has_called() => phone.invite(now, (deed > 1).then_some(OFFER)),
        0 => phone.cancel(now),
        1 if phone.in_call => phone.reinvite(now, Some(OFFER)),
        2 => phone.update(now, &[("Supported", "timer"), ("Session-Expires", "90")], None),
        3 | 4 => phone.update(now, &[], Some(OFFER)),
        5 => phone.send(now, Method::Info, &[], Some(("application/dtmf", b"5"))),
        6 => phone.send(now, Method::Info, &[], Some(("text/html", b"5"))),
        7 => phone.send(now, Method::Message, &[], Some(("text/plain", b"hello"))),
        8 | 9 => phone.send(now, Method::Refer, &[("Refer-To", "<sip:bob@example.com>")], None),
        10 | 11 => {
            let headers = [("Event", "refer"), ("Subscription-State", "active")];
            let status: &[u8] = if deed == 10 {
                b"SIP/2.0 180 Ringing"
            } else {
                b"SIP/2.0 200 OK"
            };
            phone.send(now, Method::Notify, &headers, sipfrag(status));
        }
        12 if phone.responses.iter().any(|response| response.headers.contains("RSeq")) => phone.prack(now, None),
        13 if phone.in_call => phone.request(now, Method::Bye),
        _ => {}
    }
}

fn habits(dice: &mut Dice) -> Habits {
    let extra = [
        vec![],
        vec![("Supported", "100rel, timer")],
        vec![("Require", "100rel")],
        vec![("Supported", "timer"), ("Session-Expires", "90;refresher=uac")],
        vec![
            ("Supported", "timer, 100rel"),
            ("Session-Expires", "90;refresher=uas"),
            ("Allow", "INVITE, ACK, BYE, UPDATE"),
        ],
    ][dice.below(5) as usize]
        .clone();
    let moody = |method, dice: &mut Dice| -> (Method, Option<u16>, &'static [(&'static str, &'static str)]) {
        (
            method,
            [Some(202), Some(202), Some(491), None][dice.below(4) as usize],
            &[],
        )
    };
    Habits {
        acknowledges: dice.below(8) > 0,
        bye_status: [Some(200), Some(481), None][dice.below(3) as usize],
        pracks: dice.below(4) > 0,
        answers: [Method::Refer, Method::Notify, Method::Update, Method::Info]
            .map(|method| moody(method, dice))
            .to_vec(),
        extra,
        ..Habits::default()
    }
}

fn decide(event: &Event, dice: &mut Dice) -> Vec<(Duration, Command)> {
    let after = |ms: u64, command| (Duration::from_millis(ms), command);
    let (wait, mood) = (dice.below(2500), dice.below(6));
    let progress = Command::Progress { sdp: EARLY.to_vec() };
    match (event, mood) {
        (Event::Incoming(_), 0) => vec![after(0, Command::Ring), after(wait, refuse(486, "busy"))],
        (Event::Incoming(_), 1) => vec![after(0, progress)],
        (Event::Incoming(_), 2 | 3) => vec![after(0, Command::Ring), after(50, progress), after(wait, answer())],
        (Event::Incoming(_), _) => vec![after(wait / 4, answer())],
        (Event::Confirmed { .. }, _) => chatter(wait, dice),
        (Event::Reoffered { .. }, 0) => Vec::new(),
        (Event::Reoffered { .. }, 1) => vec![after(wait, refuse(488, "no_common_codec"))],
        (Event::Reoffered { .. }, _) => vec![after(wait, answer())],
        (Event::TransferAsked { .. }, 0) => Vec::new(),
        (Event::TransferAsked { .. }, 1) => vec![after(wait, Command::AnswerTransfer { accept: false })],
        (Event::TransferAsked { .. }, _) => vec![
            after(wait, Command::AnswerTransfer { accept: true }),
            after(wait + 500, Command::NotifyTransfer { status: 180 }),
            after(wait + 900, Command::NotifyTransfer { status: 200 }),
        ],
        _ => Vec::new(),
    }
}

fn chatter(wait: u64, dice: &mut Dice) -> Vec<(Duration, Command)> {
    let after = |ms: u64, command| (Duration::from_millis(ms), command);
    let duration = Duration::from_millis(100);
    vec![
        after(wait, Command::SendDigit { digit: '1', duration }),
        after(
            wait * 2,
            Command::SendMessage {
                text: "hello".to_owned(),
            },
        ),
        after(
            dice.below(9000),
            Command::Transfer {
                to: "sip:bob@example.com".to_owned(),
                replaces: None,
            },
        ),
    ]
}
