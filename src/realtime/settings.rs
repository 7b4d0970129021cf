//! What one session is to be: fixed before the connection opens, told to the backend once.

use std::time::Duration;

use serde_json::Value;

use super::{audio::AudioWish, dialect::Dialect, history::HistoryItem, quirks::Quirks};
use crate::audio::Law;

/// Everything the session is told about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The backend's name, by which what it does is counted.
    pub backend: String,
    /// How the backend spells the protocol.
    pub dialect: Dialect,
    /// What is different with this backend.
    pub quirks: Quirks,
    /// The format of its audio.
    pub audio: AudioWish,
    /// The law of the leg, when it speaks G.711.
    pub leg_law: Option<Law>,
    /// The model's name; empty leaves the choice to the URL.
    pub model: String,
    /// The model that works out tool calls where the one that speaks hands them on; empty: nobody does.
    pub delegation_model: String,
    /// What the agent is and how it should behave.
    pub instructions: String,
    /// The voice's name; empty leaves the backend's default.
    pub voice: String,
    /// Turn taking, passed on as it is; `Null` leaves the backend's default, because a session without any turn
    /// detection would wait for commits that nobody sends.
    pub turn_detection: Value,
    /// Transcription of the caller, passed on as it is; none leaves it off.
    pub transcription: Option<Value>,
    /// What the agent may call.
    pub tools: Vec<ToolSpec>,
    /// What the agent says first; none lets the caller speak first.
    pub greeting: Option<String>,
    /// What the agent says before anything else, and the caller hears to its end; see [`Machine::disclose`].
    ///
    /// [`Machine::disclose`]: super::Machine::disclose
    pub disclosure: Option<String>,
    /// Whether our own ear cuts the agent off, and the server's detector does not.
    pub own_ear: bool,
    /// What a caller says to an agent that is to go on, where our own ear cuts it off; then the server answers no turn by
    /// itself. Empty leaves the answers to the server.
    pub back_channel: Vec<String>,
    /// The conversation so far, for a server that is told it with the configuration.
    pub history: Vec<HistoryItem>,
    /// How long the server may say nothing at all while it owes a response; then the session counts as lost. None waits
    /// for ever.
    pub stall_max: Option<Duration>,
}

impl Settings {
    /// Whether a server that was told these knows all that the others have to tell it.
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        let formats = |settings: &Self| settings.audio.formats(settings.leg_law);
        // What is said later, and what only we look at.
        let told = |settings: &Self| Self {
            greeting: None,
            disclosure: None,
            back_channel: Vec::new(),
            leg_law: None,
            stall_max: None,
            history: if settings.dialect.has_updates() {
                Vec::new()
            } else {
                settings.history.clone()
            },
            ..settings.clone()
        };
        formats(self) == formats(other) && told(self) == told(other)
    }

    /// Whether the backend was told in so many words to cancel a response when the caller speaks.
    pub(super) fn asks_server_to_interrupt(&self) -> bool {
        self.turn_detection.get("interrupt_response").and_then(Value::as_bool) == Some(true)
    }

    /// Whether the backend answers a turn of the caller without being asked, as it does unless told otherwise.
    pub(super) fn lets_server_respond(&self) -> bool {
        self.turn_detection.get("create_response").and_then(Value::as_bool) != Some(false)
    }
}

/// A function the agent may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// The name the model calls it by.
    pub name: String,
    /// When to call it, in words for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}
