//! The places where SIP stacks go wrong, one test each, with the answer of RFC 3261.
//!
//! Every probe is a message that some published parser misreads: takes for another caller, another body or another
//! message. Each is read, handed to the endpoint where the endpoint decides by it, and printed again.

use super::endpoint::{Event, Invite};
use super::message::{Message, Request};
use super::reader::read_datagram;
use super::stream::{StreamEvent, StreamReader};
use super::test_line::{TestLine, peer};
use super::{Flow, Transport};

#[test]
fn compact_header_names_mean_the_full_ones() {
    let text = INVITE
        .replace("Via:", "v:")
        .replace("From:", "F:")
        .replace("To:", "t:")
        .replace("Call-ID:", "i :")
        .replace("Contact:", "m:")
        .replace("Content-Type:", "c:")
        .replace("Content-Length:", "l:");
    assert_eq!(read(&text), read(INVITE));
    assert_eq!(incoming(&text).offer, incoming(INVITE).offer);
}

#[test]
fn a_folded_header_line_is_one_line() {
    let folded = INVITE
        .replace("From: Alice ", "From:\r\n\tAlice  \r\n   ")
        .replace("CSeq: 1 ", "CSeq: 1\r\n ");
    assert_eq!(read(&folded), read(INVITE));
    let subject = read(&with("Subject: a\r\n \r\n b"));
    assert_eq!(subject.headers.first("Subject"), Some("a b"));
    assert_eq!(reason_of(&INVITE.replace("\r\nVia", "\r\n Via")), "bad_header_line");
}

#[test]
fn an_ipv6_request_uri_keeps_its_address() {
    let invite = read(&INVITE.replace("sip:bob@example.com SIP", "sip:bob@[2001:db8::1] SIP"));
    assert_eq!(invite.uri.host().unwrap().ip(), "2001:db8::1".parse().ok());
    assert_eq!((invite.uri.user(), invite.uri.port()), (Some("bob"), None));
    assert!(
        invite
            .to_bytes()
            .starts_with(b"INVITE sip:bob@[2001:db8::1] SIP/2.0\r\n")
    );
}

#[test]
fn an_ipv6_via_keeps_address_and_port_apart() {
    let invite = read(&INVITE.replace("UDP 192.0.2.1", "UDP [2001:db8::9]:5061"));
    let via = invite.headers.via().unwrap();
    assert_eq!((via.host.ip(), via.port), ("2001:db8::9".parse().ok(), Some(5061)));
    assert_eq!(via.to_string(), "SIP/2.0/UDP [2001:db8::9]:5061;branch=z9hG4bK1");
}

#[test]
fn a_call_over_ipv6_is_answered_over_ipv6() {
    let text = INVITE
        .replace("192.0.2.1", "[2001:db8::9]")
        .replace("example.com", "[2001:db8::1]");
    let mut line = TestLine::with_peers(vec![peer("six", &["2001:db8::/32"])]);
    line.add_phone_at(
        Transport::Udp,
        "[2001:db8::9]:5060",
        super::test_phone::Habits::default(),
    );
    line.phones[0].flow.local = "[2001:db8::1]:5060".parse().unwrap();
    let flow = line.phones[0].flow;
    line.inject(flow, text.as_bytes());
    let leg = line.leg();
    line.command(leg, super::Command::Answer { sdp: b"v=0".to_vec() });
    line.command(
        leg,
        super::Command::HangUp {
            reason: "agent_hung_up".into(),
        },
    );
    let accepted = line.phones[0].last();
    assert_eq!(accepted.headers.first("Contact"), Some("<sip:[2001:db8::1]:5060>"));
    assert_eq!(accepted.headers.via().unwrap().host.as_str(), "[2001:db8::9]");
    assert!(line.sent.iter().all(|(_, to, _)| *to == flow), "{:?}", line.sent);
}

#[test]
fn a_tel_uri_is_a_number_and_not_a_host_and_a_port() {
    let invite = incoming(&INVITE.replace("sip:bob@example.com SIP", "tel:+15551234567;ext=9 SIP"));
    assert_eq!(invite.request_uri.subscriber().unwrap(), "+15551234567");
    assert_eq!((invite.request_uri.host(), invite.request_uri.port()), (None, None));
    assert_eq!(invite.request_uri.to_string(), "tel:+15551234567;ext=9");
    let contact = read(&INVITE.replace("<sip:alice@192.0.2.1>", "<tel:+1555>"));
    assert_eq!(contact.headers.contact().unwrap().uri.as_str(), "tel:+1555");
}

