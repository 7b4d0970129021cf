//! Which tool calls have been passed on and answered: servers tell each one twice, sessions come and go, and it must be
//! done once and answered once.

use std::collections::VecDeque;

/// Calls remembered; past it the oldest is forgotten, long after both of its events have come.
const CALLS_MAX: usize = 64;

/// The longest arguments passed on, in bytes; a longer call is answered with a refusal.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;

/// The tool calls seen.
#[derive(Debug, Clone, Default)]
pub(super) struct ToolCalls {
    seen: VecDeque<Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    call: String,
    answered: bool,
}

impl ToolCalls {
    /// Whether this call has not been seen before; from now on it has.
    pub fn is_new(&mut self, call: &str) -> bool {
        if self.seen.iter().any(|seen| seen.call == call) {
            return false;
        }
        if self.seen.len() >= CALLS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            call: call.to_owned(),
            answered: false,
        });
        true
    }

    /// Whether an answer to this call is the first; from now on there has been one. A call that is not known, because it
    /// is forgotten, may be answered.
    pub fn answer(&mut self, call: &str) -> bool {
        let seen = self.seen.iter_mut().find(|seen| seen.call == call);
        seen.is_none_or(|seen| !std::mem::replace(&mut seen.answered, true))
    }

    /// Whether any call waits for its answer.
    pub fn is_waiting(&self) -> bool {
        self.seen.iter().any(|seen| !seen.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_new_once_and_memory_is_bounded() {
        let mut calls = ToolCalls::default();
        assert!(calls.is_new("a"));
        assert!(!calls.is_new("a"));
        for number in 0..CALLS_MAX {
            assert!(calls.is_new(&number.to_string()));
        }
        assert_eq!(calls.seen.len(), CALLS_MAX);
    }

    #[test]
    fn a_call_is_answered_once() {
        let mut calls = ToolCalls::default();
        calls.is_new("a");
        assert!(calls.is_waiting());
        assert!(calls.answer("a") && !calls.answer("a"));
        assert!(!calls.is_waiting());
        assert!(calls.answer("forgotten"));
    }
}
