//! What a session that a call has left still has to say: the words of turns it answered, which come after their answers.
//!
//! Its connection stays open for them, for a bounded time. They get their place in the conversation that is kept; the session
//! that serves the call meanwhile has been told it without them, and no protocol lets a client put words before others
//! without knowing the server's names for those. So the next one is told.

use std::time::Instant;

use super::{
    event::ServerEvent,
    history::{self, Speaker, Transcript},
    interpreter::Interpreter,
    usage::Used,
};

/// The words that are waited for.
#[derive(Debug)]
pub struct Late {
    interpreter: Interpreter,
    /// The items of the turns.
    items: Vec<String>,
    /// By which what it does is counted.
    backend: String,
}

impl Late {
    /// None where every turn that was answered has its words.
    pub(super) fn new(interpreter: Interpreter, items: Vec<String>, backend: &str) -> Option<Self> {
        (!items.is_empty()).then(|| Self {
            interpreter,
            items,
            backend: backend.to_owned(),
        })
    }

    /// One text frame of the session that was left: the words, if it brings any that are waited for, and what writing them
    /// down took.
    pub fn hear(&mut self, now: Instant, text: &str) -> Option<(Transcript, Used)> {
        match self.interpreter.read(now, text).ok()? {
            ServerEvent::CallerTranscript { item, text, usage } => {
                self.take(&item)?;
                let text = history::bounded(&text, history::TEXT_BYTES_MAX).to_owned();
                let (who, item) = (Speaker::Caller, item.into_owned());
                let backend = self.backend.clone();
                Some((Transcript { who, text, item }, Used { backend, usage }))
            }
            ServerEvent::CallerTranscriptFailed { item, .. } => {
                self.take(&item);
                None
            }
            _ => None,
        }
    }

    /// Whether nothing is waited for any more.
    pub fn is_over(&self) -> bool {
        self.items.is_empty()
    }

    fn take(&mut self, item: &str) -> Option<String> {
        let index = self.items.iter().position(|waiting| waiting == item)?;
        Some(self.items.swap_remove(index))
    }
}
