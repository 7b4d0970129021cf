//! What one session leaves to the next: the conversation as it was heard, and what is still owed.
//!
//! Between two sessions the bridge keeps it and adds what happens meanwhile, so that nothing the caller pressed and no
//! tool's answer is lost with a connection.

use super::{
    history::{History, HistoryItem},
    responses::Wish,
    tool_calls::ToolCalls,
};

/// Responses owed to the next session; past it the newest is dropped, and the agent says nothing about what it was for.
const OWED_MAX: usize = 8;

/// What one session leaves to the next.
#[derive(Debug, Clone, Default)]
pub struct Legacy {
    pub(super) history: History,
    pub(super) calls: ToolCalls,
    pub(super) owed: Vec<Wish>,
}

impl Legacy {
    /// The caller pressed or wrote something while there was no session.
    pub fn caller_wrote(&mut self, text: &str) {
        self.history.caller_wrote(text);
        self.owe(Wish::new(None));
    }

    /// The words of a turn of the session before the last have come.
    pub fn caller_said_late(&mut self, item: &str, text: &str) {
        self.history.caller_said_late(item, text);
    }

    /// A tool answered while there was no session. False when it had answered before.
    pub fn answered(&mut self, call: &str, output: &str, respond: bool) -> bool {
        let first = self.calls.answer(call);
        if first {
            self.history.answered(call, output);
            if respond {
                self.owe(Wish::new(None));
            }
        }
        first
    }

    /// The conversation as the next session will be told.
    pub fn items(&self) -> Vec<HistoryItem> {
        self.history.items().collect()
    }

    fn owe(&mut self, wish: Wish) {
        let is_owed = wish.instructions.is_none() && self.owed.iter().any(|owed| owed.instructions.is_none());
        if !is_owed && self.owed.len() < OWED_MAX {
            self.owed.push(wish);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_between_two_sessions_is_kept_and_owes_one_answer() {
        let mut legacy = Legacy::default();
        legacy.calls.is_new("c");
        legacy.history.called("c", "look_up", "{}");
        legacy.caller_wrote("DTMF 5");
        assert!(legacy.answered("c", "7", true));
        assert!(!legacy.answered("c", "8", true));
        assert_eq!((legacy.items().len(), legacy.owed.len()), (3, 1));
    }
}
