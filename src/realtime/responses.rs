//! Whose turn it is to answer: at most one response at a time, others wait for its end.
//!
//! The server refuses a response while another runs, and between a cancellation and its end it still runs. So a wish
//! waits here until nothing is owed. Servers lose events and refuse late; no wait here is without an end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Wishes that may wait; past it the newest is dropped, and the agent says nothing about what it was for.
const QUEUE_MAX: usize = 8;

/// Interrupted responses remembered, so that their late audio is known; past it the oldest is forgotten.
const MUTED_MAX: usize = 32;

/// How long the server may take to begin a response it was asked for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to end a response that was cancelled.
const CANCEL_MAX: Duration = Duration::from_secs(5);

/// How long to wait when the server says that a response runs of which it never told.
const REFUSED_WAIT: Duration = Duration::from_millis(500);

/// How often one wish is put to a server that refuses it.
const ATTEMPTS_MAX: u8 = 5;

/// A response wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// For this response only.
    pub instructions: Option<String>,
    /// Whether it is known again when it is heard, see [`Responses::is_prompt`].
    prompt: bool,
    refusals: u8,
}

/// The session's responses.
#[derive(Debug, Default)]
pub(super) struct Responses {
    state: State,
    /// The wish last put to the server with the number of its event, kept because a refusal may come late.
    asked: Option<(u64, Wish)>,
    queue: VecDeque<Wish>,
    /// The response to the last prompt.
    prompt: Option<String>,
    /// The last response that began because it was asked for, and what was asked.
    answering: Option<(String, Wish)>,
    muted: VecDeque<String>,
}

#[derive(Debug, Default)]
enum State {
    /// The server owes nothing.
    #[default]
    Idle,
    /// A wish has been put to the server.
    Asked { until: Instant, unwanted: bool },
    /// A response runs; when it has been cut off, it must end soon.
    Active { id: String, ending: Option<Instant> },
    /// The server says that a response runs, but not which.
    Refused { until: Instant },
}

/// A response that was wanted and not heard to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unheard {
    /// Its id.
    pub response: String,
    /// Whether some of it was.
    pub partly_heard: bool,
}

/// What a passed deadline meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The server never began the response it was asked for.
    Unanswered,
    /// Something else that need not be told.
    Overdue,
}

impl Wish {
    /// A response to the conversation as it stands, or to these instructions.
    pub fn new(instructions: Option<String>) -> Self {
        Self {
            instructions,
            prompt: false,
            refusals: 0,
        }
    }

    /// A response to these instructions that is known again when it is heard.
    pub fn prompt(instructions: String) -> Self {
        Self {
            prompt: true,
            ..Self::new(Some(instructions))
        }
    }
}

impl Responses {
    /// Queues a wish; false when there is no room. Two wishes for a plain answer are one.
    pub fn wish(&mut self, wish: Wish) -> bool {
        if wish.instructions.is_none() && self.queue.iter().any(|queued| queued.instructions.is_none()) {
            return true;
        }
        if self.queue.len() >= QUEUE_MAX {
            return false;
        }
        self.queue.push_back(wish);
        true
    }

    /// The wish to put to the server now, as the event of this number.
    pub fn ask(&mut self, now: Instant, event_id: u64) -> Option<&Wish> {
        if !matches!(self.state, State::Idle) {
            return None;
        }
        let wish = self.queue.pop_front()?;
        self.state = State::Asked {
            until: now + ANSWER_MAX,
            unwanted: false,
        };
        Some(&self.asked.insert((event_id, wish)).1)
    }

    /// A response began. True when it is to be cancelled at once: it answers a wish that has been overtaken.
    pub fn created(&mut self, now: Instant, id: &str) -> bool {
        let unwanted = matches!(self.state, State::Asked { unwanted: true, .. });
        let asked = matches!(self.state, State::Asked { .. });
        if unwanted {
            self.mute(id);
        } else if let Some((_, wish)) = self.asked.as_ref().filter(|_| asked) {
            if wish.prompt {
                self.prompt = Some(id.to_owned());
            }
            self.answering = Some((id.to_owned(), wish.clone()));
        }
        self.state = State::Active {
            id: id.to_owned(),
            ending: unwanted.then(|| now + CANCEL_MAX),
        };
        unwanted
    }

    /// A response ended. Servers have ended responses they never began, so any end but another's counts.
    pub fn done(&mut self, id: &str) {
        let another = match &self.state {
            State::Active { id: active, .. } => active != id,
            State::Asked { .. } => self.is_muted(id),
            State::Idle | State::Refused { .. } => false,
        };
        if !another {
            self.state = State::Idle;
        }
    }

    /// The server refused a wish because another response runs. False when the wish is given up.
    pub fn refused(&mut self, now: Instant, event_id: Option<u64>) -> bool {
        let Some((_, mut wish)) = self.take_asked(event_id) else {
            return true;
        };
        // What began instead answers somebody else.
        self.answering = None;
        if wish.prompt {
            self.prompt = None;
        }
        let mut unwanted = false;
        if let State::Asked {
            unwanted: overtaken, ..
        } = self.state
        {
            unwanted = overtaken;
            self.state = State::Refused {
                until: now + REFUSED_WAIT,
            };
        }
        wish.refusals += 1;
        if unwanted {
            return true;
        }
        if wish.refusals >= ATTEMPTS_MAX {
            return false;
        }
        self.queue.push_front(wish);
        true
    }

    /// The server refused a wish for its own sake; asking again would not help.
    pub fn failed(&mut self, event_id: Option<u64>) {
        if event_id.is_some() && self.take_asked(event_id).is_some() && matches!(self.state, State::Asked { .. }) {
            self.state = State::Idle;
        }
    }

