//! Writes the client's events.
//!
//! The session is said in one piece at its start, what was said before it included. Later on there are only words to
//! append: some to be spoken of, some to be thought of, some to be obeyed.

use serde_json::{Value, json};

use crate::realtime::{
    audio::AudioFormat,
    event::ClientEvent,
    ga::{
        format_object,
        writer::{numbered, set, set_some, tools, write_audio},
    },
    history::{HistoryItem, Speaker},
    quirks::Quirks,
    settings::{Settings, ToolSpec},
};

const APPEND_PREFIX: &str = r#"{"type":"session.input_audio.append","audio":""#;

/// The longest text that is appended, in bytes; the rest is cut off. The server takes 500 tokens, and a token of any
/// language is about three bytes at least.
const APPEND_BYTES_MAX: usize = 1_500;

/// Messages of the conversation before that a session is told; the server takes no more.
const INPUT_MAX: usize = 128;

/// Bytes of them; the server takes 8192 tokens. Past it the oldest are left out.
const INPUT_BYTES_MAX: usize = 24 * 1024;

/// Writes one event; none when there is nothing like it.
pub fn write(event_id: u64, event: &ClientEvent<'_>) -> Option<String> {
    let json = match event {
        ClientEvent::Configure(settings, format) => start(settings, *format),
        ClientEvent::Say(text) => append(
            "instructions",
            &format!("The caller has sent this without speaking, react to it now: {text}"),
        ),
        ClientEvent::Recall(item) => append("thinking", &before(item)),
        ClientEvent::ToolResult { call, output } => tool_result(call, output),
        ClientEvent::Truncate { audio_end_ms, .. } => append("thinking", &cut_off(*audio_end_ms)),
        ClientEvent::Respond {
            instructions: Some(words),
        } => append("commentary", words),
        ClientEvent::Respond { instructions: None } => json!({ "type": "response.create" }),
        ClientEvent::Update {
            instructions: Some(words),
            ..
        } => append("instructions", words),
        ClientEvent::Update { tools: Some(tools), .. } => change_tools(tools),
        // What there is no word for: the conversation is the server's, and so are its turns.
        ClientEvent::Cancel { .. }
        | ClientEvent::Update { .. }
        | ClientEvent::Commit
        | ClientEvent::ClearInput
        | ClientEvent::Delete { .. }
        | ClientEvent::Retrieve { .. }
        | ClientEvent::Approve { .. } => return None,
    };
    Some(numbered(json, event_id))
}

/// Writes one frame of caller audio.
pub fn write_append(format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
    write_audio(APPEND_PREFIX, format, pcm, scratch, text);
}

/// The server refuses members it does not know, so that nothing is said that is not set.
fn start(settings: &Settings, format: AudioFormat) -> Value {
    let mut audio = json!({ "format": rated(format) });
    if !settings.voice.is_empty() {
        audio["output"] = json!({ "voice": settings.voice });
    }
    let mut session = json!({ "model": settings.model, "audio": audio, "store": false });
    set(&mut session, "instructions", settings.instructions.as_str().into());
    let input = input(&settings.history);
    set_some(&mut session, "input", (!input.is_empty()).then(|| input.into()));
    if !settings.tools.is_empty() && !settings.delegation_model.is_empty() {
        let mut responses = json!({
            "model": settings.delegation_model,
            "tools": tools(&settings.tools, &Quirks::default()),
        });
        set(&mut responses, "instructions", settings.instructions.as_str().into());
        session["delegation"] = json!({ "type": "responses", "responses": responses });
    }
    json!({ "type": "session.start", "session": session })
}

/// Here G.711 says its rate as well.
fn rated(format: AudioFormat) -> Value {
    let mut object = format_object(format);
    object["rate"] = format.rate().hz().into();
    object
}

/// The newest of what was said that fits.
fn input(history: &[HistoryItem]) -> Vec<Value> {
    let mut bytes = 0;
    let fits = |(_, text): &(Speaker, String)| {
        bytes += text.len();
        bytes <= INPUT_BYTES_MAX
    };
    let newest = history.iter().rev().take(INPUT_MAX).map(remembered).take_while(fits);
    let mut messages: Vec<Value> = newest.map(|(who, text)| message(who, &text)).collect();
    messages.reverse();
    messages
}

/// There are no tools in what a session is told of before; they are remembered in words.
fn remembered(item: &HistoryItem) -> (Speaker, String) {
    match item {
        HistoryItem::Said { who, text } => (*who, text.clone()),
        HistoryItem::Called { name, arguments, .. } => (Speaker::Agent, format!("(called {name} with {arguments})")),
        HistoryItem::Answered { output, .. } => (Speaker::Agent, format!("(was answered: {output})")),
    }
}

/// The same where the session has been started already.
fn before(item: &HistoryItem) -> String {
    let (who, text) = remembered(item);
    let who = match who {
        Speaker::Caller => "the caller",
        Speaker::Agent => "you",
    };
    format!("Earlier in this call {who} said: {text}")
}

fn message(who: Speaker, text: &str) -> Value {
    let kind = match who {
        Speaker::Caller => "input_text",
        Speaker::Agent => "output_text",
    };
    json!({ "type": "message", "role": who.role(), "content": [{ "type": kind, "text": text }] })
}

fn change_tools(specs: &[ToolSpec]) -> Value {
    let responses = json!({ "tools": tools(specs, &Quirks::default()) });
    json!({ "type": "session.update", "session": { "delegation": { "type": "responses", "responses": responses } } })
}

fn append(channel: &str, text: &str) -> Value {
    let content = &text[..text.floor_char_boundary(APPEND_BYTES_MAX)];
    json!({ "type": format!("session.{channel}.append"), "content": content, "delegation_id": null })
}

fn cut_off(heard_ms: u32) -> String {
    let (seconds, tenths) = (heard_ms / 1_000, heard_ms / 100 % 10);
    format!("The caller cut in and heard only the first {seconds}.{tenths} seconds of what you were saying.")
}

fn tool_result(call: &str, output: &str) -> Value {
    json!({
        "type": "response.item.create",
        "item": { "type": "function_call_output", "call_id": call, "output": output },
    })
}