#[test]
fn a_user_part_with_parameters_is_the_user_and_not_the_host() {
    let uri = "sip:+15551234567;npdi;rn=+1555@gw.example.com;user=phone";
    let invite = incoming(&INVITE.replace("sip:bob@example.com SIP", &format!("{uri} SIP")));
    assert_eq!(invite.request_uri.host().unwrap().as_str(), "gw.example.com");
    assert_eq!(invite.request_uri.subscriber().unwrap(), "+15551234567");
    assert_eq!(invite.request_uri.params().get("user"), Some("phone"));
    assert_eq!(invite.request_uri.as_str(), uri);
}

#[test]
fn the_caller_is_the_address_and_not_what_its_display_name_looks_like() {
    for from in [
        r#""Bob <sip:ceo@corp>" <sip:attacker@evil>;tag=1"#,
        r#""Bob \" <sip:ceo@corp>;tag=2" <sip:attacker@evil>;tag=1"#,
        r#""sip:ceo@corp" <sip:attacker@evil>;tag=1"#,
        r#"<sip:attacker@evil>;tag=1;x="<sip:ceo@corp>""#,
    ] {
        let text = INVITE.replace("Alice <sip:alice@example.com>;tag=1", from);
        let caller = incoming(&text).from;
        assert_eq!(
            (caller.uri.as_str(), caller.tag()),
            ("sip:attacker@evil", Some("1")),
            "{from}"
        );
    }
}

