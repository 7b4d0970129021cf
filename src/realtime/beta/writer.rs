//! Writes the client's events: those of `ga`, with a flat session and the older names of content.

use serde_json::{Value, json};

use crate::realtime::{
    audio::AudioFormat,
    event::ClientEvent,
    ga::writer::{self as ga, numbered},
    history::{HistoryItem, Speaker},
    quirks::{FormatWord, Quirks},
    settings::Settings,
};

/// Writes one event; none when there is nothing like it.
pub fn write(event_id: u64, event: &ClientEvent<'_>, quirks: &Quirks) -> Option<String> {
    let json = match event {
        ClientEvent::Configure(settings, format) => update(configure(settings, *format, quirks)),
        ClientEvent::Update {
            instructions,
            tools,
            turn_detection,
        } => {
            let mut session = json!({});
            ga::set_some(&mut session, "instructions", instructions.map(Value::from));
            ga::set_some(&mut session, "tools", tools.map(|tools| ga::tools(tools, quirks)));
            ga::set_some(&mut session, "turn_detection", turn_detection.cloned());
            update(session)
        }
        ClientEvent::Recall(HistoryItem::Said {
            who: Speaker::Agent,
            text,
        }) => said(text),
        _ => return ga::write(event_id, event, quirks),
    };
    Some(numbered(json, event_id))
}

/// Members that are not set are left out: `null` would switch something off.
fn configure(settings: &Settings, format: AudioFormat, quirks: &Quirks) -> Value {
    let input = word(quirks.input_words, quirks.input_format(format));
    let mut session = json!({
        "modalities": ["text", "audio"],
        "instructions": settings.instructions,
        "input_audio_format": input,
        "output_audio_format": word(quirks.output_words, format),
        "tools": ga::tools(&settings.tools, quirks),
    });
    ga::set(&mut session, "voice", settings.voice.as_str().into());
    ga::set(&mut session, "model", settings.model.as_str().into());
    ga::set(&mut session, "turn_detection", settings.turn_detection.clone());
    ga::set_some(
        &mut session,
        "input_audio_transcription",
        settings.transcription.clone(),
    );
    session
}

/// A format without a word is asked for by the name it has elsewhere, so that the server says what it thinks of it.
fn word(words: &[FormatWord], format: AudioFormat) -> String {
    let known = words.iter().find(|(_, known)| *known == format);
    known.map_or_else(|| format.to_string(), |(word, _)| (*word).to_owned())
}

fn update(session: Value) -> Value {
    json!({ "type": "session.update", "session": session })
}

/// What the agent said is `text` here, and not `output_text`.
fn said(text: &str) -> Value {
    let content = json!([{ "type": "text", "text": text }]);
    ga::create_item(json!({ "type": "message", "role": Speaker::Agent.role(), "content": content }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::{Law, SampleRate},
        realtime::{Dialect, ToolSpec},
    };

    #[test]
    fn the_session_is_flat() {
        let settings = Settings {
            instructions: "Be brief.".to_owned(),
            voice: "sage".to_owned(),
            turn_detection: json!({ "type": "server_vad" }),
            transcription: Some(json!({ "model": "whisper-1" })),
            ..Settings::default()
        };
        let expected = json!({
            "modalities": ["text", "audio"],
            "instructions": "Be brief.",
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "voice": "sage",
            "turn_detection": { "type": "server_vad" },
            "input_audio_transcription": { "model": "whisper-1" },
            "tools": [],
        });
        assert_eq!(configured(&settings, AudioFormat::G711(Law::Mu), "openai"), expected);
    }

    #[test]
    fn a_backend_that_hears_at_another_rate_than_it_speaks_is_told_both() {
        let settings = Settings {
            tools: vec![ToolSpec {
                name: "f".to_owned(),
                description: "d".to_owned(),
                parameters: json!({}),
            }],
            ..Settings::default()
        };
        let session = configured(&settings, AudioFormat::PCM_24K, "dashscope");
        assert_eq!(
            (&session["input_audio_format"], &session["output_audio_format"]),
            (&json!("pcm"), &json!("pcm"))
        );
        assert_eq!(session.pointer("/tools/0/function/name"), Some(&json!("f")));
        assert_eq!(word(&[], AudioFormat::Pcm16(SampleRate::Hz16000)), "16 kHz audio/pcm");
    }

    #[test]
    fn an_agent_is_recalled_as_text() {
        let item = HistoryItem::Said {
            who: Speaker::Agent,
            text: "so".to_owned(),
        };
        let json = written(&ClientEvent::Recall(&item));
        assert_eq!(
            json.pointer("/item/content"),
            Some(&json!([{ "type": "text", "text": "so" }]))
        );
        let item = HistoryItem::Said {
            who: Speaker::Caller,
            text: "so".to_owned(),
        };
        let json = written(&ClientEvent::Recall(&item));
        assert_eq!(json.pointer("/item/content/0/type"), Some(&json!("input_text")));
    }

    fn configured(settings: &Settings, format: AudioFormat, vendor: &str) -> Value {
        let quirks = Quirks::of(vendor, Dialect::Beta).unwrap();
        configure(settings, format, &quirks)
    }

    fn written(event: &ClientEvent<'_>) -> Value {
        let quirks = Quirks::of("openai", Dialect::Beta).unwrap();
        serde_json::from_str(&write(1, event, &quirks).unwrap()).unwrap()
    }
}
