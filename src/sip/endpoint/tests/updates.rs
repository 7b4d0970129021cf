//! UPDATE in both its meanings: a new offer, and a sign of life.

use super::*;

const HOLD: &[u8] = b"v=0 hold";

fn early() -> (TestLine, LegId) {
    let habits = Habits {
        extra: vec![("Supported", "100rel")],
        ..Habits::default()
    };
    ringing(Transport::Udp, habits)
}

#[test]
fn an_update_with_an_offer_is_answered_once_and_not_acknowledged() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = talking(transport, Habits::default());
        line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
        assert_eq!(line.take_events(), ["Reoffered v=0 hold"]);
        line.run_for(SECOND);
        assert_eq!(line.phones[0].statuses(), [100, 200]);
        line.command(leg, answer());
        let ok = line.phones[0].last();
        assert_eq!((ok.status, ok.body.as_slice()), (200, ANSWER));
        assert!(ok.headers.contains("Contact"));
        assert_eq!(line.take_events(), [""; 0]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_refused_or_forgotten_update_leaves_the_call_as_it_was() {
    for (command, status) in [(Some(refuse(488, "no_common_codec")), 488), (None, 500)] {
        let (mut line, leg) = talking(Transport::Udp, Habits::default());
        line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
        match command {
            Some(command) => line.command(leg, command),
            None => line.run_for(seconds(11)),
        }
        assert_eq!(line.phones[0].last().status, status);
        assert_eq!(line.endpoint.counts().legs, 1);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn an_update_without_a_body_is_answered_at_once_and_moves_the_caller() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phones[0].habits.claims = Some("192.0.2.77");
    line.phone(0, |phone, now| phone.update(now, &[], None));
    assert_eq!(line.phones[0].statuses(), [100, 200, 200]);
    assert_eq!(line.take_events(), [""; 0]);
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].requests[0].uri.as_str(), "sip:p0@192.0.2.77");
}

#[test]
fn an_update_before_the_answer_needs_an_early_answer_that_is_acknowledged() {
    let (mut line, leg) = early();
    line.command(leg, Command::Ring);
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    let refused = line.phones[0].last();
    assert_eq!(refused.status, 500);
    assert!(refused.headers.contains("Retry-After"));
    line.command(leg, Command::Progress { sdp: ANSWER.to_vec() });
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    assert_eq!(line.take_events()[1..], ["Reoffered v=0 hold"]);
    line.command(leg, answer());
    assert_eq!(line.phones[0].last().body, ANSWER);
    line.command(leg, answer());
    let ok = line.phones[0].last();
    assert_eq!((ok.status, ok.body.len()), (200, 0));
    assert_eq!(line.take_events(), ["Confirmed"]);
}

#[test]
fn offers_that_cross_are_refused_so_that_they_come_again() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 500);
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 500);
    line.command(leg, answer());
    line.phone(0, |phone, now| phone.reinvite(now, Some(HOLD)));
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 500);
    assert!(line.phones[0].last().headers.contains("Retry-After"));
    assert_eq!(line.take_events(), ["Reoffered v=0 hold", "Reoffered v=0 hold"]);
}

#[test]
fn an_update_while_our_own_offer_is_unanswered_gets_491() {
    let mut line = TestLine::new();
    let habits = Habits {
        acknowledges: false,
        ..Habits::default()
    };
    line.add_phone(Transport::Udp, habits);
    line.phone(0, |phone, now| phone.invite(now, None));
    line.command(line.leg(), answer());
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    assert_eq!(line.phones[0].last().status, 491);
}

#[test]
fn hanging_up_answers_an_update_that_waits() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.update(now, &[], Some(HOLD)));
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].last().status, 487);
    assert_eq!(line.take_events(), ["Reoffered v=0 hold", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn an_update_after_the_bye_or_of_another_type_or_with_strange_demands_is_refused() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| {
        phone.send(now, Method::Update, &[], Some(("text/plain", b"hold")))
    });
    assert_eq!(line.phones[0].last().status, 415);
    line.phone(0, |phone, now| {
        phone.update(now, &[("Require", "timer, teleport")], None)
    });
    let refused = line.phones[0].last();
    assert_eq!(
        (refused.status, refused.headers.first("Unsupported")),
        (420, Some("teleport"))
    );
    line.phones[0].habits.bye_status = None;
    line.command(leg, hang_up());
    line.phone(0, |phone, now| phone.update(now, &[], None));
    assert_eq!(line.phones[0].last().status, 481);
    line.phones[0].habits.bye_status = Some(200);
    expect_nothing_left(&mut line);
}
