//! Each bound of the wire, at it and one above it: what is taken, and what the sender of more is told.

use super::defect::ReadError;
use super::grammar::LIST_ITEMS_MAX;
use super::head::{HEADER_BYTES_MAX, HEADERS_MAX, START_LINE_BYTES_MAX};
use super::headers::{ROUTES_MAX, VIAS_MAX};
use super::params::PARAMS_MAX;
use super::reader::{DATAGRAM_BYTES_MAX, read_datagram};
use super::stream::{HEAD_BYTES_MAX, STREAM_BUFFER_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX, StreamEvent, StreamReader};

/// A message that is as large in one respect as the number says.
type Make = fn(usize) -> Vec<u8>;
/// Bound, message, status, reason word, what the Warning says.
type Row = (usize, Make, u16, &'static str, &'static str);

const DATAGRAMS: &[Row] = &[
    (
        DATAGRAM_BYTES_MAX,
        of_bytes,
        513,
        "too_large",
        "the message is longer than 16384 bytes",
    ),
    (
        START_LINE_BYTES_MAX,
        start_line,
        414,
        "bad_start_line",
        "the first line is longer than 8192 bytes",
    ),
    (
        HEADERS_MAX,
        headers,
        400,
        "too_large",
        "the message has more than 128 headers",
    ),
    (
        HEADER_BYTES_MAX,
        header,
        400,
        "bad_header_line",
        "a header is longer than 8192 bytes",
    ),
    (
        HEADER_BYTES_MAX,
        folded,
        400,
        "bad_header_line",
        "a header is longer than 8192 bytes",
    ),
    (
        LIST_ITEMS_MAX,
        contacts,
        400,
        "bad_header",
        "the Contact header cannot be read: there are too many list elements",
    ),
    (
        LIST_ITEMS_MAX,
        vias,
        400,
        "bad_header",
        "the Via header cannot be read: there are too many list elements",
    ),
    (
        PARAMS_MAX,
        params,
        400,
        "bad_header",
        "the From header cannot be read: there are too many parameters",
    ),
    (
        PARAMS_MAX,
        uri_params,
        400,
        "bad_header",
        "the Contact header cannot be read: there are too many parameters",
    ),
    (
        VIAS_MAX,
        hops,
        400,
        "bad_header",
        "the Via header cannot be read: there are too many hops",
    ),
    (
        ROUTES_MAX,
        routes,
        400,
        "bad_header",
        "the Record-Route header cannot be read: there are too many proxies",
    ),
];

const STREAMS: &[Row] = &[
    (
        STREAM_MESSAGE_BYTES_MAX,
        of_bytes,
        413,
        "too_large",
        "the body makes the message longer than 65536 bytes",
    ),
    (
        HEAD_BYTES_MAX,
        head,
        513,
        "too_large",
        "the headers are longer than 32768 bytes",
    ),
];

#[test]
fn a_datagram_at_a_bound_is_read_and_one_above_it_is_refused() {
    for (bound, make, status, reason, detail) in DATAGRAMS {
        let read = read_datagram(&make(*bound));
        assert!(read.is_ok(), "{detail}: {read:?}");
        let error = read_datagram(&make(bound + 1)).unwrap_err();
        assert_eq!(told(&error), (*status, *reason, detail.to_string()));
    }
}

#[test]
fn a_stream_at_a_bound_goes_on_and_one_above_it_is_broken() {
    for (bound, make, status, reason, detail) in STREAMS {
        let read = first_event(&make(*bound));
        assert!(matches!(read, Some(StreamEvent::Message(_))), "{detail}: {read:?}");
        let Some(StreamEvent::Broken(error)) = first_event(&make(bound + 1)) else {
            panic!("{detail}: not broken")
        };
        assert_eq!(told(&error), (*status, *reason, detail.to_string()));
    }
}

