//! The answer to a request that could not be read, made from the headers that could.

use super::{
    defect::{Defect, ReadError},
    grammar::{is_token_byte, quote},
    head::{HEADERS_MAX, read_header, unfolded},
    headers::Headers,
    message::Response,
    names::HeaderName,
    reason::Reason,
};

/// The error for a message whose first bytes are these, with the reply its sender should get.
pub(super) fn refuse(bytes: &[u8], defect: Defect) -> ReadError {
    let reply = salvage(bytes).map(|headers| {
        let status = defect.status();
        Response::repeating(&headers, status)
            .with_header("Reason", Reason::sip(status, "bad_request").to_string())
            .with_header("Warning", format!("399 patchcord {}", quote(&defect.to_string())))
    });
    ReadError::new(defect, reply)
}

/// The headers a reply repeats, from a head that could not be read as a whole. `None` when nobody can be answered:
/// a response, an ACK, something that is not SIP, or no Via.
fn salvage(bytes: &[u8]) -> Option<Headers> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if !is_answerable(lines.next()?) {
        return None;
    }
    let mut headers = Headers::new();
    for line in unfolded(lines.take_while(|line| !line.is_empty())).take(HEADERS_MAX) {
        if let Ok((name, value)) = read_header(&line) {
            salvage_header(&mut headers, name, value);
        }
    }
    headers.contains("Via").then_some(headers)
}

fn salvage_header(headers: &mut Headers, name: &str, value: &str) {
    let name = HeaderName::new(name);
    let single = ["From", "To", "Call-ID", "CSeq"].iter().any(|single| name.is(single));
    if name.is("Via") || single && !headers.contains(name.as_str()) {
        headers.push(name.as_str(), value);
    }
}

/// A request line is answerable as soon as its method and the protocol are beyond doubt.
fn is_answerable(line: &[u8]) -> bool {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let speaks_sip = line.windows(5).any(|window| window.eq_ignore_ascii_case(b" SIP/"));
    !method.is_empty() && method.iter().all(|byte| is_token_byte(*byte)) && method != b"ACK" && speaks_sip
}
