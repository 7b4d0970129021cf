//! Ringing and media before the answer, reliably and not.

use super::*;
use crate::sip::endpoint::Output;

const EARLY: &[u8] = b"v=0 early";

fn progress() -> Command {
    Command::Progress { sdp: EARLY.to_vec() }
}

fn caller(extra: &[(&'static str, &'static str)]) -> Habits {
    Habits {
        extra: extra.to_vec(),
        ..Habits::default()
    }
}

fn silent(extra: &[(&'static str, &'static str)]) -> Habits {
    Habits {
        pracks: false,
        ..caller(extra)
    }
}

#[test]
fn an_unreliable_183_is_repeated_by_the_200_whatever_the_application_says_then() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, progress());
    line.command(leg, progress());
    let early = line.phones[0].last();
    assert_eq!((early.status, early.body.as_slice()), (183, EARLY));
    assert!(!early.headers.contains("RSeq") && !early.headers.contains("Require"));
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses(), [100, 183, 200]);
    assert_eq!(line.phones[0].last().body, EARLY);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_caller_that_can_acknowledge_gets_its_media_reliably_and_a_200_without() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = ringing(transport, caller(&[("Supported", "100rel")]));
        line.command(leg, Command::Ring);
        line.command(leg, progress());
        line.command(leg, answer());
        assert_eq!(line.phones[0].statuses(), [100, 180, 183, 200, 200]);
        let [_, ringing, early, prack, ok] = &line.phones[0].responses[..] else {
            panic!()
        };
        assert!(!ringing.headers.contains("RSeq"));
        assert_eq!(early.headers.first("Require"), Some("100rel"));
        assert_eq!(prack.headers.cseq().unwrap().method, Method::Prack);
        assert!(ok.body.is_empty() && ok.headers.cseq().unwrap().method == Method::Invite);
        assert_eq!(line.take_events()[1..], ["Confirmed"]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_caller_that_insists_gets_180_reliably_too_and_the_next_waits_for_its_prack() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Require", "100rel")]));
    line.command(leg, Command::Ring);
    line.command(leg, progress());
    assert_eq!(line.phones[0].statuses(), [100, 180]);
    line.phone(0, |phone, now| phone.prack(now, None));
    assert_eq!(line.phones[0].statuses(), [100, 180, 200, 183]);
    let numbers: Vec<u32> = line.phones[0]
        .responses
        .iter()
        .filter_map(|response| response.headers.first("RSeq")?.parse().ok())
        .collect();
    assert_eq!(numbers[1], numbers[0] + 1);
}

#[test]
fn a_caller_that_insists_and_offers_nothing_hears_100_until_the_answer() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, caller(&[("Require", "100rel")]));
    line.phone(0, |phone, now| phone.invite(now, None));
    let leg = line.leg();
    line.command(leg, Command::Ring);
    line.command(leg, progress());
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses(), [100, 200]);
    assert_eq!(line.take_events()[1..], ["Confirmed v=0"]);
}

#[test]
fn the_200_waits_for_the_prack_of_a_session_description() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Supported", "100rel")]));
    line.command(leg, progress());
    line.command(leg, answer());
    line.run_for(seconds(4));
    assert_eq!(line.phones[0].statuses(), [100, 183, 183, 183, 183]);
    line.phone(0, |phone, now| phone.prack(now, None));
    assert_eq!(line.phones[0].statuses()[5..], [200, 200]);
    line.run_for(seconds(40));
    assert_eq!(line.take_events()[1..], ["Confirmed"]);
}

#[test]
fn the_200_does_not_wait_for_the_prack_of_a_180_but_still_knows_it() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Require", "100rel")]));
    line.command(leg, Command::Ring);
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses(), [100, 180, 200]);
    line.run_for(seconds(5));
    assert_eq!(line.phones[0].statuses(), [100, 180, 200]);
    line.phone(0, |phone, now| phone.prack(now, None));
    assert_eq!(line.phones[0].last().status, 200);
    assert_eq!(line.phones[0].last().headers.cseq().unwrap().method, Method::Prack);
}

#[test]
fn a_prack_that_never_comes_ends_the_call_with_504() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Supported", "100rel")]));
    line.command(leg, progress());
    line.command(leg, answer());
    line.run_for(seconds(33));
    let repeats = line.phones[0]
        .statuses()
        .iter()
        .filter(|status| **status == 183)
        .count();
    assert_eq!(repeats, 7);
    assert_eq!(line.phones[0].last().status, 504);
    assert_eq!(line.take_events()[1..], ["Failed ack_timeout", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_prack_for_something_else_gets_481_and_one_that_cannot_be_read_400() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Supported", "100rel")]));
    line.command(leg, progress());
    for (rack, status) in [(Some("7777 1 INVITE"), 481), (Some("nonsense"), 400), (None, 400)] {
        let headers: Vec<_> = rack.map(|rack| ("RAck", rack)).into_iter().collect();
        line.phone(0, |phone, now| phone.send(now, Method::Prack, &headers, None));
        assert_eq!(line.phones[0].last().status, status);
    }
    line.phone(0, |phone, now| phone.prack(now, None));
    assert_eq!(line.phones[0].last().status, 200);
    line.phone(0, |phone, now| phone.prack(now, None));
    assert_eq!(line.phones[0].last().status, 481);
}

#[test]
fn an_offer_in_a_prack_is_answered_before_the_call_is() {
    let (mut line, leg) = ringing(Transport::Udp, silent(&[("Supported", "100rel")]));
    line.command(leg, progress());
    line.command(leg, answer());
    line.phone(0, |phone, now| phone.prack(now, Some(b"v=0 more")));
    assert_eq!(line.take_events()[1..], ["Reoffered v=0 more"]);
    assert_eq!(line.phones[0].statuses(), [100, 183]);
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses()[2..], [200, 200]);
    let [prack, ok] = &line.phones[0].responses[2..] else {
        panic!()
    };
    assert_eq!((prack.body.as_slice(), ok.body.as_slice()), (ANSWER, &b""[..]));
    assert_eq!(line.take_events(), ["Confirmed"]);
}

