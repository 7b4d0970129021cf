//! The operator in the live dialect: one stream of audio both ways, and a second model behind the one that speaks.
//!
//! The agent is the same as in the other dialects. It speaks in real time into a stream that never ends, falls silent
//! when the caller speaks, and hands what takes a tool to a model that only calls it. Attaching to a session, forking
//! one and decisions are not served.

mod config;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::config::Config;
use super::{
    Output, Settings,
    agent::{self, Plan},
    error::Refusal,
    field::Field,
    input::{Change, Input},
    item::{Body, Content, Item, Role},
    outbox::Outbox,
    session::Defaults,
    sound::Player,
    strikes::{Blow, Strikes},
    turn_detection::TurnDetection,
    words::Words,
};

/// How often audio leaves, and how much.
const TICK: Duration = Duration::from_millis(100);
const TICK_MS: u32 = 100;

/// From the request to the first audio, as a fast model would take.
const THINKING: Duration = Duration::from_millis(60);

/// How often the bill is told.
const USAGE_TICKS: u64 = 100;

/// Items that the agent remembers; only the newest matters to it.
const ITEMS_MAX: usize = 16;

/// The official limit of a session.
const SESSION_MAX: Duration = Duration::from_secs(60 * 60);

/// One session.
#[derive(Debug)]
pub struct Machine {
    outbox: Outbox,
    settings: Settings,
    id: String,
    stream: Option<Stream>,
    strikes: Strikes,
    closed: bool,
}

/// A session that has been started.
#[derive(Debug)]
struct Stream {
    config: Config,
    input: Input,
    muted: bool,
    context: Vec<Item>,
    /// What is being said.
    speech: Option<(Player, Words)>,
    /// When the agent answers, if it is about to.
    answer_at: Option<Instant>,
    /// A call that was made and not answered.
    owed: Option<String>,
    next_tick: Instant,
    ticks: u64,
}

