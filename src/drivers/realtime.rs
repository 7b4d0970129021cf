//! The session's WebSocket: dialled, written without blocking, read frame by frame.
//!
//! The socket never makes the media wait. What cannot be written yet stays in a bounded outbox; when that is full the
//! oldest caller audio goes first, and a backend that takes nothing for [`STALL_MAX`] counts as lost. What the bytes
//! mean is the business of [`crate::realtime`].

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, protocol::frame::coding::CloseCode};

use crate::net::websocket::{ConnectError, WebSocket};

/// Messages that may wait for a slow backend: five seconds of caller audio. Past it the oldest audio is dropped.
const OUTBOX_MESSAGES_MAX: usize = 250;

/// How long a backend may take nothing at all before the session counts as lost.
pub const STALL_MAX: Duration = Duration::from_secs(5);

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
    Text(tokio_tungstenite::tungstenite::Utf8Bytes),
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
    /// The transport broke.
    Broken(String),
    /// The backend takes nothing more.
    Stalled,
}

/// One call's connection to its backend, in whatever state it is.
#[derive(Default)]
pub struct SessionSocket {
    state: State,
    outbox: VecDeque<Outgoing>,
    stalled_since: Option<Instant>,
    audio_dropped: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Dialling(Dial),
    Open(Box<WebSocket>),
}

struct Outgoing {
    text: String,
    audio: bool,
}

impl SessionSocket {
    /// Dials; what was open before is dropped.
    pub fn dial(&mut self, dial: impl Future<Output = Result<WebSocket, ConnectError>> + 'static) {
        self.reset();
        self.state = State::Dialling(Box::pin(dial));
    }

    /// Queues one message. `audio` marks what may be dropped when the backend is slow.
    pub fn send(&mut self, text: String, audio: bool) {
        if self.outbox.len() >= OUTBOX_MESSAGES_MAX {
            self.make_room();
        }
        self.outbox.push_back(Outgoing { text, audio });
    }

    /// Caller audio messages dropped since the last call of this.
    pub fn take_audio_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.audio_dropped)
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
        if let State::Open(socket) = &mut self.state {
            let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                code: CloseCode::Normal,
                reason: "the call has ended".into(),
            };
            // The call is over: a backend that does not take the close is simply left.
            let _ = tokio::time::timeout(CLOSE_MAX, socket.close(Some(frame))).await;
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.state = State::Idle;
        self.outbox.clear();
        self.stalled_since = None;
    }

    /// Drops the oldest audio message; when all that waits is control, the stall bound decides.
    fn make_room(&mut self) {
        if let Some(oldest) = self.outbox.iter().position(|message| message.audio) {
            self.outbox.remove(oldest);
            self.audio_dropped += 1;
        } else {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match &mut self.state {
            State::Idle => Poll::Pending,
            State::Dialling(dial) => match dial.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Event::Lost(Loss::Connect(error))),
                Poll::Ready(Ok(socket)) => {
                    self.state = State::Open(Box::new(socket));
                    Poll::Ready(Event::Opened)
                }
            },
            State::Open(_) => self.poll_open(context),
        }
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Err(loss) = self.write(context) {
            return Poll::Ready(Event::Lost(loss));
        }
        self.read(context).map(|read| read.unwrap_or_else(Event::Lost))
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Loss> {
        let State::Open(socket) = &mut self.state else {
            return Ok(());
        };
        let mut socket = Pin::new(socket.as_mut());
        while !self.outbox.is_empty() {
            match socket.as_mut().poll_ready(context) {
                Poll::Ready(ready) => ready.map_err(broken)?,
                Poll::Pending => return self.stalled(),
            }
            if let Some(message) = self.outbox.pop_front() {
                socket
                    .as_mut()
                    .start_send(Message::text(message.text))
                    .map_err(broken)?;
            }
        }
        match socket.as_mut().poll_flush(context) {
            Poll::Ready(flushed) => {
                self.stalled_since = None;
                flushed.map_err(broken)
            }
            Poll::Pending => self.stalled(),
        }
    }

    /// The backend took nothing this time; too long is a loss. Caller audio keeps coming, so this is asked often.
    fn stalled(&mut self) -> Result<(), Loss> {
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        if since.elapsed() > STALL_MAX {
            Err(Loss::Stalled)
        } else {
            Ok(())
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Loss>> {
        let State::Open(socket) = &mut self.state else {
            return Poll::Pending;
        };
        loop {
            let message = match Pin::new(socket.as_mut()).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Err(closed(None))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => return Poll::Ready(Ok(Event::Text(text))),
                Message::Close(frame) => return Poll::Ready(Err(closed(frame))),
                // Pings are answered by the library; binary frames are not part of the protocol.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }
}

fn closed(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Loss {
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
