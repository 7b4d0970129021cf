//! What happened to calls, in order and bounded: one call's log, and the feed of all calls.
//!
//! Both are read from a number on, so that no queue stands between them and a listener. What does not fit is forgotten
//! and leaves a gap that says what was lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::json;

use crate::http::{CallEvent, Told};

/// Events and gaps kept of one call; past it events of which others tell the sum are forgotten first, then the oldest
/// but the first.
pub(super) const EVENTS_MAX: usize = 512;

/// The same in bytes of their data.
const EVENTS_BYTES_MAX: usize = 128 << 10;

/// Events of all calls kept for whoever listens to all of them; past it the oldest are forgotten.
const FEED_MAX: usize = 4096;

/// The same in bytes of their data.
const FEED_BYTES_MAX: usize = 4 << 20;

/// What an event takes besides its data, about.
const EVENT_BYTES: usize = 96;

/// Events of which others tell the sum: all that is said follows in a `turn`, and of how it sounds and what it costs the
/// last says all.
const PASSING: [&str; 4] = ["transcript_delta", "tool_arguments", "quality", "cost"];

/// One call's events.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: u64,
}

#[derive(Debug)]
enum Entry {
    Event(Arc<CallEvent>),
    Gap(Gap),
}

/// Events that were forgotten.
#[derive(Debug, Default)]
struct Gap {
    from: u64,
    to: u64,
    kinds: BTreeMap<&'static str, u64>,
    call: String,
    at: String,
}

/// Events of all calls.
#[derive(Debug)]
pub(super) struct Feed {
    events: VecDeque<(u64, Arc<CallEvent>)>,
    bytes: usize,
    first: u64,
    last: u64,
}

impl Log {
    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn push(&mut self, event: Arc<CallEvent>) {
        self.last = event.number;
        self.bytes += size(&event);
        self.entries.push_back(Entry::Event(event));
        while self.entries.len() > EVENTS_MAX || self.bytes > EVENTS_BYTES_MAX {
            let Some(index) = self.passing().or_else(|| self.oldest()) else {
                return;
            };
            self.forget(index);
        }
    }

    /// Forgets what others tell the sum of.
    pub(super) fn thin(&mut self) {
        while let Some(index) = self.passing() {
            self.forget(index);
        }
    }

    /// What came after this number, at most so much.
    pub(super) fn after(&self, after: u64, max: usize) -> Vec<Told> {
        let told = self.entries.iter().filter(|entry| entry.last() > after);
        told.map(Entry::told).take(max).collect()
    }

    fn passing(&self) -> Option<usize> {
        let passes = |entry: &Entry| matches!(entry, Entry::Event(event) if PASSING.contains(&event.event));
        self.entries.iter().position(passes)
    }

    /// The first event says what the call is, and the last is what is told now.
    fn oldest(&self) -> Option<usize> {
        let is_event = |index: &usize| matches!(self.entries.get(*index), Some(Entry::Event(_)));
        (1..self.entries.len().saturating_sub(1)).find(is_event)
    }

    fn forget(&mut self, index: usize) {
        let Some(Entry::Event(event)) = self.entries.remove(index) else {
            return;
        };
        self.bytes -= size(&event);
        let mut gap = Gap::of(&event);
        if matches!(self.entries.get(index), Some(Entry::Gap(_)))
            && let Some(Entry::Gap(later)) = self.entries.remove(index)
        {
            gap.join(later);
        }
        match index.checked_sub(1).and_then(|before| self.entries.get_mut(before)) {
            Some(Entry::Gap(earlier)) => earlier.join(gap),
            _ => self.entries.insert(index, Entry::Gap(gap)),
        }
    }
}

impl Entry {
    fn last(&self) -> u64 {
        match self {
            Self::Event(event) => event.number,
            Self::Gap(gap) => gap.to,
        }
    }

    fn told(&self) -> Told {
        match self {
            Self::Event(event) => Told {
                id: event.number,
                event: event.clone(),
            },
            Self::Gap(gap) => gap.told(),
        }
    }
}

impl Gap {
    fn of(event: &CallEvent) -> Self {
        Self {
            from: event.number,
            to: event.number,
            kinds: BTreeMap::from([(event.event, 1)]),
            call: event.call_id.clone(),
            at: event.at.clone(),
        }
    }

    fn join(&mut self, later: Self) {
        self.to = later.to;
        self.at = later.at;
        for (kind, lost) in later.kinds {
            *self.kinds.entry(kind).or_default() += lost;
        }
    }

    fn told(&self) -> Told {
        let lost: u64 = self.kinds.values().sum();
        let data = json!({ "from": self.from, "to": self.to, "lost": lost, "kinds": self.kinds });
        Told {
            id: self.to,
            event: Arc::new(CallEvent {
                number: self.to,
                call_id: self.call.clone(),
                event: "gap",
                at: self.at.clone(),
                data,
            }),
        }
    }
}

