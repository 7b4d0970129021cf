//! Reads the server's events.
//!
//! One pass over the text fills one flat struct whose strings borrow from it: the audio events, which are nearly all
//! of the traffic, cost no allocation. Objects that come once a turn are read as loose JSON, so that a server with an
//! odd member in one of them is still understood. Nothing is decided here.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::realtime::{
    beta,
    event::{Malformed, PartName, Progress, ResponseDone, ServerError, ServerEvent, TEXT_FRAME_BYTES_MAX},
    quirks::Quirks,
};

use super::{
    NOTED,
    object::{
        call, calls, is_id, member_id, rate_limits, server_error, session_view, transcription_usage, usage, words,
    },
};

/// Reads one text frame.
pub fn read<'a>(text: &'a str, quirks: &Quirks) -> Result<ServerEvent<'a>, Malformed> {
    if text.len() > TEXT_FRAME_BYTES_MAX {
        return Err(Malformed::TooLong(text.len()));
    }
    match serde_json::from_str::<Frame>(text) {
        Ok(frame) => frame.into_event(quirks),
        Err(error) => unreadable(text, quirks, &error),
    }
}

/// Every member that any event of interest has, with the one type it has wherever it appears.
#[derive(Default, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    response_id: Option<Text<'a>>,
    #[serde(borrow)]
    item_id: Option<Text<'a>>,
    content_index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(borrow)]
    transcript: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    session: Option<Value>,
    response: Option<Value>,
    item: Option<Value>,
    error: Option<Value>,
    event: Option<Value>,
    rate_limits: Option<Value>,
    code: Option<Value>,
    message: Option<Value>,
    usage: Option<Value>,
}

/// Serde borrows a `Cow` only where it stands alone, not inside an `Option`; this stands between the two.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

