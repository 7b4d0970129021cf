//! Whether the gateway takes new calls, as load balancers ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The one answer to "is it ready", shared by whoever knows and whoever asks.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    NotReady(&'static str),
    /// The way out: nothing makes a draining gateway ready again.
    Draining,
}

impl Readiness {
    /// The reason of a gateway that is about to stop.
    pub const DRAINING: &str = "draining";

    /// Not ready yet, for the reason `starting`.
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::NotReady("starting"))),
        }
    }

    /// New calls are taken, unless the gateway is draining.
    pub fn ready(&self) {
        self.change(State::Ready);
    }

    /// New calls are not taken for now, for this reason word.
    pub fn not_ready(&self, reason: &'static str) {
        self.change(State::NotReady(reason));
    }

    /// No more calls are taken, ever.
    pub fn drain(&self) {
        self.change(State::Draining);
    }

    /// Why not, or nothing when ready.
    pub fn reason(&self) -> Option<&'static str> {
        match *self.lock() {
            State::Ready => None,
            State::NotReady(reason) => Some(reason),
            State::Draining => Some(Self::DRAINING),
        }
    }

    fn change(&self, next: State) {
        let mut state = self.lock();
        if *state != State::Draining {
            *state = next;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_not_ready_until_it_says_so() {
        let readiness = Readiness::new();
        assert_eq!(readiness.reason(), Some("starting"));
        readiness.clone().ready();
        assert_eq!(readiness.reason(), None);
        readiness.not_ready("sip_down");
        assert_eq!(readiness.reason(), Some("sip_down"));
    }

    #[test]
    fn a_part_that_comes_back_does_not_end_the_draining() {
        let readiness = Readiness::new();
        readiness.drain();
        readiness.ready();
        readiness.not_ready("sip_down");
        assert_eq!(readiness.reason(), Some("draining"));
    }
}
