//! What we print, read by somebody else: rsiprtp, and rsip as far as it can read.
//!
//! The readers must find the same message in the same bytes: method or status, Request-URI, the headers in their order,
//! Via, From, To, Call-ID, CSeq, Contact, the route set, Content-Length and the body. They are told apart where they are
//! known to be wrong: rsiprtp refuses text that is not UTF-8 and methods it does not know, takes a tel number for a host
//! and a `?` in a user part for the end of it; rsip refuses IPv6, tel, and quoted names with commas. A Via of rsiprtp is
//! compared by its sent-by as written, because what it makes of an IPv6 address (`[..]:5061:5060`) is not one.

use rsiprtp::sip::parser::typed::{CSeq as TheirCSeq, Via as TheirVia};
use rsiprtp::sip::parser::{Headers as TheirHeaders, Message as TheirMessage, NameAddr as TheirAddr};

use super::grammar::list;
use super::message::{Message, Request, Response};
use super::reader::read_datagram;
use super::test_line::Dice;
use super::{Headers, Method, NameAddr, Scheme, Uri, Via};

/// How many messages are made up, printed and read by everybody.
const MESSAGES: u64 = 2_000;

#[test]
fn every_message_we_can_make_up_is_read_alike() {
    let mut dice = Dice(26);
    let mut by_rsip = 0;
    for _ in 0..MESSAGES {
        let message = message(&mut dice);
        let bytes = message.to_bytes();
        assert_eq!(read_datagram(&bytes).as_ref(), Ok(&message), "{}", shown(&bytes));
        agree(&bytes);
        by_rsip += u64::from(agree_with_rsip(&bytes));
    }
    assert!(by_rsip > MESSAGES / 10, "rsip could read {by_rsip} only");
}

/// Fails when these bytes of ours, which anybody should be able to read, say something else to rsiprtp than to us.
pub(crate) fn agree(bytes: &[u8]) {
    let text = shown(bytes);
    let ours = read_datagram(bytes).unwrap_or_else(|error| panic!("{error}: {text}"));
    if !is_in_their_words(&ours, bytes) {
        return;
    }
    let theirs = TheirMessage::parse(bytes).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (headers, body) = match (&ours, &theirs) {
        (Message::Request(ours), TheirMessage::Request(theirs)) => {
            assert_eq!(
                (ours.method.as_str(), ours.uri.as_str()),
                (theirs.method.as_str(), &*theirs.uri),
                "{text}"
            );
            (&theirs.headers, (&ours.body, &theirs.body))
        }
        (Message::Response(ours), TheirMessage::Response(theirs)) => {
            assert_eq!(
                (ours.status, &ours.reason),
                (theirs.status_code.as_u16(), &theirs.reason),
                "{text}"
            );
            (&theirs.headers, (&ours.body, &theirs.body))
        }
        _ => panic!("a request to one and a response to the other: {text}"),
    };
    assert_eq!(body.0, body.1, "{text}");
    assert_eq!(
        headers.get_first_value("Content-Length"),
        Some(&*body.0.len().to_string()),
        "{text}"
    );
    agree_on_headers(ours.headers(), headers, &text);
}

fn agree_on_headers(ours: &Headers, theirs: &TheirHeaders, text: &str) {
    let names = ours
        .iter()
        .map(|header| (header.name.as_str().to_ascii_lowercase(), header.value.trim()));
    let others = theirs
        .iter()
        .map(|header| (header.name().to_ascii_lowercase(), header.value().trim()));
    let length = "content-length".to_owned();
    assert!(names.eq(others.filter(|(name, _)| *name != length)), "{text}");
    for (via, value) in ours.vias().unwrap().iter().zip(elements(ours, "Via")) {
        agree_on_via(
            via,
            &TheirVia::parse(value).unwrap_or_else(|error| panic!("{error}: {text}")),
            text,
        );
    }
    let cseq = TheirCSeq::parse(theirs.get_first_value("CSeq").unwrap()).unwrap();
    let our_cseq = ours.cseq().unwrap();
    assert_eq!(
        (our_cseq.number, our_cseq.method.as_str()),
        (cseq.seq, cseq.method.as_str()),
        "{text}"
    );
    assert_eq!(ours.call_id().ok(), theirs.get_first_value("Call-ID"), "{text}");
    for name in ["From", "To", "Contact", "Route", "Record-Route"] {
        for value in elements(ours, name).filter(|value| *value != "*") {
            agree_on_address(value, text);
        }
    }
}

