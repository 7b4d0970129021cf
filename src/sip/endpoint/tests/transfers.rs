//! Transfers we are asked for, and those we ask for.

use super::*;

const BOB: (&str, &str) = ("Refer-To", "<sip:bob@example.com>");

fn accept(accept: bool) -> Command {
    Command::AnswerTransfer { accept }
}

fn notify(status: u16) -> Command {
    Command::NotifyTransfer { status }
}

#[test]
fn a_refer_is_asked_of_the_application_and_its_decision_is_the_answer() {
    for (decision, status) in [(true, 202), (false, 603)] {
        let (mut line, leg) = talking(Transport::Udp, Habits::default());
        let refer_to = (
            "Refer-To",
            "<sip:bob@example.com?Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        );
        line.phone(0, |phone, now| {
            phone.send(now, Method::Refer, &[refer_to, ("Referred-By", "<sip:boss@h>")], None);
        });
        match &line.events.last().unwrap().1 {
            Event::TransferAsked {
                to,
                replaces,
                referred_by,
            } => {
                assert_eq!(to.as_str(), "sip:bob@example.com");
                assert_eq!(replaces.as_deref(), Some("c@h;to-tag=1;from-tag=2"));
                assert_eq!(referred_by.as_deref(), Some("<sip:boss@h>"));
            }
            other => panic!("{other:?}"),
        }
        line.run_for(SECOND);
        line.command(leg, accept(decision));
        line.command(leg, accept(decision));
        let answers: Vec<_> = line.phones[0]
            .answers_to(&Method::Refer)
            .iter()
            .map(|one| one.status)
            .collect();
        assert_eq!(answers, [status]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_refer_nobody_decides_is_declined() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.run_for(seconds(11));
    assert_eq!(line.phones[0].last().status, 603);
    line.command(leg, accept(true));
    assert_eq!(line.phones[0].last().status, 603);
}

#[test]
fn a_refer_that_names_not_exactly_one_target_or_comes_out_of_place_is_refused() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for (headers, status) in [
        (&[][..], 400),
        (&[BOB, BOB], 400),
        (&[("Refer-To", "<sip:a@h>, <sip:b@h>")], 400),
        (&[("Refer-To", "nonsense")], 400),
        (&[("Refer-To", "<mailto:bob@h>")], 400),
        (&[BOB, ("Require", "teleport")], 420),
    ] {
        line.phone(0, |phone, now| phone.send(now, Method::Refer, headers, None));
        assert_eq!(line.phones[0].last().status, status, "{headers:?}");
    }
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    assert_eq!(line.phones[0].last().status, 491);
    assert_eq!(line.take_events(), ["TransferAsked sip:bob@example.com"]);
}

#[test]
fn a_bye_answers_a_refer_that_waits() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].answers_to(&Method::Refer)[0].status, 487);
    expect_nothing_left(&mut line);
}

#[test]
fn a_notify_without_a_subscription_gets_481_and_one_of_another_package_489() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for (event, status) in [("refer", 481), ("presence", 489), ("", 489)] {
        line.phone(0, |phone, now| {
            phone.send(now, Method::Notify, &[("Event", event)], None)
        });
        assert_eq!(line.phones[0].last().status, status);
    }
    assert_eq!(line.phones[0].last().headers.first("Allow-Events"), Some("refer"));
    assert_eq!(line.take_events(), [""; 0]);
}

const FRAGMENT: &str = "message/sipfrag;version=2.0";

fn fragment(line: &mut TestLine, state: &str, status: &str) {
    let headers = [("Event", "refer"), ("Subscription-State", state)];
    let body = format!("SIP/2.0 {status}\r\n");
    line.phone(0, |phone, now| {
        phone.send(now, Method::Notify, &headers, Some((FRAGMENT, body.as_bytes())));
    });
}

fn transfer(to: &str) -> Command {
    Command::Transfer {
        to: to.to_owned(),
        replaces: None,
    }
}

