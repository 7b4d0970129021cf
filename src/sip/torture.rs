//! The torture messages of RFC 4475 and some thousand mutations of them.
//!
//! The table holds the verdict of the reader on each message and what the endpoint answers to it. Where the RFC leaves
//! the choice between strict and liberal, strict is the answer for what carries routing and lists, liberal for what we
//! do not act on (Date, unknown schemes in To). Messages that are well-formed but unwanted (3.3: no such extension, scheme
//! or media type) pass the reader and are refused by the endpoint, in the order of section 8.2 of RFC 3261: the method
//! first, so that a REGISTER gets 405 here, where nobody registers, whatever else it says.

use super::test_line::{TestLine, peer};
use super::{Flow, Message, StreamEvent, StreamReader, Transport, read_datagram};

const ACCEPTED: &str = "accepted";
/// The status of no answer at all: to a response, and to what nobody can be told.
const SILENCE: u16 = 0;

macro_rules! torture {
    ($($section:literal $name:literal $verdict:tt $answer:tt;)*) => {
        /// Section of RFC 4475, message, bytes, verdict (accepted, or the reason word), status of the first answer.
        const MESSAGES: &[(&str, &str, &[u8], &str, u16)] = &[
            $((
                $section,
                $name,
                include_bytes!(concat!("../../tests/data/rfc4475/", $name, ".dat")),
                $verdict,
                $answer,
            ),)*
        ];
    };
}

torture! {
    "3.1.1.1" "wsinv" ACCEPTED 481;
    "3.1.1.2" "intmeth" ACCEPTED 501;
    "3.1.1.3" "esc01" ACCEPTED 100;
    "3.1.1.4" "escnull" ACCEPTED 405;
    "3.1.1.5" "esc02" ACCEPTED 501;
    "3.1.1.6" "lwsdisp" ACCEPTED 200;
    "3.1.1.7" "longreq" ACCEPTED 100;
    "3.1.1.8" "dblreq" ACCEPTED 405;
    "3.1.1.9" "semiuri" ACCEPTED 200;
    "3.1.1.10" "transports" ACCEPTED 200;
    "3.1.1.11" "mpart01" ACCEPTED 405;
    "3.1.1.12" "unreason" ACCEPTED SILENCE;
    "3.1.1.13" "noreason" ACCEPTED SILENCE;
    "3.1.2.1" "badinv01" "bad_header" 400;
    "3.1.2.2" "clerr" "body_truncated" 400;
    "3.1.2.3" "ncl" "bad_content_length" 400;
    "3.1.2.4" "scalar02" "bad_header" 400;
    "3.1.2.5" "scalarlg" "bad_header" SILENCE;
    "3.1.2.6" "quotbal" "bad_header" 400;
    "3.1.2.7" "ltgtruri" "bad_start_line" 400;
    "3.1.2.8" "lwsruri" "bad_start_line" 400;
    "3.1.2.9" "lwsstart" "bad_start_line" 400;
    "3.1.2.10" "trws" "bad_start_line" 400;
    "3.1.2.11" "escruri" "bad_start_line" 400;
    "3.1.2.12" "baddate" ACCEPTED 100;
    "3.1.2.13" "regbadct" "bad_header" 400;
    "3.1.2.14" "badaspec" "bad_header" 400;
    "3.1.2.15" "baddn" "bad_header_line" 400;
    "3.1.2.16" "badvers" "bad_version" 505;
    "3.1.2.17" "mismatch01" "method_mismatch" 400;
    "3.1.2.18" "mismatch02" "method_mismatch" 400;
    "3.1.2.19" "bigcode" "bad_start_line" SILENCE;
    "3.2.1" "badbranch" "bad_header" 400;
    "3.3.1" "insuf" "missing_header" 400;
    "3.3.2" "unkscm" ACCEPTED 416;
    "3.3.3" "novelsc" ACCEPTED 416;
    "3.3.4" "unksm2" ACCEPTED 405;
    "3.3.5" "bext01" ACCEPTED 420;
    "3.3.6" "invut" ACCEPTED 415;
    "3.3.7" "regaut01" ACCEPTED 405;
    "3.3.8" "multi01" "repeated_header" 400;
    "3.3.9" "mcl01" "bad_content_length" 400;
    "3.3.10" "bcast" ACCEPTED SILENCE;
    "3.3.11" "zeromf" ACCEPTED 200;
    "3.3.12" "cparam01" ACCEPTED 405;
    "3.3.13" "cparam02" ACCEPTED 405;
    "3.3.14" "regescrt" ACCEPTED 405;
    "3.3.15" "sdp01" ACCEPTED 406;
    "3.4.1" "inv2543" ACCEPTED 400;
}

#[test]
fn every_torture_message_gets_its_verdict() {
    assert_eq!(MESSAGES.len(), 49);
    for (section, name, bytes, verdict, _) in MESSAGES {
        let reason = read_datagram(bytes).map_or_else(|error| error.reason(), |_| ACCEPTED);
        assert_eq!(reason, *verdict, "{section} {name}");
    }
}