fn agree_on_via(ours: &Via, theirs: &TheirVia, text: &str) {
    let port = ours.port.map(|port| format!(":{port}")).unwrap_or_default();
    assert_eq!(format!("{}{port}", ours.host), theirs.sent_by, "{text}");
    assert_eq!(
        (&*ours.transport, ours.branch()),
        (&*theirs.transport, theirs.branch()),
        "{text}"
    );
    let received = theirs
        .received()
        .and_then(|address| address.trim_matches(['[', ']']).parse().ok());
    assert_eq!(ours.received(), received, "{text}");
    assert_eq!(
        (ours.wants_rport(), ours.rport()),
        (theirs.rport().is_some(), theirs.rport().flatten()),
        "{text}"
    );
}

fn agree_on_address(value: &str, text: &str) {
    let ours = NameAddr::read(value).unwrap();
    let theirs = TheirAddr::parse(value).unwrap_or_else(|error| panic!("{error}: {value:?} in {text}"));
    assert_eq!(
        (&ours.display, ours.tag()),
        (&theirs.display_name, theirs.tag()),
        "{value:?} in {text}"
    );
    assert_eq!(
        ours.params.iter().count(),
        theirs.parameters.len(),
        "{value:?} in {text}"
    );
    agree_on_uri(&ours.uri, &theirs.uri, text);
}

fn agree_on_uri(ours: &Uri, theirs: &rsiprtp::sip::SipUri, text: &str) {
    assert_eq!(ours.scheme().to_string(), theirs.scheme(), "{text}");
    if *ours.scheme() == Scheme::Tel {
        assert_eq!(ours.user(), Some(theirs.host()), "{text}");
        return;
    }
    assert_eq!(ours.host().map(|host| host.as_str()), Some(theirs.host()), "{text}");
    assert_eq!((ours.user(), ours.port()), (theirs.user(), theirs.port()), "{text}");
    for param in ours.params().iter() {
        assert_eq!(param.value.as_deref(), theirs.get_param(&param.name), "{text}");
        assert!(theirs.has_param(&param.name), "{text}");
    }
}

/// Whether rsip could read it, and then the same.
fn agree_with_rsip(bytes: &[u8]) -> bool {
    use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let Ok(theirs) = rsip::SipMessage::try_from(bytes) else {
        return false;
    };
    let ours = read_datagram(bytes).unwrap();
    let headers = ours.headers();
    match (&ours, &theirs) {
        (Message::Request(ours), rsip::SipMessage::Request(theirs)) => {
            assert_eq!(ours.method.as_str(), theirs.method.to_string());
            assert_eq!(ours.body, theirs.body);
        }
        (Message::Response(ours), rsip::SipMessage::Response(theirs)) => {
            assert_eq!(ours.status, theirs.status_code.code());
            assert_eq!(ours.body, theirs.body);
        }
        _ => panic!("a request to one and a response to the other: {}", shown(bytes)),
    }
    let cseq = theirs.cseq_header().unwrap().typed().unwrap();
    assert_eq!(headers.cseq().unwrap().number, cseq.seq);
    assert_eq!(headers.call_id().unwrap(), theirs.call_id_header().unwrap().value());
    let Ok(from) = theirs.from_header().unwrap().typed() else {
        return false;
    };
    assert_eq!(headers.from().unwrap().tag(), from.tag().map(|tag| tag.value()));
    true
}

/// Whether it is one of the things rsiprtp is known to refuse.
fn is_in_their_words(message: &Message, bytes: &[u8]) -> bool {
    let head = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_default();
    let cseq = message.headers().cseq().unwrap();
    !matches!(cseq.method, Method::Other(_)) && std::str::from_utf8(&bytes[..head]).is_ok()
}

fn elements<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    let single = ["From", "To"].contains(&name);
    headers
        .all(name)
        .flat_map(move |value| if single { vec![value] } else { list(value).unwrap() })
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn message(dice: &mut Dice) -> Message {
    let (headers, method) = headers(dice);
    let body = (0..dice.below(40)).map(|_| dice.below(256) as u8).collect();
    match dice.below(3) {
        0 => {
            let status = 100 + dice.below(600) as u16;
            let reason = one(dice, &["", "OK", "Not Here (yet), \"sorry\": ö", "200 Two"]).to_owned();
            Message::Response(Response {
                status,
                reason,
                headers,
                body,
            })
        }
        _ => {
            let uri = Uri::read(&uri(dice)).unwrap();
            Message::Request(Request {
                method,
                uri,
                headers,
                body,
            })
        }
    }
}

