//! One call's leg media: packets in become caller frames, agent audio becomes paced packets.
//!
//! [`Machine`] joins the parts. `caller` puts packets in order, makes up for what is missing and hands on audio at
//! the session's rate without a playout clock; `playout` keeps the agent's words until they leave and counts what left; `pacer` says
//! when; the rest is RTP's bookkeeping. No part has a socket or a clock: datagrams and the time come in, datagrams
//! and deadlines come out.
//!
//! This module does not know calls or sessions. An utterance is a number to it, and it plays whatever it is given, in
//! the order given: whose words are out of date is decided by whoever hands them in.

mod caller;
mod coder;
mod conceal;
mod control;
mod doctor;
mod drift;
mod event;
mod keypad;
mod ledger;
mod machine;
mod outbox;
mod pacer;
mod playout;
mod quality;
mod reach;
mod secure;
mod sender;
mod settings;
mod statistics;
mod stretch;
pub mod tap;
#[cfg(test)]
mod test_sound;
mod ticks;
mod voice;
mod watch;

pub use doctor::{Ailment, AilmentSums, Diagnosis};
pub use event::Event;
pub use machine::Machine;
pub use outbox::{Channel, Transmit};
pub use pacer::LATE_TICKS_MAX;
pub use quality::{Quality, Scale, Sound};
pub use settings::{Settings, Silence};
pub use statistics::Statistics;
