//! Calls that end before, while or after they should.

use super::*;

#[test]
fn a_cancel_before_the_answer_gets_200_and_the_invite_487() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = ringing(transport, Habits::default());
        line.command(leg, Command::Ring);
        line.phone(0, |phone, now| phone.cancel(now));
        assert_eq!(line.phones[0].statuses(), [100, 180, 200, 487]);
        let [ok, refused] = &line.phones[0].responses[2..] else {
            panic!()
        };
        assert_eq!(ok.headers.to().unwrap(), refused.headers.to().unwrap());
        assert_eq!(line.take_events()[1..], ["Cancelled", "Gone"]);
        line.command(leg, answer());
        assert_eq!(line.take_events(), [""; 0]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.cancel(now));
    assert_eq!(line.phones[0].statuses(), [100, 200, 200]);
    assert_eq!(line.phones[0].last().headers.cseq().unwrap().method, Method::Cancel);
    assert_eq!(line.take_events(), [""; 0]);
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn a_cancel_of_nothing_gets_481() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.ask(now, Method::Cancel));
    assert_eq!(line.phones[0].statuses(), [481]);
}

#[test]
fn a_refusal_says_why_and_its_ack_is_absorbed() {
    for (status, reason) in [
        (486, "busy"),
        (488, "no_common_codec"),
        (503, "no_ports"),
        (404, "no_route"),
    ] {
        let (mut line, leg) = ringing(Transport::Udp, Habits::default());
        line.command(leg, refuse(status, reason));
        let response = line.phones[0].last();
        assert_eq!(response.status, status);
        let header = format!("SIP;cause={status};text=\"{reason}\"");
        assert_eq!(response.headers.first("Reason"), Some(header.as_str()));
        line.run_for(seconds(10));
        assert_eq!(line.phones[0].statuses(), [100, status]);
        assert_eq!(line.take_events()[1..], ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_lost_ack_of_a_refusal_makes_the_refusal_come_again() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.weather.lost_percent = 100;
    line.command(leg, refuse(486, "busy"));
    line.weather.lost_percent = 0;
    line.run_for(seconds(10));
    assert_eq!(line.phones[0].statuses(), [100, 486]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_second_answer_or_refusal_is_dropped() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.command(leg, refuse(486, "busy"));
    line.command(leg, answer());
    line.command(leg, Command::Ring);
    assert_eq!(line.phones[0].statuses(), [100, 200]);
}

#[test]
fn an_impossible_refusal_status_becomes_500() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, refuse(200, "busy"));
    assert_eq!(line.phones[0].statuses(), [100, 500]);
}

#[test]
fn hanging_up_while_it_rings_refuses_the_call() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].statuses(), [100, 503]);
    assert_eq!(line.take_events()[1..], ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn hanging_up_before_the_ack_waits_for_the_ack() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    line.command(leg, hang_up());
    assert!(line.phones[0].requests.is_empty());
    line.phones[0].habits.acknowledges = true;
    line.run_for(SECOND);
    assert_eq!(line.phones[0].requests.len(), 1);
    assert_eq!(line.take_events()[1..], ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_bye_that_waits_for_an_ack_leaves_when_the_ack_is_given_up() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    line.command(leg, hang_up());
    line.run_for(seconds(33));
    assert_eq!(line.phones[0].requests.len(), 1);
    assert_eq!(line.take_events()[1..], ["Gone"]);
}

#[test]
fn an_unanswered_bye_is_repeated_and_the_leg_ends_anyway() {
    let (mut line, leg) = talking(
        Transport::Udp,
        Habits {
            bye_status: None,
            ..Habits::default()
        },
    );
    line.command(leg, hang_up());
    line.run_for(seconds(31));
    assert_eq!(line.phones[0].requests.len(), 10);
    assert_eq!(line.take_events(), [""; 0]);
    line.run_for(seconds(2));
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_refused_bye_ends_the_leg_as_well() {
    for status in [401, 408, 481, 500] {
        let (mut line, leg) = talking(
            Transport::Udp,
            Habits {
                bye_status: Some(status),
                ..Habits::default()
            },
        );
        line.command(leg, hang_up());
        assert_eq!(line.take_events(), ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_bye_whose_answer_was_lost_is_answered_again_without_a_second_event() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phones[0].request(line.now, Method::Bye);
    let bye = line.phones[0].poll_output().unwrap();
    let flow = line.phones[0].flow;
    line.weather.lost_percent = 100;
    line.inject(flow, &bye);
    line.weather.lost_percent = 0;
    line.inject(flow, &bye);
    assert_eq!(line.phones[0].statuses(), [100, 200, 200]);
    assert_eq!(line.take_events(), ["ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_provisional_answer_to_our_bye_ends_nothing() {
    let (mut line, leg) = talking(
        Transport::Udp,
        Habits {
            bye_status: Some(100),
            ..Habits::default()
        },
    );
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), [""; 0]);
    line.phones[0].habits.bye_status = Some(200);
    line.run_for(SECOND);
    assert_eq!(line.take_events(), ["Gone"]);
}

#[test]
fn a_bye_while_ours_waits_for_the_ack_ends_the_call_in_silence() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    line.command(leg, hang_up());
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.take_events()[1..], ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn both_sides_may_hang_up_at_once() {
    let (mut line, leg) = talking(
        Transport::Udp,
        Habits {
            bye_status: None,
            ..Habits::default()
        },
    );
    line.command(leg, hang_up());
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].statuses(), [100, 200, 200]);
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_bye_before_the_answer_ends_the_call_like_a_cancel() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, Command::Ring);
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].statuses(), [100, 180, 200, 487]);
    assert_eq!(line.take_events()[1..], ["Cancelled", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_the_application_never_answers_is_refused_when_it_has_rung_long_enough() {
    let (mut line, _) = ringing(Transport::Udp, Habits::default());
    line.run_for(seconds(241));
    assert_eq!(line.phones[0].statuses(), [100, 503]);
    assert_eq!(line.take_events()[1..], ["Failed session_unavailable", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_that_still_rings_ends_with_its_connection() {
    let (mut line, leg) = ringing(Transport::Tcp, Habits::default());
    line.close_flow(0);
    assert_eq!(line.take_events()[1..], ["Failed flow_lost", "Gone"]);
    line.command(leg, answer());
    assert_eq!(line.phones[0].statuses(), [100]);
    expect_nothing_left(&mut line);
}

#[test]
fn an_established_call_outlives_its_connection_until_something_must_be_sent() {
    let (mut line, leg) = talking(Transport::Tcp, Habits::default());
    line.close_flow(0);
    assert_eq!(line.take_events(), [""; 0]);
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), ["Failed flow_lost", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_caller_that_comes_back_on_another_connection_is_followed() {
    let (mut line, leg) = talking(Transport::Tcp, Habits::default());
    line.close_flow(0);
    line.phones[0].flow.connection = 9;
    line.phone(0, |phone, now| phone.request(now, Method::Options));
    line.command(leg, hang_up());
    assert_eq!(line.sent.last().unwrap().1.connection, 9);
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_closed_connection_does_not_touch_calls_over_udp() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.close_flow(0);
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), ["Gone"]);
}
