//! The WebSocket of the benchmark's backend, without a library: its reads carry the kernel's time of arrival, and its
//! cost must not be what limits a benchmark.
//!
//! Only what a gateway needs is understood: one client, whole text messages or fragments of one, pings, a close.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The longest message taken; a longer one ends the session.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes already read that are kept in front of others, so that these need not be moved each time.
const UNREAD_BYTES_MAX: usize = 64 << 10;

/// The answer to a client's upgrade; nothing when it asks for none.
pub fn upgraded(request: &str) -> Option<String> {
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let accept = derive_accept_key(key.as_bytes());
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text.
    Text(&'a [u8]),
    /// To be answered with the same.
    Ping(&'a [u8]),
    /// Nothing that needs an answer.
    Other,
    /// It is going away, or what it sends makes no sense.
    Close,
}

/// Bytes of a client that were not read yet.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    read: usize,
}

impl Inbox {
    /// More bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        } else if self.read > UNREAD_BYTES_MAX {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The head of an HTTP request, once it is whole.
    pub fn request(&mut self) -> Option<String> {
        let rest = &self.bytes[self.read..];
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.read += end;
        Some(head)
    }

    /// The next frame, once it is whole.
    pub fn next(&mut self) -> Option<Frame<'_>> {
        let head = Head::read(&self.bytes[self.read..])?;
        if !head.understood {
            return Some(Frame::Close);
        }
        let start = self.read + head.length;
        let end = start + head.payload;
        if self.bytes.len() < end {
            return None;
        }
        self.read = end;
        let payload = &mut self.bytes[start..end];
        unmask(payload, head.mask);
        Some(match head.opcode {
            TEXT => Frame::Text(payload),
            PING => Frame::Ping(payload),
            CLOSE => Frame::Close,
            _ => Frame::Other,
        })
    }
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Head {
    opcode: u8,
    mask: [u8; 4],
    length: usize,
    payload: usize,
    understood: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (at, payload) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        let mask = *bytes.get(at..)?.first_chunk()?;
        Some(Self {
            opcode: first & 0x0f,
            mask,
            length: at + 4,
            payload: payload.min(MESSAGE_BYTES_MAX),
            // Whole messages, masked, of a bounded length.
            understood: first & 0x80 != 0 && second & 0x80 != 0 && payload <= MESSAGE_BYTES_MAX,
        })
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// Appends a text message of a server.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    write(TEXT, text, out);
}

/// Appends the answer to a ping.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write(PONG, payload, out);
}

fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        middle @ 126..=0xffff => {
            out.push(126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    #[test]
    fn frames_of_a_client_are_read_however_they_are_cut() {
        for length in [0, 5, 125, 126, 1_300, 70_000] {
            let text = "a".repeat(length);
            let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
            client.send(Message::text(text.clone())).unwrap();
            client.send(Message::Ping("you".into())).unwrap();
            let bytes = client.get_ref().get_ref().clone();
            for cut in [1, 7, 4_096] {
                let mut inbox = Inbox::default();
                let mut seen = Vec::new();
                for piece in bytes.chunks(cut) {
                    inbox.push(piece);
                    while let Some(frame) = inbox.next() {
                        seen.push(format!("{frame:?}"));
                    }
                }
                let expected = [
                    format!("{:?}", Frame::Text(text.as_bytes())),
                    format!("{:?}", Frame::Ping(b"you")),
                ];
                assert_eq!(seen, expected, "{length} {cut}");
            }
        }
    }

    #[test]
    fn a_client_reads_what_is_written() {
        for length in [0, 125, 126, 0xffff, 0x1_0000] {
            let text = "b".repeat(length);
            let mut bytes = Vec::new();
            write_text(text.as_bytes(), &mut bytes);
            let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Client, None);
            assert_eq!(client.read().unwrap(), Message::text(text));
        }
    }

    #[test]
    fn what_is_not_understood_closes() {
        for bytes in [
            &[0x81, 0x01, 0, 0, 0, 0, 0][..],
            &[0x01, 0x81, 0, 0, 0, 0, 0],
            &[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
        ] {
            let mut inbox = Inbox::default();
            inbox.push(bytes);
            assert_eq!(inbox.next(), Some(Frame::Close), "{bytes:?}");
        }
    }
}
