//! An independent account of a conversation: what was said, by whom and how far it was heard, to be compared with what
//! the next session is told.

use std::collections::{HashMap, HashSet};

use patchcord::{audio::Law, realtime::CUT_MARK};
use serde_json::Value;

use crate::reference::Reference;

/// The account of one call.
#[derive(Debug)]
pub struct Account {
    /// What was found wrong.
    pub faults: Vec<String>,
    /// Conversations that were compared.
    pub compared: u32,
    /// Of these, such with an agent that was cut off.
    pub cut: u32,
    items: Vec<Item>,
    words: HashMap<String, String>,
    /// Bytes of audio of each item, at 8 a millisecond.
    received: HashMap<String, u64>,
    /// The truncation of each item.
    truncated: HashMap<String, u64>,
    responses: HashSet<String>,
    stale: HashSet<String>,
    reference: Reference,
    /// What the session that has just become ready is told.
    told: Option<Vec<String>>,
    outputs: HashMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    /// What it is once and for all; for an agent any of these.
    Known(Vec<String>),
    Turn(String),
    Agent(String),
}

impl Account {
    /// Nothing was said.
    pub fn new() -> Self {
        Self {
            faults: Vec::new(),
            compared: 0,
            cut: 0,
            items: Vec::new(),
            words: HashMap::new(),
            received: HashMap::new(),
            truncated: HashMap::new(),
            responses: HashSet::new(),
            stale: HashSet::new(),
            reference: Reference::new(Law::Mu),
            told: None,
            outputs: HashMap::new(),
        }
    }

    /// The session says something.
    pub fn heard(&mut self, text: &str) {
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let word = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match event["type"].as_str().unwrap_or_default() {
            "input_audio_buffer.committed" => self.items.push(Item::Turn(word("/item_id"))),
            "conversation.item.input_audio_transcription.completed" => {
                self.turn(&word("/item_id"), &word("/transcript"))
            }
            "input_audio_buffer.speech_started" => self.interrupted(),
            "response.created" => drop(self.responses.insert(word("/response/id"))),
            "response.output_audio.delta" => self.audio(&word("/response_id"), &word("/item_id"), &word("/delta")),
            "response.output_audio_transcript.delta" => {
                self.words
                    .entry(word("/item_id"))
                    .or_default()
                    .push_str(&word("/delta"));
            }
            "response.function_call_arguments.done" if !self.stale.contains(&word("/response_id")) => {
                self.known(format!("call {}", word("/call_id")));
            }
            _ => {}
        }
    }

    /// The gateway says something.
    pub fn said(&mut self, text: &str) {
        let event: Value = serde_json::from_str(text).expect("the gateway writes JSON");
        match event["type"].as_str().unwrap_or_default() {
            "conversation.item.create" => {
                let item = described(&event["item"]);
                match &mut self.told {
                    Some(told) => told.push(item),
                    None => self.known(item),
                }
            }
            "conversation.item.truncate" => {
                let item = event["item_id"].as_str().unwrap_or_default().to_owned();
                let ms = event["audio_end_ms"].as_u64().unwrap_or(u64::MAX);
                if !self.reference.may_have_heard(&item, ms) {
                    let what = format!("{item} is truncated at {ms} ms: {}", self.reference.describe(&item));
                    self.faults.push(what);
                }
                self.truncated.insert(item, ms);
            }
            "response.cancel" => {
                let response = event["response_id"].as_str().unwrap_or_default();
                self.stale.insert(response.to_owned());
            }
            _ => {}
        }
    }

    /// The caller pressed a key, with or without a session that hears of it.
    pub fn key(&mut self, key: char, served: bool) {
        if !served {
            self.known(format!("user DTMF {key}"));
        }
        self.interrupted();
    }

    /// A tool answered while no session could be told.
    pub fn answered_unserved(&mut self, call: &str) {
        self.known(format!("output {call}"));
    }

    /// The gateway sends words of its own, or a sign of life.
    pub fn away(&mut self, away: bool) {
        self.reference.comfort = away;
        if !away {
            self.reference.cut();
        }
    }

    /// A packet leaves.
    pub fn packet(&mut self, payload: &[u8]) {
        if !self.reference.packet(payload) {
            self.faults.push("a packet carries what it should not".to_owned());
        }
    }

    /// Everything that one input caused has been seen.
    pub fn settle(&mut self) {
        let cut: Vec<String> = self.truncated.keys().cloned().collect();
        for item in cut {
            let ms = self.truncated.remove(&item).unwrap_or_default();
            self.agent_until(&item, &[ms]);
            self.reference.cut();
        }
        if let Some(told) = self.told.take() {
            self.compare(&told);
        }
    }

    /// The session is over: what it said and was not heard was not said.
    pub fn lost(&mut self) {
        let agents: Vec<String> = self.items.iter().filter_map(Item::agent).collect();
        let unheard: HashSet<String> = self.reference.unheard().map(str::to_owned).collect();
        for item in agents {
            let ms: Vec<u64> = self.reference.heard_ms(&item);
            if unheard.contains(&item) {
                self.agent_until(&item, &ms);
            } else {
                let whole = self.words.get(&item).cloned().unwrap_or_default();
                let received = self.received.get(&item).copied().unwrap_or_default() / 8;
                let mut texts = vec![format!("assistant {}", whole.trim())];
                // Its end may not have come.
                texts.push(format!("assistant {}", words(&whole, received, received)));
                self.replace(&item, texts);
            }
        }
        self.items.retain(|item| !matches!(item, Item::Turn(_)));
        self.responses.clear();
        self.stale.clear();
        self.reference.cut();
    }

