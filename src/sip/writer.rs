//! Messages to bytes.
//!
//! Whatever the parts hold, the result is one message: a line break inside a value is written as a space, so no value
//! can add a header or end the head, and Content-Length is always written and always true.

use super::{
    grammar::bytes_of,
    headers::Headers,
    message::{Message, Request, Response},
};

impl Message {
    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// The request as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(
            &format!("{} {} SIP/2.0", self.method, self.uri),
            &self.headers,
            &self.body,
        )
    }
}

impl Response {
    /// The response as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(
            &format!("SIP/2.0 {} {}", self.status, self.reason),
            &self.headers,
            &self.body,
        )
    }
}

fn write(start_line: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + body.len());
    write_line(&mut out, start_line);
    for header in headers.iter().filter(|header| !header.name.is("Content-Length")) {
        bytes_of(header.name.as_str(), &mut out);
        out.extend_from_slice(b": ");
        write_line(&mut out, &header.value);
    }
    write_line(&mut out, &format!("Content-Length: {}", body.len()));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

fn write_line(out: &mut Vec<u8>, line: &str) {
    let start = out.len();
    bytes_of(line, out);
    let written = out.iter_mut().skip(start);
    written
        .filter(|byte| matches!(byte, b'\r' | b'\n'))
        .for_each(|byte| *byte = b' ');
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{method::Method, reader::read_datagram, uri::Uri};

    #[test]
    fn content_length_is_written_once_and_true() {
        let mut request = Request::new(Method::Bye, Uri::read("sip:a@h").unwrap()).with_header("l", "999");
        request.body = b"four".to_vec();
        assert_eq!(
            request.to_bytes(),
            b"BYE sip:a@h SIP/2.0\r\nContent-Length: 4\r\n\r\nfour"
        );
    }

    #[test]
    fn a_line_break_in_a_value_cannot_make_a_header() {
        let request = Request::new(Method::Bye, Uri::read("sip:a@h").unwrap())
            .with_header("Via", "SIP/2.0/UDP a;branch=z9hG4bK1")
            .with_header("From", "<sip:a@h>;tag=1")
            .with_header("To", "<sip:b@h>\r\nContact: <sip:evil@h>")
            .with_header("Call-ID", "c")
            .with_header("CSeq", "1 BYE")
            .with_header("X", "a\r\n\r\nb");
        let error = read_datagram(&request.to_bytes()).unwrap_err();
        assert_eq!(error.reason(), "bad_header");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_written_as_they_came() {
        let bytes = b"SIP/2.0 200 J\xf6rg\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: J\xf6rg <sip:a@h>;tag=1\r\n\
            To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read_datagram(bytes).unwrap().to_bytes(), bytes);
    }
}