/// The published `baddn` lacks the empty line after its headers, which hides what it is meant to show.
#[test]
fn an_unquoted_comma_in_a_display_name_is_refused() {
    let (_, _, bytes, ..) = MESSAGES.iter().find(|(_, name, ..)| *name == "baddn").unwrap();
    assert_eq!(
        read_datagram(&[bytes, &b"\r\n"[..]].concat()).unwrap_err().reason(),
        "bad_header"
    );
}

#[test]
fn every_refused_torture_request_is_answered_and_no_response_is() {
    for (section, name, bytes, ..) in MESSAGES {
        let Err(error) = read_datagram(bytes) else { continue };
        let expected = match *name {
            "scalarlg" | "bigcode" => None,
            "badvers" => Some(505),
            _ => Some(400),
        };
        assert_eq!(error.reply().map(|reply| reply.status), expected, "{section} {name}");
    }
}

/// Where the RFC leaves a choice: 405 to REGISTER and MESSAGE, because neither is served; 400 to an unknown method in only
/// one of request line and CSeq, where 501 would do too; 406 to an INVITE that takes no session description; and 400 to the
/// one of RFC 2543, not because it is old but because without a Contact there is no dialog.
#[test]
fn the_endpoint_answers_each_torture_message_with_the_status_it_deserves() {
    for (section, name, bytes, _, answer) in MESSAGES {
        let line = line_with(bytes);
        let status = line
            .sent
            .first()
            .map_or(SILENCE, |(_, _, first)| first[8..11].parse().unwrap());
        assert_eq!(status, *answer, "{section} {name}");
    }
}

/// Without Content-Length nobody knows where the message ends, and with one beyond what has come, or without the end of the
/// head, a stream waits for more.
#[test]
fn on_a_stream_a_torture_message_gets_the_same_verdict_unless_its_end_is_in_doubt() {
    for (section, name, bytes, verdict, _) in MESSAGES {
        let mut reader = StreamReader::new();
        reader.push(bytes);
        let said = match reader.poll_event() {
            Some(StreamEvent::Message(_)) => ACCEPTED,
            Some(StreamEvent::Refused(error) | StreamEvent::Broken(error)) => error.reason(),
            Some(StreamEvent::Ping) => "ping",
            None => "waits",
        };
        let expected = match *name {
            "clerr" | "baddn" => "waits",
            "inv2543" => "bad_content_length",
            _ => verdict,
        };
        assert_eq!(said, expected, "{section} {name}");
    }
}

/// A line on which a known peer has sent these bytes.
fn line_with(bytes: &[u8]) -> TestLine {
    let mut line = TestLine::with_peers(vec![peer("all", &["0.0.0.0/0"])]);
    let flow = Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.10:5060".parse().unwrap(),
        connection: 0,
    };
    line.inject(flow, bytes);
    line
}

