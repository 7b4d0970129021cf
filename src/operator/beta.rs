//! The beta dialect at the operator's edge: what a client says is brought into the GA shapes, what the operator says into
//! the beta ones. Everything between the two edges knows one dialect.

use serde_json::{Map, Value, json};

use super::{error::Refusal, field::Field};
use crate::realtime::{AudioFormat, beta_name, quirks::Quirks};

/// What the sessions of this dialect always had.
const TEMPERATURE: f64 = 0.8;

/// Where a flat member of the session stands in a nested one.
const PLACES: &[(&str, &[&str])] = &[
    ("modalities", &["output_modalities"]),
    ("voice", &["audio", "output", "voice"]),
    ("speed", &["audio", "output", "speed"]),
    ("input_audio_format", &["audio", "input", "format"]),
    ("output_audio_format", &["audio", "output", "format"]),
    ("input_audio_transcription", &["audio", "input", "transcription"]),
    ("input_audio_noise_reduction", &["audio", "input", "noise_reduction"]),
    ("turn_detection", &["audio", "input", "turn_detection"]),
    ("max_response_output_tokens", &["max_output_tokens"]),
];

/// Members of a GA session that this dialect does not have.
const NOT_FLAT: &[&str] = &["type", "audio", "output_modalities", "max_output_tokens"];

/// Brings an event of the client into the shape of `ga`.
pub fn inbound(mut event: Value) -> Result<Value, Refusal> {
    match event.get("type").and_then(Value::as_str) {
        Some("session.update") => {
            let session = nested(&Field::new("session", event.get("session").unwrap_or(&Value::Null)))?;
            event["session"] = session;
            event["session"]["type"] = "realtime".into();
        }
        Some("response.create") if event.get("response").is_some_and(Value::is_object) => {
            let response = nested(&Field::new("response", event.get("response").unwrap_or(&Value::Null)))?;
            event["response"] = response;
        }
        _ => {}
    }
    Ok(event)
}

/// Brings an event of the operator into the shape of `beta`; none when there is no such event there.
pub fn outbound<'k>(kind: &'k str, body: &Value) -> Option<(&'k str, Value)> {
    let mut body = body.clone();
    match kind {
        // Created once, and neither added nor done.
        "conversation.item.done" | "input_audio_buffer.timeout_triggered" => return None,
        "response.function_call_arguments.done" => drop(remove(&mut body, "name")),
        "session.created" | "session.updated" => body["session"] = session(body["session"].take()),
        "response.created" | "response.done" => body["response"] = response(body["response"].take()),
        _ => {}
    }
    if let Some(item) = body.get_mut("item") {
        rename_content(item);
    }
    Some((beta_name(kind), body))
}

fn nested(flat: &Field<'_>) -> Result<Value, Refusal> {
    let mut nested = json!({});
    for (name, member) in flat.members()? {
        let value = match name {
            "modalities" => modalities(&member)?,
            "input_audio_format" | "output_audio_format" => format(&member)?,
            "temperature" => {
                member.number(0.6..=1.2)?;
                continue;
            }
            name if NOT_FLAT.contains(&name) && member.path().starts_with("session") => return Err(member.unknown()),
            _ => member.value().clone(),
        };
        let place = PLACES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
        place
            .unwrap_or(&[name])
            .iter()
            .fold(&mut nested, |at, step| &mut at[*step])
            .clone_from(&value);
    }
    Ok(nested)
}

/// Audio never comes without text here.
fn modalities(field: &Field<'_>) -> Result<Value, Refusal> {
    let words = field
        .elements()?
        .map(|word| word.one_of(&["audio", "text"]))
        .collect::<Result<Vec<_>, _>>()?;
    match (words.contains(&"audio"), words.contains(&"text")) {
        (true, true) => Ok(json!(["audio"])),
        (false, true) => Ok(json!(["text"])),
        _ => {
            Err(field
                .invalid("Invalid modalities: ['audio']. Supported combinations are: ['text'] and ['audio', 'text']."))
        }
    }
}

fn format(field: &Field<'_>) -> Result<Value, Refusal> {
    let word = field.one_of(&["pcm16", "g711_ulaw", "g711_alaw"])?;
    let known = words().iter().find(|(known, _)| *known == word);
    Ok(known.map_or(Value::Null, |(_, format)| super::format::to_json(*format)))
}

