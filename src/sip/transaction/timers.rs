//! The clock of SIP: the base intervals of RFC 3261 section 17.1.1.1, the timers made of them, and [`Deadlines`], the
//! ordered set of "wake me then" that lets an endpoint with thousands of transactions know its next deadline without
//! looking at each.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Estimated round trip; every other interval is built on it.
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of a non-INVITE request or of an INVITE's final response.
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64 * T1, the length of timers B, F, H, J, L and M: after it a peer that stayed silent is given up.
pub const GIVE_UP: Duration = Duration::from_secs(32);
/// Timer D: how long an INVITE client over UDP absorbs retransmitted final responses ("at least 32 s").
pub const TIMER_D: Duration = Duration::from_secs(32);

/// The interval after `interval` in the schedule T1, 2*T1, 4*T1, ... T2, T2.
pub fn doubled(interval: Duration) -> Duration {
    interval.saturating_mul(2).min(T2)
}

/// At most one deadline per key, ordered by time.
///
/// Setting, clearing and popping cost O(log n); the earliest deadline is read in O(log n).
#[derive(Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Replaces the deadline of `key`; `None` clears it.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        self.clear(key);
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key));
        }
    }

    /// Forgets the deadline of `key`.
    pub fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest key that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmission_intervals_double_up_to_t2() {
        let mut interval = T1;
        let mut seen_ms = Vec::new();
        for _ in 0..6 {
            seen_ms.push(interval.as_millis());
            interval = doubled(interval);
        }
        assert_eq!(seen_ms, [500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    fn deadlines_come_out_in_order_of_time_and_only_when_due() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set(1, Some(start + T2));
        deadlines.set(2, Some(start + T1));
        assert_eq!(deadlines.next(), Some(start + T1));
        assert_eq!(deadlines.pop_due(start), None);
        assert_eq!(deadlines.pop_due(start + T2), Some(2));
        assert_eq!(deadlines.pop_due(start + T2), Some(1));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one_of_the_same_key() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set(7, Some(start + T1));
        deadlines.set(7, Some(start + T4));
        assert_eq!(deadlines.pop_due(start + T2), None);
        deadlines.set(7, None);
        assert_eq!(deadlines.next(), None);
    }
}
