//! The board: what is known last of each trunk that we register at or ask whether it is there. The metrics are its
//! numbers, the control API shows it whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is known of one trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkState {
    /// Its name.
    pub trunk: String,
    /// Whether we are registered there; `None` for a trunk we do not register at.
    pub registered: Option<bool>,
    /// When the registration ends unless it is refreshed.
    pub registered_until: Option<Instant>,
    /// Whether it answers our OPTIONS; `None` while that is not known or not asked.
    pub reachable: Option<bool>,
    /// What went wrong last; empty when nothing did.
    pub error: String,
}

impl TrunkState {
    /// How long the registration still lasts.
    pub fn expires_in(&self, now: Instant) -> Option<Duration> {
        self.registered_until.map(|until| until.saturating_duration_since(now))
    }
}

/// The last word about every trunk, by its name; there are no more than the configuration has.
#[derive(Debug, Clone, Default)]
pub struct Trunks {
    states: Arc<Mutex<BTreeMap<String, TrunkState>>>,
}

impl Trunks {
    /// Notes what is known of a trunk now; what was known before.
    pub fn note(&self, state: TrunkState) -> Option<TrunkState> {
        self.lock().insert(state.trunk.clone(), state)
    }

    /// What is known of all, by name.
    pub fn snapshot(&self) -> Vec<TrunkState> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TrunkState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_trunk_counts_and_the_one_before_is_given_back() {
        let (board, now) = (Trunks::default(), Instant::now());
        let state = |trunk: &str, registered| TrunkState {
            trunk: trunk.to_owned(),
            registered: Some(registered),
            registered_until: Some(now + Duration::from_secs(60)),
            reachable: None,
            error: String::new(),
        };
        assert_eq!(board.note(state("b", false)), None);
        assert_eq!(board.note(state("a", true)), None);
        assert_eq!(board.clone().note(state("b", true)), Some(state("b", false)));
        assert_eq!(board.snapshot(), [state("a", true), state("b", true)]);
        let late = now + Duration::from_secs(90);
        assert_eq!(board.snapshot()[0].expires_in(late), Some(Duration::ZERO));
    }
}