    /// The server had nothing to cancel.
    pub fn cancel_refused(&mut self) {
        if matches!(self.state, State::Active { ending: Some(_), .. }) {
            self.state = State::Idle;
        }
    }

    /// The running response is cut off. Returns it when it is still to be cancelled.
    pub fn cut_off(&mut self, now: Instant) -> Option<String> {
        let State::Active {
            id,
            ending: ending @ None,
        } = &mut self.state
        else {
            return None;
        };
        *ending = Some(now + CANCEL_MAX);
        let id = id.clone();
        self.mute(&id);
        Some(id)
    }

    /// What was asked for, but has not begun, has been overtaken.
    pub fn overtake(&mut self) {
        if let State::Asked { unwanted, .. } = &mut self.state {
            *unwanted = true;
        }
    }

    /// No more audio of this response is wanted.
    pub fn mute(&mut self, id: &str) {
        if self.is_muted(id) {
            return;
        }
        if self.muted.len() >= MUTED_MAX {
            self.muted.pop_front();
        }
        self.muted.push_back(id.to_owned());
    }

    /// Whether this response was cut off.
    pub fn is_muted(&self, id: &str) -> bool {
        self.muted.iter().any(|muted| muted == id)
    }

    /// Whether this is the response to the last prompt.
    pub fn is_prompt(&self, id: &str) -> bool {
        self.prompt.as_deref() == Some(id)
    }

    /// Whether a prompt waits, is asked for or runs.
    pub fn owes_prompt(&self) -> bool {
        let now = match &self.state {
            State::Asked { .. } => self.asked.as_ref().is_some_and(|(_, wish)| wish.prompt),
            State::Active { id, .. } => self.is_prompt(id),
            State::Idle | State::Refused { .. } => false,
        };
        now || self.queue.iter().any(|wish| wish.prompt)
    }

    /// Whether nothing is asked for, runs or waits.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && self.queue.is_empty()
    }

    /// Whether the server owes the beginning, the rest or the end of a response that is wanted.
    pub fn is_awaited(&self) -> bool {
        match &self.state {
            State::Idle | State::Refused { .. } => false,
            State::Asked { .. } => true,
            State::Active { ending, .. } => ending.is_none(),
        }
    }

    /// The response that runs and has not been cut off.
    pub fn running(&self) -> Option<&str> {
        match &self.state {
            State::Active { id, ending: None } => Some(id),
            _ => None,
        }
    }

    /// What the next session owes in the place of this one: what was asked for and has not begun, what `unheard`, a
    /// response that was wanted and not heard to its end, was to be, and what waits. Prompts are not among it: whoever
    /// ordered one orders it again.
    pub fn owed(&mut self, unheard: Option<&Unheard>) -> Vec<Wish> {
        let asked = match self.state {
            State::Asked { unwanted: false, .. } => self.asked.take().map(|(_, wish)| wish),
            _ => None,
        };
        let begun = unheard.filter(|unheard| !self.is_prompt(&unheard.response));
        let begun = begun.map(|unheard| match self.answering.take() {
            Some((id, wish)) if id == unheard.response && !unheard.partly_heard => wish,
            _ => Wish::new(None),
        });
        let mut owed: Vec<Wish> = begun.into_iter().chain(asked).chain(self.queue.drain(..)).collect();
        owed.retain(|wish| !wish.prompt);
        owed.dedup_by(|next, wish| next.instructions.is_none() && wish.instructions.is_none());
        owed
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Asked { until, .. } | State::Refused { until } => Some(until),
            State::Active { ending, .. } => ending,
        }
    }

    /// Gives up waiting for what should have come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Expired> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        match std::mem::take(&mut self.state) {
            State::Asked { .. } => Some(Expired::Unanswered),
            _ => Some(Expired::Overdue),
        }
    }

    fn take_asked(&mut self, event_id: Option<u64>) -> Option<(u64, Wish)> {
        self.asked
            .take_if(|(asked, _)| event_id.is_none_or(|event_id| event_id == *asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_plain_wishes_are_one_and_the_queue_is_bounded() {
        let mut responses = Responses::default();
        assert!(responses.wish(plain()) && responses.wish(plain()));
        assert_eq!(responses.queue.len(), 1);
        for _ in 1..QUEUE_MAX {
            assert!(responses.wish(Wish::new(Some("x".to_owned()))));
        }
        assert!(!responses.wish(Wish::new(Some("x".to_owned()))));
    }

    #[test]
    fn a_wish_waits_for_the_end_of_the_running_response() {
        let (mut responses, now) = (Responses::default(), Instant::now());
        responses.created(now, "a");
        responses.wish(plain());
        assert_eq!(responses.ask(now, 1), None);
        responses.done("another");
        assert_eq!(responses.ask(now, 1), None);
        responses.done("a");
        assert_eq!(responses.ask(now, 1), Some(&plain()));
    }

    #[test]
    fn a_server_that_always_refuses_is_asked_a_bounded_number_of_times() {
        let (mut responses, mut now) = (Responses::default(), Instant::now());
        responses.wish(plain());
        let mut asked = 0;
        while responses.ask(now, asked).is_some() {
            responses.refused(now, Some(asked));
            asked += 1;
            now += REFUSED_WAIT;
            assert_eq!(responses.handle_timeout(now), Some(Expired::Overdue));
        }
        assert_eq!(asked, u64::from(ATTEMPTS_MAX));
    }

    #[test]
    fn the_memory_of_cut_off_responses_is_bounded() {
        let mut responses = Responses::default();
        for number in 0..=MUTED_MAX {
            responses.mute(&number.to_string());
        }
        assert!(!responses.is_muted("0"));
        assert!(responses.is_muted("1") && responses.is_muted(&MUTED_MAX.to_string()));
    }

    fn plain() -> Wish {
        Wish::new(None)
    }
}
