//! What the endpoint refuses by itself.

use super::*;
use crate::sip::endpoint::Settings;

#[test]
fn an_unknown_source_is_refused_and_costs_no_state() {
    let mut line = TestLine::new();
    line.add_phone_at(Transport::Udp, "198.51.100.5:5060", Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    line.run_for(seconds(61));
    let refused = line.phones[0].last();
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.headers.first("Reason"),
        Some("SIP;cause=403;text=\"unknown_source\"")
    );
    assert!(refused.headers.to().unwrap().tag().is_some());
    assert_eq!(line.phones[0].statuses(), [403]);
    assert_eq!(line.endpoint.counts(), Counts::default());
    assert_eq!(line.endpoint.poll_timeout(), None);
    assert_eq!(
        (line.refused[0].status, line.refused[0].reason),
        (403, "unknown_source")
    );
    assert_eq!(line.take_events(), [""; 0]);
}

#[test]
fn an_unknown_source_gets_the_same_tag_for_the_same_request() {
    let mut line = TestLine::new();
    line.add_phone_at(Transport::Udp, "198.51.100.5:5060", Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let (flow, invite) = (line.phones[0].flow, line.phones[0].last_invite());
    line.inject(flow, &invite);
    let [first, second] = &line.phones[0].responses[..] else {
        panic!()
    };
    assert_eq!(first.headers.to().unwrap(), second.headers.to().unwrap());
}

#[test]
fn an_unknown_source_cannot_touch_a_call_it_knows_the_tags_of() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    let stranger = Flow {
        remote: "198.51.100.5:5060".parse().unwrap(),
        ..line.phones[0].flow
    };
    line.phones[0].request(line.now, Method::Bye);
    let bye = line.phones[0].poll_output().unwrap();
    line.inject(stranger, &bye);
    line.inject(stranger, &line.phones[0].last_invite());
    assert!(
        line.sent
            .iter()
            .filter(|(_, flow, _)| *flow == stranger)
            .all(|(.., line)| line.contains("403"))
    );
    assert_eq!(line.take_events(), [""; 0]);
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn a_stranger_cannot_cancel_a_call_whose_branch_it_knows() {
    let (mut line, _) = ringing(Transport::Udp, Habits::default());
    line.phones[0].cancel(line.now);
    let cancel = line.phones[0].poll_output().unwrap();
    let neighbour = Flow {
        remote: "192.0.2.99:5060".parse().unwrap(),
        ..line.phones[0].flow
    };
    line.inject(neighbour, &cancel);
    assert!(line.sent.last().unwrap().2.contains("481"));
    assert_eq!(line.take_events().len(), 1);
}

#[test]
fn an_invite_that_cannot_be_served_says_what_is_wrong() {
    for (extra, status, header) in [
        (("Require", "100rel, foo"), 420, ("Unsupported", "foo")),
        (("Content-Encoding", "gzip"), 415, ("Accept", "application/sdp")),
        (
            ("Contact", "<sip:second@h>"),
            400,
            ("Reason", "SIP;cause=400;text=\"bad_request\""),
        ),
    ] {
        let mut line = TestLine::new();
        line.add_phone(
            Transport::Udp,
            Habits {
                extra: vec![extra],
                ..Habits::default()
            },
        );
        line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
        line.run_for(SECOND);
        assert_eq!(line.phones[0].statuses(), [status]);
        assert_eq!(line.phones[0].last().headers.first(header.0), Some(header.1));
        assert_eq!(line.take_events(), [""; 0]);
        assert_eq!(line.refused[0].trunk.as_deref(), Some("lan"));
        expect_nothing_left(&mut line);
    }
}

#[test]
fn supported_extensions_we_lack_are_ignored() {
    let extra = vec![("Supported", "timer, 100rel, replaces")];
    let (line, _) = ringing(
        Transport::Udp,
        Habits {
            extra,
            ..Habits::default()
        },
    );
    assert_eq!(line.phones[0].statuses(), [100]);
}

#[test]
fn an_invite_in_other_words_is_refused_by_them() {
    for (from, to, status) in [
        ("Max-Forwards: 70", "Max-Forwards: 0", 483),
        ("INVITE sip:operator@192.0.2.1", "INVITE http://operator", 416),
        ("application/sdp", "text/plain", 415),
        ("Contact:", "Accept: text/plain, text/x;q=1\r\nContact:", 406),
        ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia", 505),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("INVITE", "SUBSCRIBE", 405),
        ("INVITE", "TELEPORT", 501),
        ("INVITE", "BYE", 481),
    ] {
        let mut line = TestLine::new();
        line.add_phone(Transport::Udp, Habits::default());
        line.phones[0].invite(line.now, Some(OFFER));
        let invite = String::from_utf8(line.phones[0].poll_output().unwrap()).unwrap();
        line.inject(line.phones[0].flow, invite.replace(from, to).as_bytes());
        let expected = format!("SIP/2.0 {status} ");
        assert!(line.sent[0].2.starts_with(&expected), "{to}: {:?}", line.sent);
        assert_eq!(line.take_events(), [""; 0]);
    }
}

#[test]
fn what_is_required_beyond_reason_is_refused_in_few_words() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    line.phones[0].invite(line.now, Some(OFFER));
    let invite = String::from_utf8(line.phones[0].poll_output().unwrap()).unwrap();
    let require = format!("Require: {}\r\nContact:", "a,".repeat(4000));
    line.inject(line.phones[0].flow, invite.replace("Contact:", &require).as_bytes());
    let refused = line.phones[0].last();
    assert_eq!(refused.status, 420);
    assert!(refused.headers.first("Unsupported").unwrap().len() < 1100);
}

