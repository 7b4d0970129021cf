//! One response under way: from `response.created` to `response.done`, in steps that the machine's clock paces.
//!
//! The order of events is that of the official server, also when a response is cut short: whatever was opened is closed.
//! Audio leaves five times faster than it plays, so that an interruption in the middle is a real one and a client has to
//! keep what it cannot play yet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::Plan;
use super::conversation::Conversation;
use super::ending::Ending;
use super::format;
use super::item::{Body, Content, Item, Role, Status};
use super::outbox::Outbox;
use super::request::Request;
use super::sound::Player;
use super::usage::{self, Tokens};
use super::words::Words;

/// A response that is owed a `response.done`.
#[derive(Debug)]
pub struct Response {
    id: String,
    conversation_id: Option<String>,
    request: Request,
    input_tokens: Tokens,
    item: Item,
    part: Part,
    /// The item has been announced.
    opened: bool,
    due: Instant,
    first_audio: Option<Instant>,
}

#[derive(Debug)]
enum Part {
    Speech { player: Player, words: Words, ms_max: u32 },
    Text { words: Words, len_max: usize },
    Call,
}

/// From the request to the first audio, as a fast model would take.
const THINKING: Duration = Duration::from_millis(60);
/// Audio per delta, and how often one leaves.
const DELTA_MS: u32 = 200;
const DELTA_EVERY: Duration = Duration::from_millis(40);
/// Text per delta.
const TEXT_DELTA_LEN: usize = 20;
/// Rough length of a token of text.
const TOKEN_LEN: usize = 4;

impl Response {
    /// Announces a response; its first step is due after some thinking and the `slow` of a fault.
    pub fn begin(
        now: Instant,
        request: Request,
        plan: Plan,
        input_tokens: Tokens,
        slow: Duration,
        conversation: &Conversation,
        outbox: &mut Outbox,
    ) -> Self {
        let tokens_max = request
            .defaults
            .tokens_max
            .as_u64()
            .and_then(|tokens| u32::try_from(tokens).ok());
        let item_id = outbox.id("item");
        let (body, part) = open(plan, &request, tokens_max, outbox);
        let response = Self {
            id: outbox.id("resp"),
            conversation_id: request.in_conversation.then(|| conversation.id.clone()),
            request,
            input_tokens,
            item: Item {
                status: Status::InProgress,
                ..Item::new(item_id, body)
            },
            part,
            opened: false,
            due: now + THINKING + slow,
            first_audio: None,
        };
        outbox.event(
            "response.created",
            &json!({"response": response.to_json("in_progress", Value::Null, &[], Value::Null)}),
        );
        outbox.event("rate_limits.updated", &usage::rate_limits());
        response
    }

    /// `resp_…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Part of the default conversation.
    pub fn in_conversation(&self) -> bool {
        self.conversation_id.is_some()
    }

    /// When the next step is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// When the client will have played everything produced so far.
    pub fn played_at(&self) -> Option<Instant> {
        self.first_audio
            .map(|first| first + Duration::from_millis(u64::from(self.spoken_ms())))
    }

    /// Audio has been sent.
    pub fn audible(&self) -> bool {
        self.first_audio.is_some()
    }

    /// Takes the step that is due; tells the ending when it was the last.
    pub fn step(&mut self, conversation: &mut Conversation, outbox: &mut Outbox) -> Option<Ending> {
        if !self.opened {
            self.open(conversation, outbox);
        }
        let ending = match self.part {
            Part::Speech { .. } => self.speak(outbox),
            Part::Text { .. } => self.write(outbox),
            Part::Call => Some(self.call(outbox)),
        };
        conversation.settle(&self.item);
        self.due += DELTA_EVERY;
        ending
    }

