//! The machine of one connection: its clock, its dispatch of client events, its responses and its faults.
//!
//! What each client event does is in `client`, what follows from the caller's speech in `turn`.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::ending::Ending;
use super::error::Refusal;
use super::field::{Field, missing};
use super::input::Input;
use super::outbox::Outbox;
use super::request::Request;
use super::response::Response;
use super::session::Session;
use super::strikes::{Blow, Strikes};
use super::usage::Tokens;
use super::{Output, Settings, agent, beta};
use crate::realtime::Dialect;

/// One session.
#[derive(Debug)]
pub struct Machine {
    pub(super) outbox: Outbox,
    pub(super) session: Session,
    pub(super) conversation: Conversation,
    pub(super) input: Input,
    /// Id promised to the turn under way.
    pub(super) turn_id: Option<String>,
    pub(super) responses: Vec<Response>,
    pub(super) strikes: Strikes,
    control: bool,
    in_beta: bool,
    /// Audio has been sent, which fixes the voice.
    pub(super) spoken: bool,
    pub(super) prompt_at: Option<Instant>,
    expires_at: Instant,
    closed: bool,
}

/// The official limit of a session.
const SESSION_MAX: Duration = Duration::from_secs(60 * 60);
const EXPIRED: &str = "Your session hit the maximum duration of 60 minutes.";

