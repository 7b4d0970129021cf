//! The board: how each backend stands, as whoever dials it noted last. The metric is its number, the control API shows it
//! whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is known of one backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendState {
    /// Its name.
    pub backend: String,
    /// How its circuit breaker stands: `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// The word for what went wrong last; empty when nothing did.
    pub error: &'static str,
    /// Sessions that came about.
    pub connected: u64,
    /// Dials that did not become a session.
    pub failed: u64,
    /// Dials that were not tried because of how it stood.
    pub passed_over: u64,
    /// Sessions that wait for calls now.
    pub warm: u64,
}

/// The last word about every backend, by its name; there are no more than the configuration has.
#[derive(Debug, Clone, Default)]
pub struct Backends {
    states: Arc<Mutex<BTreeMap<String, BackendState>>>,
}

impl BackendState {
    /// Whether calls dial it.
    pub fn is_up(&self) -> bool {
        self.state == "closed"
    }
}

impl Backends {
    /// Notes what is known of a backend now.
    pub fn note(&self, state: BackendState) {
        self.lock().insert(state.backend.clone(), state);
    }

    /// What is known of all, by name.
    pub fn snapshot(&self) -> Vec<BackendState> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BackendState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