impl Machine {
    /// Opens a connection; nothing is said before the session is started.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let mut outbox = Outbox::new(settings.seed);
        let id = outbox.id("live");
        let mut machine = Self {
            outbox,
            id,
            stream: None,
            strikes: Strikes::default(),
            closed: false,
            settings,
        };
        let faults = std::mem::take(&mut machine.settings.faults);
        machine.strikes.arm(now, faults);
        machine
    }

    /// Takes one text frame of the client.
    pub fn handle_text(&mut self, now: Instant, text: &str) {
        if self.closed {
            return;
        }
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            let message = "The server could not parse the JSON body of the message.";
            return self.refuse(&Refusal::new("invalid_json", message), None);
        };
        let event_id = event.get("event_id").and_then(Value::as_str);
        if let Err(refusal) = self.dispatch(now, &Field::new("", &event), event_id) {
            self.refuse(&refusal, event_id);
        }
    }

    /// Does whatever is due, each at its own time, however late the call comes.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            self.strike(due);
            let Some(stream) = &mut self.stream else { continue };
            if stream.answer_at.is_some_and(|at| at <= due) {
                self.answer();
            } else if stream.next_tick <= due {
                self.tick();
            }
        }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let strikes = self.strikes.poll_timeout().into_iter();
        let stream = self.stream.as_ref();
        let tick = stream.map(|stream| stream.next_tick);
        let answer = stream.and_then(|stream| stream.answer_at);
        strikes.chain(tick).chain(answer).min().filter(|_| !self.closed)
    }

    /// What is to be done next; nothing more after a close or a drop.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    fn dispatch(&mut self, now: Instant, event: &Field<'_>, event_id: Option<&str>) -> Result<(), Refusal> {
        let kind = event.require("type")?;
        let kind = kind.string()?;
        if kind == "session.start" {
            return self.start(now, &event.require("session")?, event_id);
        }
        let Some(stream) = &mut self.stream else {
            return Err(Refusal::new("session_not_started", "Send session.start first."));
        };
        match kind {
            "session.input_audio.append" => self.append(now, event.require("audio")?.string()?),
            "session.instructions.append" | "session.thinking.append" | "session.commentary.append" => {
                self.context(now, kind, event, event_id)
            }
            "session.update" => {
                stream.config.update(&event.require("session")?)?;
                let session = stream.config.to_json(&self.id);
                self.say("session.updated", json!({ "session": session }), event_id);
                Ok(())
            }
            "session.input_audio.mute" | "session.input_audio.unmute" => {
                stream.muted = kind == "session.input_audio.mute";
                let told = if stream.muted {
                    "session.input_audio.muted"
                } else {
                    "session.input_audio.unmuted"
                };
                self.say(told, json!({}), event_id);
                Ok(())
            }
            "response.item.create" => self.create_item(&event.require("item")?),
            "response.create" => self.go_on(now),
            "session.close" => {
                self.close("close_requested", event_id);
                Ok(())
            }
            other => Err(Refusal::at(
                "type",
                "invalid_event",
                format!("Unknown event type: '{other}'."),
            )),
        }
    }

    fn start(&mut self, now: Instant, session: &Field<'_>, event_id: Option<&str>) -> Result<(), Refusal> {
        if self.stream.is_some() {
            return Err(Refusal::new("session_already_started", "The session has been started."));
        }
        let expires_s = self.settings.unix_s.saturating_add(SESSION_MAX.as_secs());
        let config = Config::read(session, expires_s)?;
        let started = config.to_json(&self.id);
        self.stream = Some(Stream {
            input: Input::new(config.format, Some(&TurnDetection::default())),
            muted: false,
            context: Vec::new(),
            speech: None,
            answer_at: None,
            owed: None,
            next_tick: now + TICK,
            ticks: 0,
            config,
        });
        self.say("session.started", json!({ "session": started }), event_id);
        Ok(())
    }

    fn append(&mut self, now: Instant, audio: &str) -> Result<(), Refusal> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if stream.muted {
            return Ok(());
        }
        stream.input.append(audio)?;
        while let Some(change) = self.stream.as_mut().and_then(|stream| stream.input.poll_change()) {
            match change {
                Change::Started { .. } => self.fall_silent(),
                Change::Stopped { recording, .. } => {
                    let spoken = recording.spoken.clone();
                    let words = spoken.as_ref().map(agent::describe).unwrap_or_default();
                    self.transcribe("session.input_transcript.delta", &words);
                    self.remember(Body::Message {
                        role: Role::User,
                        content: vec![Content::InputAudio {
                            sound: recording.sound,
                            spoken,
                            transcript: None,
                        }],
                    });
                    self.answer_soon(now);
                }
            }
        }
        Ok(())
    }

    /// Words to be thought of, obeyed or spoken of. The operator understands a greeting and the keys.
    fn context(&mut self, now: Instant, kind: &str, event: &Field<'_>, event_id: Option<&str>) -> Result<(), Refusal> {
        let content = event.require("content")?.string()?;
        if let Some(id) = event.require("delegation_id")?.present() {
            return Err(id.invalid("Delegation ids are not accepted with Responses delegation."));
        }
        let channel = kind.strip_suffix(".append").unwrap_or(kind);
        let at_ms = self.stream.as_ref().map_or(0, Stream::now_ms);
        let appended = format!("{channel}.appended");
        self.say(&appended, json!({ "start_ms": at_ms, "end_ms": at_ms }), event_id);
        match channel {
            "session.instructions" => {
                let text = content.rfind("DTMF ").map_or(content, |at| &content[at..]);
                self.remember(Body::Message {
                    role: Role::User,
                    content: vec![Content::InputText(text.to_owned())],
                });
                self.fall_silent();
                self.answer_soon(now);
            }
            "session.commentary" => self.answer_soon(now),
            _ => {}
        }
        Ok(())
    }

    fn create_item(&mut self, item: &Field<'_>) -> Result<(), Refusal> {
        item.require("type")?.one_of(&["function_call_output"])?;
        let (call, output) = (item.require("call_id")?, item.require("output")?.string()?.to_owned());
        let call_id = call.string()?.to_owned();
        let Some(stream) = self
            .stream
            .as_mut()
            .filter(|stream| stream.owed.as_ref() == Some(&call_id))
        else {
            return Err(call.invalid(format!("No tool call found for call_id {call_id}.")));
        };
        stream.owed = None;
        self.remember(Body::CallOutput { call_id, output });
        Ok(())
    }

    fn go_on(&mut self, now: Instant) -> Result<(), Refusal> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if stream.config.delegation_tools().is_none() {
            return Err(Refusal::new(
                "invalid_request",
                "The session has no Responses delegation.",
            ));
        }
        if stream.owed.is_some() {
            return Err(Refusal::new(
                "tool_outputs_missing",
                "Not every tool call has been answered.",
            ));
        }
        self.answer_soon(now);
        Ok(())
    }

    fn answer_soon(&mut self, now: Instant) {
        let at = now + THINKING + self.strikes.slow();
        if let Some(stream) = &mut self.stream {
            // Never straight on from what was being said.
            stream.answer_at = Some(at.max(stream.next_tick + Duration::from_millis(1)));
        }
    }

    fn answer(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        stream.answer_at = None;
        let defaults = Defaults {
            tools: stream.config.delegation_tools().unwrap_or_default().to_vec(),
            ..Defaults::default()
        };
        match agent::plan(stream.context.iter(), &defaults) {
            Plan::Say { sound, text } => {
                stream.speech = Some((Player::new(sound, stream.config.format), Words::new(text)));
            }
            Plan::Call { name, arguments } => self.delegate(&name, arguments),
            // Text alone is never asked for.
            Plan::Write(_) => {}
        }
    }

    /// The model behind the one that speaks does nothing but call.
    fn delegate(&mut self, name: &str, arguments: &str) {
        let [id, response, call] = ["dlg", "resp", "call"].map(|prefix| self.outbox.id(prefix));
        let Some(stream) = &mut self.stream else { return };
        stream.owed = Some(call.clone());
        let delegation = json!({ "id": id, "type": "delegation", "target": "responses", "response_id": response });
        let created = json!({ "delegation": delegation, "offset_ms": stream.now_ms() });
        self.outbox.event("session.delegation.created", &created);
        let item = json!({
            "type": "function_call", "id": format!("fc_{call}"), "status": "completed", "call_id": call, "name": name,
            "arguments": arguments,
        });
        let usage = json!({ "input_tokens": 16, "output_tokens": 16, "total_tokens": 32 });
        let done = json!({ "id": response, "object": "response", "status": "completed", "output": [], "usage": usage });
        for event in [
            json!({ "type": "response.created", "sequence_number": 0, "response": { "id": response } }),
            json!({ "type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": item }),
            json!({ "type": "response.completed", "sequence_number": 2, "response": done }),
        ] {
            self.outbox
                .event("response.event", &json!({ "event": event, "delegation_id": id }));
        }
    }

    /// The next stretch of the stream: speech while there is any, and silence.
    fn tick(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        stream.next_tick += TICK;
        stream.ticks += 1;
        let bytes_whole = TICK_MS as usize * stream.config.format.bytes_per_ms();
        let (mut bytes, mut said) = (Vec::with_capacity(bytes_whole), String::new());
        if let Some((player, words)) = &mut stream.speech {
            player.read(TICK_MS, &mut bytes);
            words.up_to(player.read_ms(), player.sound().ms()).clone_into(&mut said);
            if player.finished() {
                stream.speech = None;
            }
        }
        bytes.resize(bytes_whole, config::silence(stream.config.format));
        let tell_usage = stream.ticks.is_multiple_of(USAGE_TICKS);
        if !said.is_empty() {
            self.transcribe("session.output_transcript.delta", &said);
        }
        let delta = base64_simd::STANDARD.encode_to_string(&bytes);
        // The one event without an id.
        let event = json!({ "type": "session.output_audio.delta", "delta": delta });
        self.outbox.send(event.to_string());
        if tell_usage {
            let usage = self.usage();
            self.outbox.event("session.usage.updated", &json!({ "usage": usage }));
        }
        if self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.now_ms() >= SESSION_MAX.as_millis() as u64)
        {
            self.close("expired", None);
        }
    }

    fn fall_silent(&mut self) {
        if let Some(stream) = &mut self.stream {
            (stream.speech, stream.answer_at) = (None, None);
        }
    }

    fn remember(&mut self, body: Body) {
        let id = self.outbox.id("item");
        if let Some(stream) = &mut self.stream {
            if stream.context.len() >= ITEMS_MAX {
                stream.context.remove(0);
            }
            stream.context.push(Item::new(id, body));
        }
    }

    fn transcribe(&mut self, kind: &str, words: &str) {
        let end_ms = self.stream.as_ref().map_or(0, Stream::now_ms);
        let start_ms = end_ms.saturating_sub(u64::from(TICK_MS));
        self.outbox
            .event(kind, &json!({ "delta": words, "start_ms": start_ms, "end_ms": end_ms }));
    }

    fn usage(&self) -> Value {
        let ms = self.stream.as_ref().map_or(0, Stream::now_ms);
        json!({ "seconds": ms as f64 / 1_000.0 })
    }

    fn close(&mut self, reason: &str, event_id: Option<&str>) {
        let session = self.stream.as_ref().map(|stream| stream.config.to_json(&self.id));
        let closed = json!({ "reason": reason, "session": session, "usage": self.usage() });
        self.say("session.closed", closed, event_id);
        self.end(Output::Close {
            code: 1000,
            reason: reason.to_owned(),
        });
    }

    /// An event that answers one of the client's.
    fn say(&mut self, kind: &str, mut body: Value, event_id: Option<&str>) {
        if let Some(id) = event_id {
            body["client_event_id"] = id.into();
        }
        self.outbox.event(kind, &body);
    }

    fn refuse(&mut self, refusal: &Refusal, event_id: Option<&str>) {
        let mut error = json!({ "type": refusal.kind, "code": refusal.code, "message": refusal.message });
        if let Some(param) = &refusal.param {
            error["param"] = param.as_str().into();
        }
        if let Some(id) = event_id {
            error["client_event_id"] = id.into();
        }
        self.outbox.event("error", &json!({ "error": error }));
    }

    fn strike(&mut self, now: Instant) {
        while let Some(blow) = self.strikes.poll(now) {
            match blow {
                Blow::End(output) => self.end(output),
                Blow::Mute => self.outbox.mute(),
                Blow::Refuse(refusal) => self.refuse(&refusal, None),
                Blow::Garbage => self.outbox.send("this is not JSON".to_owned()),
            }
        }
    }

    fn end(&mut self, output: Output) {
        if !self.closed {
            self.closed = true;
            self.outbox.end(output);
        }
    }
}

impl Stream {
    /// Where the stream is.
    fn now_ms(&self) -> u64 {
        self.ticks * u64::from(TICK_MS)
    }
}

#[cfg(test)]
mod tests;
