//! The board: every call as the control API shows it, those there are and those that ended last.
//!
//! Ledgers write on it, listeners read from it. What happened to a call is kept as a short numbered list, so that a
//! listener that comes late, or again, misses nothing; no queue can overflow because there is none.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use ractor::ActorRef;
use serde_json::Value;
use tokio::sync::watch;

use super::call;
use crate::{
    http::{CallEvent, CallView},
    sip::LegId,
};

/// Ended calls that are kept; past it the one that ended first is forgotten, and asking for it is answered 404.
const ENDED_MAX: usize = 1000;

/// Events kept of one call; past it the oldest but the first is forgotten. A call makes about ten, and two per transfer.
const EVENTS_MAX: usize = 64;

/// An event of which only the last counts, so that a long call keeps what else happened to it.
const PASSING: &str = "quality";

/// Every call there is, and the last that were.
#[derive(Debug)]
pub struct Board {
    cards: Mutex<Cards>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Cards {
    /// By id. Ids do not tell the order, so each card has a number.
    all: BTreeMap<String, Card>,
    ended: VecDeque<String>,
    next: u64,
}

#[derive(Debug)]
struct Card {
    number: u64,
    view: CallView,
    events: VecDeque<CallEvent>,
    last_event: u64,
    line: Option<Line>,
}

/// How a call that goes on is reached.
#[derive(Debug, Clone)]
pub struct Line {
    /// The actor.
    pub actor: ActorRef<call::Msg>,
    /// Its leg.
    pub leg: LegId,
}

impl Board {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            cards: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// A call begins.
    pub fn open(&self, view: CallView) {
        let mut cards = self.lock();
        cards.next += 1;
        let card = Card {
            number: cards.next,
            events: VecDeque::new(),
            last_event: 0,
            line: None,
            view,
        };
        cards.all.insert(card.view.id.clone(), card);
    }

    /// The call can be reached from now on.
    pub fn connect(&self, id: &str, line: Line) {
        let mut cards = self.lock();
        // It may have ended before it was connected.
        if let Some(card) = cards.all.get_mut(id).filter(|card| card.view.state != "ended") {
            card.line = Some(line);
        }
    }

    /// Something about the call has changed; `event` says what, if it is worth telling.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut CallView), event: Option<(&'static str, Value)>) {
        if let Some(card) = self.lock().all.get_mut(id) {
            change(&mut card.view);
            if let Some((event, data)) = event {
                card.push(event, data);
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// The call is over.
    pub fn close(&self, id: &str, change: impl FnOnce(&mut CallView), data: Value) {
        self.change(id, change, Some(("ended", data)));
        let mut cards = self.lock();
        if let Some(card) = cards.all.get_mut(id) {
            card.line = None;
            cards.ended.push_back(id.to_owned());
        }
        if cards.ended.len() > ENDED_MAX
            && let Some(oldest) = cards.ended.pop_front()
        {
            cards.all.remove(&oldest);
        }
    }

    /// The newest calls, those that go on before those that ended.
    pub fn list(&self, max: usize) -> Vec<CallView> {
        let cards = self.lock();
        let mut order: Vec<&Card> = cards.all.values().collect();
        order.sort_by_key(|card| (card.view.ended_at.is_some(), std::cmp::Reverse(card.number)));
        order.into_iter().take(max).map(|card| card.view.clone()).collect()
    }

    /// One call.
    pub fn view(&self, id: &str) -> Option<CallView> {
        self.lock().all.get(id).map(|card| card.view.clone())
    }

    /// How a call that goes on is reached.
    pub fn line(&self, id: &str) -> Option<Line> {
        self.lock().all.get(id).and_then(|card| card.line.clone())
    }

    /// What happened to a call after the event of this number.
    pub fn events(&self, id: &str, after: u64) -> Option<Vec<CallEvent>> {
        let cards = self.lock();
        let events = cards.all.get(id)?.events.iter();
        Some(events.filter(|event| event.number > after).cloned().collect())
    }

    /// Changes with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Cards> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Card {
    fn push(&mut self, event: &'static str, data: Value) {
        self.last_event += 1;
        if event == PASSING {
            self.events.retain(|event| event.event != PASSING);
        }
        if self.events.len() == EVENTS_MAX {
            self.events.remove(1);
        }
        self.events.push_back(CallEvent {
            number: self.last_event,
            event,
            at: time(Timestamp::now()),
            data,
        });
    }
}

/// A time as clients see it.
pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_go_on_come_first_and_the_newest_of_them() {
        let board = Board::new();
        ["a", "b", "c"].into_iter().for_each(|id| board.open(view(id)));
        end(&board, "c");
        let ids: Vec<String> = board.list(2).into_iter().map(|view| view.id).collect();
        assert_eq!(ids, ["b", "a"]);
        assert_eq!(board.list(9).len(), 3);
    }

    #[test]
    fn ended_calls_are_kept_up_to_a_number() {
        let board = Board::new();
        for number in 0..ENDED_MAX + 2 {
            board.open(view(&number.to_string()));
            end(&board, &number.to_string());
        }
        assert_eq!((board.view("1"), board.list(usize::MAX).len()), (None, ENDED_MAX));
        assert!(board.view("2").is_some());
    }

    #[test]
    fn a_listener_that_comes_again_hears_what_it_missed() {
        let board = Board::new();
        board.open(view("a"));
        let changes = board.changes();
        for event in ["dialing", "ringing"] {
            board.change("a", |_| {}, Some((event, Value::Null)));
        }
        assert!(changes.has_changed().unwrap());
        let missed = board.events("a", 1).unwrap();
        assert_eq!((missed.len(), missed[0].number, missed[0].event), (1, 2, "ringing"));
        assert_eq!(board.events("b", 0), None);
    }

    #[test]
    fn events_of_one_call_are_bounded_and_the_last_is_there() {
        let board = Board::new();
        board.open(view("a"));
        (0..2 * EVENTS_MAX).for_each(|_| board.change("a", |_| {}, Some(("transfer", Value::Null))));
        end(&board, "a");
        let events = board.events("a", 0).unwrap();
        assert_eq!((events.len(), events.last().unwrap().event), (EVENTS_MAX, "ended"));
    }

    #[test]
    fn of_how_it_sounds_only_the_last_is_kept() {
        let board = Board::new();
        board.open(view("a"));
        board.change("a", |_| {}, Some(("answered", Value::Null)));
        (0..2 * EVENTS_MAX).for_each(|_| board.change("a", |_| {}, Some((PASSING, Value::Null))));
        let events = board.events("a", 0).unwrap();
        let kept: Vec<_> = events.iter().map(|event| (event.event, event.number)).collect();
        assert_eq!(kept, [("answered", 1), (PASSING, 2 * EVENTS_MAX as u64 + 1)]);
    }

    fn end(board: &Board, id: &str) {
        board.close(id, |view| view.ended_at = Some(String::new()), Value::Null);
    }

    fn view(id: &str) -> CallView {
        CallView {
            id: id.to_owned(),
            direction: "outbound".to_owned(),
            state: "dialing",
            trunk: String::new(),
            agent: None,
            from: String::new(),
            to: String::new(),
            started_at: String::new(),
            answered_at: None,
            ended_at: None,
            answered_by: None,
            diagnosis: None,
            quality: None,
            cost: None,
            outcome: None,
        }
    }
}
