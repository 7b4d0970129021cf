//! Repeats: which of many like events are told one by one, and which are summed up.
//!
//! The first from a source for one reason is told at once; what follows is counted and told once a minute, until a
//! minute passes without any. So a flood fills no log, and nothing goes untold.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::defence::Block;

/// How often what repeats is summed up.
const PERIOD: Duration = Duration::from_secs(60);

/// Sources and reasons counted on their own. Beyond it those of further sources are counted together, by reason.
pub const ROWS_MAX: usize = 1024;

/// How often something repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// Where it came from; `None`: from several sources beyond [`ROWS_MAX`].
    pub source: Option<IpAddr>,
    /// The reason word.
    pub reason: &'static str,
    /// How many more there were.
    pub more: u64,
}

/// What repeats.
#[derive(Debug, Default)]
pub struct Repeats {
    rows: HashMap<Key, Row>,
    due: VecDeque<(Instant, Key)>,
}

type Key = (Option<Block>, &'static str);

#[derive(Debug)]
struct Row {
    source: Option<IpAddr>,
    more: u64,
}

impl Repeats {
    /// Counts one more. True when it is to be told now.
    pub fn note(&mut self, now: Instant, source: IpAddr, reason: &'static str) -> bool {
        let own = (Some(Block::of(source)), reason);
        if let Some(row) = self.rows.get_mut(&own) {
            row.more += 1;
            return false;
        }
        if self.rows.len() < ROWS_MAX {
            self.open(now, own, Some(source), 0);
            return true;
        }
        match self.rows.get_mut(&(None, reason)) {
            Some(row) => row.more += 1,
            None => self.open(now, (None, reason), None, 1),
        }
        false
    }

    /// When [`Self::pop_due`] has something to say or to forget.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// The next that is to be summed up.
    pub fn pop_due(&mut self, now: Instant) -> Option<Repeated> {
        while let Some((_, key)) = self.due.pop_front_if(|(at, _)| *at <= now) {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            let more = std::mem::take(&mut row.more);
            if more == 0 {
                self.rows.remove(&key);
                continue;
            }
            let (source, reason) = (row.source, key.1);
            self.due.push_back((now + PERIOD, key));
            return Some(Repeated { source, reason, more });
        }
        None
    }

    fn open(&mut self, now: Instant, key: Key, source: Option<IpAddr>, more: u64) {
        self.rows.insert(key, Row { source, more });
        self.due.push_back((now + PERIOD, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_rest_are_summed_up_each_minute() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let source = ip(1);
        let told = (0..10).filter(|_| repeats.note(now, source, "auth_failed")).count();
        assert_eq!(told, 1);
        assert!(repeats.note(now, source, "bad_request"));
        assert!(repeats.note(now, ip(2), "auth_failed"));
        assert_eq!(repeats.pop_due(now + PERIOD - Duration::from_nanos(1)), None);
        let minute = now + PERIOD;
        let repeated = |more| Repeated {
            source: Some(source),
            reason: "auth_failed",
            more,
        };
        assert_eq!(repeats.pop_due(minute), Some(repeated(9)));
        assert_eq!(repeats.pop_due(minute), None);
        assert!(!repeats.note(minute, source, "auth_failed"));
        assert_eq!(repeats.pop_due(minute + PERIOD), Some(repeated(1)));
        assert_eq!(repeats.pop_due(minute + 2 * PERIOD), None);
        assert_eq!(repeats.poll_timeout(), None);
        assert!(repeats.note(minute + 2 * PERIOD, source, "auth_failed"));
    }

    #[test]
    fn a_crowd_is_counted_together_and_nothing_is_left_over() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let told = (0..5_000)
            .filter(|number| repeats.note(now, ip(*number), "unknown_source"))
            .count();
        assert_eq!(told, ROWS_MAX);
        assert_eq!(repeats.rows.len(), ROWS_MAX + 1);
        let summed = repeats.pop_due(now + PERIOD).unwrap();
        assert_eq!((summed.source, summed.more), (None, 5_000 - ROWS_MAX as u64));
        assert_eq!(repeats.pop_due(now + 2 * PERIOD), None);
        assert!(repeats.rows.is_empty() && repeats.due.is_empty());
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }
}
