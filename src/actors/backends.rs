//! How the backends do, for all calls: one circuit breaker each, asked before a dial and told how it went.
//!
//! There is nothing to run here, so it is no actor: the Session actors of all calls share it, and each visit takes a lock
//! for as long as it takes to look.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{
    call::breaker::{Breaker, Settings, Stand},
    config::{Config, Session},
    telemetry::{BackendState, Metrics},
};

/// The breakers of all backends.
#[derive(Debug)]
pub struct Backends {
    entries: Mutex<BTreeMap<String, Entry>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Entry {
    breaker: Breaker,
    state: BackendState,
}

impl Backends {
    /// All backends of the configuration, of which nothing is known.
    pub fn new(config: &Config, metrics: Metrics) -> Self {
        Self::of(config.backends.keys(), settings(&config.session), metrics)
    }

    fn of<'a>(names: impl Iterator<Item = &'a String>, settings: Settings, metrics: Metrics) -> Self {
        let entry = |name: &String| {
            let state = BackendState {
                backend: name.clone(),
                state: Stand::Closed.word(),
                ..BackendState::default()
            };
            metrics.backends().note(state.clone());
            let breaker = Breaker::new(settings);
            (name.clone(), Entry { breaker, state })
        };
        let entries = names.map(entry).collect();
        Self {
            entries: Mutex::new(entries),
            metrics,
        }
    }

    /// Whether this backend may be dialled now; it then counts as dialled.
    pub fn admit(&self, now: Instant, backend: &str) -> bool {
        self.visit(now, backend, |entry| {
            let admitted = entry.breaker.admit(now);
            entry.state.passed_over += u64::from(!admitted);
            admitted
        })
        .unwrap_or(true)
    }

    /// A session came about.
    pub fn connected(&self, now: Instant, backend: &str) {
        self.visit(now, backend, |entry| {
            entry.breaker.succeeded(now);
            entry.state.connected += 1;
        });
    }

    /// A dial did not become a session; why, in one word.
    pub fn failed(&self, now: Instant, backend: &str, word: &'static str) {
        self.visit(now, backend, |entry| {
            entry.breaker.failed(now);
            entry.state.failed += 1;
            entry.state.error = word;
        });
    }

    /// A session on this backend waits for a call.
    pub fn warmed(&self, now: Instant, backend: &str) {
        self.visit(now, backend, |entry| {
            entry.breaker.succeeded(now);
            entry.state.warm += 1;
        });
    }

    /// It does not any more.
    pub fn cooled(&self, now: Instant, backend: &str) {
        self.visit(now, backend, |entry| {
            entry.state.warm = entry.state.warm.saturating_sub(1)
        });
    }

    /// None waits anywhere.
    pub fn no_warm(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.values_mut() {
            entry.state.warm = 0;
            self.metrics.backends().note(entry.state.clone());
        }
    }

    /// A session that was ready is gone, and nobody here let it go. One that was lost young is no better than a dial that
    /// failed; `ready_at` is none where there was none.
    pub fn lost(&self, now: Instant, ready_at: Option<Instant>, backend: &str, word: &'static str) {
        let Some(ready_at) = ready_at.filter(|ready_at| Breaker::is_young(now, *ready_at)) else {
            return;
        };
        self.visit(now, backend, |entry| {
            entry.breaker.lost_young(now, ready_at);
            entry.state.failed += 1;
            entry.state.error = word;
        });
    }

    fn visit<T>(&self, now: Instant, backend: &str, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(backend)?;
        let done = act(entry);
        let before = std::mem::replace(&mut entry.state.state, entry.breaker.stand(now).word());
        if before != entry.state.state {
            tracing::warn!(
                backend,
                before,
                now = entry.state.state,
                "a backend's circuit breaker turned"
            );
        }
        self.metrics.backends().note(entry.state.clone());
        Some(done)
    }
}

fn settings(session: &Session) -> Settings {
    Settings {
        failures: session.breaker_failures,
        window: session.breaker_window,
        open: session.breaker_open,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sessions_that_are_lost_young_turn_the_breaker() {
        let (metrics, mut now) = (Metrics::new(), Instant::now());
        let settings = Settings {
            failures: 2,
            window: Duration::from_secs(30),
            open: Duration::from_secs(600),
        };
        let backends = Backends::of(["a".to_owned()].iter(), settings, metrics.clone());
        for state in ["closed", "open"] {
            assert!(backends.admit(now, "a"));
            backends.connected(now, "a");
            let ready_at = now;
            now += Duration::from_millis(500);
            backends.lost(now, Some(ready_at), "a", "closed");
            assert_eq!(metrics.backends().snapshot()[0].state, state);
        }
    }

    #[test]
    fn what_all_calls_see_of_a_backend_is_one_thing_and_is_shown() {
        let (metrics, now) = (Metrics::new(), Instant::now());
        let settings = Settings {
            failures: 2,
            window: Duration::from_secs(30),
            open: Duration::from_secs(10),
        };
        let backends = Backends::of(["a".to_owned()].iter(), settings, metrics.clone());
        let shown = || metrics.backends().snapshot()[0].clone();
        assert!(shown().is_up() && backends.admit(now, "a"));
        backends.failed(now, "a", "connect");
        backends.failed(now, "a", "refused");
        assert!(!backends.admit(now, "a"));
        let state = shown();
        assert_eq!((state.state, state.error), ("open", "refused"));
        assert_eq!((state.connected, state.failed, state.passed_over), (0, 2, 1));
        assert!(metrics.render().contains("patchcord_backend_up{backend=\"a\"} 0"));
        backends.connected(now, "a");
        assert!(metrics.render().contains("patchcord_backend_up{backend=\"a\"} 1"));
        // One that was lost old, and one that never was, say nothing against it.
        backends.lost(now + Duration::from_secs(60), Some(now), "a", "closed");
        backends.lost(now, None, "a", "connect");
        assert_eq!(shown().failed, 2);
        backends.lost(now, Some(now), "a", "closed");
        assert_eq!((shown().failed, shown().error), (3, "closed"));
        assert!(backends.admit(now, "unknown"));
    }
}
