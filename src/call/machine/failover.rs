//! When no session can be had any more: a prompt, then a human, then goodbye.

use std::time::Instant;

use super::{Cause, LAST_WORDS_MAX, Machine, Output, State};

/// What is left to a caller whose agent has gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failover {
    /// There is a prompt for it.
    pub prompt: bool,
    /// There is somebody to hand the call on to.
    pub transfer: bool,
}

/// How far that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The prompt is being heard.
    Prompting,
    /// The other side has been asked to call somebody else.
    HandingOn,
}

impl Machine {
    /// No session can be had any more.
    pub(super) fn fail_over(&mut self, now: Instant) {
        if !self.settings.failover.prompt {
            return self.hand_on(now);
        }
        self.state = State::FailingOver(Step::Prompting);
        self.deadline = now.checked_add(LAST_WORDS_MAX);
        [Output::Comfort(false), Output::FailoverPrompt, Output::AwaitQuiet]
            .into_iter()
            .for_each(|output| self.push(output));
    }

    /// The prompt has been heard, or takes too long.
    pub(super) fn hand_on(&mut self, now: Instant) {
        if self.settings.failover.transfer {
            self.state = State::FailingOver(Step::HandingOn);
            // The transfer has a bound of its own.
            self.deadline = None;
            self.push(Output::Comfort(true));
            self.push(Output::HandOn);
        } else if self.settings.failover.prompt {
            self.stop(Cause::SessionLost);
        } else {
            self.apologise(now);
        }
    }

    /// Nobody took the call.
    pub(super) fn not_handed_on(&mut self, now: Instant) {
        if self.state == State::FailingOver(Step::HandingOn) {
            self.apologise(now);
        }
    }
}