impl<'a> Frame<'a> {
    fn into_event(self, quirks: &Quirks) -> Result<ServerEvent<'a>, Malformed> {
        // Borrowed from the text, so that this costs nothing and `self` can go on to the arm.
        let kind = self.kind.clone();
        match ga_name(&kind, quirks) {
            "response.output_audio.delta" => self.audio_delta(),
            "response.output_audio.done" => Ok(ServerEvent::AudioDone { part: self.part()? }),
            "response.output_audio_transcript.delta" | "response.output_text.delta" => self.agent_transcript_delta(),
            "response.output_audio_transcript.done" => self.agent_transcript(),
            "response.output_text.done" => self.agent_text(),
            "response.created" => self.response_created(),
            "response.done" => self.response_done(quirks),
            "response.function_call_arguments.delta" => Ok(self.arguments_delta()),
            "response.function_call_arguments.done" => self.arguments_done(),
            "response.output_item.done" => self.item_done(),
            "session.updated" => Ok(ServerEvent::SessionUpdated(session_view(self.session.as_ref(), quirks))),
            "error" => Ok(ServerEvent::Error(self.complaint())),
            "ping" => Ok(ServerEvent::Ping),
            kind => self.into_observed(kind, quirks),
        }
    }

    /// Some servers say it in the event itself and not in an object of its own.
    fn complaint(self) -> ServerError {
        match self.error {
            None => server_error(Some(&json!({ "code": self.code, "message": self.message }))),
            error => server_error(error.as_ref()),
        }
    }

    /// Events that tell how the caller's turn goes, and what the server does by itself. One that lacks what makes it
    /// worth telling is noted.
    fn into_observed(self, kind: &str, quirks: &Quirks) -> Result<ServerEvent<'a>, Malformed> {
        Ok(match kind {
            "input_audio_buffer.speech_started" => ServerEvent::SpeechStarted { item: self.item() },
            "input_audio_buffer.speech_stopped" => ServerEvent::SpeechStopped { item: self.item() },
            "input_audio_buffer.committed" => ServerEvent::TurnCommitted { item: self.item() },
            "input_audio_buffer.dtmf_event_received" => self.key(),
            "conversation.item.input_audio_transcription.delta" => self.caller_transcript_delta(),
            "conversation.item.input_audio_transcription.completed" => return self.caller_transcript(),
            "conversation.item.input_audio_transcription.failed" => ServerEvent::CallerTranscriptFailed {
                error: server_error(self.error.as_ref()),
                item: self.item(),
            },
            "conversation.item.truncated" => ServerEvent::Truncated { item: self.item() },
            "rate_limits.updated" => ServerEvent::RateLimits(rate_limits(self.rate_limits.as_ref())),
            "mcp_list_tools.in_progress" | "response.mcp_call.in_progress" => self.remote_tool(Progress::Begun),
            "mcp_list_tools.completed" | "response.mcp_call.completed" => self.remote_tool(Progress::Done),
            "mcp_list_tools.failed" | "response.mcp_call.failed" => self.remote_tool(Progress::Failed),
            kind if is_noted(kind, quirks) => ServerEvent::Noted,
            _ => ServerEvent::Unknown,
        })
    }

    fn audio_delta(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let audio = self.delta.take().ok_or_else(|| self.lacks("delta"))?.0;
        Ok(ServerEvent::AudioDelta {
            part: self.part()?,
            audio,
        })
    }

    fn agent_transcript_delta(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let text = self.delta.take().ok_or_else(|| self.lacks("delta"))?.0;
        Ok(ServerEvent::AgentTranscriptDelta {
            part: self.part()?,
            text,
        })
    }

    fn agent_transcript(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let text = self.transcript.take().ok_or_else(|| self.lacks("transcript"))?.0;
        Ok(ServerEvent::AgentTranscript {
            part: self.part()?,
            text,
        })
    }

    fn agent_text(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let text = self.text.take().ok_or_else(|| self.lacks("text"))?.0;
        Ok(ServerEvent::AgentText {
            part: self.part()?,
            text,
        })
    }

    fn caller_transcript_delta(mut self) -> ServerEvent<'a> {
        match self.delta.take() {
            Some(Text(text)) => ServerEvent::CallerTranscriptDelta {
                item: self.item(),
                text,
            },
            None => ServerEvent::Noted,
        }
    }

    fn caller_transcript(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let text = self.transcript.take().ok_or_else(|| self.lacks("transcript"))?.0;
        let item = id(self.item_id.take()).ok_or_else(|| self.lacks("item_id"))?;
        let usage = self.usage.as_ref().map(transcription_usage).unwrap_or_default();
        Ok(ServerEvent::CallerTranscript { item, text, usage })
    }

    /// The example in the official description has a blank before the type; here it is the key that matters.
    fn key(self) -> ServerEvent<'a> {
        let key = self.event.as_ref().and_then(Value::as_str).unwrap_or_default();
        let mut letters = key.chars();
        match (letters.next(), letters.next()) {
            (Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => ServerEvent::Key(key),
            _ => ServerEvent::Noted,
        }
    }

    fn remote_tool(self, progress: Progress) -> ServerEvent<'a> {
        ServerEvent::RemoteTool {
            item: self.item(),
            progress,
        }
    }

    fn response_created(self) -> Result<ServerEvent<'a>, Malformed> {
        let id = member_id(self.response.as_ref(), "id").ok_or_else(|| self.lacks("response.id"))?;
        Ok(ServerEvent::ResponseCreated { id: id.to_owned() })
    }

    fn response_done(self, quirks: &Quirks) -> Result<ServerEvent<'a>, Malformed> {
        let id = member_id(self.response.as_ref(), "id").ok_or_else(|| self.lacks("response.id"))?;
        let response = self.response.as_ref();
        let error = response.and_then(|response| response.pointer("/status_details/error"));
        let status = response
            .and_then(|response| response.get("status"))
            .and_then(Value::as_str);
        Ok(ServerEvent::ResponseDone(ResponseDone {
            id: id.to_owned(),
            status: words(status.unwrap_or_default()),
            calls: if quirks.calls_in_done {
                calls(response)
            } else {
                Vec::new()
            },
            usage: response
                .and_then(|response| response.get("usage"))
                .map(usage)
                .unwrap_or_default(),
            error: error
                .filter(|error| error.is_object())
                .map(|error| server_error(Some(error))),
        }))
    }

    fn arguments_delta(mut self) -> ServerEvent<'a> {
        match (id(self.response_id.take()), id(self.call_id.take()), self.delta.take()) {
            (Some(response), Some(call), Some(Text(delta))) => {
                ServerEvent::ToolArgumentsDelta { response, call, delta }
            }
            _ => ServerEvent::Noted,
        }
    }

    /// A server that leaves the name out here says it in the item's own event.
    fn arguments_done(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let Some(name) = id(self.name.take()) else {
            return Ok(ServerEvent::Noted);
        };
        let call = id(self.call_id.take()).ok_or_else(|| self.lacks("call_id"))?;
        let arguments = self.arguments.take().ok_or_else(|| self.lacks("arguments"))?.0;
        let response = id(self.response_id.take()).ok_or_else(|| self.lacks("response_id"))?;
        Ok(ServerEvent::ToolCall {
            response,
            call,
            name,
            arguments,
        })
    }

    fn item_done(mut self) -> Result<ServerEvent<'a>, Malformed> {
        let item = self.item.take().unwrap_or_default();
        let word = |member: &str| item.get(member).and_then(Value::as_str);
        match word("type") {
            Some("mcp_approval_request") => return self.approval(&item),
            Some("function_call") if word("status") != Some("incomplete") => {}
            _ => return Ok(ServerEvent::Noted),
        }
        let called = call(&item).ok_or_else(|| self.lacks("item.call_id, item.name or item.arguments"))?;
        let response = id(self.response_id.take()).ok_or_else(|| self.lacks("response_id"))?;
        Ok(ServerEvent::ToolCall {
            response,
            call: called.id.into(),
            name: called.name.into(),
            arguments: called.arguments.into(),
        })
    }

    fn approval(&self, item: &Value) -> Result<ServerEvent<'a>, Malformed> {
        let word = |member: &str| item.get(member).and_then(Value::as_str).map(words).unwrap_or_default();
        Ok(ServerEvent::Approval {
            request: member_id(Some(item), "id")
                .ok_or_else(|| self.lacks("item.id"))?
                .to_owned(),
            server: word("server_label"),
            name: word("name"),
            arguments: word("arguments"),
        })
    }

    /// The item, where an event is worth telling without it.
    fn item(self) -> Cow<'a, str> {
        id(self.item_id).unwrap_or_default()
    }

    fn part(mut self) -> Result<PartName<'a>, Malformed> {
        let response = id(self.response_id.take()).ok_or_else(|| self.lacks("response_id"))?;
        let item = id(self.item_id.take()).ok_or_else(|| self.lacks("item_id"))?;
        Ok(PartName {
            response,
            item,
            content_index: self.content_index.unwrap_or(0),
        })
    }

    fn lacks(&self, field: &'static str) -> Malformed {
        Malformed::Field {
            kind: words(&self.kind),
            field,
        }
    }
}

