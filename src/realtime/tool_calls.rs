//! Which tool calls have been passed on: servers tell each one twice, and it must be done once.

use std::collections::VecDeque;

/// Calls remembered; past it the oldest is forgotten, long after both of its events have come.
const CALLS_MAX: usize = 64;

/// The longest arguments passed on, in bytes; a longer call is answered with a refusal.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;

/// The tool calls seen.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    seen: VecDeque<String>,
}

impl ToolCalls {
    /// Whether this call has not been seen before; from now on it has.
    pub fn is_new(&mut self, call: &str) -> bool {
        if self.seen.iter().any(|seen| seen == call) {
            return false;
        }
        if self.seen.len() >= CALLS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(call.to_owned());
        true
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
}
