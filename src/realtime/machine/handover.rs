//! From one session to the next: what this one takes over, and what it leaves.

use std::time::Instant;

use super::{ClientEvent, Heard, Interpreter, Legacy, Machine, Output, Unheard, Wish};
use crate::realtime::Late;

impl Machine {
    /// Takes over what another session left. One that is not ready yet tells its server as soon as it is.
    pub fn inherit(&mut self, now: Instant, legacy: Legacy) {
        self.history = legacy.history;
        self.tool_calls = legacy.calls;
        if self.is_ready() {
            self.recall();
        }
        for wish in legacy.owed {
            match self.has_disclosure() && wish.instructions.is_none() {
                true => self.disclosure.keep_turn(),
                false => self.put(now, wish),
            }
        }
    }

    /// The session is over; `heard` is how much of each unfinished utterance had left.
    pub fn into_legacy(mut self, heard: &[Heard]) -> Legacy {
        let unheard = self.unheard(heard).filter(|_| !self.tool_calls.is_waiting());
        self.interrupted(heard);
        let mut owed = self.responses.owed(unheard.as_ref());
        if self.history.has_wordless_turn() {
            // The next session is told the sound of it, and answers that.
            owed.retain(|wish| wish.instructions.is_some());
        } else if (self.stall.owes_answer() || self.disclosure.take_turn())
            && !owed.iter().any(|wish| wish.instructions.is_none())
        {
            owed.push(Wish::new(None));
        }
        self.history.settle();
        Legacy {
            history: self.history,
            calls: self.tool_calls,
            owed,
        }
    }

    /// The call goes on in another session, and this one may still say the words of turns it has answered.
    pub fn leave(mut self, heard: &[Heard]) -> (Legacy, Option<Late>) {
        let other = Interpreter::new(self.settings.dialect, self.settings.quirks);
        let interpreter = std::mem::replace(&mut self.interpreter, other);
        let backend = std::mem::take(&mut self.settings.backend);
        let legacy = self.into_legacy(heard);
        let late = Late::new(interpreter, legacy.history.late_items(), &backend);
        (legacy, late)
    }

    /// The words of a turn of the session before this have come.
    pub fn caller_said_late(&mut self, item: &str, text: &str) {
        self.history.caller_said_late(item, text);
    }

    /// Whether the conversation rests: the agent has been heard to its end, nothing is asked for, no tool is at work and
    /// no turn of the caller waits for its answer or its words.
    pub fn is_at_rest(&self) -> bool {
        self.is_ready()
            && self.parts.is_empty()
            && self.responses.is_idle()
            && !self.tool_calls.is_waiting()
            && !self.stall.owes_answer()
            && !self.has_disclosure()
            && !self.back_channel.is_waiting()
            && !self.history.has_wordless_turn()
    }

    /// Tells a session that takes over what was said before it.
    pub(super) fn recall(&mut self) {
        let texts: Vec<String> = (self.events_sent + 1..)
            .zip(self.history.items())
            .filter_map(|(event_id, item)| self.interpreter.write(event_id, &ClientEvent::Recall(&item)))
            .collect();
        self.events_sent += texts.len() as u64;
        self.outputs.extend(texts.into_iter().map(Output::Send));
    }

    /// The response that was wanted and is not heard to its end.
    fn unheard(&self, heard: &[Heard]) -> Option<Unheard> {
        let mut playing = self.parts.responses();
        let response = playing
            .find(|response| !self.responses.is_muted(response))
            .or(self.responses.running())?;
        let is_of_it = |heard: &&Heard| self.parts.response_of(heard.utterance) == Some(response);
        Some(Unheard {
            response: response.to_owned(),
            partly_heard: heard.iter().filter(is_of_it).any(|heard| heard.sent_ms > 0),
        })
    }
}
