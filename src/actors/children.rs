//! What the supervisors share: how often a child may be started again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Restarts allowed within [`RESTARTS_WITHIN`].
const RESTARTS_MAX: usize = 5;

/// The window in which restarts are counted.
const RESTARTS_WITHIN: Duration = Duration::from_secs(10);

/// A supervisor's memory of its restarts.
#[derive(Debug, Default)]
pub struct Restarts {
    at: VecDeque<Instant>,
}

impl Restarts {
    /// Counts one more restart; false when there were too many of late and the supervisor should give up.
    pub fn allow(&mut self, now: Instant) -> bool {
        while self
            .at
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > RESTARTS_WITHIN)
        {
            self.at.pop_front();
        }
        self.at.push_back(now);
        self.at.len() <= RESTARTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_restart_in_ten_seconds_is_one_too_many() {
        let mut restarts = Restarts::default();
        let start = Instant::now();
        assert!((0..5).all(|second| restarts.allow(start + Duration::from_secs(second))));
        assert!(!restarts.allow(start + Duration::from_secs(5)));
    }

    #[test]
    fn restarts_spread_out_never_add_up() {
        let mut restarts = Restarts::default();
        let start = Instant::now();
        assert!((0..100).all(|n| restarts.allow(start + Duration::from_secs(3 * n))));
    }
}