/// A text that does not fit the frame is still ignored for what it is when its type asks nothing of us.
fn unreadable<'a>(text: &str, quirks: &Quirks, error: &serde_json::Error) -> Result<ServerEvent<'a>, Malformed> {
    let Ok(head) = serde_json::from_str::<Head>(text) else {
        return Err(Malformed::NotAnEvent(words(&error.to_string())));
    };
    if is_noted(ga_name(&head.kind, quirks), quirks) {
        return Ok(ServerEvent::Noted);
    }
    if is_read(&head.kind, quirks) {
        return Err(Malformed::Field {
            kind: words(&head.kind),
            field: "members",
        });
    }
    Ok(ServerEvent::Unknown)
}

/// The name that an event has here, whatever the server calls it.
fn ga_name<'k>(kind: &'k str, quirks: &Quirks) -> &'k str {
    if quirks.beta_names { beta::ga_name(kind) } else { kind }
}

fn is_noted(kind: &str, quirks: &Quirks) -> bool {
    NOTED.binary_search(&kind).is_ok() || quirks.noted.contains(&kind)
}

/// Whether [`Frame::into_event`] has an arm for this type: an empty frame of it is then anything but unknown.
fn is_read(kind: &str, quirks: &Quirks) -> bool {
    let empty = Frame {
        kind: kind.into(),
        ..Frame::default()
    };
    !matches!(empty.into_event(quirks), Ok(ServerEvent::Unknown))
}