fn asked_to_transfer(answer: Option<u16>, headers: &'static [(&'static str, &'static str)]) -> (TestLine, LegId) {
    let habits = Habits {
        answers: vec![(Method::Refer, answer, headers)],
        ..Habits::default()
    };
    let (mut line, leg) = talking(Transport::Udp, habits);
    line.command(leg, transfer("sip:bob@example.com"));
    (line, leg)
}

#[test]
fn a_transfer_we_do_is_told_step_by_step_to_who_asked_for_it() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    for round in 0..2 {
        line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
        line.command(leg, accept(true));
        line.command(leg, notify(180));
        line.command(leg, notify(if round == 0 { 200 } else { 486 }));
        line.command(leg, notify(100));
    }
    let told: Vec<_> = line.phones[0]
        .heard(&Method::Notify)
        .iter()
        .map(|request| {
            let header = |name| request.headers.first(name).unwrap().to_owned();
            let body = String::from_utf8_lossy(&request.body).trim().to_owned();
            assert_eq!(request.headers.content_type().as_deref(), Some("message/sipfrag"));
            assert!(request.headers.contains("Contact"));
            (header("Event"), header("Subscription-State"), body)
        })
        .collect();
    let second = format!(
        "refer;id={}",
        line.phones[0].answers_to(&Method::Refer)[1]
            .headers
            .cseq()
            .unwrap()
            .number
    );
    let (active, over) = ("active;expires=180", "terminated;reason=noresource");
    let expected = [
        ("refer", active, "SIP/2.0 100 Trying"),
        ("refer", active, "SIP/2.0 180 Ringing"),
        ("refer", over, "SIP/2.0 200 OK"),
        (&second, active, "SIP/2.0 100 Trying"),
        (&second, active, "SIP/2.0 180 Ringing"),
        (&second, over, "SIP/2.0 486 Busy Here"),
    ];
    assert_eq!(
        told,
        expected.map(|(event, state, body)| (event.to_owned(), state.to_owned(), body.to_owned()))
    );
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_transfer_whose_end_is_never_said_ends_with_408() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.command(leg, accept(true));
    line.run_for(seconds(181));
    let last = line.phones[0].heard(&Method::Notify)[1];
    assert_eq!(last.body, b"SIP/2.0 408 Request Timeout\r\n");
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    assert_eq!(line.take_events().len(), 2);
}