/// The words for formats, which the client's side of the dialect knows.
fn words() -> &'static [(&'static str, AudioFormat)] {
    Quirks::default().input_words
}

fn session(mut nested: Value) -> Value {
    let mut flat = Map::new();
    for member in [
        "id",
        "object",
        "model",
        "expires_at",
        "instructions",
        "tools",
        "tool_choice",
    ] {
        flat.insert(member.to_owned(), nested[member].take());
    }
    for (member, place) in PLACES {
        let pointer = format!("/{}", place.join("/"));
        flat.insert(
            (*member).to_owned(),
            nested.pointer_mut(&pointer).map(Value::take).unwrap_or_default(),
        );
    }
    flat.insert("temperature".to_owned(), TEMPERATURE.into());
    let mut flat = Value::Object(flat);
    flatten_audio(&mut flat);
    flat
}

fn response(mut response: Value) -> Value {
    let output = remove(&mut response, "audio").and_then(|mut audio| audio.get_mut("output").map(Value::take));
    let mut output = output.unwrap_or_default();
    response["modalities"] = remove(&mut response, "output_modalities").unwrap_or_default();
    response["voice"] = output["voice"].take();
    response["output_audio_format"] = output["format"].take();
    response["temperature"] = TEMPERATURE.into();
    flatten_audio(&mut response);
    if let Some(details) = response.pointer_mut("/usage/input_token_details") {
        for member in ["image_tokens", "cached_tokens_details"] {
            remove(details, member);
        }
    }
    for item in response["output"].as_array_mut().into_iter().flatten() {
        rename_content(item);
    }
    response
}

/// Words instead of objects, and text always beside audio.
fn flatten_audio(object: &mut Value) {
    for member in ["input_audio_format", "output_audio_format"] {
        if let Some(format) = object.get_mut(member) {
            let known = words()
                .iter()
                .find(|(_, known)| super::format::to_json(*known) == *format);
            *format = known.map_or(Value::Null, |(word, _)| (*word).into());
        }
    }
    if object["modalities"] == json!(["audio"]) {
        object["modalities"] = json!(["audio", "text"]);
    }
    if let Some(id) = object["voice"].get("id").cloned() {
        object["voice"] = id;
    }
}

fn rename_content(item: &mut Value) {
    let parts = item.get_mut("content").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        match part["type"].as_str() {
            Some("output_audio") => part["type"] = "audio".into(),
            Some("output_text") => part["type"] = "text".into(),
            _ => {}
        }
    }
}

fn remove(object: &mut Value, member: &str) -> Option<Value> {
    object.as_object_mut()?.remove(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_session_becomes_a_nested_one() {
        let flat = json!({
            "modalities": ["text", "audio"], "voice": "sage", "input_audio_format": "g711_ulaw", "temperature": 0.7,
            "turn_detection": null, "max_response_output_tokens": 7,
        });
        let event = inbound(json!({ "type": "session.update", "session": flat })).unwrap();
        let expected = json!({
            "type": "realtime", "output_modalities": ["audio"], "max_output_tokens": 7,
            "audio": {
                "input": { "format": { "type": "audio/pcmu" }, "turn_detection": null },
                "output": { "voice": "sage" },
            },
        });
        assert_eq!(event["session"], expected);
    }

    #[test]
    fn what_this_dialect_does_not_have_is_refused() {
        let refused = |session: Value| inbound(json!({ "type": "session.update", "session": session })).unwrap_err();
        assert_eq!(refused(json!({ "type": "realtime" })).code, "unknown_parameter");
        assert_eq!(refused(json!({ "modalities": ["audio"] })).code, "invalid_value");
        assert_eq!(
            refused(json!({ "input_audio_format": "audio/pcm" })).code,
            "invalid_value"
        );
    }

    #[test]
    fn an_item_is_created_once_with_the_older_names() {
        let body = json!({ "item": { "content": [{ "type": "output_audio", "transcript": "x" }] } });
        let (kind, event) = outbound("conversation.item.added", &body).unwrap();
        assert_eq!(
            (kind, &event["item"]["content"][0]["type"]),
            ("conversation.item.created", &json!("audio"))
        );
        assert_eq!(outbound("conversation.item.done", &body), None);
    }
}