fn headers(dice: &mut Dice) -> (Headers, Method) {
    let methods = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Refer,
        Method::Options,
        Method::Register,
    ];
    let method = methods[dice.below(6) as usize].clone();
    let mut headers = Headers::new();
    for _ in 0..=dice.below(3) {
        headers.push("Via", some(dice, via));
    }
    headers.push(
        "From",
        format!("{};tag={}", address(dice), one(dice, &["1", "a.b-c~d", "x_*"])),
    );
    headers.push("To", address(dice));
    headers.push(
        "Call-ID",
        one(dice, &["a@b", "1-2-3@[2001:db8::1]", "{x}<y>\"z\"", "0"]),
    );
    headers.push("CSeq", format!("{} {method}", dice.below(1 << 31)));
    for name in ["Contact", "Route", "Record-Route"] {
        for _ in 0..dice.below(3) {
            headers.push(name, some(dice, address));
        }
    }
    for (name, value) in [
        ("Subject", "a: b, \"c\" <d>; e"),
        ("Max-Forwards", "70"),
        ("X-Empty", ""),
        ("Supported", "timer,100rel"),
    ] {
        if dice.below(2) == 0 {
            headers.push(name, value);
        }
    }
    (headers, method)
}

fn via(dice: &mut Dice) -> String {
    let mut text = format!("SIP/2.0/{} {}", one(dice, &["UDP", "TCP", "TLS", "WSS"]), host(dice));
    let params = [
        ";rport",
        ";rport=40000",
        ";received=192.0.2.1",
        ";received=2001:db8::7",
        ";branch=z9hG4bK-a.1",
        ";x=\"a;b,c\"",
    ];
    for param in params
        .iter()
        .skip(dice.below(2) as usize)
        .step_by(1 + dice.below(3) as usize)
    {
        if !param.starts_with(";received=2") || !text.contains(";received") {
            text.push_str(param);
        }
    }
    match text.contains(";rport;") && text.contains(";rport=") {
        true => text.replace(";rport;", ";"),
        false => text,
    }
}

/// A name, a URI in brackets and parameters.
fn address(dice: &mut Dice) -> String {
    let name = one(
        dice,
        &[
            "",
            "Alice ",
            "\"A, B; C\" ",
            "\"<sip:ceo@corp>\" ",
            "\"\\\"q\\\\\" ",
            "\"Jörg 電話\" ",
            "The Operator ",
        ],
    );
    let params = one(
        dice,
        &["", ";expires=60", ";q=0.5;x", ";+sip.instance=\"<urn:uuid:1, 2>\""],
    );
    format!("{name}<{}>{params}", uri(dice))
}

fn uri(dice: &mut Dice) -> String {
    if dice.below(6) == 0 {
        return one(
            dice,
            &["tel:+1-555-0100", "tel:911;phone-context=example.com", "tel:*31#"],
        )
        .to_owned();
    }
    let scheme = one(dice, &["sip", "sips"]);
    let user = one(
        dice,
        &[
            "",
            "bob@",
            "%23911@",
            "+1555;npdi;rn=+1@",
            "a.b!c~d*'()&=+$,/@",
            "b%C3%B6b@",
        ],
    );
    let params = one(dice, &["", ";lr", ";transport=tcp;lr", ";user=phone;x=%41"]);
    format!("{scheme}:{user}{}{params}", host(dice))
}

fn host(dice: &mut Dice) -> String {
    let host = one(
        dice,
        &[
            "192.0.2.1",
            "example.com",
            "[2001:db8::1]",
            "a-b.example",
            "[::ffff:192.0.2.1]",
        ],
    );
    host.to_owned() + one(dice, &["", ":5060", ":65535", ":1"])
}

/// One to three, as a list.
fn some(dice: &mut Dice, make: fn(&mut Dice) -> String) -> String {
    let items: Vec<_> = (0..=dice.below(3)).map(|_| make(dice)).collect();
    items.join(one(dice, &[",", ", ", " , "]))
}

fn one<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.below(of.len() as u64) as usize]
}
