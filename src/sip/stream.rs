//! Messages out of a byte stream: where one ends and the next begins (RFC 3261 section 18.3).
//!
//! On a stream Content-Length alone decides where the next message starts, so whatever makes it doubtful breaks the
//! stream: the connection has to be closed. A message that is only wrong in itself is refused and the stream goes on.
//! Each byte is looked at once for the end of the head, however small the pieces are in which it comes.

use super::{
    defect::{Defect, HeaderError, ReadError},
    head::{Head, split_head},
    message::Message,
    refusal::refuse,
};

/// Largest stream message in bytes, head and body. A larger one is answered 413 and costs the connection.
pub const STREAM_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Largest head of a stream message in bytes. A larger one is answered 513 and costs the connection.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most bytes held. Whoever pushes more without polling in between loses the connection.
pub const STREAM_BUFFER_BYTES_MAX: usize = 2 * STREAM_MESSAGE_BYTES_MAX;
/// What a [`StreamEvent::Ping`] is answered with (RFC 5626 section 4.4.1).
pub const PONG: &[u8] = b"\r\n";

/// What came out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A message.
    Message(Box<Message>),
    /// A keep-alive that wants [`PONG`] back.
    Ping,
    /// A message that is wrong in itself; send its reply and go on.
    Refused(ReadError),
    /// The stream cannot be followed any further; send the reply and close. Nothing comes after this.
    Broken(ReadError),
}

/// The framer of one connection.
#[derive(Debug, Default)]
pub struct StreamReader {
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are done with.
    done_bytes: usize,
    /// Unread bytes that are known to hold no end of head.
    scanned_bytes: usize,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Between messages or inside a head.
    #[default]
    Head,
    /// The head is read and the body still comes.
    Body {
        head: Box<Head>,
        head_bytes: usize,
        body_bytes: usize,
    },
    /// More was pushed than fits.
    Overflowing,
    /// The stream broke.
    Broken,
}

impl StreamReader {
    /// A reader for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they come from the connection; poll until `None` after every push.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Overflowing | State::Broken) {
            return;
        }
        if self.unread().len() + bytes.len() > STREAM_BUFFER_BYTES_MAX {
            self.state = State::Overflowing;
            return;
        }
        self.buffer.drain(..self.done_bytes);
        self.done_bytes = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing in the stream, or `None` until more bytes come.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        loop {
            let step = match &self.state {
                State::Head => self.step_head(),
                State::Body {
                    head_bytes, body_bytes, ..
                } => self.step_body(*head_bytes, *body_bytes),
                State::Overflowing => self.fail(Defect::StreamOverflow(STREAM_BUFFER_BYTES_MAX)),
                State::Broken => Step::Wait,
            };
            match step {
                Step::Wait => return None,
                Step::Again => continue,
                Step::Event(event) => return Some(event),
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.done_bytes..).unwrap_or_default()
    }

    fn step_head(&mut self) -> Step {
        match blank_lines(self.unread()) {
            Blank::Ping => return self.take_ping(),
            Blank::Line => return self.skip(2),
            Blank::Perhaps => return Step::Wait,
            Blank::No => {}
        }
        let unread = self.unread();
        let from = self.scanned_bytes.saturating_sub(3);
        let found = unread
            .get(from..)
            .and_then(split_head)
            .map(|(tail, _)| from + tail.len());
        match found {
            Some(end) if end <= HEAD_BYTES_MAX => self.take_head(end),
            None if unread.len() <= HEAD_BYTES_MAX => {
                self.scanned_bytes = unread.len();
                Step::Wait
            }
            _ => self.fail(Defect::HeadTooLarge(HEAD_BYTES_MAX)),
        }
    }

    fn take_head(&mut self, end: usize) -> Step {
        let head = match Head::read(self.unread().get(..end).unwrap_or_default()) {
            Ok(head) => head,
            Err(defect) => return self.fail(defect),
        };
        let head_bytes = end + 4;
        match body_bytes(&head, head_bytes) {
            Ok(body_bytes) => {
                self.state = State::Body {
                    head: Box::new(head),
                    head_bytes,
                    body_bytes,
                };
                Step::Again
            }
            Err(defect) => self.fail(defect),
        }
    }

    fn step_body(&mut self, head_bytes: usize, body_bytes: usize) -> Step {
        let message_bytes = head_bytes + body_bytes;
        if self.unread().len() < message_bytes {
            return Step::Wait;
        }
        let State::Body { head, .. } = std::mem::take(&mut self.state) else {
            return Step::Wait;
        };
        let body = self.unread().get(head_bytes..message_bytes).unwrap_or_default();
        let event = match head.into_message(body) {
            Ok(message) => StreamEvent::Message(Box::new(message)),
            Err(defect) => StreamEvent::Refused(refuse(self.unread(), defect)),
        };
        self.skip(message_bytes);
        Step::Event(event)
    }

    fn take_ping(&mut self) -> Step {
        self.skip(4);
        Step::Event(StreamEvent::Ping)
    }

    fn skip(&mut self, bytes: usize) -> Step {
        self.done_bytes += bytes;
        self.scanned_bytes = 0;
        Step::Again
    }

    /// The reply is made from what a head may hold, so that it is the same however much more has come already.
    fn fail(&mut self, defect: Defect) -> Step {
        let unread = self.unread();
        let error = refuse(unread.get(..HEAD_BYTES_MAX + 4).unwrap_or(unread), defect);
        *self = Self {
            state: State::Broken,
            ..Self::default()
        };
        Step::Event(StreamEvent::Broken(error))
    }
}