#[test]
fn more_than_a_stream_may_hold_is_answered_by_what_has_come() {
    let waiting = |bytes: usize| {
        let mut reader = StreamReader::new();
        reader.push(&of_bytes(1000));
        reader.push(&vec![b'\n'; bytes - 1000]);
        reader.poll_event()
    };
    assert!(matches!(
        waiting(STREAM_BUFFER_BYTES_MAX),
        Some(StreamEvent::Message(_))
    ));
    let Some(StreamEvent::Broken(error)) = waiting(STREAM_BUFFER_BYTES_MAX + 1) else {
        panic!("not broken")
    };
    let detail = "more than 131072 bytes wait in the stream".to_owned();
    assert_eq!(told(&error), (513, "stream_overflow", detail));
}

/// Nothing is read by a function that calls itself, so depth costs no stack.
#[test]
fn nesting_has_no_bound_but_the_length_of_its_header() {
    let nested = "(".repeat(4000) + &")".repeat(4000);
    assert!(read_datagram(&message(&format!("User-Agent: {nested}\r\n"), 0)).is_ok());
    let quoted = format!("Contact: \"{}\" <sip:a@h>\r\n", "\\\"".repeat(4000));
    assert!(read_datagram(&message(&quoted, 0)).is_ok());
}

fn told(error: &ReadError) -> (u16, &'static str, String) {
    let reply = error.reply().expect("an answer");
    let warning = reply.headers.first("Warning").expect("a Warning");
    assert_eq!(warning, format!("399 patchcord \"{error}\""));
    (reply.status, error.reason(), error.to_string())
}

fn first_event(bytes: &[u8]) -> Option<StreamEvent> {
    let mut reader = StreamReader::new();
    reader.push(bytes);
    reader.poll_event()
}

/// Seven headers, these lines, and a body.
fn message(lines: &str, body: usize) -> Vec<u8> {
    let body = "x".repeat(body);
    format!(
        "BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
         Call-ID: c\r\nCSeq: 1 BYE\r\n{lines}l: {:06}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn of_bytes(bytes: usize) -> Vec<u8> {
    message("", bytes - message("", 0).len())
}

fn start_line(bytes: usize) -> Vec<u8> {
    let text = String::from_utf8(message("", 0)).expect("text");
    let user = "b".repeat(bytes - "BYE sip:@h SIP/2.0".len());
    text.replacen("sip:b@h", &format!("sip:{user}@h"), 1).into_bytes()
}

fn headers(count: usize) -> Vec<u8> {
    message(&"X: y\r\n".repeat(count - 6), 0)
}

fn header(bytes: usize) -> Vec<u8> {
    message(&format!("X: {}\r\n", "y".repeat(bytes - 3)), 0)
}

/// Each fold counts as the one space it becomes.
fn folded(bytes: usize) -> Vec<u8> {
    let text = "y".repeat(bytes - 3 - 2 * 1000);
    message(&format!("X: {text}{}\r\n", "\r\n \t y".repeat(1000)), 0)
}

fn contacts(count: usize) -> Vec<u8> {
    message(&format!("m: {}\r\n", vec!["<sip:a@h>"; count].join(",")), 0)
}

fn vias(count: usize) -> Vec<u8> {
    message(&format!("v: {}\r\n", vec!["SIP/2.0/UDP h"; count].join(",")), 0)
}

fn hops(count: usize) -> Vec<u8> {
    message(&"v: SIP/2.0/UDP h\r\n".repeat(count - 1), 0)
}

fn params(count: usize) -> Vec<u8> {
    let params: String = (1..count).map(|number| format!(";p{number}")).collect();
    let text = String::from_utf8(message("", 0)).expect("text");
    text.replace(";tag=1", &format!(";tag=1{params}")).into_bytes()
}

fn uri_params(count: usize) -> Vec<u8> {
    let params: String = (0..count).map(|number| format!(";p{number}")).collect();
    message(&format!("m: <sip:h{params}>\r\n"), 0)
}

fn routes(count: usize) -> Vec<u8> {
    message(&"Record-Route: <sip:p;lr>\r\n".repeat(count), 0)
}

/// The empty line that ends the head is not counted.
fn head(bytes: usize) -> Vec<u8> {
    let large = format!("X: {}\r\n", "y".repeat(8000)).repeat(4);
    let rest = bytes + 4 - message(&large, 0).len() - "X: \r\n".len();
    message(&format!("{large}X: {}\r\n", "y".repeat(rest)), 0)
}
