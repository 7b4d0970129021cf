//! A datagram to one message.
//!
//! The reader is strict where leniency would let two machines see different messages in the same bytes (line ends,
//! Content-Length, doubled headers, list separators) and takes what is merely unusual. It checks what every message
//! needs before anyone acts on it; it does not judge whether we serve the method, the extension or the caller.

use super::{
    defect::{Defect, ReadError},
    head::{Head, split_head},
    message::Message,
    refusal::refuse,
};

/// Largest datagram read, in bytes. A larger one is answered 513 and lost.
pub const DATAGRAM_BYTES_MAX: usize = 16 * 1024;

/// Reads the one message of a datagram. Without Content-Length the body is the rest; bytes behind the body are
/// dropped; a body shorter than Content-Length is an error (RFC 3261 section 18.3).
pub fn read_datagram(datagram: &[u8]) -> Result<Message, ReadError> {
    let bytes = skip_blank_lines(datagram);
    if bytes.iter().all(|byte| b"\r\n\0 ".contains(byte)) {
        return Err(Defect::KeepAlive.into());
    }
    read_whole(bytes).map_err(|defect| refuse(bytes.get(..DATAGRAM_BYTES_MAX).unwrap_or(bytes), defect))
}

fn read_whole(bytes: &[u8]) -> Result<Message, Defect> {
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err(Defect::TooLarge(DATAGRAM_BYTES_MAX));
    }
    let (head, rest) = split_head(bytes).ok_or(Defect::NoHeadEnd)?;
    let head = Head::read(head)?;
    let body = match head.body_bytes()? {
        None => rest,
        Some(length) => {
            let length = usize::try_from(length).map_err(|_| Defect::BodyTruncated)?;
            rest.get(..length).ok_or(Defect::BodyTruncated)?
        }
    };
    head.into_message(body)
}

fn skip_blank_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Request;

    #[test]
    fn a_refusal_repeats_what_could_be_read_and_says_why() {
        let error = read_datagram(INVITE.replace("CSeq: 1", "CSeq: one").as_bytes()).unwrap_err();
        let reply = error.reply().unwrap();
        assert_eq!(
            error.to_string(),
            "the CSeq header cannot be read: it must start with a number"
        );
        assert_eq!((reply.status, reply.reason.as_str()), (400, "Bad Request"));
        assert_eq!(
            reply.headers.first("Via"),
            Some("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        );
        assert_eq!(reply.headers.first("CSeq"), Some("one INVITE"));
        assert_eq!(
            reply.headers.first("Reason"),
            Some("SIP;cause=400;text=\"bad_request\"")
        );
        assert!(
            reply
                .headers
                .first("Warning")
                .unwrap()
                .contains("the CSeq header cannot be read")
        );
        let version = read_datagram(INVITE.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia").as_bytes()).unwrap_err();
        assert_eq!(
            (version.reason(), version.reply().unwrap().status),
            ("bad_version", 505)
        );
    }

    #[test]
    fn what_cannot_or_must_not_be_answered_has_no_reply() {
        let ack = INVITE.replace("INVITE", "ACK").replace("Call-ID: c1\r\n", "");
        let response = INVITE
            .replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK")
            .replace("Call-ID: c1\r\n", "");
        let no_via = INVITE.replace("Via", "X-Via");
        for text in [
            ack.as_str(),
            &response,
            &no_via,
            "GET / HTTP/1.1\r\nVia: x\r\n\r\n",
            "\x16\x03\x01\x02",
            "x",
        ] {
            assert_eq!(read_datagram(text.as_bytes()).unwrap_err().reply(), None, "{text}");
        }
        for keep_alive in ["", "\r\n\r\n", "\r\n", "\0", "\0\0\0\0", "   "] {
            assert_eq!(read_datagram(keep_alive.as_bytes()).unwrap_err().reason(), "keep_alive");
        }
    }

    #[test]
    fn start_lines_are_read_strictly() {
        for line in [
            "INVITE  sip:bob@example.com SIP/2.0",
            "INVITE sip:bob@example.com SIP/2.0 ",
            "INVITE sip:bob@example.com  SIP/2.0",
            "INVITE <sip:bob@example.com> SIP/2.0",
            "INVITE sip:bob@example.com?Route=x SIP/2.0",
            "INVITE sip:bob@example.com",
            "INV@TE sip:bob@example.com SIP/2.0",
            "SIP/2.0 99 x",
            "SIP/2.0 0200 OK",
            "SIP/2.0 4294967301 better not break the receiver",
        ] {
            assert_eq!(
                reason_of(&INVITE.replace("INVITE sip:bob@example.com SIP/2.0", line)),
                "bad_start_line",
                "{line}"
            );
        }
        let empty = INVITE.replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 100 ");
        let Message::Response(trying) = read_datagram(empty.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!((trying.status, trying.reason.as_str()), (100, ""));
        let blank = read_datagram(format!("\r\n\r\n{INVITE}").as_bytes()).unwrap();
        assert_eq!(blank, Message::Request(read(INVITE)));
    }

    #[test]
    fn lone_line_breaks_are_refused() {
        for text in [
            INVITE.replace("\r\n", "\n"),
            INVITE.replace("CSeq", "X: y\nCSeq"),
            INVITE.replace("CSeq", "X: y\rCSeq"),
            INVITE.replace("CSeq", "X: y\r\r\nCSeq"),
            INVITE.replace("\r\n\r\n", "\r\r\n\r\n"),
        ] {
            assert_eq!(reason_of(&text), "bad_header_line");
        }
    }

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: Alice <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
        Content-Length: 3\r\n\r\nv=0";

    fn read(text: &str) -> Request {
        match read_datagram(text.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn reason_of(text: &str) -> &'static str {
        read_datagram(text.as_bytes()).unwrap_err().reason()
    }
}
