//! WebSocket frames of a client (RFC 6455 section 5): bytes in, messages out, and back.
//!
//! What comes whole in one read is handed on where it lies; only what comes in pieces is copied. It reads what every
//! server may send, refuses what none may, and writes each message as one masked frame. No sockets, no clock.

use std::ops::Range;

use super::MESSAGE_BYTES_MAX;

/// A buffer that had to hold a longer message gives its memory back when it is empty.
pub(super) const BUFFER_BYTES_KEPT: usize = 32 << 10;

/// The longest payload of a ping, a pong or a close (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Something a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A whole text message.
    Text(&'a str),
    /// To be answered with a pong that says the same.
    Ping(&'a [u8]),
    /// The last thing it says: the code and the reason, if there are any.
    Close(Option<(u16, &'a str)>),
}

/// What no server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Extensions that nobody agreed on.
    #[error("the backend uses WebSocket extensions that were not agreed on")]
    Reserved,
    /// Servers do not mask.
    #[error("the backend masks its frames, which only clients do")]
    Masked,
    /// An opcode that is not known.
    #[error("the backend sends WebSocket frames of an unknown kind")]
    Opcode,
    /// A ping, pong or close that is too long or in pieces.
    #[error("the backend sends a control frame that is too long or in pieces")]
    Control,
    /// A piece without a beginning, or a beginning within another message.
    #[error("the backend mixes up the pieces of its messages")]
    Pieces,
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("the backend sends a message of more than {} MiB", MESSAGE_BYTES_MAX >> 20)]
    TooLong,
    /// Text that is no text.
    #[error("the backend sends text that is not UTF-8")]
    Utf8,
}

/// The reading side.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// A frame that has not come whole.
    partial: Vec<u8>,
    /// The pieces of a message so far.
    pieces: Vec<u8>,
    /// What the pieces belong to.
    message: Option<Kind>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Debug)]
struct Head {
    opcode: u8,
    last: bool,
    payload: Range<usize>,
}

impl Reader {
    /// Takes bytes as they came, and hands on what is whole. After a close nothing more is heard.
    pub(super) fn feed(&mut self, bytes: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<(), Violation> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, hear)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let used = self.frames(&partial, hear)?;
        partial.drain(..used);
        self.partial = kept(partial);
        Ok(())
    }

    /// Hands on the whole frames; how many bytes they took.
    fn frames(&mut self, bytes: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<usize, Violation> {
        let mut used = 0;
        while !self.closed {
            let rest = &bytes[used..];
            let Some(head) = Head::read(rest)? else { return Ok(used) };
            let Some(payload) = rest.get(head.payload.clone()) else {
                return Ok(used);
            };
            self.frame(&head, payload, hear)?;
            used += head.payload.end;
        }
        Ok(bytes.len())
    }

    fn frame(&mut self, head: &Head, payload: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<(), Violation> {
        match head.opcode {
            TEXT => self.begin(Kind::Text, head.last, payload, hear),
            BINARY => self.begin(Kind::Binary, head.last, payload, hear),
            CONTINUATION => self.go_on(head.last, payload, hear),
            PING => {
                hear(Item::Ping(payload));
                Ok(())
            }
            PONG => Ok(()),
            CLOSE => self.close(payload, hear),
            _ => Err(Violation::Opcode),
        }
    }

    fn begin(
        &mut self,
        kind: Kind,
        last: bool,
        payload: &[u8],
        hear: &mut dyn FnMut(Item<'_>),
    ) -> Result<(), Violation> {
        if self.message.is_some() {
            return Err(Violation::Pieces);
        }
        if last {
            return deliver(kind, payload, hear);
        }
        self.message = Some(kind);
        self.add(payload)
    }

    fn go_on(&mut self, last: bool, payload: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<(), Violation> {
        let kind = self.message.ok_or(Violation::Pieces)?;
        self.add(payload)?;
        if last {
            self.message = None;
            let mut pieces = std::mem::take(&mut self.pieces);
            deliver(kind, &pieces, hear)?;
            pieces.clear();
            self.pieces = kept(pieces);
        }
        Ok(())
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Violation> {
        if self.pieces.len() + payload.len() > MESSAGE_BYTES_MAX {
            return Err(Violation::TooLong);
        }
        self.pieces.extend_from_slice(payload);
        Ok(())
    }

    fn close(&mut self, payload: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<(), Violation> {
        self.closed = true;
        let said = match payload.split_at_checked(2) {
            None if payload.is_empty() => None,
            None => return Err(Violation::Control),
            Some((code, reason)) => {
                let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
                Some((u16::from_be_bytes([code[0], code[1]]), reason))
            }
        };
        hear(Item::Close(said));
        Ok(())
    }
}

impl Head {
    /// The head of a frame, once it has come whole.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Violation::Reserved);
        }
        if second & MASKED != 0 {
            return Err(Violation::Masked);
        }
        let (opcode, last) = (first & OPCODE, first & FIN != 0);
        let (extended, length) = match second {
            126 => (2, rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes).into())),
            127 => (8, rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))),
            short => (0, Some(u64::from(*short))),
        };
        let Some(length) = length else { return Ok(None) };
        if opcode >= CLOSE && (length > CONTROL_BYTES_MAX as u64 || !last) {
            return Err(Violation::Control);
        }
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err(Violation::TooLong);
        }
        let start = 2 + extended;
        Ok(Some(Self {
            opcode,
            last,
            payload: start..start + length as usize,
        }))
    }
}

