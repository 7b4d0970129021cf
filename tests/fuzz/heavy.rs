//! The heaviest messages the readers take: as large as they may be, and filled with what costs most to read.
//!
//! Each is a trap for work that grows faster than its input: lists in lists, parameters said again and again, folds,
//! quotes that never close, bytes that are not UTF-8, addresses to be compared, headers to be repeated in the answer.

use patchcord::sip::head::HEADER_BYTES_MAX;
use patchcord::sip::reader::DATAGRAM_BYTES_MAX;
use patchcord::sip::stream::{HEAD_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX};

/// A header value just short of the longest one.
const VALUE_BYTES: usize = HEADER_BYTES_MAX - 100;

/// Stands for the byte 0xFF while a message is still text.
const NOT_UTF8: &str = "\u{1}";

/// What a message is filled with.
enum Fill {
    /// This header line, again and again.
    Line(String),
    /// This much of a body.
    Body(&'static str),
}

/// One datagram per trap.
pub fn datagrams() -> Vec<(&'static str, Vec<u8>)> {
    let mut datagrams: Vec<_> = traps()
        .into_iter()
        .map(|(name, fill)| (name, message(&fill, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX)))
        .collect();
    datagrams.push(("a body of line breaks", b"\r\n".repeat(DATAGRAM_BYTES_MAX / 2)));
    datagrams.push(("nothing but one letter", b"a".repeat(DATAGRAM_BYTES_MAX)));
    datagrams
}

/// One stream message per trap; the last two are streams of many small things.
pub fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let mut streams: Vec<_> = traps()
        .into_iter()
        .map(|(name, fill)| (name, message(&fill, HEAD_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX)))
        .collect();
    streams.push(("a stream of pings", b"\r\n".repeat(HEAD_BYTES_MAX)));
    streams.push((
        "a head that never ends",
        b"X: y\r\n".repeat(STREAM_MESSAGE_BYTES_MAX / 6),
    ));
    streams
}

fn traps() -> Vec<(&'static str, Fill)> {
    let line = |name, header: &str, unit: &str| (name, Fill::Line(format!("{header}: {}", filled("", unit, ""))));
    let list = |name, header: &str, unit: &str| (name, Fill::Line(format!("{header}: {}", [unit; 64].join(","))));
    let params: String = (0..64).map(|number| format!(";p{number}=\"\\\"{number}\"")).collect();
    vec![
        list(
            "lists of Via",
            "Via",
            "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;rport;received=192.0.2.1",
        ),
        ("single Vias", Fill::Line("Via: SIP/2.0/UDP h;branch=z9hG4bK2".into())),
        (
            "Vias full of parameters",
            Fill::Line(format!("Via: SIP/2.0/UDP h{params}")),
        ),
        list(
            "lists of Record-Route",
            "Record-Route",
            "<sip:proxy.example.com:5060;transport=tcp;lr>;a=b",
        ),
        ("single Record-Routes", Fill::Line("Record-Route: <sip:p;lr>".into())),
        list("lists of Route", "Route", "<sip:proxy.example.com:5060;lr>"),
        list(
            "lists of Contact",
            "Contact",
            r#""\"\\\"" <sip:%41%42;a;b@[2001:db8::1]:5060;c;d?e=f>;q=0.5"#,
        ),
        (
            "a Contact full of parameters",
            Fill::Line(format!("Contact: <sip:h>{params}")),
        ),
        (
            "a parameter said again and again",
            Fill::Line(format!("Contact: <sip:h>{}", filled("", ";lr", ""))),
        ),
        (
            "a URI parameter said again and again",
            Fill::Line(format!("Contact: {}", filled("<sip:h", ";lr", ">"))),
        ),
        (
            "escapes in a user part",
            Fill::Line(format!("Contact: {}", filled("<sip:", "%41", "@h>"))),
        ),
        (
            "escapes in a quoted name",
            Fill::Line(format!("Contact: {}", filled("\"", "\\\"", "\" <sip:h>"))),
        ),
        (
            "a quoted name that is not closed",
            Fill::Line(format!("Contact: {}", filled("\"", "\\\"", ""))),
        ),
        line("angle brackets", "Contact", "<"),
        line("commas", "Contact", ","),
        line("semicolons", "Via", ";"),
        line("nested comments", "User-Agent", "(("),
        line("closed comments", "Subject", "()"),
        line("white space", "Subject", "a \t"),
        line("folds", "Subject", "a\r\n "),
        line("folds of nothing", "Subject", "\r\n \t "),
        line("bytes that are not UTF-8", "Subject", NOT_UTF8),
        line("many words", "Require", "a,"),
        line("many methods", "Allow", "INVITE,"),
        line("credentials without end", "Authorization", "a=\"\\\"\","),
        (
            "single credentials",
            Fill::Line("Authorization: Digest username=\"a\", realm=\"patchcord\", nonce=\"0\"".into()),
        ),
        line("an Accept without end", "Accept", "a/b;q=0,"),
        line("a Reason without end", "Reason", "SIP;cause=1;text=\"\\\"\","),
        line("a number without end", "Max-Forwards", "0"),
        line("a Content-Length without end", "l", "0"),
        ("single letters", Fill::Line("a:".into())),
        ("the same header", Fill::Line("Content-Type: application/sdp".into())),
        ("a session of attributes", Fill::Body("a=rtpmap:0 PCMU/8000\r\n")),
        ("a session of media", Fill::Body("m=audio 9 RTP/AVP 0 8 101\r\n")),
        (
            "a session of formats",
            Fill::Body("m=audio 9 RTP/AVP 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19\r\na=fmtp:1 a\r\n"),
        ),
        ("a body of nothing", Fill::Body("\0")),
    ]
}

/// As many of the unit as one header value may hold.
fn filled(before: &str, unit: &str, after: &str) -> String {
    let count = (VALUE_BYTES - before.len() - after.len()) / unit.len();
    format!("{before}{}{after}", unit.repeat(count))
}

/// An INVITE that takes a head of `head_bytes`, or with a body the whole of `bytes`.
fn message(fill: &Fill, head_bytes: usize, bytes: usize) -> Vec<u8> {
    const START: &str = "INVITE sip:operator@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKheavy;rport\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: heavy\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.7>\r\n";
    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n";
    let (lines, body) = match fill {
        Fill::Line(line) => {
            let line = format!("{line}\r\n");
            let room = head_bytes - START.len() - 30;
            (line.repeat((room / line.len()).min(115)), String::new())
        }
        Fill::Body(line) => {
            let room = bytes - START.len() - SESSION.len() - 80;
            let body = format!("{SESSION}{}", line.repeat(room / line.len()));
            ("Content-Type: application/sdp\r\n".to_owned(), body)
        }
    };
    let text = format!("{START}{lines}Content-Length: {}\r\n\r\n{body}", body.len());
    let raw = |byte| if [byte] == NOT_UTF8.as_bytes() { 0xFF } else { byte };
    text.bytes().map(raw).collect()
}