enum Step {
    Wait,
    Again,
    Event(StreamEvent),
}

enum Blank {
    No,
    /// A line break that may become a ping when more comes.
    Perhaps,
    /// A lone line break before a message: the answer to a ping of ours, or a habit.
    Line,
    Ping,
}

fn blank_lines(bytes: &[u8]) -> Blank {
    match bytes {
        [b'\r', b'\n', b'\r', b'\n', ..] => Blank::Ping,
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => Blank::Perhaps,
        [b'\r', b'\n', ..] => Blank::Line,
        _ => Blank::No,
    }
}

fn body_bytes(head: &Head, head_bytes: usize) -> Result<usize, Defect> {
    let missing = Defect::ContentLength(HeaderError::Missing("Content-Length"));
    let length = head.body_bytes()?.ok_or(missing)?;
    usize::try_from(length)
        .ok()
        .filter(|length| length.saturating_add(head_bytes) <= STREAM_MESSAGE_BYTES_MAX)
        .ok_or(Defect::BodyTooLarge(STREAM_MESSAGE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Request;

    #[test]
    fn pipelined_messages_come_out_one_by_one_with_their_bodies() {
        let stream = [
            message("INVITE", b"v=0"),
            message("ACK", b""),
            message("BYE", b"\r\n\r\n"),
        ]
        .concat();
        let mut reader = StreamReader::new();
        reader.push(&stream);
        assert_eq!(bodies(&mut reader), [&b"v=0"[..], b"", b"\r\n\r\n"]);
        assert!(reader.unread().is_empty());
    }

    #[test]
    fn a_stream_may_be_cut_at_every_byte() {
        let stream = [message("INVITE", b"v=0"), message("BYE", b"x")].concat();
        for cut in 0..=stream.len() {
            let mut reader = StreamReader::new();
            let mut read = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                reader.push(part);
                read.extend(bodies(&mut reader));
            }
            assert_eq!(read, [&b"v=0"[..], b"x"], "cut at {cut}");
        }
        let mut reader = StreamReader::new();
        let mut read = Vec::new();
        for byte in &stream {
            reader.push(&[*byte]);
            read.extend(bodies(&mut reader));
        }
        assert_eq!(read, [&b"v=0"[..], b"x"]);
    }

    #[test]
    fn a_double_line_break_is_a_ping_and_a_single_one_is_nothing() {
        let mut reader = StreamReader::new();
        reader.push(b"\r\n\r");
        assert_eq!(reader.poll_event(), None);
        reader.push(b"\n\r\n");
        assert_eq!(reader.poll_event(), Some(StreamEvent::Ping));
        assert_eq!(reader.poll_event(), None);
        reader.push(&message("BYE", b""));
        assert_eq!(bodies(&mut reader).len(), 1);
    }

    #[test]
    fn white_space_before_the_colon_of_content_length_cannot_smuggle_a_message() {
        let inner = message("BYE", b"");
        let text = String::from_utf8(message("INVITE", &inner)).unwrap();
        for spelling in [
            "Content-Length :",
            "Content-Length\t:",
            "l  :",
            "CONTENT-LENGTH:",
            "Content-Length:\r\n ",
        ] {
            let mut reader = StreamReader::new();
            reader.push(text.replacen("Content-Length:", spelling, 1).as_bytes());
            assert_eq!(bodies(&mut reader), [&inner[..]], "{spelling:?}");
        }
    }

    #[test]
    fn a_doubtful_length_breaks_the_stream() {
        let text = String::from_utf8(message("INVITE", b"v=0")).unwrap();
        for (length, reason) in [
            ("Content-Length: 3\r\nl: 4", "bad_content_length"),
            ("Content-Length: 3\r\nContent-Length : 0", "bad_content_length"),
            ("Content-Length: -3", "bad_content_length"),
            ("Content-Length: 3, 3", "bad_content_length"),
            ("X-Length: 3", "bad_content_length"),
            ("Content-Length: 99999999999999999999", "bad_content_length"),
            ("Content-Length: 18446744073709551615", "too_large"),
            ("Content-Length: 65536", "too_large"),
            ("X: y\nContent-Length: 3", "bad_header_line"),
            ("X: y\rContent-Length: 3", "bad_header_line"),
            ("Content-Length 3", "bad_header_line"),
        ] {
            let mut reader = StreamReader::new();
            reader.push(text.replace("Content-Length: 3", length).as_bytes());
            let Some(StreamEvent::Broken(error)) = reader.poll_event() else {
                panic!("{length}")
            };
            assert_eq!(error.reason(), reason, "{length}");
            let status = if reason == "too_large" { 413 } else { 400 };
            assert_eq!(error.reply().map(|reply| reply.status), Some(status));
            reader.push(&message("BYE", b""));
            assert_eq!(reader.poll_event(), None);
        }
    }

    #[test]
    fn a_message_that_is_only_wrong_in_itself_does_not_break_the_stream() {
        let wrong = String::from_utf8(message("INVITE", b"v=0"))
            .unwrap()
            .replace("1 INVITE", "1 BYE");
        let mut reader = StreamReader::new();
        reader.push(wrong.as_bytes());
        reader.push(&message("BYE", b"x"));
        let Some(StreamEvent::Refused(error)) = reader.poll_event() else {
            panic!()
        };
        assert_eq!(
            (error.reason(), error.reply().unwrap().status),
            ("method_mismatch", 400)
        );
        assert_eq!(bodies(&mut reader), [b"x"]);
    }

    #[test]
    fn a_head_without_end_breaks_the_stream_before_it_fills_the_memory() {
        let mut reader = StreamReader::new();
        let mut pushed = 0;
        let error = loop {
            reader.push(&[b'a'; 1000]);
            pushed += 1000;
            match reader.poll_event() {
                Some(StreamEvent::Broken(error)) => break error,
                other => assert_eq!(other, None),
            }
        };
        assert_eq!((error.reason(), error.reply()), ("too_large", None));
        assert!(pushed <= HEAD_BYTES_MAX + 1000);
    }

    #[test]
    fn pushing_without_polling_breaks_the_stream_at_the_bound() {
        let mut reader = StreamReader::new();
        (0..=STREAM_BUFFER_BYTES_MAX / 1024).for_each(|_| reader.push(&[b'a'; 1024]));
        let Some(StreamEvent::Broken(error)) = reader.poll_event() else {
            panic!()
        };
        assert_eq!(error.reason(), "stream_overflow");
    }

    #[test]
    fn the_largest_message_still_passes() {
        let head = message("INVITE", b"").len() + 4;
        let largest = message("INVITE", &vec![b'x'; STREAM_MESSAGE_BYTES_MAX - head]);
        assert_eq!(largest.len(), STREAM_MESSAGE_BYTES_MAX);
        let mut reader = StreamReader::new();
        for byte in largest.chunks(7) {
            reader.push(byte);
        }
        assert_eq!(bodies(&mut reader).len(), 1);
    }

    fn bodies(reader: &mut StreamReader) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        while let Some(event) = reader.poll_event() {
            match event {
                StreamEvent::Message(message) => match *message {
                    Message::Request(Request { body, .. }) => bodies.push(body),
                    Message::Response(response) => panic!("{response:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        bodies
    }

    fn message(method: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}
