//! The session's WebSocket: dialled, written without blocking, read frame by frame.
//!
//! The socket never makes the media wait. What cannot be written yet stays in a bounded outbox; when that is full the
//! oldest caller audio goes first. Whether the backend still takes and says anything is watched all the time. What the
//! bytes mean is the business of [`crate::realtime`].

mod pulse;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{
    Bytes, Error as SocketError, Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use self::pulse::Pulse;
use crate::net::websocket::{ConnectError, WebSocket};

/// Messages that may wait for a slow backend: five seconds of caller audio. Past it the oldest audio is dropped, and
/// when all that waits is control, the session.
const OUTBOX_MESSAGES_MAX: usize = 250;

/// How long our own close may take to be written.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A connection being made, on the worker's thread.
pub type Dial = Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>>>>;

/// What the socket tells the media driver.
#[derive(Debug)]
pub enum Event {
    /// The connection is up and the handshake done.
    Opened,
    /// One text frame.
    Text(Utf8Bytes),
    /// The connection is over, or never came about.
    Lost(Loss),
}

/// How a connection ended.
#[derive(Debug)]
pub enum Loss {
    /// It could not be made.
    Connect(ConnectError),
    /// The backend closed it with this code.
    Closed {
        /// The WebSocket close code; 1006 when there was none.
        code: u16,
        /// The backend's reason text.
        reason: String,
    },
    /// The transport broke, or nothing comes over it any more.
    Broken(String),
    /// The backend takes nothing more.
    Stalled,
}

/// One call's connection to its backend, in whatever state it is.
#[derive(Default)]
pub struct SessionSocket {
    state: State,
    outbox: Outbox,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Dialling(Dial),
    Open(Box<Connection>),
}

/// Messages on their way to the backend.
#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Outgoing>,
    audio_dropped: u64,
    overflowed: bool,
}

struct Outgoing {
    text: String,
    audio: bool,
}

/// An open connection.
struct Connection {
    socket: WebSocket,
    pulse: Pulse,
}

impl SessionSocket {
    /// Dials; what was open before is dropped.
    pub fn dial(&mut self, dial: impl Future<Output = Result<WebSocket, ConnectError>> + 'static) {
        self.reset();
        self.state = State::Dialling(Box::pin(dial));
    }

    /// Queues one message. `audio` marks what may be dropped when the backend is slow.
    pub fn send(&mut self, text: String, audio: bool) {
        self.outbox.push(Outgoing { text, audio });
    }

    /// Caller audio messages dropped since the last call of this.
    pub fn take_audio_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.outbox.audio_dropped)
    }

    /// Writes what waits and reads what comes. Cancel-safe; pending for ever while there is no connection.
    pub async fn next(&mut self) -> Event {
        let event = poll_fn(|context| self.poll(context)).await;
        if matches!(event, Event::Lost(_)) {
            self.reset();
        }
        event
    }

    /// Closes politely, within a bound.
    pub async fn close(&mut self) {
        if let State::Open(connection) = &mut self.state {
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: "the call has ended".into(),
            };
            // The call is over: a backend that does not take the close is simply left.
            let _ = tokio::time::timeout(CLOSE_MAX, connection.socket.close(Some(frame))).await;
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.state = State::Idle;
        self.outbox.clear();
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match &mut self.state {
            State::Idle => Poll::Pending,
            State::Dialling(dial) => dial.as_mut().poll(context).map(|dialled| self.dialled(dialled)),
            State::Open(connection) => connection
                .poll(&mut self.outbox, context)
                .map(|heard| heard.map_or_else(Event::Lost, Event::Text)),
        }
    }

    fn dialled(&mut self, dialled: Result<WebSocket, ConnectError>) -> Event {
        match dialled {
            Ok(socket) => {
                self.state = State::Open(Box::new(Connection::new(socket)));
                Event::Opened
            }
            Err(error) => Event::Lost(Loss::Connect(error)),
        }
    }
}

impl Outbox {
    fn push(&mut self, message: Outgoing) {
        if self.waiting.len() >= OUTBOX_MESSAGES_MAX {
            self.make_room();
        }
        if !self.overflowed {
            self.waiting.push_back(message);
        }
    }

    /// Drops the oldest audio. Control is worth the session: when it alone waits, the backend has long taken nothing.
    fn make_room(&mut self) {
        match self.waiting.iter().position(|message| message.audio) {
            Some(oldest) => {
                self.waiting.remove(oldest);
                self.audio_dropped += 1;
            }
            None => self.overflowed = true,
        }
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.overflowed = false;
    }
}

impl Connection {
    fn new(socket: WebSocket) -> Self {
        let pulse = Pulse::new(socket.get_ref().traffic());
        Self { socket, pulse }
    }

    /// The next text, or the end. The state between two polls is all in `self`, so polling may stop at any time.
    fn poll(&mut self, outbox: &mut Outbox, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Loss>> {
        if outbox.overflowed {
            return Poll::Ready(Err(Loss::Stalled));
        }
        loop {
            let all_taken = self.write(outbox, context)?;
            if let Poll::Ready(read) = self.read(context) {
                return Poll::Ready(read);
            }
            match self.pulse.poll(context, self.socket.get_ref().traffic(), all_taken) {
                Poll::Pending => return Poll::Pending,
                // There is a ping to write.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(loss)) => return Poll::Ready(Err(loss)),
            }
        }
    }

    /// Whether nothing is left that the backend, or what lies in between, has not taken.
    fn write(&mut self, outbox: &mut Outbox, context: &mut Context<'_>) -> Result<bool, Loss> {
        let mut socket = Pin::new(&mut self.socket);
        while self.pulse.ping_is_due() || !outbox.waiting.is_empty() {
            match socket.as_mut().poll_ready(context) {
                Poll::Ready(ready) => ready.map_err(broken)?,
                Poll::Pending => return Ok(false),
            }
            let message = if self.pulse.take_ping() {
                Message::Ping(Bytes::new())
            } else if let Some(message) = outbox.waiting.pop_front() {
                Message::text(message.text)
            } else {
                break;
            };
            socket.as_mut().start_send(message).map_err(broken)?;
        }
        match socket.as_mut().poll_flush(context) {
            Poll::Ready(flushed) => flushed.map_err(broken).map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Loss>> {
        loop {
            let message = match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Err(closed(None))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => return Poll::Ready(Ok(text)),
                Message::Close(frame) => return Poll::Ready(Err(closed(frame))),
                // Pings are answered by the library; binary frames are not part of the protocol.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Loss {
    match frame {
        Some(frame) => Loss::Closed {
            code: frame.code.into(),
            reason: frame.reason.to_string(),
        },
        None => Loss::Closed {
            code: 1006,
            reason: String::new(),
        },
    }
}

fn broken(error: SocketError) -> Loss {
    match error {
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => closed(None),
        error => Loss::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
