//! Session timers: what is agreed to, who refreshes, and the end of calls nobody refreshes.

use super::*;

fn with(extra: &[(&'static str, &'static str)]) -> Habits {
    Habits {
        extra: extra.to_vec(),
        ..Habits::default()
    }
}

#[test]
fn a_call_is_timed_as_it_asks_for() {
    for (extra, expires, require) in [
        (&[][..], None, None),
        (&[("Supported", "timer")], Some("1800;refresher=uac"), Some("timer")),
        (
            &[("Supported", "timer"), ("Session-Expires", "600;refresher=uas")],
            Some("600;refresher=uas"),
            Some("timer"),
        ),
        (&[("Session-Expires", "600")], Some("600;refresher=uas"), None),
    ] {
        let (line, _) = talking(Transport::Udp, with(extra));
        let ok = line.phones[0].last();
        assert_eq!(ok.headers.first("Session-Expires"), expires);
        assert_eq!(ok.headers.first("Require"), require);
        assert!(ok.headers.tokens("Supported").any(|token| token == "timer"));
    }
}

#[test]
fn an_interval_that_is_too_small_or_unreadable_is_refused() {
    for (value, status, header) in [("89", 422, Some("90")), ("soon", 400, None)] {
        let (line, _) = {
            let mut line = TestLine::new();
            line.add_phone(Transport::Udp, with(&[("Supported", "timer")]));
            line.phones[0].habits.extra.push(("Session-Expires", value));
            line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
            (line, ())
        };
        assert_eq!(line.phones[0].last().status, status);
        assert_eq!(line.phones[0].last().headers.first("Min-SE"), header);
        assert!(line.events.is_empty());
    }
}

#[test]
fn a_trunk_with_shorter_sessions_than_the_rfc_allows_has_a_lower_minimum() {
    for (value, status, header, value_header) in [
        ("9", 422, "Min-SE", "10"),
        ("60", 200, "Session-Expires", "10;refresher=uac"),
    ] {
        let short = Peer {
            session_expires: Some(seconds(10)),
            ..peer("carrier", &["192.0.2.0/24"])
        };
        let mut line = TestLine::with_peers(vec![short]);
        line.add_phone(
            Transport::Udp,
            with(&[("Supported", "timer"), ("Session-Expires", value)]),
        );
        line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
        if status == 200 {
            let leg = line.leg();
            line.command(leg, answer());
        }
        let last = line.phones[0].last();
        assert_eq!((last.status, last.headers.first(header)), (status, Some(value_header)));
    }
}

