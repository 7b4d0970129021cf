//! What the control API asks of the calls, and what it is told: plain words, so that nothing here knows how a call works.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

/// Whoever has the calls. Every answer comes within a bounded time.
pub trait Control: Send + Sync {
    /// Places a call; answers its id.
    fn place(&self, call: PlaceCall) -> BoxFuture<'_, Result<String, Refused>>;
    /// The calls there are, then those that ended last, newest first; at most so many.
    fn calls(&self, max: usize) -> Vec<CallView>;
    /// One call.
    fn call(&self, id: &str) -> Option<CallView>;
    /// Ends a call.
    fn hang_up(&self, id: &str) -> Result<(), Refused>;
    /// Has the other side call somebody else.
    fn transfer(&self, id: &str, transfer: Transfer) -> BoxFuture<'_, Result<(), Refused>>;
    /// Presses keys at the other side.
    fn send_digits(&self, id: &str, digits: String) -> BoxFuture<'_, Result<(), Refused>>;
    /// Has a call recorded, or not any more.
    fn record(&self, id: &str, action: RecordingAction) -> BoxFuture<'_, Result<(), Refused>>;
    /// The tool calls that wait for a person, the oldest first.
    fn approvals(&self) -> Vec<ApprovalView>;
    /// A person has decided, and why.
    fn decide(&self, id: &str, approved: bool, reason: String) -> BoxFuture<'_, Result<(), Refused>>;
    /// Has a call go over to another session, with what is changed about it.
    fn renew(&self, id: &str, change: SessionChange) -> BoxFuture<'_, Result<(), Refused>>;
    /// What happened to a call, or to all calls, after the event of this number, at most so much; nothing when there is
    /// no such call.
    fn events(&self, call: Option<&str>, after: u64, max: usize) -> Option<Vec<Told>>;
    /// The number of the newest event of all calls.
    fn newest(&self) -> u64;
    /// Changes whenever something happens to a call, or to any call; nothing when there is no such call.
    fn changes(&self, call: Option<&str>) -> Option<watch::Receiver<u64>>;
    /// What would become of the call this body describes ([`super::explain::answer`]).
    fn explain(&self, body: &[u8]) -> (StatusCode, Value);
}

/// A call to be placed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceCall {
    /// Whom: a SIP URI, or a number or user name at the trunk.
    pub to: String,
    /// The trunk to call through.
    pub trunk: String,
    /// Who calls; without it the trunk's identity.
    pub from: Option<String>,
    /// The agent that speaks.
    pub agent: String,
    /// Headers of the INVITE.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long it may ring, in seconds.
    pub ring_timeout_s: Option<u64>,
    /// What the agent's texts may name.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A transfer to be tried.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Whom the other side is to call.
    pub to: String,
    /// The id of a call of ours whose place that one takes.
    pub replaces: Option<String>,
}

/// What is to be different about a call's session, and stays so for as long as the call lasts; what is not given stays
/// as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionChange {
    /// The backend, one of the agent's.
    pub backend: Option<String>,
    /// The model, by the name of that backend for it, or of the one that serves the call.
    pub model: Option<String>,
    /// The voice, by the backend's name for it.
    pub voice: Option<String>,
    /// The instructions; they may name facts of the call.
    pub instructions: Option<String>,
}

/// What is to become of a call's recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingAction {
    /// It begins.
    Start,
    /// It ends.
    Stop,
    /// It goes on in silence.
    Pause,
    /// It goes on with sound.
    Resume,
}

impl RecordingAction {
    /// Reads its word.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            _ => None,
        }
    }
}

/// A call as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallView {
    /// Its id.
    pub id: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// `dialing`, `ringing`, `early`, `talking` or `ended`.
    pub state: &'static str,
    /// The trunk.
    pub trunk: String,
    /// The agent; nothing before a route was found.
    pub agent: Option<String>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When it was answered.
    pub answered_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// `machine_likely`, or nothing.
    pub answered_by: Option<String>,
    /// The cause word of what is wrong with the line now.
    pub diagnosis: Option<&'static str>,
    /// How it sounds, as its record will say it; nothing before the first few seconds.
    pub quality: Option<Value>,
    /// What it has cost so far by the configured prices, as its record will say it; nothing before anything was counted.
    pub cost: Option<Value>,
    /// How it ended.
    pub outcome: Option<OutcomeView>,
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalView {
    /// Its id.
    pub id: String,
    /// The call.
    pub call_id: String,
    /// The agent that wants it done.
    pub agent: String,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// Since when it waits, RFC 3339.
    pub asked_at: String,
    /// Until when; then it counts as rejected.
    pub expires_at: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeView {
    /// The reason word.
    pub cause: &'static str,
    /// Whose side it is charged to.
    pub fault: &'static str,
    /// The final SIP status of the INVITE.
    pub sip_code: u16,
}

/// Something that happened to a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallEvent {
    /// Its number among the events of the call, from 1.
    pub number: u64,
    /// The call; empty where it is about all of them.
    pub call_id: String,
    /// What; the OpenAPI document has the list.
    pub event: &'static str,
    /// When, RFC 3339.
    pub at: String,
    /// The rest, by event.
    pub data: Value,
}

/// An event as a listener is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its number in what is listened to.
    pub id: u64,
    /// What happened.
    pub event: Arc<CallEvent>,
}

impl CallEvent {
    /// How much its data is as text, about.
    pub fn bytes(&self) -> usize {
        bytes(&self.data)
    }
}

fn bytes(value: &Value) -> usize {
    const PLAIN: usize = 8;
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(bytes).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields
                .iter()
                .map(|(name, value)| name.len() + 4 + bytes(value))
                .sum::<usize>()
                + 2
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => PLAIN,
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The reason word.
    pub reason: &'static str,
    /// The field that is wrong, if one is.
    pub field: Option<String>,
    /// What to do about it, for people.
    pub detail: String,
    /// When it may be worth asking again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// There is no such thing.
    pub fn not_found(reason: &'static str, field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::new(404, reason, field, detail)
    }

    /// A field is wrong.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(422, "invalid", Some(field), detail)
    }

    /// Not in the state things are in.
    pub fn conflict(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(409, reason, None, detail)
    }

    /// Not now.
    pub fn busy(status: u16, reason: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(status, reason, None, detail)
        }
    }

    fn new(status: u16, reason: &'static str, field: Option<&str>, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            field: field.map(str::to_owned),
            detail: detail.into(),
            retry_after: None,
        }
    }
}
