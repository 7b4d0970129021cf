//! Writes the client's events.

use serde_json::{Value, json};

use crate::audio::Law;
use crate::realtime::{
    audio::AudioFormat,
    event::ClientEvent,
    history::{HistoryItem, Speaker},
    quirks::Quirks,
    settings::{Settings, ToolSpec},
};

use super::EVENT_ID_PREFIX;

const APPEND_PREFIX: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
const APPEND_SUFFIX: &str = "\"}";

/// Writes one event; none when this backend has nothing like it.
pub fn write(event_id: u64, event: &ClientEvent<'_>, quirks: &Quirks) -> Option<String> {
    let json = match event {
        ClientEvent::Configure(settings, format) => configure(settings, *format, quirks),
        ClientEvent::Recall(item) => recall(item),
        ClientEvent::Say(text) => create_item(message(Speaker::Caller, text)),
        ClientEvent::ToolResult { call, output } => tool_result(call, output),
        ClientEvent::Truncate { .. } if !quirks.truncates => return None,
        ClientEvent::Truncate {
            item,
            content_index,
            audio_end_ms,
        } => truncate(item, *content_index, *audio_end_ms),
        ClientEvent::Respond { instructions } => respond(*instructions),
        ClientEvent::Cancel { response } => json!({ "type": "response.cancel", "response_id": response }),
        ClientEvent::Update {
            instructions,
            tools,
            turn_detection,
        } => update(*instructions, *tools, *turn_detection, quirks),
        ClientEvent::Commit => json!({ "type": "input_audio_buffer.commit" }),
        ClientEvent::ClearInput => json!({ "type": "input_audio_buffer.clear" }),
        ClientEvent::Delete { item } => json!({ "type": "conversation.item.delete", "item_id": item }),
        ClientEvent::Retrieve { item } => json!({ "type": "conversation.item.retrieve", "item_id": item }),
        ClientEvent::Approve {
            request,
            approve,
            reason,
        } => approval(request, *approve, reason),
    };
    Some(numbered(json, event_id))
}

/// The event with its number, which comes back in the server's error when it fails.
pub fn numbered(mut event: Value, event_id: u64) -> String {
    event["event_id"] = format!("{EVENT_ID_PREFIX}{event_id}").into();
    event.to_string()
}

/// Writes one frame of caller audio by hand: it is sent fifty times a second, and base64 needs no escaping.
pub fn write_append(format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
    write_audio(APPEND_PREFIX, format, pcm, scratch, text);
}

/// The same under another name.
pub fn write_audio(prefix: &str, format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
    scratch.clear();
    format.encode(pcm, scratch);
    text.clear();
    text.push_str(prefix);
    base64_simd::STANDARD.encode_append(scratch.as_slice(), text);
    text.push_str(APPEND_SUFFIX);
}

/// Members that are not set are left out: `null` would switch something off.
fn configure(settings: &Settings, format: AudioFormat, quirks: &Quirks) -> Value {
    let mut input = json!({ "format": format_object(quirks.input_format(format)) });
    let mut output = json!({ "format": format_object(format) });
    set_some(&mut input, "transcription", settings.transcription.clone());
    let mut session = json!({
        "type": "realtime",
        "instructions": settings.instructions,
        "output_modalities": ["audio"],
        "tools": tools(&settings.tools, quirks),
    });
    let (place_of_turns, place_of_voice) = match quirks.top_level {
        true => (None, None),
        false => (Some(&mut input), Some(&mut output)),
    };
    set(
        place_of_turns.unwrap_or(&mut session),
        "turn_detection",
        settings.turn_detection.clone(),
    );
    set(
        place_of_voice.unwrap_or(&mut session),
        "voice",
        settings.voice.as_str().into(),
    );
    session["audio"] = json!({ "input": input, "output": output });
    set(&mut session, "model", settings.model.as_str().into());
    json!({ "type": "session.update", "session": session })
}

fn update(
    instructions: Option<&str>,
    new_tools: Option<&[ToolSpec]>,
    turn_detection: Option<&Value>,
    quirks: &Quirks,
) -> Value {
    let mut session = json!({ "type": "realtime" });
    set_some(&mut session, "instructions", instructions.map(Value::from));
    set_some(&mut session, "tools", new_tools.map(|new| tools(new, quirks)));
    if let Some(turn_detection) = turn_detection {
        match quirks.top_level {
            true => session["turn_detection"] = turn_detection.clone(),
            false => session["audio"] = json!({ "input": { "turn_detection": turn_detection } }),
        }
    }
    json!({ "type": "session.update", "session": session })
}

