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

use self::pulse::Pulse;
use crate::{
    net::websocket::{ConnectError, Ended, WebSocket},
    realtime::{FaultClass, classify_close},
};

/// Messages that may wait for a slow backend: five seconds of caller audio. Past it the oldest audio is dropped, and
/// when all that waits is control, the session.
const OUTBOX_MESSAGES_MAX: usize = 250;

/// Messages written in one go end with the one that makes it this long.
const WRITE_BYTES: usize = 8 << 10;

/// Buffers of messages that were written and are used again.
const SPARE_MAX: usize = 4;

/// A buffer that held a longer message is not used again.
const SPARE_BYTES_MAX: usize = 4 << 10;

/// Our own close says this (RFC 6455 section 7.4.1).
const NORMAL: (u16, &str) = (1000, "the call has ended");

/// And this, when the call goes on with another session, or with none.
const RENEWED: (u16, &str) = (1000, "the call goes on without this session");

/// How long our own close may take to be written.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A connection being made, on the worker's thread.
pub type Dial = Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>>>>;

/// What the socket tells the media driver.
#[derive(Debug)]
pub enum Event {
    /// The connection is up and the handshake done.
    Opened,
    /// Something came; its texts have been handed on.
    Heard,
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
    wants_polling: bool,
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
    spare: Vec<String>,
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
        self.wants_polling = true;
    }

    /// Whether there is something to do that nobody has woken the task for.
    pub fn wants_polling(&self) -> bool {
        self.wants_polling
    }

    /// Queues one message. `audio` marks what may be dropped when the backend is slow.
    pub fn send(&mut self, text: &str, audio: bool) {
        self.wants_polling = true;
        match &mut self.state {
            // Where nothing waits it need not wait either.
            State::Open(connection) if self.outbox.is_empty() && connection.socket.waiting() == 0 => {
                connection.socket.push_text(text);
            }
            _ => self.outbox.push(text, audio),
        }
    }

    /// Caller audio messages dropped since the last call of this.
    pub fn take_audio_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.outbox.audio_dropped)
    }

    /// Writes what waits and reads what comes, into `scratch`; texts go to `hear`. To be polled again after every event.
    /// Pending for ever while there is no connection.
    pub fn poll(&mut self, context: &mut Context<'_>, scratch: &mut [u8], hear: &mut dyn FnMut(&str)) -> Poll<Event> {
        self.wants_polling = false;
        let polled = match &mut self.state {
            State::Idle => Poll::Pending,
            State::Dialling(dial) => dial.as_mut().poll(context).map(|dialled| self.dialled(dialled)),
            State::Open(connection) => connection
                .poll(&mut self.outbox, context, scratch, hear)
                .map(|heard| heard.map_or_else(Event::Lost, |()| Event::Heard)),
        };
        if matches!(polled, Poll::Ready(Event::Lost(_))) {
            self.reset();
        }
        polled
    }

    /// Somebody else polls it from now on, and has to be known to what wakes it.
    pub fn hand_over(&mut self) {
        self.wants_polling = true;
    }

    /// Begins to close: what comes after that is read and not heard, and its end is told as a loss.
    pub fn retire(&mut self) {
        self.outbox.clear();
        self.wants_polling = true;
        match &mut self.state {
            State::Open(connection) => connection.socket.push_close(RENEWED.0, RENEWED.1),
            State::Idle | State::Dialling(_) => self.reset(),
        }
    }

    /// Closes politely, within a bound.
    pub async fn close(&mut self) {
        if let State::Open(connection) = &mut self.state {
            connection.socket.push_close(NORMAL.0, NORMAL.1);
            let written = poll_fn(|context| connection.socket.poll_flush(context));
            // The call is over: a backend that does not take the close is simply left.
            let _ = tokio::time::timeout(CLOSE_MAX, written).await;
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.state = State::Idle;
        self.outbox.clear();
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
    fn push(&mut self, text: &str, audio: bool) {
        if self.waiting.len() >= OUTBOX_MESSAGES_MAX {
            self.make_room();
        }
        if !self.overflowed {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.push_str(text);
            self.waiting.push_back(Outgoing { text: buffer, audio });
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.overflowed
    }

    /// Puts what waits into a socket that has nothing to write.
    fn fill(&mut self, socket: &mut WebSocket) {
        while socket.waiting() < WRITE_BYTES
            && let Some(message) = self.waiting.pop_front()
        {
            socket.push_text(&message.text);
            self.reuse(message.text);
        }
    }

    fn reuse(&mut self, mut buffer: String) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
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
        let pulse = Pulse::new(socket.traffic());
        Self { socket, pulse }
    }

    /// Ready when something was read, or with the end. The state between two polls is all in `self`, so polling may stop
    /// at any time.
    fn poll(
        &mut self,
        outbox: &mut Outbox,
        context: &mut Context<'_>,
        scratch: &mut [u8],
        hear: &mut dyn FnMut(&str),
    ) -> Poll<Result<(), Loss>> {
        if outbox.overflowed {
            return Poll::Ready(Err(Loss::Stalled));
        }
        loop {
            let all_taken = self.write(outbox, context)?;
            if let Poll::Ready(read) = self.socket.poll_read(context, scratch, hear) {
                return Poll::Ready(read.map_err(Loss::from));
            }
            match self.pulse.poll(context, self.socket.traffic(), all_taken) {
                Poll::Pending => return Poll::Pending,
                // There is a ping to write.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(loss)) => return Poll::Ready(Err(loss)),
            }
        }
    }

    /// Whether nothing is left that the backend, or what lies in between, has not taken.
    fn write(&mut self, outbox: &mut Outbox, context: &mut Context<'_>) -> Result<bool, Loss> {
        loop {
            match self.socket.poll_flush(context) {
                Poll::Ready(flushed) => flushed.map_err(Loss::from)?,
                Poll::Pending => return Ok(false),
            }
            if self.pulse.take_ping() {
                self.socket.push_ping();
            }
            outbox.fill(&mut self.socket);
            if self.socket.waiting() == 0 {
                return Ok(true);
            }
        }
    }
}

impl Loss {
    /// Whether dialling again can help, a fixed word for metrics and logs, and what the backend or the network said.
    pub fn classify(&self) -> (FaultClass, &'static str, String) {
        match self {
            Self::Connect(error) => {
                let class = if error.is_fatal() {
                    FaultClass::Fatal
                } else {
                    FaultClass::Retryable
                };
                (class, error.kind(), error.to_string())
            }
            Self::Closed { code, reason } => (classify_close(*code), "closed", format!("{code} {reason}")),
            Self::Broken(error) => (FaultClass::Retryable, "broken", error.clone()),
            Self::Stalled => (
                FaultClass::Retryable,
                "stalled",
                "the backend takes nothing any more".to_owned(),
            ),
        }
    }
}

impl From<Ended> for Loss {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed { code, reason } => Self::Closed { code, reason },
            Ended::Broken(why) => Self::Broken(why),
        }
    }
}

#[cfg(test)]
mod tests;
