//! When each message of one webhook is sent: those of a call one after the other, those of different calls beside each
//! other, failed ones again after a random wait that may double each time, none for ever.
//!
//! Pure: times are milliseconds of the wall clock, which outlive a restart as ages of messages have to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages on their way at the same time.
const IN_FLIGHT_MAX: usize = 8;

/// How long failed messages wait, and how long they are kept; all in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The most waited after the first failure.
    pub first_ms: u64,
    /// The most ever waited.
    pub max_ms: u64,
    /// How old a message may become.
    pub keep_ms: u64,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its file.
    pub file: String,
    /// Its call.
    pub call: String,
    /// Since when it waits.
    pub born_ms: u64,
    /// How large it is.
    pub bytes: u64,
}

/// What to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Send it, and say how that went.
    Send(Entry),
    /// Nobody took it in time: it is gone.
    GiveUp(Entry),
}

/// Everything that waits for one webhook.
#[derive(Debug)]
pub(super) struct Schedule {
    patience: Patience,
    lines: BTreeMap<String, Line>,
    /// The calls whose first message is not on its way, by when it is to be sent.
    due: BTreeSet<(u64, String)>,
    in_flight: usize,
    entries: usize,
    bytes: u64,
}

/// The messages of one call.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Entry>,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            lines: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            entries: 0,
            bytes: 0,
        }
    }

    /// One more, behind those of its call.
    pub(super) fn add(&mut self, entry: Entry) {
        self.entries += 1;
        self.bytes += entry.bytes;
        let line = self.lines.entry(entry.call.clone()).or_default();
        if line.waiting.is_empty() {
            self.due.insert((entry.born_ms, entry.call.clone()));
        }
        line.waiting.push_back(entry);
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Step> {
        let (due, call) = self.due.first()?;
        if *due > now_ms {
            return None;
        }
        let entry = self.lines.get(call)?.waiting.front()?.clone();
        if now_ms >= self.expires(&entry) {
            let call = call.clone();
            self.due.pop_first();
            self.leave(&call, now_ms);
            return Some(Step::GiveUp(entry));
        }
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        self.due.pop_first();
        self.in_flight += 1;
        Some(Step::Send(entry))
    }

    /// When [`Self::next`] has something again, unless something changes before.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let due = self.due.first().filter(|_| self.in_flight < IN_FLIGHT_MAX);
        due.map(|(due, _)| *due)
    }

    /// It was taken, or will never be.
    pub(super) fn done(&mut self, entry: &Entry, now_ms: u64) {
        self.in_flight -= 1;
        self.leave(&entry.call, now_ms);
    }

    /// It was not taken; the other side may have said how long to stay away. `random` spreads the attempts.
    pub(super) fn failed(&mut self, entry: &Entry, now_ms: u64, stay_away_ms: Option<u64>, random: u64) {
        self.in_flight -= 1;
        let Patience { first_ms, max_ms, .. } = self.patience;
        let expires = self.expires(entry);
        let Some(line) = self.lines.get_mut(&entry.call) else {
            return;
        };
        let doubled = first_ms.saturating_mul(1u64.checked_shl(line.failures).unwrap_or(u64::MAX));
        let most = doubled.min(max_ms).max(1);
        line.failures = line.failures.saturating_add(1).min(62);
        let wait = (random % most + 1).max(stay_away_ms.unwrap_or_default().min(max_ms));
        self.due
            .insert((now_ms.saturating_add(wait).min(expires), entry.call.clone()));
    }

    /// How many wait.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// How large they are together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn expires(&self, entry: &Entry) -> u64 {
        entry.born_ms.saturating_add(self.patience.keep_ms)
    }

    /// The first message of a call is over, and the next has its turn.
    fn leave(&mut self, call: &str, now_ms: u64) {
        let Some(line) = self.lines.get_mut(call) else { return };
        if let Some(gone) = line.waiting.pop_front() {
            self.entries -= 1;
            self.bytes -= gone.bytes;
        }
        line.failures = 0;
        match line.waiting.is_empty() {
            true => drop(self.lines.remove(call)),
            false => drop(self.due.insert((now_ms, call.to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_call_come_one_after_the_other_and_calls_beside_each_other() {
        let mut schedule = schedule();
        for (file, call) in [("1", "a"), ("2", "a"), ("3", "b")] {
            schedule.add(entry(file, call, 0));
        }
        let first = [send(&mut schedule, 0), send(&mut schedule, 0)].map(|entry| entry.unwrap().file);
        assert_eq!(first, ["1", "3"]);
        assert_eq!(send(&mut schedule, 0), None, "the second of a waits for the first");
        schedule.done(&entry("1", "a", 0), 5);
        assert_eq!(send(&mut schedule, 5).unwrap().file, "2");
        assert_eq!((schedule.entries(), schedule.bytes()), (2, 20));
    }

    #[test]
    fn a_failed_message_waits_twice_as_long_each_time_and_holds_up_its_call_alone() {
        let mut schedule = schedule();
        schedule.add(entry("1", "a", 0));
        schedule.add(entry("2", "a", 0));
        let mut now = 0;
        for most in [100, 200, 400, 800, 1_000, 1_000] {
            let sent = send(&mut schedule, now).unwrap();
            assert_eq!(sent.file, "1");
            schedule.failed(&sent, now, None, most - 1);
            assert_eq!(schedule.poll_timeout(), Some(now + most));
            assert_eq!(schedule.next(now + most - 1), None);
            now += most;
        }
        schedule.add(entry("3", "b", now));
        let both = [send(&mut schedule, now), send(&mut schedule, now)].map(|entry| entry.unwrap().file);
        assert_eq!(both, ["1", "3"]);
    }

    #[test]
    fn who_asks_to_be_left_alone_is_but_not_for_ever() {
        let mut schedule = schedule();
        schedule.add(entry("1", "a", 0));
        let sent = send(&mut schedule, 0).unwrap();
        schedule.failed(&sent, 0, Some(700), 0);
        assert_eq!(schedule.poll_timeout(), Some(700));
        let sent = send(&mut schedule, 700).unwrap();
        schedule.failed(&sent, 700, Some(u64::MAX), 0);
        assert_eq!(schedule.poll_timeout(), Some(1_700));
    }

    #[test]
    fn what_nobody_takes_is_given_up_and_the_next_has_its_turn() {
        let mut schedule = schedule();
        schedule.add(entry("1", "a", 0));
        schedule.add(entry("2", "a", 9_999));
        let sent = send(&mut schedule, 9_999).unwrap();
        schedule.failed(&sent, 9_999, None, 99);
        assert_eq!(schedule.poll_timeout(), Some(10_000), "its end is not slept through");
        assert_eq!(schedule.next(10_000), Some(Step::GiveUp(entry("1", "a", 0))));
        assert_eq!(send(&mut schedule, 10_000).unwrap().file, "2");
    }

    #[test]
    fn messages_on_their_way_are_bounded() {
        let mut schedule = schedule();
        (0..20).for_each(|number| schedule.add(entry("1", &number.to_string(), 0)));
        let sent = std::iter::from_fn(|| send(&mut schedule, 0)).count();
        assert_eq!(sent, IN_FLIGHT_MAX);
    }

    fn schedule() -> Schedule {
        Schedule::new(Patience {
            first_ms: 100,
            max_ms: 1_000,
            keep_ms: 10_000,
        })
    }

    fn entry(file: &str, call: &str, born_ms: u64) -> Entry {
        Entry {
            file: file.to_owned(),
            call: call.to_owned(),
            born_ms,
            bytes: 10,
        }
    }

    fn send(schedule: &mut Schedule, now_ms: u64) -> Option<Entry> {
        match schedule.next(now_ms)? {
            Step::Send(entry) => Some(entry),
            Step::GiveUp(entry) => panic!("{entry:?} was given up"),
        }
    }
}
