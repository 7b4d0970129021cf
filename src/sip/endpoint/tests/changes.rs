//! Requests inside a call that do not end it.

use super::*;

const HOLD: &[u8] = b"v=0 hold\r\n";

#[test]
fn a_re_invite_is_offered_to_the_application_and_answered() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    assert_eq!(line.take_events(), ["Reoffered v=0 hold"]);
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses(), [100, 200, 100, 200]);
    assert_eq!(line.take_events(), ["Confirmed"]);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_re_invite_without_offer_gets_ours_and_brings_the_answer_in_the_ack() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, None));
    line.command(leg, answer());
    assert_eq!(line.take_events(), ["Reoffered -", "Confirmed v=0"]);
}

#[test]
fn a_refused_re_invite_leaves_the_call_as_it_was() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.command(leg, refuse(488, "no_common_codec"));
    assert_eq!(line.phones[0].last().status, 488);
    assert_eq!(line.take_events(), ["Reoffered v=0 hold"]);
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.take_events(), ["ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_re_invite_the_application_forgets_is_refused_and_the_call_goes_on() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.run_for(seconds(11));
    assert_eq!(line.phones[0].last().status, 500);
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), ["Reoffered v=0 hold", "Gone"]);
}

#[test]
fn a_re_invite_that_crosses_the_ack_gets_491() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 491);
    line.phones[0].habits.acknowledges = true;
    line.run_for(SECOND);
    assert_eq!(line.take_events()[1..], ["Confirmed"]);
}

#[test]
fn a_re_invite_before_the_answer_to_another_gets_500_and_a_time_to_retry() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    let refused = line.phones[0].last();
    assert_eq!(refused.status, 500);
    let retry_after_s: u64 = refused.headers.first("Retry-After").unwrap().parse().unwrap();
    assert!(retry_after_s <= 10);
    assert_eq!(line.take_events(), ["Reoffered v=0 hold"]);
}

#[test]
fn a_withdrawn_re_invite_leaves_the_call_as_it_was() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.phone(0, |phone, now| phone.cancel(now));
    assert_eq!(line.phones[0].statuses()[3..], [200, 487]);
    line.command(leg, answer());
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), ["Reoffered v=0 hold", "Gone"]);
}

#[test]
fn hanging_up_refuses_a_waiting_re_invite() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].last().status, 487);
    assert_eq!(line.phones[0].requests.len(), 1);
    expect_nothing_left(&mut line);
}

#[test]
fn a_bye_of_the_caller_refuses_its_own_waiting_re_invite() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].statuses()[3..], [200, 487]);
    assert_eq!(line.take_events(), ["Reoffered v=0 hold", "ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn options_inside_a_call_says_what_we_can() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.request(now, Method::Options));
    let ok = line.phones[0].last();
    assert_eq!(ok.status, 200);
    for (name, expected) in [
        ("Accept", "application/sdp"),
        ("Accept", "message/sipfrag"),
        ("Allow", "UPDATE"),
        ("Allow", "PRACK"),
        ("Allow-Events", "refer"),
        ("Supported", "100rel"),
        ("Supported", "timer"),
        ("Supported", "replaces"),
    ] {
        assert!(
            ok.headers.tokens(name).any(|token| token == expected),
            "{name}: {expected}"
        );
    }
}

#[test]
fn what_is_allowed_is_served_and_the_rest_gets_405_or_501() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for method in [
        Method::Subscribe,
        Method::Publish,
        Method::Register,
        Method::Other("FOO".into()),
    ] {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        line.phone(0, |phone, now| phone.request(now, method));
        assert_eq!(line.phones[0].last().status, status);
        assert!(line.phones[0].last().headers.contains("Allow"));
    }
    let allowed: Vec<_> = crate::sip::reply::ALLOW
        .split(", ")
        .map(|name| Method::read(name).unwrap())
        .collect();
    for method in allowed {
        if !matches!(method, Method::Invite | Method::Ack | Method::Cancel | Method::Bye) {
            line.phone(0, |phone, now| phone.request(now, method.clone()));
            assert!(![405, 501].contains(&line.phones[0].last().status), "{method}");
        }
    }
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn a_request_out_of_order_gets_500() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    let flow = line.phones[0].flow;
    line.phones[0].request(line.now, Method::Info);
    let late = line.phones[0].poll_output().unwrap();
    line.phone(0, |phone, now| phone.request(now, Method::Options));
    line.inject(flow, &late);
    assert_eq!(line.phones[0].last().status, 500);
}

#[test]
fn a_request_for_an_unknown_call_gets_481() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.command(leg, hang_up());
    for method in [Method::Bye, Method::Options, Method::Info] {
        line.phone(0, |phone, now| phone.request(now, method));
        assert_eq!(line.phones[0].last().status, 481);
    }
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 481);
    expect_nothing_left(&mut line);
}

#[test]
fn a_late_ack_of_the_first_200_does_not_confirm_the_second() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    let late = line.phones[0].last_ack();
    line.phones[0].habits.acknowledges = false;
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.command(leg, answer());
    line.inject(line.phones[0].flow, &late);
    assert_eq!(line.take_events(), ["Reoffered v=0 hold"]);
    line.phones[0].habits.acknowledges = true;
    line.run_for(SECOND);
    assert_eq!(line.take_events(), ["Confirmed"]);
}
