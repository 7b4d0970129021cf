//! What the callers and the backend tell about a measurement. Neither knows the other's side; [`super::joined`] does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;

/// How the dialling went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Dialled {
    /// Calls that are going on.
    pub talking: usize,
    /// Calls that are not, by what became of them.
    pub failed: BTreeMap<String, usize>,
}

/// What the callers measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Every call, in the order of their numbers.
    pub calls: Vec<HeardCall>,
    /// How late the callers sent their own packets.
    pub lateness: Histogram,
    /// How far packets of the gateway were from an even grid.
    pub pacing: Histogram,
    /// Times between two packets of the gateway that follow one another.
    pub deltas: Histogram,
    /// Packets sent.
    pub sent: u64,
    /// Packets heard.
    pub heard: u64,
    /// Packets that never came, by their numbers.
    pub lost: u64,
    /// Packets of a number already passed.
    pub reordered: u64,
}

/// What the callers measured on one call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct HeardCall {
    /// Whether it is going on.
    pub talking: bool,
    /// Whether the caller listened to the agent's voice.
    pub listened: bool,
    /// Louder packets: which of the call's packets, and when it was sent.
    pub marks: Vec<Mark>,
    /// When the agent's voice began after silence.
    pub onsets: Vec<u64>,
    /// The pitches of the agent's voice.
    pub pitches: Vec<f32>,
}

/// What the backend measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Served {
    /// Every session there is, in the order in which they came.
    pub sessions: Vec<ServedSession>,
}

/// What the backend measured on one session.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ServedSession {
    /// The pitch it speaks at.
    pub speaks_hz: f32,
    /// Louder stretches of what was appended: how many packets' worth was appended before, and when they came.
    pub marks: Vec<Mark>,
    /// When the agent was given something to say: just before the first delta was written.
    pub starts: Vec<u64>,
    /// The pitches of the caller's voice.
    pub pitches: Vec<f32>,
    /// Events of the gateway that have no place here, such as those of an interruption.
    pub surprises: u64,
}

/// A moment that can be told apart in the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Packets before it.
    pub packet: u64,
    /// When.
    pub at: u64,
}