impl Machine {
    /// Opens a session: the first output is `session.created`.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let in_beta = settings.dialect == Dialect::Beta;
        let mut outbox = Outbox::new(settings.seed).in_beta(in_beta);
        let expires_s = settings.unix_s.saturating_add(SESSION_MAX.as_secs());
        let session = Session::new(outbox.id("sess"), &settings.model, expires_s);
        outbox.event("session.created", &json!({"session": session.to_json()}));
        let mut machine = Self {
            conversation: Conversation::new(outbox.id("conv")),
            input: Input::new(session.input_format, session.turn_detection.as_ref()),
            outbox,
            session,
            turn_id: None,
            responses: Vec::new(),
            strikes: Strikes::default(),
            control: settings.control,
            in_beta,
            spoken: false,
            prompt_at: None,
            expires_at: now + SESSION_MAX,
            closed: false,
        };
        machine.strikes.arm(now, settings.faults);
        machine
    }

    /// Takes one text frame of the client.
    pub fn handle_text(&mut self, now: Instant, text: &str) {
        if self.closed {
            return;
        }
        // Nearly every frame is an append; it is read without copying. Whatever does not fit goes the long way.
        match serde_json::from_str::<Append<'_>>(text) {
            Ok(append) if append.kind == "input_audio_buffer.append" => {
                let outcome = self.append(now, append.audio);
                self.answer(outcome, append.event_id);
            }
            _ => self.handle_other(now, text),
        }
    }

    /// Does whatever is due, each at its own time, however late the call comes.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            self.strike(due);
            self.step(due);
            self.prompt(due);
            self.expire(due);
        }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let strikes = self.strikes.poll_timeout().into_iter();
        let steps = self.responses.iter().map(Response::due);
        let own = [Some(self.expires_at), self.prompt_at].into_iter().flatten();
        strikes.chain(steps).chain(own).min().filter(|_| !self.closed)
    }

    /// What is to be done next; nothing more after a close or a drop.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    fn handle_other(&mut self, now: Instant, text: &str) {
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            let message = "The server could not parse the JSON body of the message.";
            return self.outbox.error(&Refusal::new("invalid_json", message), None);
        };
        let event_id = event.get("event_id").and_then(Value::as_str).map(str::to_owned);
        let event = if self.in_beta { beta::inbound(event) } else { Ok(event) };
        let outcome = event.and_then(|event| self.dispatch(now, &Field::new("", &event)));
        self.answer(outcome, event_id.as_deref());
    }

    fn answer(&mut self, outcome: Result<(), Refusal>, event_id: Option<&str>) {
        if let Err(refusal) = outcome {
            self.outbox.error(&refusal, event_id);
        }
    }

    fn dispatch(&mut self, now: Instant, event: &Field<'_>) -> Result<(), Refusal> {
        let kind = event.get("type").ok_or_else(no_type)?;
        match kind.string()? {
            "session.update" => self.update_session(&event.require("session")?),
            "input_audio_buffer.append" => self.append(now, event.require("audio")?.string()?),
            "input_audio_buffer.commit" => self.commit(),
            "input_audio_buffer.clear" => self.clear(),
            "conversation.item.create" => self.create_item(event),
            "conversation.item.retrieve" => self.retrieve_item(&event.require("item_id")?),
            "conversation.item.truncate" => self.truncate_item(event),
            "conversation.item.delete" => self.delete_item(&event.require("item_id")?),
            "response.create" => self.create_response(now, event),
            "response.cancel" => self.cancel_response(event),
            "operator.fault" if self.control => self.order_fault(now, &event.require("fault")?),
            other => Err(Refusal::at(
                "type",
                "invalid_event",
                format!("Unknown event type: '{other}'."),
            )),
        }
    }

    pub(super) fn respond(&mut self, now: Instant, request: Request) {
        self.prompt_at = None;
        let context = request.input.as_deref().unwrap_or(self.conversation.items());
        let plan = agent::plan(context.iter(), &request.defaults);
        let tokens = Tokens::text(&request.defaults.instructions) + context.iter().map(Tokens::item).sum();
        let response = Response::begin(
            now,
            request,
            plan,
            tokens,
            self.strikes.slow(),
            &self.conversation,
            &mut self.outbox,
        );
        self.responses.push(response);
    }

    pub(super) fn default_response(&self) -> Option<usize> {
        self.responses.iter().position(Response::in_conversation)
    }

    pub(super) fn end_default_response(&mut self, ending: Ending) {
        if let Some(at) = self.default_response() {
            self.end_response(at, ending);
        }
    }

    pub(super) fn end_response(&mut self, at: usize, ending: Ending) {
        let response = self.responses.remove(at);
        if let (true, Ending::Completed, Some(idle)) = (response.in_conversation(), ending, self.idle_timeout()) {
            let from = response.played_at().unwrap_or(response.due()).max(response.due());
            self.prompt_at = Some(from + idle).filter(|_| !self.input.speaking());
        }
        response.end(ending, &mut self.conversation, &mut self.outbox);
    }

    /// How long the caller may keep silent after a response.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let ms = self.session.turn_detection.as_ref()?.idle_timeout_ms()?;
        Some(Duration::from_millis(u64::from(ms)))
    }

    fn step(&mut self, now: Instant) {
        let Some(at) = self.responses.iter().position(|response| response.due() <= now) else {
            return;
        };
        let ending = self.responses[at].step(&mut self.conversation, &mut self.outbox);
        self.spoken |= self.responses[at].audible();
        if let Some(ending) = ending {
            self.end_response(at, ending);
        }
    }

    fn expire(&mut self, now: Instant) {
        if now >= self.expires_at && !self.closed {
            self.outbox.error(&Refusal::new("session_expired", EXPIRED), None);
            self.close(Output::Close {
                code: 1001,
                reason: EXPIRED.to_owned(),
            });
        }
    }

    fn strike(&mut self, now: Instant) {
        while let Some(blow) = self.strikes.poll(now) {
            match blow {
                Blow::End(output) => self.close(output),
                Blow::Mute => self.outbox.mute(),
                Blow::Refuse(refusal) => self.outbox.error(&refusal, None),
                Blow::Garbage => self.talk_nonsense(),
            }
        }
    }

    fn talk_nonsense(&mut self) {
        self.outbox.send("this is not JSON".to_owned());
        self.outbox
            .send(r#"{"type":"response.output_audio.delta","response_id":"resp_0","delta":"AAAA"#.to_owned());
    }

    fn close(&mut self, output: Output) {
        if !self.closed {
            self.closed = true;
            self.outbox.end(output);
        }
    }
}

/// The frame that matters, borrowed from the text it came in.
#[derive(Deserialize)]
struct Append<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    audio: &'a str,
    #[serde(default)]
    event_id: Option<&'a str>,
}

fn no_type() -> Refusal {
    Refusal {
        code: "invalid_event".into(),
        ..missing("type")
    }
}