#[test]
fn a_refused_or_cancelled_call_repeats_no_provisional() {
    for cancel in [true, false] {
        let (mut line, leg) = ringing(Transport::Udp, silent(&[("Supported", "100rel")]));
        line.command(leg, progress());
        match cancel {
            true => line.phone(0, |phone, now| phone.cancel(now)),
            false => line.command(leg, refuse(486, "busy")),
        }
        line.phone(0, |phone, now| phone.prack(now, None));
        assert_eq!(line.phones[0].last().status, 481);
        line.run_for(seconds(40));
        assert_eq!(
            line.phones[0]
                .statuses()
                .iter()
                .filter(|status| **status == 183)
                .count(),
            1
        );
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_bye_before_the_answer_refuses_the_invite_and_whatever_else_waits() {
    let (mut line, leg) = ringing(Transport::Udp, caller(&[("Supported", "100rel")]));
    line.command(leg, progress());
    line.phone(0, |phone, now| phone.update(now, &[], Some(b"v=0 hold")));
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].statuses(), [100, 183, 200, 200, 487, 487]);
    assert_eq!(line.take_events()[1..], ["Reoffered v=0 hold", "Cancelled", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn commands_out_of_place_send_nothing() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.endpoint.command(line.now, leg, progress());
    line.endpoint.command(line.now, leg, Command::Ring);
    line.endpoint
        .command(line.now, leg, Command::AnswerTransfer { accept: true });
    line.endpoint
        .command(line.now, leg, Command::NotifyTransfer { status: 200 });
    let sent = std::iter::from_fn(|| line.endpoint.poll_output()).filter(|out| matches!(out, Output::Send { .. }));
    assert_eq!(sent.count(), 0);
}

/// A line on which phone 0 rings because of us and answers after a minute.
fn rung() -> (TestLine, String) {
    let (line, _) = placing(
        Transport::Udp,
        Manners {
            tries: true,
            rings: false,
            decides_after: None,
            ..Manners::default()
        },
    );
    let invite = line.phones[0].heard(&Method::Invite)[0].clone();
    let mut response = crate::sip::message::Response::standard(&invite, 183)
        .with_to_tag("fork")
        .with_header("Contact", "<sip:fork@192.0.2.10:40000>");
    response = response.with_header("Require", "100rel").with_header("RSeq", "NUMBER");
    let response = response.with_body("application/sdp", b"v=0\r\no=fork".to_vec());
    let text = String::from_utf8(response.to_bytes()).unwrap();
    (line, text)
}

#[test]
fn as_callers_we_acknowledge_reliable_provisionals_in_order_and_once() {
    let (mut line, response) = rung();
    let flow = line.phones[0].flow;
    for number in ["7", "7", "9", "8", "8"] {
        line.inject(flow, response.replace("NUMBER", number).as_bytes());
    }
    let pracks = line.phones[0].heard(&Method::Prack);
    let rack: Vec<_> = pracks
        .iter()
        .map(|prack| prack.headers.first("RAck").unwrap())
        .collect();
    assert_eq!(rack, ["7 1 INVITE", "8 1 INVITE"]);
    let numbers: Vec<_> = pracks
        .iter()
        .map(|prack| prack.headers.cseq().unwrap().number)
        .collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(pracks[0].headers.to().unwrap().tag(), Some("fork"));
    let told = line.take_events();
    assert_eq!(
        told.iter().filter(|event| event.starts_with("Progressed")).count(),
        1,
        "{told:?}"
    );
    // Each early dialog counts for itself.
    let other = response.replace("NUMBER", "3").replace("tag=fork", "tag=other");
    line.inject(flow, other.as_bytes());
    assert_eq!(line.phones[0].heard(&Method::Prack).len(), 3);
    line.run_for(seconds(60));
    expect_nothing_left(&mut line);
}

#[test]
fn a_phone_that_rings_cannot_have_us_send_without_end() {
    let (mut line, response) = rung();
    let flow = line.phones[0].flow;
    line.phones[0].habits.answers = vec![(Method::Prack, None, &[])];
    for number in 1..=1000 {
        line.inject(flow, response.replace("NUMBER", &format!("{number}")).as_bytes());
    }
    let pracks = line.phones[0].heard(&Method::Prack).len();
    let waiting = line.endpoint.counts().transactions;
    assert!(pracks == 32 && waiting <= 33, "{pracks} PRACKs, {waiting} transactions");
}