#[test]
fn a_call_may_accept_more_than_a_session_description() {
    for accept in [
        "application/sdp, text/plain",
        "text/plain, Application/SDP ;level=1",
        "*/*",
    ] {
        let extra = vec![("Accept", accept)];
        let habits = Habits {
            extra,
            ..Habits::default()
        };
        let (line, _) = ringing(Transport::Udp, habits);
        assert_eq!(line.phones[0].statuses(), [100], "{accept}");
    }
}

#[test]
fn a_caller_of_rfc_2543_is_known_by_the_content_of_its_messages() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    let flow = Flow {
        remote: "192.0.2.50:40000".parse().unwrap(),
        ..line.phones[0].flow
    };
    let request = |method: &str| {
        format!(
            "{method} sip:operator@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.50:40000\r\nFrom: <sip:old@h>;tag=1\r\n\
             To: <sip:operator@192.0.2.1>\r\nCall-ID: old\r\nCSeq: 1 {method}\r\nContact: <sip:old@192.0.2.10>\r\n\r\n"
        )
    };
    for method in ["INVITE", "INVITE", "CANCEL", "ACK"] {
        line.inject(flow, request(method).as_bytes());
    }
    let statuses: Vec<_> = line.sent.iter().map(|(.., line)| &line[8..11]).collect();
    assert_eq!(statuses, ["100", "100", "200", "487"]);
    line.run_for(seconds(40));
    assert_eq!(line.sent.len(), 4, "{:?}", line.sent);
    expect_nothing_left(&mut line);
}

#[test]
fn the_same_invite_by_another_way_gets_482() {
    let (mut line, _) = ringing(Transport::Udp, Habits::default());
    let invite = String::from_utf8(line.phones[0].last_invite()).unwrap();
    line.inject(
        line.phones[0].flow,
        invite.replace("z9hG4bK", "z9hG4bKother").as_bytes(),
    );
    assert!(line.sent.last().unwrap().2.starts_with("SIP/2.0 482"));
    assert_eq!(line.take_events().len(), 1);
}

#[test]
fn options_outside_a_call_says_what_we_can_and_costs_no_state() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.ask(now, Method::Options));
    let ok = line.phones[0].last();
    assert_eq!(ok.status, 200);
    assert!(ok.headers.contains("Accept") && ok.headers.contains("Allow") && ok.headers.contains("Supported"));
    assert_eq!(line.endpoint.counts(), Counts::default());
}

#[test]
fn while_draining_options_gets_503_and_calls_are_left_to_the_application() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.endpoint.set_draining(true);
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(1, |phone, now| phone.ask(now, Method::Options));
    let refused = line.phones[1].last();
    assert_eq!(
        (refused.status, refused.headers.first("Reason")),
        (503, Some("SIP;cause=503;text=\"draining\""))
    );
    assert!(refused.headers.contains("Retry-After"));
    line.phone(1, |phone, now| phone.invite(now, Some(OFFER)));
    assert_eq!(line.phones[1].last().status, 100);
}

#[test]
fn beyond_the_bounds_an_invite_gets_503_overloaded() {
    for (legs_max, transactions_max) in [(1, 100), (100, 1)] {
        let peers = vec![peer("lan", &["192.0.2.0/24"])];
        let settings = Settings {
            legs_max,
            transactions_max,
            peers,
            ..Settings::new([7; 32], 1)
        };
        let mut line = TestLine::with_settings(settings);
        for number in 0..2 {
            line.add_phone(Transport::Udp, Habits::default());
            line.phone(number, |phone, now| phone.invite(now, Some(OFFER)));
        }
        assert_eq!(line.phones[1].statuses(), [503]);
        assert_eq!(
            line.phones[1].last().headers.first("Reason"),
            Some("SIP;cause=503;text=\"overloaded\"")
        );
        assert!(line.phones[1].last().headers.contains("Retry-After"));
        line.command(line.leg(), answer());
        line.phone(0, |phone, now| phone.request(now, Method::Bye));
        assert_eq!(line.phones[0].statuses(), [100, 200, 200]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn what_cannot_be_read_is_answered_to_peers_only_and_keep_alives_to_nobody() {
    let (mut line, _) = ringing(Transport::Udp, Habits::default());
    let flow = line.phones[0].flow;
    let stranger = Flow {
        remote: "198.51.100.5:5060".parse().unwrap(),
        ..flow
    };
    let broken = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\r\n";
    let before = line.sent.len();
    line.inject(stranger, broken);
    line.inject(flow, b"\r\n\r\n");
    line.inject(flow, b"\0\xff\x80 nonsense");
    assert_eq!(line.sent.len(), before);
    line.inject(flow, broken);
    assert!(line.sent[before].2.starts_with("SIP/2.0 400"));
    let reasons: Vec<_> = line.refused.iter().map(|refused| refused.reason).collect();
    assert_eq!(reasons, ["unknown_source", "bad_request", "bad_request"]);
}

#[test]
fn responses_nobody_waits_for_are_dropped() {
    let (mut line, _) = ringing(Transport::Udp, Habits::default());
    let before = line.sent.len();
    let response = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
                    To: <sip:b@h>;tag=2\r\nCall-ID: x\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n";
    line.inject(line.phones[0].flow, response.as_bytes());
    assert_eq!(line.sent.len(), before);
}
