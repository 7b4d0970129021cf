//! The Realtime protocol, client side: what a backend says and wants to hear, and whose turn it is.
//!
//! [`event`] holds the neutral events that everything else here speaks; a dialect ([`ga`], `beta` or `live`) turns
//! them to and from JSON text, with what is different between backends as data in [`quirks`]. [`Machine`] is one connection's protocol: it configures the session and waits until that is
//! confirmed, sequences responses, turns an interruption into an exact truncation and names what went wrong.
//! [`Reconnect`] says when to dial again. There are no sockets, clocks or playout here: the bridge carries text and
//! audio between the WebSocket, this machine and the leg's media, and tells how much of the agent was heard.

mod arguments;
mod audio;
mod backoff;
mod beta;
mod dialect;
pub mod event;
mod fault;
mod fields;
pub mod ga;
mod history;
mod interpreter;
mod late;
mod legacy;
mod live;
mod machine;
mod parts;
pub mod quirks;
mod responses;
mod settings;
mod tool_calls;
mod usage;

#[cfg(test)]
mod tests;

pub use audio::{AudioFormat, AudioWish};
pub use backoff::{Reconnect, ReconnectSettings};
pub use beta::{beta_name, ga_name};
pub use dialect::Dialect;
pub use event::TEXT_FRAME_BYTES_MAX;
pub use fault::{Fault, FaultClass, classify, classify_close};
pub use history::{CUT_MARK, HistoryItem, Speaker, Transcript};
pub use late::Late;
pub use legacy::Legacy;
pub use machine::{Delta, Machine, Output, Unknown, digit_text};
pub use parts::Scratch;
pub use quirks::{Auth, Quirks};
pub use settings::{Settings, ToolSpec};
pub use usage::{Transcription, Usage, Used};
