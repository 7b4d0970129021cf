//! Digits and texts inside a call.

use super::*;

const RELAY: &str = "application/dtmf-relay";

/// The headers and the body of a request, and the status and the Accept it is refused with.
type Refused<'a> = (
    &'a [(&'a str, &'a str)],
    Option<(&'a str, &'a [u8])>,
    u16,
    Option<&'a str>,
);

#[test]
fn digits_by_info_are_told_and_answered() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for (kind, body) in [
        (RELAY, "Signal=5\r\nDuration=160\r\n"),
        ("application/dtmf", "#"),
        ("Application/DTMF-Relay ; x=y", "Signal=a"),
    ] {
        line.phone(0, |phone, now| {
            phone.send(now, Method::Info, &[], Some((kind, body.as_bytes())))
        });
        assert_eq!(line.phones[0].last().status, 200);
    }
    assert_eq!(line.take_events(), ["Digit 5", "Digit #", "Digit A"]);
}

#[test]
fn other_infos_get_what_they_deserve_and_the_call_goes_on() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    let refusals: [Refused<'_>; 6] = [
        (&[], None, 200, None),
        (&[], Some((RELAY, b"Signal=nine")), 400, None),
        (
            &[],
            Some(("application/media_control+xml", b"<x/>")),
            415,
            Some("Accept"),
        ),
        (
            &[("Content-Encoding", "gzip")],
            Some((RELAY, b"Signal=5")),
            415,
            Some("Accept"),
        ),
        (&[("Info-Package", "foo")], None, 469, Some("Recv-Info")),
        (&[("Require", "teleport")], None, 420, Some("Unsupported")),
    ];
    for (headers, body, status, header) in refusals {
        line.phone(0, |phone, now| phone.send(now, Method::Info, headers, body));
        let response = line.phones[0].last();
        assert_eq!(response.status, status);
        assert!(header.is_none_or(|name| response.headers.contains(name)), "{status}");
    }
    assert_eq!(line.take_events(), [""; 0]);
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn a_text_by_message_is_told_and_answered() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for kind in [
        "text/plain",
        "text/plain; charset=\"UTF-8\"",
        "text/plain;charset=us-ascii",
    ] {
        line.phone(0, |phone, now| {
            phone.send(now, Method::Message, &[], Some((kind, "grüß".as_bytes())))
        });
        assert_eq!(line.phones[0].last().status, 200);
    }
    line.phone(0, |phone, now| phone.send(now, Method::Message, &[], None));
    assert_eq!(line.phones[0].last().status, 200);
    assert_eq!(line.take_events(), ["MessageReceived grüß"; 3]);
}

#[test]
fn texts_that_are_too_long_or_no_text_are_refused() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    let long = vec![b'x'; 1_001];
    for (kind, body, status) in [
        ("text/plain", &long[..], 413),
        ("text/plain", &b"\xff\xfe"[..], 400),
        ("text/plain;charset=latin1", b"x", 415),
        ("text/html", b"x", 415),
        ("message/cpim", b"x", 415),
    ] {
        line.phone(0, |phone, now| {
            phone.send(now, Method::Message, &[], Some((kind, body)))
        });
        assert_eq!(line.phones[0].last().status, status, "{kind}");
    }
    assert_eq!(line.take_events(), [""; 0]);
}

#[test]
fn what_belongs_inside_a_call_is_refused_outside_of_one() {
    for (method, status) in [
        (Method::Message, 405),
        (Method::Refer, 405),
        (Method::Subscribe, 405),
        (Method::Info, 481),
        (Method::Update, 481),
        (Method::Prack, 481),
        (Method::Notify, 481),
    ] {
        let mut line = TestLine::new();
        line.add_phone(Transport::Udp, Habits::default());
        line.phone(0, |phone, now| phone.ask(now, method.clone()));
        let refused = line.phones[0].last();
        assert_eq!(refused.status, status, "{method}");
        if status == 405 {
            assert!(
                !refused
                    .headers
                    .tokens("Allow")
                    .any(|allowed| allowed == method.as_str())
            );
        }
        assert_eq!(line.refused[0].reason, "bad_request");
        assert_eq!(line.endpoint.counts(), Counts::default());
    }
}

#[test]
fn digits_and_texts_are_sent_and_no_answer_to_them_ends_the_call() {
    for status in [Some(200), Some(415), Some(481), None] {
        let habits = Habits {
            answers: vec![(Method::Info, status, &[]), (Method::Message, status, &[])],
            ..Habits::default()
        };
        let (mut line, leg) = talking(Transport::Udp, habits);
        let duration = Duration::from_millis(160);
        for digit in ['5', 'd', 'x'] {
            line.command(leg, Command::SendDigit { digit, duration });
        }
        for text in ["grüß", "", &"x".repeat(1_001)] {
            line.command(leg, Command::SendMessage { text: text.to_owned() });
        }
        line.run_for(seconds(40));
        let bodies = |method| {
            let heard = line.phones[0].heard(&method);
            heard
                .iter()
                .map(|one| String::from_utf8_lossy(&one.body).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            bodies(Method::Info),
            ["Signal=5\r\nDuration=160\r\n", "Signal=D\r\nDuration=160\r\n"]
        );
        assert_eq!(bodies(Method::Message), ["grüß"]);
        assert_eq!(line.take_events(), [""; 0]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}
