//! The one clock's list of what is to come: things happen in the order of their times, and of two at the same time the
//! one that was put down first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

/// What is to come.
#[derive(Debug)]
pub struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    count: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> Agenda<T> {
    /// Nothing is to come.
    pub fn new() -> Self {
        Self {
            entries: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Puts something down.
    pub fn add(&mut self, at: Instant, what: T) {
        self.count += 1;
        self.entries.push(Reverse(Entry {
            at,
            number: self.count,
            what,
        }));
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Instant> {
        self.entries.peek().map(|entry| entry.0.at)
    }

    /// The next thing whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<T> {
        self.next_at().filter(|at| *at <= now)?;
        self.entries.pop().map(|entry| entry.0.what)
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Queues that keep their order however long each message takes, as mailboxes and TCP connections do.
#[derive(Debug)]
pub struct Queues<K> {
    last: HashMap<K, Instant>,
}

impl<K: Eq + Hash> Queues<K> {
    /// No queue has been used.
    pub fn new() -> Self {
        Self { last: HashMap::new() }
    }

    /// When a message put in now comes out, if it needs so long and nothing before it needs longer.
    pub fn passes(&mut self, queue: K, now: Instant, takes: Duration) -> Instant {
        let last = self.last.entry(queue).or_insert(now);
        *last = (now + takes).max(*last);
        *last
    }
}