    /// Closes what is open and sends `response.done`.
    pub fn end(mut self, ending: Ending, conversation: &mut Conversation, outbox: &mut Outbox) {
        if self.opened {
            self.item.status = if ending == Ending::Completed {
                Status::Completed
            } else {
                Status::Incomplete
            };
            self.close_part(outbox);
            self.close_item(conversation, outbox);
        }
        let output = if self.opened {
            vec![self.item.to_json()]
        } else {
            Vec::new()
        };
        let usage = usage::to_json(self.input_tokens, self.output_tokens());
        let response = self.to_json(ending.status(), ending.details(), &output, usage);
        outbox.event("response.done", &json!({"response": response}));
    }

    fn open(&mut self, conversation: &mut Conversation, outbox: &mut Outbox) {
        self.opened = true;
        // A message is announced without its content, a call without its arguments.
        let mut announced = self.item.to_json();
        match self.part {
            Part::Call => announced["arguments"] = json!(""),
            _ => announced["content"] = json!([]),
        }
        let output = json!({"response_id": self.id, "output_index": 0, "item": announced});
        outbox.event("response.output_item.added", &output);
        if self.in_conversation() {
            let previous = conversation.push(self.item.clone());
            let added = json!({"previous_item_id": previous, "item": announced});
            outbox.event("conversation.item.added", &added);
        }
        match self.part {
            Part::Speech { .. } => self.part_event(outbox, "response.content_part.added", part_json("audio", "")),
            Part::Text { .. } => self.part_event(outbox, "response.content_part.added", part_json("text", "")),
            Part::Call => (),
        }
    }

    fn speak(&mut self, outbox: &mut Outbox) -> Option<Ending> {
        let Part::Speech { player, words, ms_max } = &mut self.part else {
            return None;
        };
        let mut bytes = Vec::new();
        player.read(DELTA_MS.min(*ms_max - player.read_ms().min(*ms_max)), &mut bytes);
        let (read_ms, finished) = (player.read_ms(), player.finished());
        let limited = read_ms >= *ms_max;
        let said = words.up_to(read_ms, player.sound().ms()).to_owned();
        let transcript_so_far = words.said().to_owned();
        if !said.is_empty() {
            self.part_event(outbox, "response.output_audio_transcript.delta", json!({"delta": said}));
        }
        outbox.audio_delta(&self.id, &self.item.id, &bytes);
        self.first_audio.get_or_insert(self.due);
        if let Some(Content::OutputAudio { ms, transcript, .. }) = content(&mut self.item) {
            (*ms, *transcript) = (read_ms, Some(transcript_so_far));
        }
        Ending::reached(finished, limited)
    }

    fn write(&mut self, outbox: &mut Outbox) -> Option<Ending> {
        let Part::Text { words, len_max } = &mut self.part else {
            return None;
        };
        let target = (words.said().len() + TEXT_DELTA_LEN).min(*len_max);
        let delta = words.up_to_len(target).to_owned();
        let (text, finished) = (words.said().to_owned(), words.finished());
        let limited = text.len() >= *len_max;
        self.part_event(outbox, "response.output_text.delta", json!({"delta": delta}));
        if let Some(Content::OutputText(written)) = content(&mut self.item) {
            *written = text;
        }
        Ending::reached(finished, limited)
    }

    fn call(&mut self, outbox: &mut Outbox) -> Ending {
        if let Body::Call {
            name,
            arguments,
            call_id,
        } = &self.item.body
        {
            let about = |mut event: Value| {
                event["response_id"] = json!(self.id);
                event["item_id"] = json!(self.item.id);
                event["output_index"] = json!(0);
                event["call_id"] = json!(call_id);
                event
            };
            outbox.event(
                "response.function_call_arguments.delta",
                &about(json!({"delta": arguments})),
            );
            let done = about(json!({"name": name, "arguments": arguments}));
            outbox.event("response.function_call_arguments.done", &done);
        }
        Ending::Completed
    }

