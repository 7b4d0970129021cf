//! Whether the server has died without saying so: it owes a response, and nothing comes from it.

use std::time::{Duration, Instant};

use super::{FaultClass, Machine};

/// After this part of the bound a turn that got no answer is asked about, in case the server only forgot it.
const NUDGE_PART: u32 = 2;

/// When the server last said something.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Since when nothing has come from it, or it has been asked.
    since: Option<Instant>,
    /// Something came since it was last asked.
    heard: bool,
    /// Since when a turn of the caller waits for the server to answer it by itself, and whether it was asked about.
    turn: Option<(Instant, bool)>,
}

impl Stall {
    pub fn hear(&mut self, now: Instant) {
        self.since = Some(now);
        self.heard = true;
    }

    pub fn ask(&mut self, now: Instant) {
        // A question does not make up for what is owed already.
        if self.turn.is_none() {
            self.since = Some(now);
        }
        self.heard = false;
    }

    pub fn await_answer(&mut self, now: Instant) {
        self.turn = Some((now, false));
    }

    pub fn forgive_turn(&mut self) {
        self.turn = None;
    }

    pub fn owes_answer(&self) -> bool {
        self.turn.is_some()
    }
}

impl Machine {
    /// The server never began a response it was asked for.
    pub(super) fn unanswered(&mut self) {
        if self.settings.stall_max.is_some() && !self.stall.heard {
            return self.stalled();
        }
        self.note(
            "response_unanswered",
            "the session never began the response it was asked for",
        );
    }

    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        let stall_max = self.settings.stall_max?;
        let nudge = self
            .stall
            .turn
            .and_then(|(since, nudged)| (!nudged).then_some(since + stall_max / NUDGE_PART));
        [self.silent_until(stall_max), nudge].into_iter().flatten().min()
    }

    pub(super) fn watch_stall(&mut self, now: Instant) {
        let Some(stall_max) = self.settings.stall_max.filter(|_| self.is_ready()) else {
            return;
        };
        if self.silent_until(stall_max).is_some_and(|until| now >= until) {
            return self.stalled();
        }
        if let Some((since, nudged @ false)) = &mut self.stall.turn
            && now >= *since + stall_max / NUDGE_PART
        {
            *nudged = true;
            self.wish(now, None);
        }
    }

    /// Until when something has to come.
    fn silent_until(&self, stall_max: Duration) -> Option<Instant> {
        let owes = self.responses.is_awaited() || self.stall.owes_answer();
        self.stall.since.filter(|_| owes).map(|since| since + stall_max)
    }

    fn stalled(&mut self) {
        let message = "the session owes a response and has gone silent".to_owned();
        self.fail(FaultClass::Retryable, "stalled", message);
    }
}