    /// A session is ready: what it is told now is the conversation.
    pub fn ready(&mut self) {
        self.told = Some(Vec::new());
    }

    /// How often each tool call was answered in the session that stands.
    pub fn outputs(&self) -> &HashMap<String, u32> {
        &self.outputs
    }

    fn compare(&mut self, told: &[String]) {
        self.compared += 1;
        self.cut += u32::from(told.iter().any(|item| item.ends_with(CUT_MARK)));
        self.outputs.clear();
        for output in told.iter().filter(|item| item.starts_with("output ")) {
            *self.outputs.entry(output.clone()).or_default() += 1;
        }
        // What nobody heard is not there.
        let expected: Vec<&Vec<String>> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Known(texts) => Some(texts),
                Item::Turn(_) | Item::Agent(_) => None,
            })
            .collect();
        if !matches(&expected, told) {
            self.faults.push(format!("told {told:?}, but heard was {expected:?}"));
        }
    }

    fn turn(&mut self, item: &str, text: &str) {
        let known = Item::Known(vec![format!("user {text}")]);
        match self.items.iter().position(|each| *each == Item::Turn(item.to_owned())) {
            Some(index) => self.items[index] = known,
            None => self.items.push(known),
        }
    }

    fn audio(&mut self, response: &str, item: &str, delta: &str) {
        let bytes = base64_simd::STANDARD
            .decode_to_vec(delta)
            .expect("the operator writes base64");
        *self.received.entry(item.to_owned()).or_default() += bytes.len() as u64;
        if self.stale.contains(response) {
            return;
        }
        if !self.items.contains(&Item::Agent(item.to_owned())) {
            self.items.push(Item::Agent(item.to_owned()));
        }
        self.reference.say_coded(item, &bytes);
    }

    fn interrupted(&mut self) {
        self.stale.extend(self.responses.iter().cloned());
    }

    fn known(&mut self, item: String) {
        if item.starts_with("output ") {
            *self.outputs.entry(item.clone()).or_default() += 1;
        }
        self.items.push(Item::Known(vec![item]));
    }

    fn agent_until(&mut self, item: &str, ms: &[u64]) {
        let whole = self.words.get(item).cloned().unwrap_or_default();
        let received = self.received.get(item).copied().unwrap_or_default() / 8;
        let text = |ms: &u64| format!("assistant {}", words(&whole, *ms, received));
        self.replace(item, ms.iter().map(text).collect());
    }

    fn replace(&mut self, agent: &str, texts: Vec<String>) {
        if let Some(index) = self
            .items
            .iter()
            .position(|item| item.agent().as_deref() == Some(agent))
        {
            self.items[index] = Item::Known(texts);
        }
    }
}

impl Item {
    fn agent(&self) -> Option<String> {
        match self {
            Self::Agent(item) => Some(item.clone()),
            Self::Known(_) | Self::Turn(_) => None,
        }
    }
}

/// Whether each text told is one of those that may have been heard; an item of which perhaps nothing, or hardly a word,
/// was heard may be missing.
fn matches(expected: &[&Vec<String>], told: &[String]) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return told.is_empty();
    };
    let is_short = |text: &String| text.starts_with("assistant ") && text.split_whitespace().count() <= 2;
    let may_be_missing = first.is_empty() || first.iter().any(is_short);
    let next = told
        .first()
        .is_some_and(|text| first.iter().any(|possible| alike(possible, text)));
    (next && matches(rest, &told[1..])) || (may_be_missing && matches(rest, told))
}

/// The same, or an agent's words up to one word more or less: the end of the words may have come without their audio.
fn alike(possible: &str, told: &str) -> bool {
    let is_agent = possible.starts_with("assistant ") && told.starts_with("assistant ");
    let count = |text: &str| text.split_whitespace().count();
    let bare = |text: &str| text.trim_end_matches(CUT_MARK).to_owned();
    let prefix = bare(possible).starts_with(&bare(told)) || bare(told).starts_with(&bare(possible));
    possible == told || (is_agent && prefix && count(possible).abs_diff(count(told)) <= 1)
}

/// The whole words of which so much of the audio was heard.
fn words(text: &str, ms: u64, of_ms: u64) -> String {
    let text = text.trim();
    let end = (text.len() as u64 * ms / of_ms.max(1)) as usize;
    let mut heard = String::new();
    for (from, word) in text
        .split_whitespace()
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
    {
        if from + word.len() <= end {
            heard = text[..from + word.len()].to_owned();
        }
    }
    heard
}

fn described(item: &Value) -> String {
    let word = |name: &str| item[name].as_str().unwrap_or_default();
    match word("type") {
        "function_call" => format!("call {}", word("call_id")),
        "function_call_output" => format!("output {}", word("call_id")),
        _ => format!(
            "{} {}",
            word("role"),
            item["content"][0]["text"].as_str().unwrap_or_default()
        ),
    }
}
