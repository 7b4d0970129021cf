//! The head of a message: first line and headers, read from the bytes before the empty line.
//!
//! Datagrams and streams share it; they differ only in how they find its end and the end of the body.

use super::{
    defect::{Defect, HeaderError, Malformed},
    grammar::{is_token, text_of, trim},
    headers::Headers,
    message::{Message, Request, Response},
    method::Method,
    uri::Uri,
    via::BRANCH_MAGIC,
};

/// Most headers of one message. A message with more is answered 400 and lost.
pub const HEADERS_MAX: usize = 128;
/// Longest header value in bytes, folds joined. A message with a longer one is answered 400 and lost.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Longest first line in bytes. A request with a longer one is answered 414 and lost.
pub const START_LINE_BYTES_MAX: usize = 8 * 1024;

/// Everything before the body, read but not yet checked for what every message must have.
#[derive(Debug)]
pub(super) struct Head {
    start: Start,
    headers: Headers,
}

#[derive(Debug)]
enum Start {
    Request(Method, Uri),
    Response(u16, String),
}

impl Head {
    /// Reads the first line and the headers; `head` is what stands before the empty line.
    pub(super) fn read(head: &[u8]) -> Result<Self, Defect> {
        check_line_ends(head)?;
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = read_start(lines.next().unwrap_or_default())?;
        Ok(Self {
            start,
            headers: read_headers(lines)?,
        })
    }

    /// What Content-Length says.
    pub(super) fn body_bytes(&self) -> Result<Option<u64>, Defect> {
        self.headers.content_length().map_err(Defect::ContentLength)
    }

    /// Joins head and body and checks what every message must have. Content-Length leaves the headers: from here on
    /// the length of the body is what it is, and the writer states it anew.
    pub(super) fn into_message(mut self, body: &[u8]) -> Result<Message, Defect> {
        self.check()?;
        self.headers.remove("Content-Length");
        let (headers, body) = (self.headers, body.to_vec());
        Ok(match self.start {
            Start::Request(method, uri) => Message::Request(Request {
                method,
                uri,
                headers,
                body,
            }),
            Start::Response(status, reason) => Message::Response(Response {
                status,
                reason,
                headers,
                body,
            }),
        })
    }

    fn check(&self) -> Result<(), Defect> {
        let top = self.headers.via()?;
        self.headers.from()?;
        self.headers.to()?;
        self.headers.call_id()?;
        let cseq = self.headers.cseq()?;
        let Start::Request(method, _) = &self.start else {
            return Ok(());
        };
        if cseq.method != *method {
            return Err(Defect::MethodMismatch);
        }
        if top
            .branch()
            .is_some_and(|branch| branch.is_empty() || branch == BRANCH_MAGIC)
        {
            return Err(Defect::Header(HeaderError::Malformed {
                name: "Via",
                problem: Malformed("its branch is empty"),
            }));
        }
        self.check_request_headers()
    }

    /// Headers a request may lack but must not have wrong, because a dialog is built from them.
    fn check_request_headers(&self) -> Result<(), Defect> {
        self.headers.vias()?;
        self.headers.contacts()?;
        self.headers.record_routes()?;
        self.headers.max_forwards()?;
        Ok(())
    }
}

/// Splits the head from what follows the empty line; the head keeps no trailing line break.
pub(super) fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

/// A lone CR or LF ends a line for some readers and not for others, so it is not taken at all.
fn check_line_ends(head: &[u8]) -> Result<(), Defect> {
    let before = b" ".iter().chain(head);
    let mut pairs = before.zip(head.iter().chain(b" "));
    match pairs.any(|(left, right)| (*left == b'\r') != (*right == b'\n')) {
        true => Err(Defect::HeaderLine(Malformed("a line must end in CR LF"))),
        false => Ok(()),
    }
}

fn read_start(line: &[u8]) -> Result<Start, Defect> {
    if line.len() > START_LINE_BYTES_MAX {
        return Err(Defect::StartLineTooLong(START_LINE_BYTES_MAX));
    }
    let line = text_of(line);
    match line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        true => read_status_line(&line),
        false => read_request_line(&line),
    }
}

fn read_status_line(line: &str) -> Result<Start, Defect> {
    let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
    check_version(version)?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    match code.parse().ok().filter(|code| digits && (100..700).contains(code)) {
        Some(status) => Ok(Start::Response(status, reason.to_owned())),
        None => Err(Defect::StartLine(Malformed("the status code must be 100 to 699"))),
    }
}

fn read_request_line(line: &str) -> Result<Start, Defect> {
    let malformed = |problem| Defect::StartLine(Malformed(problem));
    let (method, rest) = line.split_once(' ').ok_or(malformed("it has no spaces"))?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(malformed("it has no version"))?;
    let method = Method::read(method).ok_or(malformed("the method is not a token"))?;
    check_version(version)?;
    let uri = Uri::read(uri).map_err(Defect::StartLine)?;
    match uri.headers() {
        Some(_) => Err(malformed("the Request-URI has headers")),
        None => Ok(Start::Request(method, uri)),
    }
}

fn check_version(version: &str) -> Result<(), Defect> {
    let (protocol, number) = version.split_once('/').unwrap_or((version, ""));
    let is_number = number
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    match (protocol.eq_ignore_ascii_case("SIP"), number, is_number) {
        (true, "2.0", _) => Ok(()),
        (true, _, true) => Err(Defect::Version),
        _ => Err(Defect::StartLine(Malformed("SIP/2.0 is missing or out of place"))),
    }
}

fn read_headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Headers, Defect> {
    let mut lines = lines.peekable();
    if lines.peek().is_some_and(|line| is_continuation(line)) {
        return Err(Defect::HeaderLine(Malformed(
            "the first header line starts with white space",
        )));
    }
    let mut headers = Headers::new();
    for line in unfolded(lines) {
        if headers.len() == HEADERS_MAX {
            return Err(Defect::TooManyHeaders(HEADERS_MAX));
        }
        if line.len() > HEADER_BYTES_MAX {
            return Err(Defect::HeaderTooLong(HEADER_BYTES_MAX));
        }
        let (name, value) = read_header(&line).map_err(Defect::HeaderLine)?;
        headers.push(name, value);
    }
    Ok(headers)
}

/// Joins each line with its continuations by one space (RFC 3261 section 7.3.1).
pub(super) fn unfolded<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = String> {
    let mut lines = lines.peekable();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_vec();
        while let Some(continuation) = lines.next_if(|next| is_continuation(next)) {
            line.truncate(line.trim_ascii_end().len());
            line.push(b' ');
            line.extend_from_slice(continuation.trim_ascii_start());
        }
        Some(text_of(&line))
    })
}

fn is_continuation(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// `name: value`; white space before the colon is legal.
pub(super) fn read_header(line: &str) -> Result<(&str, &str), Malformed> {
    let (name, value) = line.split_once(':').ok_or(Malformed("it has no colon"))?;
    let name = name.trim_end_matches([' ', '\t']);
    match is_token(name) {
        true => Ok((name, trim(value))),
        false => Err(Malformed("the header name is not a token")),
    }
}
