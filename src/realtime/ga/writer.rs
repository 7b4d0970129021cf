//! Writes the client's events.

use serde_json::{Value, json};

use crate::audio::Law;
use crate::realtime::{
    audio::AudioFormat,
    event::ClientEvent,
    history::{HistoryItem, Speaker},
    settings::{Settings, ToolSpec},
};

use super::EVENT_ID_PREFIX;

const APPEND_PREFIX: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
const APPEND_SUFFIX: &str = "\"}";

/// Writes one event.
pub fn write(event_id: u64, event: &ClientEvent<'_>) -> String {
    let mut json = match event {
        ClientEvent::Configure(settings, format) => configure(settings, *format),
        ClientEvent::Recall(item) => recall(item),
        ClientEvent::Say(text) => create_item(message(Speaker::Caller, text)),
        ClientEvent::ToolResult { call, output } => tool_result(call, output),
        ClientEvent::Truncate {
            item,
            content_index,
            audio_end_ms,
        } => truncate(item, *content_index, *audio_end_ms),
        ClientEvent::Respond { instructions } => respond(*instructions),
        ClientEvent::Cancel { response } => json!({ "type": "response.cancel", "response_id": response }),
    };
    json["event_id"] = format!("{EVENT_ID_PREFIX}{event_id}").into();
    json.to_string()
}

/// Writes one frame of caller audio by hand: it is sent fifty times a second, and base64 needs no escaping.
pub fn write_append(format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
    scratch.clear();
    format.encode(pcm, scratch);
    text.clear();
    text.push_str(APPEND_PREFIX);
    base64_simd::STANDARD.encode_append(scratch.as_slice(), text);
    text.push_str(APPEND_SUFFIX);
}

/// Members that are not set are left out: `null` would switch something off.
fn configure(settings: &Settings, format: AudioFormat) -> Value {
    let mut input = json!({ "format": format_object(format) });
    if !settings.turn_detection.is_null() {
        input["turn_detection"] = settings.turn_detection.clone();
    }
    if let Some(transcription) = &settings.transcription {
        input["transcription"] = transcription.clone();
    }
    let mut output = json!({ "format": format_object(format) });
    if !settings.voice.is_empty() {
        output["voice"] = settings.voice.as_str().into();
    }
    let mut session = json!({
        "type": "realtime",
        "instructions": settings.instructions,
        "output_modalities": ["audio"],
        "audio": { "input": input, "output": output },
        "tools": settings.tools.iter().map(tool).collect::<Vec<_>>(),
    });
    if !settings.model.is_empty() {
        session["model"] = settings.model.as_str().into();
    }
    json!({ "type": "session.update", "session": session })
}

/// How this dialect names a format. The rate of PCM must be said, and that of G.711 must not: the official server
/// refuses either.
pub fn format_object(format: AudioFormat) -> Value {
    match format {
        AudioFormat::Pcm16(rate) => json!({ "type": "audio/pcm", "rate": rate.hz() }),
        AudioFormat::G711(Law::Mu) => json!({ "type": "audio/pcmu" }),
        AudioFormat::G711(Law::A) => json!({ "type": "audio/pcma" }),
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    })
}

fn recall(item: &HistoryItem) -> Value {
    match item {
        HistoryItem::Said { who, text } => create_item(message(*who, text)),
        HistoryItem::Called { call, name, arguments } => create_item(tool_call(call, name, arguments)),
        HistoryItem::Answered { call, output } => tool_result(call, output),
    }
}

fn create_item(item: Value) -> Value {
    json!({ "type": "conversation.item.create", "item": item })
}

/// What an agent said can only be recalled as text: the server makes no assistant audio from items.
fn message(who: Speaker, text: &str) -> Value {
    let kind = match who {
        Speaker::Caller => "input_text",
        Speaker::Agent => "output_text",
    };
    json!({ "type": "message", "role": who.role(), "content": [{ "type": kind, "text": text }] })
}

fn tool_call(call: &str, name: &str, arguments: &str) -> Value {
    json!({ "type": "function_call", "call_id": call, "name": name, "arguments": arguments })
}

fn tool_result(call: &str, output: &str) -> Value {
    create_item(json!({ "type": "function_call_output", "call_id": call, "output": output }))
}

fn truncate(item: &str, content_index: u32, audio_end_ms: u32) -> Value {
    json!({
        "type": "conversation.item.truncate",
        "item_id": item,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    })
}

fn respond(instructions: Option<&str>) -> Value {
    match instructions {
        Some(instructions) => json!({ "type": "response.create", "response": { "instructions": instructions } }),
        None => json!({ "type": "response.create" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_the_json_that_a_library_would_write() {
        let pcm: Vec<i16> = (0..480).map(|n: i16| n.wrapping_mul(977)).collect();
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut text = "of before".to_owned();
        write_append(AudioFormat::PCM_24K, &pcm, &mut Vec::new(), &mut text);
        let json: Value = serde_json::from_str(&text).unwrap();
        let audio = base64_simd::STANDARD.encode_to_string(bytes);
        assert_eq!(json, json!({ "type": "input_audio_buffer.append", "audio": audio }));
    }

    #[test]
    fn what_is_not_set_is_left_out_rather_than_null() {
        let text = write(1, &ClientEvent::Configure(&Settings::default(), AudioFormat::PCM_24K));
        assert!(!text.contains("null"), "{text}");
        for absent in ["model", "voice", "turn_detection", "transcription"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }

    #[test]
    fn turn_detection_passes_through_as_it_is() {
        let turn_detection = json!({ "type": "semantic_vad", "eagerness": "low", "create_response": false });
        let settings = Settings {
            turn_detection: turn_detection.clone(),
            ..Settings::default()
        };
        let json: Value =
            serde_json::from_str(&write(1, &ClientEvent::Configure(&settings, AudioFormat::PCM_24K))).unwrap();
        assert_eq!(
            json.pointer("/session/audio/input/turn_detection"),
            Some(&turn_detection)
        );
        assert_eq!(
            json.pointer("/session/audio/input/format"),
            Some(&format_object(AudioFormat::PCM_24K))
        );
        assert_eq!(
            json.pointer("/session/audio/output/format"),
            Some(&format_object(AudioFormat::PCM_24K))
        );
        assert_eq!(json.pointer("/session/type"), Some(&json!("realtime")));
    }

    #[test]
    fn an_agent_is_recalled_as_output_text() {
        let item = HistoryItem::Said {
            who: Speaker::Agent,
            text: "said \"so\"".to_owned(),
        };
        let json: Value = serde_json::from_str(&write(4, &ClientEvent::Recall(&item))).unwrap();
        let content = json!([{ "type": "output_text", "text": "said \"so\"" }]);
        assert_eq!(json.pointer("/item/content"), Some(&content));
        assert_eq!(json["event_id"], "patchcord_4");
    }
}
