//! Calls that come about.

use super::*;

#[test]
fn a_call_is_tried_rung_answered_and_hung_up_by_the_caller() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = ringing(transport, Habits::default());
        line.command(leg, Command::Ring);
        line.command(leg, answer());
        line.run_for(SECOND);
        line.phone(0, |phone, now| phone.request(now, Method::Bye));
        assert_eq!(line.phones[0].statuses(), [100, 180, 200, 200], "{transport}");
        let expected = [
            "Incoming from sip:p0@phone.example by lan",
            "Confirmed",
            "ByeReceived",
            "Gone",
        ];
        assert_eq!(line.take_events(), expected);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_call_is_hung_up_by_the_application() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = talking(transport, Habits::default());
        line.command(leg, hang_up());
        let bye = &line.phones[0].requests[0];
        assert_eq!(bye.method, Method::Bye);
        assert_eq!(
            bye.headers.first("Reason"),
            Some("SIP;cause=200;text=\"agent_hung_up\"")
        );
        assert_eq!(line.take_events(), ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn the_200_carries_the_answer_our_contact_and_the_tag_of_the_180() {
    let (mut line, leg) = ringing(Transport::Udp, Habits::default());
    line.command(leg, Command::Ring);
    let early = line.phones[0].last().headers.to().unwrap();
    line.command(leg, answer());
    let ok = line.phones[0].last();
    assert_eq!(ok.body, ANSWER);
    assert_eq!(ok.headers.content_type().as_deref(), Some("application/sdp"));
    assert_eq!(ok.headers.first("Contact"), Some("<sip:192.0.2.1:5060>"));
    assert_eq!(ok.headers.to().unwrap(), early);
}

#[test]
fn a_retransmitted_invite_gets_the_last_response_again_and_makes_no_second_call() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    let (flow, invite) = again(&line);
    line.inject(flow, &invite);
    line.command(leg, Command::Ring);
    line.inject(flow, &invite);
    assert_eq!(line.phones[0].statuses(), [100, 100, 180, 180]);
    line.command(leg, answer());
    line.inject(flow, &invite);
    assert_eq!(line.phones[0].statuses(), [100, 100, 180, 180, 200]);
    assert_eq!(line.take_events().len(), 1);
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn a_200_is_repeated_until_its_ack_and_each_repetition_is_acknowledged() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            acknowledges: false,
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    line.run_for(seconds(4));
    line.phones[0].habits.acknowledges = true;
    line.run_for(seconds(20));
    assert_eq!(line.phones[0].statuses(), [100, 200, 200, 200, 200, 200]);
    assert_eq!(
        line.take_events(),
        ["Incoming from sip:p0@phone.example by lan", "Confirmed"]
    );
}

#[test]
fn without_an_ack_the_200_is_repeated_on_schedule_and_given_up_with_bye() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = ringing(
            transport,
            Habits {
                acknowledges: false,
                ..Habits::default()
            },
        );
        line.run_for(SECOND);
        line.command(leg, answer());
        line.run_for(seconds(40));
        let sent_at: Vec<_> = line
            .sent_since(SECOND)
            .into_iter()
            .filter(|(_, line)| line.contains("200 OK"))
            .collect();
        let sent_at: Vec<_> = sent_at.into_iter().map(|(at, _)| at - 1000).collect();
        assert_eq!(
            sent_at,
            [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
        );
        let byes: Vec<_> = line
            .sent_since(SECOND)
            .into_iter()
            .filter(|(_, line)| line.starts_with("BYE"))
            .collect();
        assert_eq!(byes.len(), 1);
        assert_eq!(byes[0].0, 33_000);
        assert_eq!(
            line.take_events(),
            [
                "Incoming from sip:p0@phone.example by lan",
                "Failed ack_timeout",
                "Gone"
            ]
        );
        expect_nothing_left(&mut line);
    }
}

#[test]
fn an_invite_without_offer_is_answered_with_ours_and_the_answer_comes_in_the_ack() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, None));
    assert!(matches!(&line.events[0].1, Event::Incoming(invite) if invite.offer.is_none()));
    let leg = line.leg();
    line.command(leg, answer());
    assert_eq!(line.phones[0].last().body, ANSWER);
    assert_eq!(line.take_events()[1], "Confirmed v=0");
}

#[test]
fn the_application_sees_the_call_but_never_the_credentials() {
    let extra = vec![("Authorization", "Digest username=\"a\""), ("X-Account", "7")];
    let (line, _) = ringing(
        Transport::Udp,
        Habits {
            extra,
            ..Habits::default()
        },
    );
    let Event::Incoming(invite) = &line.events[0].1 else {
        panic!("not a call")
    };
    assert_eq!((invite.trunk.as_str(), invite.call_id.as_str()), ("lan", "call-p0"));
    assert_eq!(invite.request_uri.as_str(), "sip:operator@192.0.2.1");
    assert_eq!(invite.offer.as_deref(), Some(OFFER));
    assert_eq!(invite.advertised_ip.to_string(), "192.0.2.1");
    assert_eq!(invite.headers.first("X-Account"), Some("7"));
    assert!(!invite.headers.contains("Authorization"));
}

#[test]
fn a_thousand_calls_at_once_leave_nothing_behind() {
    let mut line = TestLine::new();
    line.application = Some(|event, _| match event {
        Event::Incoming(_) => vec![(SECOND, answer()), (seconds(9), hang_up())],
        _ => Vec::new(),
    });
    for number in 0..1000 {
        line.add_phone_at(
            Transport::Udp,
            &format!("192.0.2.9:{}", 10_000 + number),
            Habits::default(),
        );
        line.phones[number].invite(line.now, Some(OFFER));
    }
    line.run_for(seconds(5));
    assert_eq!(
        line.endpoint.counts(),
        Counts {
            legs: 1000,
            dialogs: 1000,
            transactions: 1000
        }
    );
    expect_nothing_left(&mut line);
}

fn again(line: &TestLine) -> (Flow, Vec<u8>) {
    (line.phones[0].flow, line.phones[0].last_invite())
}
