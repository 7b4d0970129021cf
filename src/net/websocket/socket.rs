//! One open WebSocket: frames over a stream, read and written without waiting.
//!
//! Reading uses the reader's own buffer, one for all sockets of a thread, so an idle connection holds next to no memory.
//! Pings are answered here. When to write, and whether the far end is still alive, is the business of the owner.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    super::{Stream, Traffic},
    frames::{self, Item, Reader, Violation},
};

/// Bytes that may wait in a socket while its peer takes nothing; past it pings are no longer answered. Texts are only
/// put in when nothing waits.
const PONGS_BYTES_MAX: usize = 64 << 10;

/// The code of our answer to a close (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// Frames masked with one portion of the system's randomness.
const MASKS: usize = 32;

/// An open WebSocket to a backend.
#[derive(Debug)]
pub struct WebSocket {
    stream: Stream,
    reader: Reader,
    /// Came with the answer to the handshake.
    early: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    /// Whether the stream has bytes that it may hold back.
    unflushed: bool,
    masks: Masks,
}

/// How a WebSocket ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed it with this code.
    Closed {
        /// 1006 when there was none (RFC 6455 section 7.1.5).
        code: u16,
        /// The peer's reason text.
        reason: String,
    },
    /// The transport broke, or the peer does not keep to the protocol.
    Broken(String),
}

impl WebSocket {
    pub(super) fn new(stream: Stream, early: Vec<u8>) -> Self {
        Self {
            stream,
            reader: Reader::default(),
            early,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            masks: Masks::default(),
        }
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        self.stream.traffic()
    }

    /// Puts in a text message, to be written by [`Self::poll_flush`].
    pub fn push_text(&mut self, text: &str) {
        let mask = self.masks.next();
        frames::write_text(&mut self.out, mask, text);
    }

    /// Puts in a ping.
    pub fn push_ping(&mut self) {
        let mask = self.masks.next();
        frames::write_ping(&mut self.out, mask);
    }

    /// Puts in the close, after which nothing may follow.
    pub fn push_close(&mut self, code: u16, reason: &str) {
        let mask = self.masks.next();
        frames::write_close(&mut self.out, mask, code, reason);
    }

    /// Bytes put in and not yet taken by the stream.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes what was put in; ready when the stream has taken all of it.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        while self.waiting() > 0 {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]);
            match ready!(written).map_err(broken)? {
                0 => return Poll::Ready(Err(broken(io::ErrorKind::WriteZero.into()))),
                length => self.written += length,
            }
            self.unflushed = true;
        }
        if self.written > 0 {
            self.written = 0;
            self.out.clear();
            self.out = frames::kept(std::mem::take(&mut self.out));
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(broken)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and hands on the texts that came whole. `scratch` is what is read into; nothing is left in it.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut [u8],
        hear: &mut dyn FnMut(&str),
    ) -> Poll<Result<(), Ended>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return Poll::Ready(self.take(&early, hear));
        }
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)).map_err(broken)?;
        let taken = match buffer.filled() {
            [] => Err(Ended::Broken("the backend left without a word".to_owned())),
            bytes => self.take(bytes, hear),
        };
        if let Err(Ended::Closed { .. }) = taken {
            self.push_close(NORMAL, "");
            // What does not fit now is left: the peer has said its last word.
            let _ = self.poll_flush(context);
        }
        Poll::Ready(taken)
    }

    fn take(&mut self, bytes: &[u8], hear: &mut dyn FnMut(&str)) -> Result<(), Ended> {
        let Self { reader, out, masks, .. } = self;
        let mut closed = None;
        reader.feed(bytes, &mut |item| match item {
            Item::Text(text) => hear(text),
            Item::Ping(payload) if out.len() < PONGS_BYTES_MAX => frames::write_pong(out, masks.next(), payload),
            Item::Ping(_) => {}
            Item::Close(said) => {
                closed = Some(said.map_or((1006, String::new()), |(code, why)| (code, why.to_owned())))
            }
        })?;
        match closed {
            None => Ok(()),
            Some((code, reason)) => Err(Ended::Closed { code, reason }),
        }
    }
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation.to_string())
    }
}

fn broken(error: io::Error) -> Ended {
    Ended::Broken(error.to_string())
}

/// Keys that no peer can foresee (RFC 6455 section 5.3), a portion at a time.
#[derive(Debug, Default)]
struct Masks {
    portion: [[u8; 4]; MASKS],
    left: usize,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        if self.left == 0 {
            // Without randomness from the system the keys are those of before: they guard proxies on the way against
            // scripts that choose what is sent, which nobody does here.
            let _ = getrandom::fill(self.portion.as_flattened_mut());
            self.left = MASKS;
        }
        self.left -= 1;
        self.portion[self.left]
    }
}
