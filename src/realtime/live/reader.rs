//! Reads the server's events into what they say, before anything is made of it.
//!
//! Audio is nearly all of the traffic and is borrowed from the text. Nothing is remembered here.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::realtime::{
    event::{Malformed, ServerError, SessionView, TEXT_FRAME_BYTES_MAX},
    ga::object::{audio_format, server_error, words},
};

use super::NOTED;

/// What one text frame says.
#[derive(Debug)]
pub enum Said<'a> {
    /// The session is as it is to be.
    Started(SessionView),
    /// The agent's audio goes on, in base64.
    Audio(Cow<'a, str>),
    /// The caller's words go on.
    CallerWords(Words<'a>),
    /// The agent's words go on.
    AgentWords(Words<'a>),
    /// The model that works out tool calls says something.
    Delegated(Value),
    /// The session is over.
    Closed(Option<ServerError>, Option<Duration>),
    /// What is billed so far.
    Billed(Option<Duration>),
    /// A key was pressed on the server's own telephone line.
    Key(char),
    /// The server complains.
    Error(ServerError),
    /// Nothing that asks anything of us.
    Noted,
    /// Nothing that this dialect has.
    Unknown,
}

/// A piece of what is said.
#[derive(Debug)]
pub struct Words<'a> {
    pub text: Cow<'a, str>,
    /// Where it stands in the session.
    pub start_ms: u64,
    pub end_ms: u64,
}

/// Every member that any event of interest has.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    start_ms: Option<f64>,
    end_ms: Option<f64>,
    session: Option<Value>,
    error: Option<Value>,
    event: Option<Value>,
    reason: Option<Value>,
    usage: Option<Value>,
}

/// Serde borrows a `Cow` only where it stands alone, not inside an `Option`; this stands between the two.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one text frame.
pub fn read(text: &str) -> Result<Said<'_>, Malformed> {
    if text.len() > TEXT_FRAME_BYTES_MAX {
        return Err(Malformed::TooLong(text.len()));
    }
    match serde_json::from_str::<Frame>(text) {
        Ok(frame) => frame.said(),
        Err(error) => Err(Malformed::NotAnEvent(words(&error.to_string()))),
    }
}

impl<'a> Frame<'a> {
    fn said(self) -> Result<Said<'a>, Malformed> {
        Ok(match self.kind.as_ref() {
            "session.output_audio.delta" => Said::Audio(self.delta()?),
            "session.input_transcript.delta" => Said::CallerWords(self.words()?),
            "session.output_transcript.delta" => Said::AgentWords(self.words()?),
            "session.started" | "session.updated" => Said::Started(view(self.session.as_ref())),
            "session.closed" => Said::Closed(closed(self.reason.as_ref()), self.seconds()),
            "session.usage.updated" => Said::Billed(self.seconds()),
            "response.event" => Said::Delegated(self.event.unwrap_or_default()),
            "transport.dtmf.received" => key(self.event.as_ref()).map_or(Said::Noted, Said::Key),
            "error" => Said::Error(server_error(self.error.as_ref())),
            kind if NOTED.binary_search(&kind).is_ok() => Said::Noted,
            _ => Said::Unknown,
        })
    }

    fn delta(self) -> Result<Cow<'a, str>, Malformed> {
        match self.delta {
            Some(Text(text)) => Ok(text),
            None => Err(Malformed::Field {
                kind: words(&self.kind),
                field: "delta",
            }),
        }
    }

    fn words(self) -> Result<Words<'a>, Malformed> {
        // Saturates; a time below zero is none.
        let (start_ms, end_ms) = (self.start_ms.unwrap_or(0.0) as u64, self.end_ms.unwrap_or(0.0) as u64);
        Ok(Words {
            text: self.delta()?,
            start_ms,
            end_ms,
        })
    }

    fn seconds(&self) -> Option<Duration> {
        let seconds = self.usage.as_ref()?.get("seconds")?.as_f64()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// There is one format for both ways, and the server never leaves the agent talking over the caller.
fn view(session: Option<&Value>) -> SessionView {
    let format = audio_format(session.and_then(|session| session.pointer("/audio/format")), &[]);
    SessionView {
        input_format: format.clone(),
        output_format: format,
        interrupt_response: Some(true),
    }
}

/// What an end that we did not ask for means, in the words that errors have.
fn closed(reason: Option<&Value>) -> Option<ServerError> {
    let reason = reason.and_then(Value::as_str).unwrap_or("connection_lost");
    let code = match reason {
        "close_requested" => return None,
        "expired" => "session_expired".to_owned(),
        other => format!("session_closed_{}", words(other)),
    };
    Some(ServerError {
        // Another session may be had.
        kind: "server_error".to_owned(),
        code,
        message: format!("the session was closed: {}", words(reason)),
        event_id: None,
    })
}

fn key(event: Option<&Value>) -> Option<char> {
    let mut letters = event?.as_str()?.chars();
    let key = letters.next().filter(|_| letters.next().is_none())?;
    matches!(key, '0'..='9' | '*' | '#' | 'A'..='D').then_some(key)
}