fn deliver(kind: Kind, payload: &[u8], hear: &mut dyn FnMut(Item<'_>)) -> Result<(), Violation> {
    // Binary frames are not part of the protocol; what they say is passed over.
    if kind == Kind::Text {
        hear(Item::Text(std::str::from_utf8(payload).map_err(|_| Violation::Utf8)?));
    }
    Ok(())
}

/// A buffer that is used again, unless it holds nothing and much memory.
pub(super) fn kept(buffer: Vec<u8>) -> Vec<u8> {
    match buffer.is_empty() && buffer.capacity() > BUFFER_BYTES_KEPT {
        true => Vec::new(),
        false => buffer,
    }
}

/// Appends a text message.
pub(super) fn write_text(out: &mut Vec<u8>, mask: [u8; 4], text: &str) {
    write(out, TEXT, mask, text.as_bytes());
}

/// Appends a ping without words.
pub(super) fn write_ping(out: &mut Vec<u8>, mask: [u8; 4]) {
    write(out, PING, mask, &[]);
}

/// Appends the answer to a ping.
pub(super) fn write_pong(out: &mut Vec<u8>, mask: [u8; 4], payload: &[u8]) {
    write(out, PONG, mask, payload);
}

/// Appends the last frame; a reason that is too long is cut off.
pub(super) fn write_close(out: &mut Vec<u8>, mask: [u8; 4], code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    write(out, CLOSE, mask, &payload);
}

fn write(out: &mut Vec<u8>, opcode: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        middling @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(middling as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply(mask, &mut out[start..]);
}

/// Masks in steps that the compiler can turn into wide instructions.
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    let wide: [u8; 32] = std::array::from_fn(|index| mask[index % 4]);
    let mut chunks = payload.chunks_exact_mut(wide.len());
    for chunk in &mut chunks {
        chunk.iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
    }
    let rest = chunks.into_remainder();
    rest.iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_heard_however_the_bytes_are_cut() {
        let long = "ä".repeat(40_000);
        let mut bytes = Vec::new();
        for (first, payload) in [
            (FIN | TEXT, "short".as_bytes()),
            (FIN | TEXT, &[b'm'; 300]),
            (FIN | TEXT, long.as_bytes()),
            (TEXT, &long.as_bytes()[..3]),
            (FIN | PING, b"still there?"),
            (CONTINUATION, &long.as_bytes()[3..4]),
            (FIN | PONG, b""),
            (FIN | CONTINUATION, b"end"),
            (FIN | BINARY, &[0xff, 0xfe]),
            (FIN | CLOSE, &[0x03, 0xe8, b'b', b'y', b'e']),
        ] {
            served(&mut bytes, first, payload);
        }
        bytes.extend_from_slice(b"never heard");
        let expected = [
            "text short".to_owned(),
            format!("text {}", "m".repeat(300)),
            format!("text {long}"),
            "ping still there?".to_owned(),
            "text ääend".to_owned(),
            "close 1000 bye".to_owned(),
        ];
        for portion in [1, 2, 7, 4_096, bytes.len()] {
            assert_eq!(heard(&bytes, portion).unwrap(), expected, "{portion}");
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused_by_its_name() {
        let too_long = [FIN | TEXT, 127, 0, 0, 0, 0, 0, 0x40, 0, 1];
        for (bytes, violation) in [
            (&[0xc1, 0x00][..], Violation::Reserved),
            (&[0x81, 0x80, 1, 2, 3, 4], Violation::Masked),
            (&[0x83, 0x00], Violation::Opcode),
            (&[0x09, 0x00], Violation::Control),
            (&[0x89, 126, 0, 200], Violation::Control),
            (&[0x88, 0x01, 3], Violation::Control),
            (&[0x80, 0x00], Violation::Pieces),
            (&[0x01, 0x00, 0x81, 0x00], Violation::Pieces),
            (&too_long, Violation::TooLong),
            (&[0x81, 0x01, 0xff], Violation::Utf8),
            (&[0x88, 0x03, 3, 0xe8, 0xff], Violation::Utf8),
        ] {
            assert_eq!(heard(bytes, bytes.len()), Err(violation), "{bytes:x?}");
        }
    }

    #[test]
    fn pieces_together_may_not_be_longer_than_a_message() {
        let mut bytes = Vec::new();
        served(&mut bytes, TEXT, &vec![b'x'; MESSAGE_BYTES_MAX]);
        served(&mut bytes, FIN | CONTINUATION, b"x");
        assert_eq!(heard(&bytes, bytes.len()), Err(Violation::TooLong));
    }

    #[test]
    fn memory_of_a_long_message_is_given_back() {
        let mut reader = Reader::default();
        let mut bytes = Vec::new();
        served(&mut bytes, FIN | TEXT, &vec![b'x'; 1 << 20]);
        for portion in bytes.chunks(1000) {
            reader.feed(portion, &mut |_| {}).unwrap();
        }
        assert_eq!(reader.partial.capacity(), 0);
    }

    #[test]
    fn frames_of_every_length_are_masked_and_say_their_length() {
        for length in [0, 1, 125, 126, 1_340, 0xffff, 0x1_0000] {
            let text = "x".repeat(length);
            let mut out = Vec::new();
            write_text(&mut out, [1, 2, 3, 4], &text);
            let (head, said) = match length {
                0..=125 => (2, u64::from(out[1] & 0x7f)),
                126..=0xffff => (4, u16::from_be_bytes([out[2], out[3]]).into()),
                _ => (10, u64::from_be_bytes(out[2..10].try_into().unwrap())),
            };
            assert_eq!((out[0], out[1] & MASKED, said), (FIN | TEXT, MASKED, length as u64));
            assert_eq!(out[head..head + 4], [1, 2, 3, 4]);
            let unmasked = out[head + 4..].iter().zip([1, 2, 3, 4].iter().cycle());
            assert!(unmasked.map(|(byte, mask)| byte ^ mask).eq(text.bytes()), "{length}");
        }
    }

    #[test]
    fn a_reason_too_long_for_a_close_is_cut_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, [0; 4], 1000, &format!("x{}", "ä".repeat(100)));
        assert_eq!((out[0], out[1]), (FIN | CLOSE, MASKED | 125));
        assert!(std::str::from_utf8(&out[8..]).is_ok());
        assert_eq!(out.len(), 6 + 125);
    }

    fn served(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
        out.push(first);
        match payload.len() {
            short @ 0..=125 => out.push(short as u8),
            middling @ 126..=0xffff => {
                out.push(126);
                out.extend_from_slice(&(middling as u16).to_be_bytes());
            }
            long => {
                out.push(127);
                out.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
    }

    fn heard(bytes: &[u8], portion: usize) -> Result<Vec<String>, Violation> {
        let mut reader = Reader::default();
        let mut heard = Vec::new();
        for portion in bytes.chunks(portion) {
            reader.feed(portion, &mut |item| {
                heard.push(match item {
                    Item::Text(text) => format!("text {text}"),
                    Item::Ping(payload) => format!("ping {}", std::str::from_utf8(payload).unwrap()),
                    Item::Close(Some((code, reason))) => format!("close {code} {reason}"),
                    Item::Close(None) => "close".to_owned(),
                });
            })?;
        }
        Ok(heard)
    }
}