#[test]
fn a_caller_that_stops_refreshing_loses_its_call() {
    let (mut line, _) = talking(
        Transport::Udp,
        with(&[("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]),
    );
    for _ in 0..6 {
        line.run_for(seconds(45));
        line.phone(0, |phone, now| {
            phone.update(
                now,
                &[("Supported", "timer"), ("Session-Expires", "90;refresher=uac")],
                None,
            );
        });
        assert_eq!(
            line.phones[0].last().headers.first("Session-Expires"),
            Some("90;refresher=uac")
        );
    }
    assert_eq!(line.take_events(), [""; 0]);
    line.run_for(seconds(59));
    assert_eq!(line.take_events(), [""; 0]);
    line.run_for(seconds(1));
    assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
    let bye = &line.phones[0].requests[0];
    assert_eq!(
        bye.headers.first("Reason"),
        Some("SIP;cause=200;text=\"session_expired\"")
    );
    expect_nothing_left(&mut line);
}

#[test]
fn a_caller_may_refresh_by_re_invite() {
    let (mut line, leg) = talking(
        Transport::Udp,
        with(&[("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]),
    );
    for _ in 0..5 {
        line.run_for(seconds(45));
        line.phone(0, |phone, now| phone.reinvite(now, Some(OFFER)));
        line.command(leg, answer());
        assert_eq!(
            line.phones[0].last().headers.first("Session-Expires"),
            Some("90;refresher=uac")
        );
    }
    assert_eq!(line.take_events().len(), 10);
    line.run_for(seconds(60));
    assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
}

#[test]
fn a_refresh_without_a_timer_stops_the_timer() {
    let (mut line, _) = talking(
        Transport::Udp,
        with(&[("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]),
    );
    line.phone(0, |phone, now| phone.update(now, &[], None));
    line.run_for(seconds(1000));
    assert_eq!(line.take_events(), [""; 0]);
}

const OURS: &[(&str, &str)] = &[
    ("Supported", "timer"),
    ("Session-Expires", "90;refresher=uas"),
    ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE"),
];

#[test]
fn we_refresh_by_update_for_as_long_as_the_call_lives() {
    let (mut line, leg) = talking(Transport::Udp, with(OURS));
    line.run_for(seconds(45 * 6 + 1));
    let updates = line.phones[0].heard(&Method::Update);
    assert_eq!(updates.len(), 6);
    for update in updates {
        assert_eq!(update.headers.first("Session-Expires"), Some("90;refresher=uac"));
        assert!(update.body.is_empty() && update.headers.contains("Contact"));
        assert!(update.headers.tokens("Supported").any(|token| token == "timer"));
    }
    assert_eq!(line.take_events(), [""; 0]);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_refresh_nobody_answers_or_knows_ends_the_call() {
    for (status, seconds_lived) in [(Some(481), 46), (Some(408), 46), (None, 61), (Some(500), 61)] {
        let habits = Habits {
            answers: vec![(Method::Update, status, &[])],
            ..with(OURS)
        };
        let (mut line, _) = talking(Transport::Udp, habits);
        line.run_for(seconds(seconds_lived));
        assert_eq!(line.take_events(), ["Failed session_expired", "Gone"], "{status:?}");
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_refused_refresh_is_tried_again_when_the_peer_says_and_with_what_it_asks_for() {
    for (status, headers, tries) in [
        (491, &[][..], 2),
        (500, &[("Retry-After", "3 (busy)")], 2),
        (422, &[("Min-SE", "200")], 2),
    ] {
        let habits = Habits {
            answers: vec![(Method::Update, Some(status), headers)],
            ..with(OURS)
        };
        let (mut line, _) = talking(Transport::Udp, habits);
        line.run_for(Duration::from_millis(45_010));
        line.phones[0].habits.answers.clear();
        line.run_for(seconds(10));
        let updates = line.phones[0].heard(&Method::Update);
        assert!(updates.len() >= tries, "{status}: {}", updates.len());
        let last = updates.last().unwrap();
        let expires = if status == 422 {
            "200;refresher=uac"
        } else {
            "90;refresher=uac"
        };
        assert_eq!(last.headers.first("Session-Expires"), Some(expires));
        line.run_for(seconds(30));
        assert_eq!(line.take_events(), [""; 0], "{status}");
    }
}

#[test]
fn the_answer_to_a_refresh_may_hand_the_duty_over() {
    let habits = Habits {
        answers: vec![(Method::Update, Some(200), &[("x", "90;refresher=uas")])],
        ..with(OURS)
    };
    let (mut line, _) = talking(Transport::Udp, habits);
    line.phones[0].habits.agrees = false;
    line.run_for(seconds(45 + 59));
    assert_eq!(line.take_events(), [""; 0]);
    line.run_for(seconds(2));
    assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
    assert_eq!(line.phones[0].heard(&Method::Update).len(), 1);
}

type Extra = &'static [(&'static str, &'static str)];

/// A line on which phone 0 has answered our call with these headers.
fn placed(answer: Extra) -> (TestLine, LegId) {
    let (mut line, _) = placing(Transport::Udp, Manners::default());
    line.phones[0].habits.answers = vec![(Method::Invite, None, answer)];
    line.phones[0].habits.agrees = answer.is_empty();
    let leg = line.leg();
    line.run_for(SECOND);
    line.take_events();
    line.phones[0].habits.agrees = true;
    (line, leg)
}

#[test]
fn our_calls_ask_for_a_session_timer() {
    let (line, _) = placed(&[]);
    let invite = line.phones[0].heard(&Method::Invite)[0];
    assert_eq!(invite.headers.first("Session-Expires"), Some("1800"));
    assert_eq!(invite.headers.first("Min-SE"), Some("90"));
    assert!(
        ["timer", "100rel", "replaces"]
            .iter()
            .all(|one| invite.headers.tokens("Supported").any(|token| token == *one))
    );
}

#[test]
fn as_callers_we_refresh_by_update_or_by_the_same_offer_again() {
    let by_update: Extra = &[("Session-Expires", "90;refresher=uac"), ("Allow", "INVITE, UPDATE")];
    let by_invite: Extra = &[("Session-Expires", "90;refresher=uac")];
    for (answer, method) in [(by_update, Method::Update), (by_invite, Method::Invite)] {
        let (mut line, leg) = placed(answer);
        let before = line.phones[0].heard(&method).len();
        line.run_for(seconds(45 * 6));
        let refreshes = line.phones[0].heard(&method);
        assert!(refreshes.len() >= before + 5, "{method}: {}", refreshes.len());
        let last = refreshes.last().unwrap();
        assert_eq!(last.headers.first("Session-Expires"), Some("90;refresher=uac"));
        assert_eq!(last.body, if method == Method::Invite { OFFER } else { b"" });
        assert_eq!(line.take_events(), [""; 0]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_callee_that_is_to_refresh_and_does_not_loses_its_call() {
    let (mut line, _) = placed(&[("Session-Expires", "90;refresher=uas")]);
    for _ in 0..5 {
        line.run_for(seconds(45));
        line.phone(0, |phone, now| {
            phone.update(
                now,
                &[("Supported", "timer"), ("Session-Expires", "90;refresher=uac")],
                None,
            );
        });
        assert_eq!(line.phones[0].last().status, 200);
    }
    assert_eq!(line.take_events(), [""; 0]);
    line.run_for(seconds(61));
    assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_caller_without_update_is_refreshed_by_the_answer_it_knows() {
    let extra: Extra = &[("Supported", "timer"), ("Session-Expires", "90;refresher=uas")];
    let (mut line, leg) = talking(Transport::Udp, with(extra));
    line.run_for(seconds(45 * 5 + 5));
    let refreshes = line.phones[0].heard(&Method::Invite);
    assert_eq!(refreshes.len(), 5);
    assert!(refreshes.iter().all(|invite| invite.body == ANSWER));
    assert_eq!(line.take_events(), [""; 0]);
    line.phones[0].habits.manners.reinvites = vec![500; 20].into();
    line.run_for(seconds(90));
    assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
    let _ = leg;
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_that_is_too_short_for_somebody_on_the_way_is_placed_once_more() {
    let longer = Some((422, vec![("Min-SE", "3600".to_owned())]));
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            refuses: longer,
            ..Manners::default()
        },
    );
    line.run_for(SECOND);
    let invites = line.phones[0].heard(&Method::Invite);
    let asked: Vec<_> = invites
        .iter()
        .map(|invite| invite.headers.first("Session-Expires").unwrap())
        .collect();
    assert_eq!(asked, ["1800", "3600"]);
    let last = line.take_events();
    assert!(last.iter().any(|event| event.starts_with("Rejected 422")), "{last:?}");
    expect_nothing_left(&mut line);
}

#[test]
fn no_time_a_peer_names_stops_the_clock_or_has_it_asked_without_end() {
    let waits: [Extra; 2] = [&[("Retry-After", "18446744073709551615")], &[("Retry-After", "0")]];
    for wait in waits {
        let habits = Habits {
            answers: vec![(Method::Update, Some(500), wait)],
            ..with(OURS)
        };
        let (mut line, _) = talking(Transport::Udp, habits);
        line.run_for(seconds(62));
        let updates = line.phones[0].heard(&Method::Update).len();
        assert!((1..=17).contains(&updates), "{updates}");
        assert_eq!(line.take_events(), ["Failed session_expired", "Gone"]);
        expect_nothing_left(&mut line);
    }
}
