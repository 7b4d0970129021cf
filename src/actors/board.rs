//! The board: every call as the control API shows it, those there are and those that ended last.
//!
//! Ledgers write on it, listeners read from it. What happened to a call is kept as a numbered [`Log`], so that a listener
//! that comes late, or again, misses nothing that is kept; no queue can overflow because there is none.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use ractor::ActorRef;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::call;
use crate::{
    http::{CallEvent, CallView, Told},
    sip::LegId,
    store::webhook::{Message, Webhooks},
};
use log::{Feed, Log};

mod log;

/// Ended calls that are kept; past it the one that ended first is forgotten, and asking for it is answered 404.
const ENDED_MAX: usize = 1000;

/// Ended calls whose events are kept as they are; of those that ended before, only what others do not tell the sum of.
const ENDED_WHOLE_MAX: usize = 64;

/// Every call there is, and the last that were.
#[derive(Debug)]
pub struct Board {
    cards: Mutex<Cards>,
    changes: watch::Sender<u64>,
    webhooks: Option<Webhooks>,
}

#[derive(Debug)]
struct Cards {
    /// By id. Ids do not tell the order, so each card has a number.
    all: BTreeMap<String, Card>,
    ended: VecDeque<String>,
    next: u64,
    feed: Feed,
}

#[derive(Debug)]
struct Card {
    number: u64,
    view: CallView,
    log: Log,
    changes: watch::Sender<u64>,
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
            cards: Mutex::new(Cards {
                all: BTreeMap::new(),
                ended: VecDeque::new(),
                next: 0,
                feed: Feed::new(first_of_feed()),
            }),
            changes: watch::Sender::new(0),
            webhooks: None,
        }
    }

    /// The same that tells these.
    pub fn telling(self, webhooks: Webhooks) -> Self {
        Self {
            webhooks: Some(webhooks),
            ..self
        }
    }

    /// A call begins.
    pub fn open(&self, view: CallView) {
        let mut cards = self.lock();
        cards.next += 1;
        let card = Card {
            number: cards.next,
            log: Log::default(),
            changes: watch::Sender::new(0),
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
        let mut cards = self.lock();
        let Cards { all, feed, .. } = &mut *cards;
        let Some(card) = all.get_mut(id) else { return };
        change(&mut card.view);
        if let Some((event, data)) = event {
            let event = card.push(event, data);
            // While the board is held, so that what happens to a call is told in its order.
            self.tell(&event, &card.view);
            feed.push(event);
            drop(cards);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn tell(&self, event: &CallEvent, view: &CallView) {
        let Some(webhooks) = &self.webhooks else { return };
        if let Some(message) = kind(event).and_then(|kind| message(webhooks, kind, event, view)) {
            webhooks.tell(message);
        }
    }

    /// The call is over.
    pub fn close(&self, id: &str, change: impl FnOnce(&mut CallView), data: Value) {
        self.change(id, change, Some(("ended", data)));
        let mut cards = self.lock();
        if let Some(card) = cards.all.get_mut(id) {
            card.line = None;
            cards.ended.push_back(id.to_owned());
        }
        cards.thin();
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

    /// What happened to a call after the event of this number, at most so much.
    pub fn events(&self, id: &str, after: u64, max: usize) -> Option<Vec<Told>> {
        Some(self.lock().all.get(id)?.log.after(after, max))
    }

    /// The same of all calls, by numbers of their own.
    pub fn feed(&self, after: u64, max: usize) -> Vec<Told> {
        self.lock().feed.after(after, max)
    }

    /// The number of the newest event of all calls.
    pub fn newest(&self) -> u64 {
        self.lock().feed.last()
    }

    /// Changes with every event of a call, or of any call.
    pub fn changes(&self, id: Option<&str>) -> Option<watch::Receiver<u64>> {
        match id {
            None => Some(self.changes.subscribe()),
            Some(id) => Some(self.lock().all.get(id)?.changes.subscribe()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cards> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cards {
    /// Of calls that ended a while ago only what matters is kept.
    fn thin(&mut self) {
        let whole = self.ended.len().checked_sub(ENDED_WHOLE_MAX + 1);
        if let Some(card) = whole.and_then(|index| self.all.get_mut(self.ended.get(index)?)) {
            card.log.thin();
        }
    }
}

impl Card {
    fn push(&mut self, event: &'static str, data: Value) -> Arc<CallEvent> {
        let event = Arc::new(CallEvent {
            number: self.log.next(),
            call_id: self.view.id.clone(),
            event,
            at: time(Timestamp::now()),
            data,
        });
        self.log.push(event.clone());
        self.changes.send_modify(|count| *count += 1);
        event
    }
}

/// What a webhook calls this, when it is of the kind that webhooks tell of.
fn kind(event: &CallEvent) -> Option<String> {
    let state = || event.data["state"].as_str();
    match event.event {
        "started" | "answered" | "ended" => Some(format!("call.{}", event.event)),
        family @ ("tool" | "approval") => Some(format!("{family}.{}", state()?)),
        _ => None,
    }
}

/// The message of Standard Webhooks: what, when, and the call with what happened to it.
fn message(webhooks: &Webhooks, kind: String, event: &CallEvent, view: &CallView) -> Option<Message> {
    if !webhooks.want(&kind) {
        return None;
    }
    let CallEvent {
        number,
        call_id,
        at,
        data,
        ..
    } = event;
    let body = json!({
        "type": kind,
        "timestamp": at,
        "data": { "call_id": call_id, "event_id": number, "call": view, "event": data },
    });
    Some(Message {
        kind,
        call_id: call_id.clone(),
        number: *number,
        body: body.to_string().into_bytes(),
    })
}

/// The time in microseconds: no process before this one has had so many events.
fn first_of_feed() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default()
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
        let (changes, all) = (board.changes(Some("a")).unwrap(), board.changes(None).unwrap());
        let newest = board.newest();
        for event in ["dialing", "ringing"] {
            board.change("a", |_| {}, Some((event, Value::Null)));
        }
        assert!(changes.has_changed().unwrap() && all.has_changed().unwrap());
        let missed = board.events("a", 1, 9).unwrap();
        assert_eq!((missed.len(), missed[0].id, missed[0].event.event), (1, 2, "ringing"));
        assert!(board.events("b", 0, 9).is_none() && board.changes(Some("b")).is_none());
        let ids: Vec<u64> = board.feed(newest, 9).iter().map(|told| told.id).collect();
        assert_eq!(ids, [newest + 1, newest + 2]);
    }

    #[test]
    fn of_calls_that_ended_a_while_ago_what_was_said_is_kept_and_its_pieces_are_not() {
        let board = Board::new();
        for number in 0..=ENDED_WHOLE_MAX {
            let id = number.to_string();
            board.open(view(&id));
            for event in ["transcript_delta", "transcript_delta", "turn"] {
                board.change(&id, |_| {}, Some((event, Value::Null)));
            }
            end(&board, &id);
        }
        let kinds = |id: &str| -> Vec<&str> {
            let events = board.events(id, 0, 9).unwrap();
            events.iter().map(|told| told.event.event).collect()
        };
        assert_eq!(kinds("0"), ["gap", "turn", "ended"]);
        assert_eq!(kinds("1"), ["transcript_delta", "transcript_delta", "turn", "ended"]);
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
