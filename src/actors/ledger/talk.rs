//! What the ledger notes of the talk: what is said, the tools that are called, and where the session stands.

use serde_json::json;

use super::Ledger;
use crate::{
    call::machine::Input,
    realtime::{Speaker, Transcript},
};

impl Ledger {
    /// This backend is being dialled.
    pub fn dialled(&mut self, backend: String) {
        self.tell(|_| {}, "session", json!({ "state": "dialled", "backend": backend }));
        self.record.backend = Some(backend);
    }

    /// Where the session stands has changed. One that is ready and had been ready before was dialled again.
    pub fn session(&mut self, input: Input) {
        let state = match input {
            Input::SessionReady => "ready",
            Input::SessionAway => "lost",
            Input::SessionGone => "gone",
            _ => return,
        };
        if input == Input::SessionReady && std::mem::replace(&mut self.session_seen, true) {
            self.record.reconnects = self.record.reconnects.saturating_add(1);
        }
        self.tell(
            |_| {},
            "session",
            json!({ "state": state, "backend": self.record.backend }),
        );
    }

    /// Somebody said something, or a piece of it.
    pub(super) fn said(&self, event: &'static str, transcript: Transcript) {
        let Transcript { who, text, item } = transcript;
        let who = match who {
            Speaker::Caller => "caller",
            Speaker::Agent => "agent",
        };
        self.tell(|_| {}, event, json!({ "who": who, "item": item, "text": text }));
    }
}