#[test]
fn the_tortuous_invite_is_understood() {
    let Message::Request(invite) = read("wsinv") else {
        panic!()
    };
    let headers = &invite.headers;
    assert!(invite.uri.params().contains("unknownparam"));
    assert_eq!(headers.to().unwrap().tag(), Some("1918181833n"));
    assert_eq!(headers.from().unwrap().display.as_deref(), Some(r#"J Rosenberg \""#));
    assert_eq!(headers.max_forwards().unwrap(), Some(68));
    assert_eq!(headers.cseq().unwrap().to_string(), "9 INVITE");
    let vias = headers.vias().unwrap();
    let branches: Vec<_> = vias.iter().map(|via| via.branch().unwrap()).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    assert_eq!(headers.first("Subject"), Some(""));
    assert_eq!(
        headers.first("NewFangledHeader"),
        Some("newfangled value continued newfangled value")
    );
    assert_eq!(
        headers.contact().unwrap().display.as_deref(),
        Some(r#"Quoted string """#)
    );
    assert_eq!(headers.contact().unwrap().params.get("q"), Some("0.33"));
    assert_eq!(invite.body.len(), 150);
}

#[test]
fn odd_characters_arrive_where_they_belong() {
    let Message::Request(request) = read("intmeth") else {
        panic!()
    };
    assert_eq!(request.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(request.uri.host().unwrap().as_str(), "example.com");
    assert_eq!(
        request.headers.to().unwrap().display.as_deref(),
        Some("BEL:\x07 NUL:\0 DEL:\x7f")
    );
    assert!(request.headers.contains("extensionHeader-!.%*+_`'~"));
    let Message::Request(semicolons) = read("semiuri") else {
        panic!()
    };
    assert_eq!(semicolons.uri.user(), Some("user;par=u%40example.net"));
    let Message::Request(trailing) = read("dblreq") else {
        panic!()
    };
    assert!(trailing.body.is_empty());
    let Message::Response(reason) = read("unreason") else {
        panic!()
    };
    assert!(reason.reason.starts_with("= 2**3 * 5**2 \u{43d}\u{43e}"));
}

#[test]
fn what_we_print_we_read_back_equal() {
    for (section, name, bytes, ..) in MESSAGES {
        if let Ok(message) = read_datagram(bytes) {
            assert_eq!(read_datagram(&message.to_bytes()).unwrap(), message, "{section} {name}");
        }
    }
}

/// No panic, no difference between what is printed and what was read, and on a stream no more events than bytes.
#[test]
fn mutated_messages_do_no_harm() {
    let mut random = Lcg(2024);
    let mut accepted = 0;
    for round in 0..20_000 {
        let (_, name, seed, ..) = MESSAGES[round / 2 % MESSAGES.len()];
        let (name, seed) = if round % 2 == 0 {
            ("own", OWN_SEED)
        } else {
            (name, seed)
        };
        let mut bytes = seed.to_vec();
        (0..=random.below(3)).for_each(|_| random.mutate(&mut bytes));
        accepted += usize::from(survives_as_datagram(name, &bytes));
        survives_as_stream(&bytes, &mut random);
    }
    assert!(
        accepted > 4_000,
        "only {accepted} mutations were accepted: the mutations are too coarse to test much"
    );
}

fn survives_as_datagram(name: &str, bytes: &[u8]) -> bool {
    let message = match read_datagram(bytes) {
        Ok(message) => message,
        Err(error) => {
            let reply = error.reply().map(|reply| reply.with_to_tag("t").to_bytes());
            assert!(reply.is_none_or(|reply| reply.len() < bytes.len() + 512), "{name}");
            return false;
        }
    };
    touch_everything(&message);
    assert_eq!(read_datagram(&message.to_bytes()).as_ref(), Ok(&message), "{name}");
    true
}

fn touch_everything(message: &Message) {
    let headers = message.headers();
    for address in [headers.from(), headers.to(), headers.contact()].into_iter().flatten() {
        assert_eq!(super::NameAddr::read(&address.to_string()).as_ref(), Ok(&address));
        let _ = (address.tag(), address.uri.subscriber(), address.uri.host());
    }
    for via in headers.vias().unwrap_or_default() {
        assert_eq!(super::Via::read(&via.to_string()).as_ref(), Ok(&via));
        let _ = (via.branch(), via.received(), via.rport());
    }
    let _ = (headers.routes(), headers.record_routes(), headers.content_type());
    let _ = (super::Reason::of(headers), headers.tokens("Require").count());
    let _ = headers.authorization().map(super::proof::Proof::read).count();
}

fn survives_as_stream(bytes: &[u8], random: &mut Lcg) {
    let mut reader = StreamReader::new();
    let mut events = 0;
    let (first, second) = bytes.split_at(random.below(bytes.len() + 1));
    for part in [first, second] {
        reader.push(part);
        while let Some(event) = reader.poll_event() {
            events += 1;
            if let StreamEvent::Broken(_) = event {
                assert_eq!(reader.poll_event(), None);
            }
        }
    }
    assert!(events <= bytes.len());
}

fn read(wanted: &str) -> Message {
    let (_, _, bytes, ..) = MESSAGES.iter().find(|(_, name, ..)| *name == wanted).unwrap();
    read_datagram(bytes).unwrap()
}

/// What the torture messages lack: IPv6, tel, digest credentials, quoted names in lists, our Reason.
const OWN_SEED: &[u8] = b"INVITE sip:%23911;npdi@[2001:db8::1]:5061;user=phone SIP/2.0\r\n\
    v: SIP/2.0/UDP [2001:db8::2]:5060;rport;received=192.0.2.9;branch=z9hG4bK1, \
    SIP/2.0/TLS p.example.com;branch=z9hG4bK2\r\n\
    Record-Route: <sip:p1.example.com;lr>,<sip:p2.example.com;lr;x=\xff>\r\n\
    f: \"Bob, \\\"<sip:ceo@corp>\\\" J\xf6rg\" <sip:attacker@evil>;tag=1\r\nt: tel:+1-555;tag=a\r\n\
    m: \"A, B\" <sip:a@h>;q=1, sip:b@h;expires=60,<tel:+1555;phone-context=x>\r\ni: c1@h\r\nCSeq: 1 INVITE\r\n\
    Authorization: Digest username=\"a\\\"b\", realm=\"patchcord\", nonce=\"00\", uri=\"sip:h\", response=\"ff\", \
    algorithm=SHA-256, qop=auth, nc=0000000a, cnonce=\"c\"\r\nReason: Q.850;cause=16;text=\"x, y\"\r\n\
    Max-Forwards: 70\r\nRequire: timer, 100rel\r\nSubject: a\r\n b\r\nc: application/sdp\r\nl : 3\r\n\r\nv=0";

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + self.below(24)).min(bytes.len());
        match self.below(6) {
            0 => bytes
                .splice(at..at, [b"\r\n:;,\"<>\\@ %[]=\0\xff?/"[self.below(19)]])
                .for_each(drop),
            1 => bytes.splice(at..end, []).for_each(drop),
            2 => bytes.extend_from_within(at..end),
            3 => bytes
                .splice(at..end, b"99999999999999999999".iter().copied())
                .for_each(drop),
            4 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << self.below(8)),
            _ => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, copy).for_each(drop);
            }
        }
    }
}