fn id(text: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    text.map(|text| text.0).filter(|id| is_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::usage::Usage;

    fn read(text: &str) -> Result<ServerEvent<'_>, Malformed> {
        super::read(text, &Quirks::default())
    }

    #[test]
    fn every_sample_event_is_known_and_well_formed() {
        for line in SAMPLES.lines() {
            let event = read(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_ne!(event, ServerEvent::Unknown, "{line}");
        }
        assert_eq!(SAMPLES.lines().count(), 24);
    }

    #[test]
    fn the_audio_of_a_delta_is_borrowed_from_the_text() {
        let text = sample("response.output_audio.delta");
        let Ok(ServerEvent::AudioDelta { part, audio }) = read(&text) else {
            panic!("not a delta")
        };
        assert_eq!(
            (part.response.as_ref(), part.item.as_ref(), part.content_index),
            ("resp_1", "item_2", 0)
        );
        assert!(matches!(audio, Cow::Borrowed("//8=")));
    }

    #[test]
    fn unknown_events_and_fields_are_ignored() {
        assert_eq!(
            read(r#"{"type":"response.daydream","delta":{"deep":[1]}}"#),
            Ok(ServerEvent::Unknown)
        );
        let extra = r#"{"type":"input_audio_buffer.speech_started","obfuscation":"x","phase":{"a":null}}"#;
        assert_eq!(read(extra), Ok(ServerEvent::SpeechStarted { item: "".into() }));
        assert_eq!(
            read(r#"{"type":"conversation.item.added","item":3,"delta":4}"#),
            Ok(ServerEvent::Noted)
        );
    }

    #[test]
    fn an_event_without_what_it_must_have_says_what_is_missing() {
        let error = read(r#"{"type":"response.output_audio.delta","delta":"","item_id":"i"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the response.output_audio.delta event has no usable response_id"
        );
        let error = read(r#"{"type":"response.output_audio.delta","delta":7}"#).unwrap_err();
        assert!(matches!(error, Malformed::Field { field: "members", .. }));
        assert!(matches!(read("[]"), Err(Malformed::NotAnEvent(_))));
        assert!(matches!(read("{\"type\":"), Err(Malformed::NotAnEvent(_))));
    }

    #[test]
    fn ids_without_end_are_refused() {
        let long = "x".repeat(1000);
        assert!(
            read(&format!(
                r#"{{"type":"response.created","response":{{"id":"{long}"}}}}"#
            ))
            .is_err()
        );
    }

    #[test]
    fn usage_without_details_counts_as_text() {
        let text = r#"{"type":"response.done","response":{"id":"r","usage":{"input_tokens":7,"output_tokens":5}}}"#;
        let Ok(ServerEvent::ResponseDone(done)) = read(text) else {
            panic!("not done")
        };
        assert_eq!(
            done.usage,
            Usage {
                input_text_tokens: 7,
                output_text_tokens: 5,
                ..Usage::default()
            }
        );
    }

    #[test]
    fn an_error_names_the_event_of_ours_that_failed() {
        let text = r#"{"type":"error","error":{"type":"t","code":17,"message":null,"event_id":"patchcord_9"}}"#;
        let Ok(ServerEvent::Error(error)) = read(text) else {
            panic!("not an error")
        };
        let expected = ServerError {
            kind: "t".into(),
            code: "17".into(),
            message: "".into(),
            event_id: Some(9),
        };
        assert_eq!(error, expected);
        for text in [r#"{"type":"error","message":"no"}"#, r#"{"type":"error","error":"no"}"#] {
            assert!(
                matches!(read(text), Ok(ServerEvent::Error(error)) if error.message == "no"),
                "{text}"
            );
        }
    }

    #[test]
    fn mutated_events_never_panic() {
        let mut state = 7u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let lines: Vec<&str> = SAMPLES.lines().collect();
        for _ in 0..5_000 {
            let mut bytes = lines[random() % lines.len()].as_bytes().to_vec();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                match random() % 3 {
                    0 => bytes[at] = b"{}[]\",:0-\\ntf/"[random() % 14],
                    1 => bytes.truncate(at.max(1)),
                    _ => drop(bytes.splice(at..at, *b"null")),
                }
            }
            let _ = read(&String::from_utf8_lossy(&bytes));
        }
    }

    const SAMPLES: &str = include_str!("../../../tests/data/realtime/ga_server.jsonl");

    fn sample(kind: &str) -> String {
        let found = SAMPLES
            .lines()
            .find(|line| line.contains(&format!("\"type\": \"{kind}\"")));
        found.expect("a sample of that type").to_owned()
    }
}