impl Feed {
    /// The events of a process count from `first`, beyond those of every process before, so that a listener can tell.
    pub(super) fn new(first: u64) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            first,
            last: first,
        }
    }

    /// The number of the newest.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn push(&mut self, event: Arc<CallEvent>) {
        self.last += 1;
        self.bytes += size(&event);
        self.events.push_back((self.last, event));
        while (self.events.len() > FEED_MAX || self.bytes > FEED_BYTES_MAX)
            && let Some((_, oldest)) = self.events.pop_front()
        {
            self.bytes -= size(&oldest);
        }
    }

    /// What came after this number, at most so much; first a gap where some of it has been forgotten.
    pub(super) fn after(&self, after: u64, max: usize) -> Vec<Told> {
        // A number of the future is of another gateway's; there is nothing to go on from.
        let after = after.min(self.last);
        let oldest = self.events.front().map_or(self.last + 1, |(id, _)| *id);
        let skip = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events = self.events.iter().skip(skip).map(|(id, event)| Told {
            id: *id,
            event: event.clone(),
        });
        self.gap(after, oldest).into_iter().chain(events).take(max).collect()
    }

    fn gap(&self, after: u64, oldest: u64) -> Option<Told> {
        if after + 1 >= oldest {
            return None;
        }
        // How many there were before this process, it does not know.
        let lost = (after >= self.first).then(|| oldest - 1 - after);
        let to = oldest - 1;
        Some(Told {
            id: to,
            event: Arc::new(CallEvent {
                number: to,
                call_id: String::new(),
                event: "gap",
                at: self
                    .events
                    .front()
                    .map_or_else(String::new, |(_, event)| event.at.clone()),
                data: json!({ "from": after + 1, "to": to, "lost": lost }),
            }),
        })
    }
}

fn size(event: &CallEvent) -> usize {
    EVENT_BYTES + event.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_leaves_a_gap_that_says_what_it_was() {
        let mut log = Log::default();
        add(&mut log, "started");
        (0..EVENTS_MAX).for_each(|_| add(&mut log, "transcript_delta"));
        add(&mut log, "turn");
        (0..EVENTS_MAX - 3).for_each(|_| add(&mut log, "tool"));
        let told = log.after(0, usize::MAX);
        assert_eq!(told.len(), EVENTS_MAX);
        assert_eq!((told[0].event.event, told[0].id), ("started", 1));
        assert_eq!(told[1].event.event, "gap");
        let lost = EVENTS_MAX as u64;
        let said = json!({ "from": 2, "to": lost + 1, "lost": lost, "kinds": { "transcript_delta": lost } });
        assert_eq!((told[1].event.data.clone(), told[1].id), (said, lost + 1));
        assert_eq!(told[2].event.event, "turn");
    }

    #[test]
    fn when_everything_matters_the_oldest_goes_but_not_the_first_and_the_numbers_have_no_hole() {
        let mut log = Log::default();
        (0..3 * EVENTS_MAX).for_each(|_| add(&mut log, "tool"));
        let told = log.after(0, usize::MAX);
        let mut expected = 1;
        for one in &told {
            let from = one.event.data["from"].as_u64().unwrap_or(one.id);
            assert_eq!(from, expected);
            expected = one.id + 1;
        }
        assert_eq!(expected, log.next());
        assert_eq!(told.iter().filter(|one| one.event.event == "gap").count(), 1);
    }

    #[test]
    fn a_log_is_bounded_in_bytes_as_well() {
        let mut log = Log::default();
        for number in 1..=100 {
            let text = "x".repeat(EVENTS_BYTES_MAX / 20);
            log.push(Arc::new(CallEvent {
                data: json!({ "text": text }),
                ..event(number, "turn")
            }));
        }
        assert!(log.bytes <= EVENTS_BYTES_MAX);
        assert_eq!(log.after(99, 9).len(), 1, "the newest is there");
    }

    #[test]
    fn a_listener_to_all_calls_is_told_what_it_missed_or_that_it_did() {
        let mut feed = Feed::new(1_000);
        (0..FEED_MAX as u64 + 10).for_each(|number| feed.push(Arc::new(event(number, "turn"))));
        let (gap, first) = (&feed.after(1_004, 2)[0], &feed.after(1_004, 2)[1]);
        assert_eq!(gap.event.data, json!({ "from": 1_005, "to": 1_010, "lost": 6 }));
        assert_eq!((gap.id, first.id), (1_010, 1_011));
        assert_eq!(feed.after(gap.id, 1)[0].id, 1_011);
        assert_eq!(
            feed.after(3, 1)[0].event.data["lost"],
            serde_json::Value::Null,
            "another process's number"
        );
        assert_eq!(feed.after(feed.last(), 9).len(), 0);
        assert_eq!(feed.after(u64::MAX - 1, 9).len(), 0);
    }

    fn add(log: &mut Log, kind: &'static str) {
        let next = event(log.next(), kind);
        log.push(Arc::new(next));
    }

    fn event(number: u64, event: &'static str) -> CallEvent {
        CallEvent {
            number,
            call_id: "call_1".to_owned(),
            event,
            at: String::new(),
            data: serde_json::Value::Null,
        }
    }
}
