//! The operator: an embedded session server that speaks the Realtime protocol and runs with no key, no network and no
//! model. It is the default backend, the other end of every test, and a stand-in to develop clients against.
//!
//! This module is the pure machine of one connection; the socket, the handshake and the clock belong to its driver, which
//! also sees which dialect a client wants: GA, or `beta` by the header it had, or [`live`] by its path. It keeps the official order of events, codes and wording; it deliberately does not do WebRTC, MCP or transcription, and
//! sends no `output_audio_buffer.*`, which WebSocket clients never see.
//!
//! As an agent it greets when a response is asked for before anybody spoke, repeats each turn of the caller in the
//! caller's own voice, answers a user message `DTMF 5` with "You pressed five.", and on `DTMF *` calls the function
//! `hang_up` when the session offers it, or says goodbye when not. Voice is found by energy, for `semantic_vad` as well.
//! A transcript of a caller reads `(speech, 1.8 s)`.
//!
//! # Faults on demand
//! Off by default. A comma-separated list, each `kind[:argument][@ms][*n]`: `@ms` after the connection opened (0 when
//! absent), `*n` for the first n connections only.
//!
//! | fault | what happens |
//! |---|---|
//! | `drop@2000` | the TCP connection is aborted, without a close frame |
//! | `close:1011@2000` | the connection is closed with this code |
//! | `stall@1500` | the connection stays open, nothing more is sent |
//! | `error:insufficient_quota@0` | an `error` event with this code |
//! | `garbage@1000` | text that is not JSON, then an event cut in the middle |
//! | `slow:800` | the first audio of every response comes 800 ms later |
//! | `refuse`, `refuse:401*3` | the upgrade is refused, with HTTP 503 or the given status |
//!
//! With [`Settings::control`] a client may also send `{"type":"operator.fault","fault":"drop@500"}`, counted from then.

mod agent;
mod beta;
mod client;
mod conversation;
mod ending;
mod error;
pub mod fault;
mod field;
mod format;
mod input;
mod item;
pub mod live;
mod machine;
mod outbox;
mod request;
mod response;
mod server;
mod session;
mod sound;
mod strikes;
mod tools;
mod turn;
mod turn_detection;
mod usage;
mod words;

pub use self::fault::{Fault, FaultError, Faults, Strike};
pub use self::machine::Machine;
pub use self::server::Server;
use crate::realtime::Dialect;

/// How one session is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the client speaks.
    pub dialect: Dialect,
    /// Makes ids differ between sessions.
    pub seed: u64,
    /// What the client asked for in the URL.
    pub model: String,
    /// The wall clock at the start, in seconds since 1970, for `expires_at`.
    pub unix_s: u64,
    /// What goes wrong, and when.
    pub faults: Vec<Strike>,
    /// Whether the client may order faults itself.
    pub control: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dialect: Dialect::Ga,
            seed: 0,
            model: "operator".to_owned(),
            unix_s: 0,
            faults: Vec::new(),
            control: false,
        }
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a text frame.
    Send(String),
    /// Close the WebSocket.
    Close {
        /// The status code.
        code: u16,
        /// The reason text.
        reason: String,
    },
    /// Abort the TCP connection without closing.
    Drop,
}

#[cfg(test)]
mod tests;