#[test]
fn a_quoted_name_may_hold_escapes_commas_and_semicolons() {
    let text = INVITE.replace("From: Alice", r#"From: "Doe, \"J\\D\"; tag=9""#);
    let from = read(&text).headers.from().unwrap();
    assert_eq!(from.display.as_deref(), Some(r#"Doe, "J\D"; tag=9"#));
    assert_eq!((from.uri.as_str(), from.tag()), ("sip:alice@example.com", Some("1")));
    assert_eq!(read_back(&read(&text)), read(&text));
}

#[test]
fn a_datagram_without_content_length_gives_its_rest_as_the_body() {
    let without = INVITE.replace("Content-Length: 3\r\n", "");
    assert_eq!(incoming(&without).offer.as_deref(), Some(&b"v=0"[..]));
    assert_eq!(read(&(without + "\r\n\r\n")).body, b"v=0\r\n\r\n");
}

#[test]
fn a_content_length_beyond_the_datagram_is_answered_400() {
    for length in ["4", "65536", "4294967296", "18446744073709551615"] {
        let text = INVITE.replace("Content-Length: 3", &format!("Content-Length: {length}"));
        let error = read_datagram(text.as_bytes()).unwrap_err();
        assert_eq!((error.reason(), error.reply().unwrap().status), ("body_truncated", 400));
        assert_eq!(first_status(&text), 400);
    }
}

#[test]
fn a_content_length_below_the_datagram_drops_the_rest() {
    assert_eq!(read(&(INVITE.to_owned() + "dropped")).body, b"v=0");
    assert_eq!(read(&INVITE.replace("Length: 3", "Length : 2")).body, b"v=");
    assert_eq!(
        incoming(&(INVITE.to_owned() + INVITE)).offer.as_deref(),
        Some(&b"v=0"[..])
    );
}

#[test]
fn two_different_content_lengths_are_refused_and_two_equal_ones_are_one() {
    let twice = |second: &str| INVITE.replace("Content-Length: 3", &format!("Content-Length: 3\r\n{second}"));
    for second in [
        "l: 2",
        "Content-Length: 0",
        "Content-Length: 18446744073709551615",
        "content-length : 4",
    ] {
        assert_eq!(reason_of(&twice(second)), "bad_content_length", "{second}");
        assert_eq!(first_status(&twice(second)), 400);
    }
    assert_eq!(read(&twice("l: 3")).body, b"v=0");
    assert_eq!(read(&twice("l: 003")).body, b"v=0");
}

#[test]
fn a_content_length_that_is_no_number_is_refused() {
    for length in ["18446744073709551616", "-1", "+3", "3 3", "3, 3", "0x3", "", "3;q"] {
        let text = INVITE.replace("Content-Length: 3", &format!("Content-Length: {length}"));
        assert_eq!(reason_of(&text), "bad_content_length", "{length}");
    }
}

#[test]
fn white_space_before_the_colon_does_not_hide_a_content_length_from_the_stream() {
    let inner = INVITE.replace("c1", "smuggled");
    let outer = INVITE.replace("Content-Length: 3", &format!("Content-Length : {}", inner.len()));
    let mut reader = StreamReader::new();
    reader.push(outer.replace("\r\n\r\nv=0", &format!("\r\n\r\n{inner}")).as_bytes());
    let Some(StreamEvent::Message(message)) = reader.poll_event() else {
        panic!("no message")
    };
    assert_eq!(message.headers().call_id(), Ok("c1"));
    assert_eq!(reader.poll_event(), None);
}

#[test]
fn the_largest_content_length_ends_the_stream_and_not_the_gateway() {
    for (length, reason) in [
        ("18446744073709551615", "too_large"),
        ("18446744073709551611", "too_large"),
        ("18446744073709551616", "bad_content_length"),
    ] {
        let mut reader = StreamReader::new();
        reader.push(
            INVITE
                .replace("Content-Length: 3", &format!("Content-Length: {length}"))
                .as_bytes(),
        );
        let Some(StreamEvent::Broken(error)) = reader.poll_event() else {
            panic!("{length}")
        };
        assert_eq!(error.reason(), reason);
    }
}

#[test]
fn a_byte_that_is_not_utf8_costs_neither_itself_nor_the_headers_behind_it() {
    let latin = |byte| if byte == b'A' { 0xC4 } else { byte };
    let bytes: Vec<u8> = INVITE.bytes().map(latin).collect();
    let Ok(Message::Request(invite)) = read_datagram(&bytes) else {
        panic!("not read")
    };
    assert_eq!(invite.headers.len(), read(INVITE).headers.len());
    assert_eq!(invite.headers.cseq().unwrap().number, 1);
    assert!(invite.headers.from().unwrap().display.is_some());
    assert!(invite.to_bytes().windows(6).any(|window| window == b"\xC4lice "));
    assert_eq!(read_back(&invite), invite);
}

#[test]
fn several_contacts_in_one_header_stay_several_and_keep_their_commas() {
    let contacts = r#""A, \"B\"" <sip:a@h>;q=1, sip:b@h;expires=60,<tel:+1555>"#;
    let invite = read(&INVITE.replace("<sip:alice@192.0.2.1>", contacts));
    let uris: Vec<_> = invite
        .headers
        .contacts()
        .unwrap()
        .iter()
        .map(|contact| contact.uri.to_string())
        .collect();
    assert_eq!(uris, ["sip:a@h", "sip:b@h", "tel:+1555"]);
    assert_eq!(invite.headers.first("Contact"), Some(contacts));
    assert_eq!(read_back(&invite), invite);
}

#[test]
fn an_escaped_hash_is_unescaped_once_and_printed_as_it_came() {
    let invite = incoming(&INVITE.replace("sip:bob@example.com SIP", "sip:%23911@example.com SIP"));
    assert_eq!(invite.request_uri.subscriber().unwrap(), "#911");
    assert_eq!(invite.request_uri.to_string(), "sip:%23911@example.com");
    let twice = incoming(&INVITE.replace("sip:bob@example.com SIP", "sip:%2523911@example.com SIP"));
    assert_eq!(twice.request_uri.subscriber().unwrap(), "%23911");
}

#[test]
fn without_angle_brackets_parameters_belong_to_the_header_and_not_to_the_uri() {
    let invite = read(&INVITE.replace("<sip:alice@192.0.2.1>", "sip:alice@192.0.2.1;expires=60"));
    let contact = invite.headers.contact().unwrap();
    assert_eq!(contact.uri.as_str(), "sip:alice@192.0.2.1");
    assert_eq!(contact.params.get("expires"), Some("60"));
    let inside = read(&INVITE.replace("<sip:alice@192.0.2.1>", "<sip:alice@192.0.2.1;expires=60>"));
    assert_eq!(inside.headers.contact().unwrap().params.get("expires"), None);
}

const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: Alice <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1>\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0";

fn with(header: &str) -> String {
    INVITE.replace("Content-Length", &format!("{header}\r\nContent-Length"))
}

fn read(text: &str) -> Request {
    match read_datagram(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn read_back(request: &Request) -> Request {
    match read_datagram(&request.to_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn reason_of(text: &str) -> &'static str {
    read_datagram(text.as_bytes()).unwrap_err().reason()
}

/// What the application is told of the call these bytes make.
fn incoming(text: &str) -> Invite {
    let line = line_with(text);
    match line.events.first() {
        Some((_, Event::Incoming(invite))) => (**invite).clone(),
        _ => panic!("no call: {:?}", line.sent),
    }
}

/// The status these bytes are answered with first.
fn first_status(text: &str) -> u16 {
    let line = line_with(text);
    let (_, _, first) = line.sent.first().expect("an answer");
    first[8..11].parse().unwrap()
}

fn line_with(text: &str) -> TestLine {
    let mut line = TestLine::new();
    let flow = Flow {
        transport: Transport::Udp,
        local: "192.0.2.100:5060".parse().unwrap(),
        remote: "192.0.2.1:5060".parse().unwrap(),
        connection: 0,
    };
    line.inject(flow, text.as_bytes());
    line
}