    fn close_part(&mut self, outbox: &mut Outbox) {
        match &self.part {
            Part::Speech { words, .. } => {
                let text = words.said();
                self.part_event(outbox, "response.output_audio.done", json!({}));
                self.part_event(
                    outbox,
                    "response.output_audio_transcript.done",
                    json!({"transcript": text}),
                );
                self.part_event(outbox, "response.content_part.done", part_json("audio", text));
            }
            Part::Text { words, .. } => {
                let text = words.said();
                self.part_event(outbox, "response.output_text.done", json!({"text": text}));
                self.part_event(outbox, "response.content_part.done", part_json("text", text));
            }
            Part::Call => (),
        }
    }

    fn close_item(&mut self, conversation: &mut Conversation, outbox: &mut Outbox) {
        let item = self.item.to_json();
        if self.in_conversation() {
            conversation.settle(&self.item);
            let previous = conversation.previous_id(&self.item.id);
            outbox.event(
                "conversation.item.done",
                &json!({"previous_item_id": previous, "item": item}),
            );
        }
        let output = json!({"response_id": self.id, "output_index": 0, "item": item});
        outbox.event("response.output_item.done", &output);
    }

    fn part_event(&self, outbox: &mut Outbox, kind: &str, mut event: Value) {
        event["response_id"] = json!(self.id);
        event["item_id"] = json!(self.item.id);
        event["output_index"] = json!(0);
        event["content_index"] = json!(0);
        outbox.event(kind, &event);
    }

    fn to_json(&self, status: &str, details: Value, output: &[Value], usage: Value) -> Value {
        let defaults = &self.request.defaults;
        // SDKs expect a plain name here, also for a custom voice.
        let voice = defaults.voice.get("id").unwrap_or(&defaults.voice);
        json!({
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output,
            "conversation_id": self.conversation_id,
            "output_modalities": [defaults.modality.word()],
            "max_output_tokens": defaults.tokens_max,
            "audio": {"output": {"format": format::to_json(self.request.format), "voice": voice}},
            "usage": usage,
            "metadata": self.request.metadata,
        })
    }

    fn spoken_ms(&self) -> u32 {
        match &self.part {
            Part::Speech { player, .. } => player.read_ms(),
            _ => 0,
        }
    }

    fn output_tokens(&self) -> Tokens {
        match &self.part {
            Part::Speech { words, .. } => Tokens::spoken(self.spoken_ms()) + Tokens::text(words.said()),
            Part::Text { words, .. } => Tokens::text(words.said()),
            Part::Call if self.opened => Tokens::CALL,
            Part::Call => Tokens::default(),
        }
    }
}

fn open(plan: Plan, request: &Request, tokens_max: Option<u32>, outbox: &mut Outbox) -> (Body, Part) {
    match plan {
        Plan::Say { sound, text } => {
            let content = vec![Content::OutputAudio {
                sound: sound.clone(),
                ms: 0,
                transcript: Some(String::new()),
            }];
            let ms_max = tokens_max.map_or(u32::MAX, usage::spoken_ms);
            let player = Player::new(sound, request.format);
            (
                agent_message(content),
                Part::Speech {
                    player,
                    words: Words::new(text),
                    ms_max,
                },
            )
        }
        Plan::Write(text) => {
            let len_max = tokens_max.map_or(usize::MAX, |tokens| tokens as usize * TOKEN_LEN);
            let content = vec![Content::OutputText(String::new())];
            (
                agent_message(content),
                Part::Text {
                    words: Words::new(text),
                    len_max,
                },
            )
        }
        Plan::Call { name, arguments } => (
            Body::Call {
                name,
                arguments: arguments.to_owned(),
                call_id: outbox.id("call"),
            },
            Part::Call,
        ),
    }
}

fn agent_message(content: Vec<Content>) -> Body {
    Body::Message {
        role: Role::Assistant,
        content,
    }
}

fn content(item: &mut Item) -> Option<&mut Content> {
    match &mut item.body {
        Body::Message { content, .. } => content.first_mut(),
        _ => None,
    }
}

/// A content part; its type is not that of the item's content.
fn part_json(kind: &str, text: &str) -> Value {
    match kind {
        "audio" => json!({"part": {"type": "audio", "transcript": text}}),
        _ => json!({"part": {"type": "text", "text": text}}),
    }
}