#[test]
fn who_wants_no_notify_or_refuses_one_gets_no_further() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    let silent = [BOB, ("Refer-Sub", "false"), ("Require", "norefersub")];
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &silent, None));
    line.command(leg, accept(true));
    assert_eq!(line.phones[0].last().headers.first("Refer-Sub"), Some("false"));
    line.command(leg, notify(200));
    assert!(line.phones[0].heard(&Method::Notify).is_empty());
    line.phones[0].habits.answers = vec![(Method::Notify, Some(481), &[])];
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.command(leg, accept(true));
    line.command(leg, notify(200));
    assert_eq!(line.phones[0].heard(&Method::Notify).len(), 1);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn the_progress_of_a_transfer_we_ask_for_is_told_and_its_end_once() {
    let (mut line, leg) = asked_to_transfer(Some(202), &[]);
    let refer = line.phones[0].heard(&Method::Refer)[0].clone();
    assert_eq!(refer.headers.first("Refer-To"), Some("<sip:bob@example.com>"));
    assert!(refer.headers.contains("Referred-By") && refer.headers.contains("Contact"));
    fragment(&mut line, "active;expires=60", "100 Trying");
    fragment(&mut line, "active;expires=60", "180 Ringing");
    line.command(leg, transfer("sip:carol@example.com"));
    fragment(&mut line, "active;expires=60", "200 OK");
    fragment(&mut line, "terminated;reason=noresource", "200 OK");
    assert_eq!(line.phones[0].last().status, 200);
    assert_eq!(
        line.take_events(),
        [100, 100, 180, 200].map(|status| format!("TransferProgress {status}"))
    );
    assert_eq!(line.phones[0].heard(&Method::Refer).len(), 1);
    fragment(&mut line, "terminated", "200 OK");
    assert_eq!(line.phones[0].last().status, 481);
    line.command(leg, transfer("100"));
    let second = line.phones[0].heard(&Method::Refer)[1].clone();
    assert_eq!(second.headers.first("Refer-To"), Some("<sip:100@192.0.2.10:40000>"));
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_transfer_that_is_refused_silent_or_forgotten_ends_all_the_same() {
    for (answer, headers, expected) in [
        (Some(603), &[][..], &["TransferProgress 603"][..]),
        (Some(202), &[("Refer-Sub", "false")], &["TransferProgress 202"]),
        (Some(202), &[], &["TransferProgress 100", "TransferProgress 408"]),
        (None, &[], &["TransferProgress 408"]),
    ] {
        let (mut line, leg) = asked_to_transfer(answer, headers);
        line.run_for(seconds(181));
        assert_eq!(line.take_events(), expected, "{answer:?}");
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_notify_may_come_before_the_answer_to_the_refer_and_after_the_end() {
    let (mut line, leg) = asked_to_transfer(None, &[]);
    fragment(&mut line, "active", "100 Trying");
    assert_eq!(line.phones[0].last().status, 200);
    line.phones[0].habits.answers.clear();
    line.run_for(SECOND);
    fragment(&mut line, "terminated;reason=timeout", "183 Session Progress");
    assert_eq!(line.take_events(), ["TransferProgress 100", "TransferProgress 408"]);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_peer_that_hangs_up_in_the_middle_of_a_transfer_just_hangs_up() {
    let (mut line, _) = asked_to_transfer(Some(202), &[]);
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    fragment(&mut line, "terminated", "200 OK");
    assert_eq!(line.phones[0].last().status, 481);
    assert_eq!(line.take_events(), ["TransferProgress 100", "ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn an_attended_transfer_names_the_other_call_as_its_peer_knows_it() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(1, |phone, now| phone.invite(now, Some(OFFER)));
    let other = line.leg();
    line.command(other, answer());
    let ours = line.phones[1].last().headers.to().unwrap().tag().unwrap().to_owned();
    let to = String::new();
    line.command(
        leg,
        Command::Transfer {
            to,
            replaces: Some(other),
        },
    );
    let refer = line.phones[0].heard(&Method::Refer)[0];
    let expected = format!("<sip:p1@192.0.2.11:40000?Replaces=call-p1%3Bto-tag%3Dp1%3Bfrom-tag%3D{ours}>");
    assert_eq!(refer.headers.first("Refer-To"), Some(expected.as_str()));
}

#[test]
fn a_peer_that_says_it_takes_no_refer_is_not_asked() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| {
        phone.update(now, &[("Allow", "INVITE, ACK, BYE, UPDATE")], None)
    });
    line.command(leg, transfer("100"));
    assert_eq!(line.take_events(), ["TransferProgress 405"]);
    assert!(line.phones[0].heard(&Method::Refer).is_empty());
    line.phone(0, |phone, now| {
        phone.update(now, &[("Allow", "INVITE, ACK, BYE, REFER")], None)
    });
    line.command(leg, transfer("100"));
    assert_eq!(line.phones[0].heard(&Method::Refer).len(), 1);
}

#[test]
fn a_transfer_to_nobody_is_told_as_400_and_not_sent() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.command(leg, transfer(""));
    line.command(leg, transfer("mailto:bob@example.com"));
    let gone = Some(LegId(99));
    line.command(
        leg,
        Command::Transfer {
            to: "100".into(),
            replaces: gone,
        },
    );
    assert_eq!(line.take_events(), ["TransferProgress 400"; 3]);
    assert!(line.phones[0].requests.is_empty());
}