/// Sets a member, unless it is null or an empty text.
pub fn set(object: &mut Value, member: &str, value: Value) {
    if !value.is_null() && value.as_str() != Some("") {
        object[member] = value;
    }
}

/// Sets a member if there is one, whatever it is.
pub fn set_some(object: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[member] = value;
    }
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

/// The tools as this backend wants them named.
pub fn tools(tools: &[ToolSpec], quirks: &Quirks) -> Value {
    tools.iter().map(|spec| tool(spec, quirks)).collect()
}

fn tool(tool: &ToolSpec, quirks: &Quirks) -> Value {
    let mut function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    if quirks.nested_tools {
        return json!({ "type": "function", "function": function });
    }
    function["type"] = "function".into();
    function
}

fn recall(item: &HistoryItem) -> Value {
    match item {
        HistoryItem::Said { who, text } => create_item(message(*who, text)),
        HistoryItem::Called { call, name, arguments } => create_item(tool_call(call, name, arguments)),
        HistoryItem::Answered { call, output } => tool_result(call, output),
    }
}

/// An item at the end of the conversation.
pub fn create_item(item: Value) -> Value {
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

fn approval(request: &str, approve: bool, reason: &str) -> Value {
    let mut item = json!({
        "type": "mcp_approval_response",
        // Every item needs an id of this kind; the request's own makes one that is new.
        "id": format!("{request}_answer"),
        "approval_request_id": request,
        "approve": approve,
    });
    set(&mut item, "reason", reason.into());
    create_item(item)
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
        let text = configured(&Settings::default(), "openai").to_string();
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
        let session = configured(&settings, "openai");
        assert_eq!(session.pointer("/audio/input/turn_detection"), Some(&turn_detection));
        let format = format_object(AudioFormat::PCM_24K);
        assert_eq!(session.pointer("/audio/input/format"), Some(&format));
        assert_eq!(session.pointer("/audio/output/format"), Some(&format));
        assert_eq!(session["type"], "realtime");
    }

    #[test]
    fn voice_and_turn_detection_stand_where_the_backend_looks_for_them() {
        let settings = Settings {
            voice: "Ara".to_owned(),
            turn_detection: json!({ "type": "server_vad" }),
            ..Settings::default()
        };
        let nested = configured(&settings, "openai");
        assert_eq!(nested.pointer("/audio/output/voice"), Some(&json!("Ara")));
        assert_eq!(nested.get("voice").or(nested.get("turn_detection")), None);
        let top = configured(&settings, "xai");
        assert_eq!(
            (&top["voice"], &top["turn_detection"]["type"]),
            (&json!("Ara"), &json!("server_vad"))
        );
        assert_eq!(
            top.pointer("/audio/output/voice")
                .or(top.pointer("/audio/input/turn_detection")),
            None
        );
    }

    #[test]
    fn an_agent_is_recalled_as_output_text() {
        let item = HistoryItem::Said {
            who: Speaker::Agent,
            text: "said \"so\"".to_owned(),
        };
        let json = written(4, &ClientEvent::Recall(&item));
        let content = json!([{ "type": "output_text", "text": "said \"so\"" }]);
        assert_eq!(json.pointer("/item/content"), Some(&content));
        assert_eq!(json["event_id"], "patchcord_4");
    }

    #[test]
    fn an_update_says_only_what_changes() {
        let update = |instructions, turn_detection| {
            let event = ClientEvent::Update {
                instructions,
                tools: None,
                turn_detection,
            };
            written(1, &event)["session"].take()
        };
        let expected = json!({ "type": "realtime", "instructions": "" });
        assert_eq!(update(Some(""), None), expected);
        let off = json!({ "type": "realtime", "audio": { "input": { "turn_detection": null } } });
        assert_eq!(update(None, Some(&Value::Null)), off);
    }

    fn configured(settings: &Settings, vendor: &str) -> Value {
        let quirks = Quirks::of(vendor, crate::realtime::Dialect::Ga).unwrap();
        configure(settings, AudioFormat::PCM_24K, &quirks)["session"].take()
    }

    fn written(event_id: u64, event: &ClientEvent<'_>) -> Value {
        serde_json::from_str(&write(event_id, event, &Quirks::default()).unwrap()).unwrap()
    }
}
