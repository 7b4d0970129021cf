//! Words that the caller hears to their end before anything else: said by the agent, and cut off by nobody.
//!
//! While they are due the server is configured neither to cancel a response by itself when the caller speaks
//! (`interrupt_response`) nor to answer (`create_response`); what the agent's settings say about turns goes to it once the
//! words have been heard, and what the caller said meanwhile is answered behind the greeting. When a server cancels all the
//! same, what has come is played to its end and the whole is asked for again, as after a lost session. Where turns are the
//! server's alone (`live`) it may fall silent without a word about it: then what it said of them was heard, and no more is
//! known.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Heard, Machine, Output, Wish};

/// How often the words are said; past it the call goes on without them, and says so.
const TRIES_MAX: u8 = 5;

/// What a server does by itself, unless told otherwise.
const MEMBERS: [&str; 2] = ["create_response", "interrupt_response"];

/// Where the words stand. They are due as long as the settings have them.
#[derive(Debug, Default)]
pub(super) struct Disclosure {
    saying: Option<Saying>,
    tries: u8,
    /// The caller said something meanwhile that has no answer.
    turn_waits: bool,
    /// Turn taking as it is to be afterwards.
    turn_detection: Value,
}

#[derive(Debug, Default, Clone, Copy)]
struct Saying {
    /// The server said all of it.
    completed: bool,
    /// So much of it was heard.
    heard_ms: u32,
}

impl Disclosure {
    /// As the settings say; where words are due, nobody cuts them off.
    pub fn new(words: Option<&String>, turn_detection: &mut Value) -> Self {
        let mut disclosure = Self::default();
        if words.is_some() {
            let given = |member: &str| turn_detection.get(member).and_then(Value::as_bool).unwrap_or(true);
            let configured = MEMBERS.map(given);
            disclosure.turn_detection = with(turn_detection, configured);
            *turn_detection = with(turn_detection, [false; 2]);
        }
        disclosure
    }

    /// Whether the caller waits for an answer, who then does not any more.
    pub fn take_turn(&mut self) -> bool {
        std::mem::take(&mut self.turn_waits)
    }

    pub fn keep_turn(&mut self) {
        self.turn_waits = true;
    }
}

impl Machine {
    /// Has the agent say the settings' disclosure, and tells by [`Output::Disclosed`] when it was heard to its end. What is
    /// being said already is not begun anew, unless it was cut off.
    pub fn disclose(&mut self, now: Instant) {
        match self.disclosure.saying {
            None => self.say_disclosure(now),
            Some(_) => self.follow_disclosure(now),
        }
    }

    /// The disclosure has been heard already, or will not be: turns are taken as the agent's settings say.
    pub fn lift_disclosure(&mut self) {
        if self.settings.disclosure.take().is_none() {
            return;
        }
        self.disclosure.saying = None;
        let turn_detection = std::mem::take(&mut self.disclosure.turn_detection);
        self.settings.turn_detection.clone_from(&turn_detection);
        self.send(&super::ClientEvent::Update {
            instructions: None,
            tools: None,
            turn_detection: Some(&turn_detection),
        });
    }

    /// The last packet of an utterance has left.
    pub fn heard_whole(&mut self, now: Instant, heard: &Heard) {
        if self.is_prompt(heard.utterance)
            && let Some(saying) = &mut self.disclosure.saying
        {
            saying.heard_ms = saying.heard_ms.saturating_add(heard.sent_ms);
        }
        self.finished(heard.utterance);
        self.follow_disclosure(now);
    }

    /// Whether there are words the caller has to hear before anything else.
    pub(super) fn has_disclosure(&self) -> bool {
        self.settings.disclosure.is_some()
    }

    /// A response is over; whether all of it was said.
    pub(super) fn disclosure_done(&mut self, response: &str, status: &str) {
        let completed = matches!(status, "completed" | "") && !self.responses.is_muted(response);
        if self.responses.is_prompt(response)
            && let Some(saying) = &mut self.disclosure.saying
        {
            saying.completed = completed;
        }
    }

    /// What was to be heard was cut off.
    pub(super) fn disclosure_cut(&mut self, heard: &[Heard]) {
        let cut = heard.iter().any(|heard| self.is_prompt(heard.utterance));
        if let Some(saying) = self.disclosure.saying.as_mut().filter(|_| cut) {
            saying.completed = false;
        }
    }

    /// Tells what became of the words once nothing more of them comes, or has them said again.
    pub(super) fn follow_disclosure(&mut self, now: Instant) {
        let Some(Saying { completed, heard_ms }) = self.disclosure.saying else {
            return;
        };
        let unheard = self
            .parts
            .responses()
            .any(|response| self.responses.is_prompt(response));
        if unheard || self.responses.owes_prompt() {
            return;
        }
        match heard_ms {
            sent_ms if completed && sent_ms > 0 => {
                self.push(Output::Disclosed { sent_ms });
                self.lift_disclosure();
            }
            _ if self.disclosure.tries >= TRIES_MAX => {
                self.push(Output::NotDisclosed);
                self.lift_disclosure();
            }
            _ => self.say_disclosure(now),
        }
    }

    fn say_disclosure(&mut self, now: Instant) {
        let Some(words) = &self.settings.disclosure else { return };
        let instructions = super::verbatim(words);
        self.disclosure.saying = Some(Saying::default());
        self.disclosure.tries += 1;
        self.put(now, Wish::prompt(instructions));
    }
}

/// Turn taking in which the server acts by itself as far as this says.
fn with(turn_detection: &Value, allowed: [bool; 2]) -> Value {
    let mut object = match turn_detection {
        Value::Object(_) => turn_detection.clone(),
        _ => json!({ "type": "server_vad" }),
    };
    for (member, allowed) in MEMBERS.into_iter().zip(allowed) {
        object[member] = allowed.into();
    }
    object
}
