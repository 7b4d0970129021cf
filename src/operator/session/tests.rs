//! What `session.update` takes, refuses and echoes.

use super::*;

#[test]
fn an_update_is_deep_and_partial() {
    let session = updated(json!({
        "type": "realtime",
        "instructions": "Be brief.",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}},
    }))
    .unwrap();
    let next = session
        .updated(
            &Field::new(
                "session",
                &json!({"type": "realtime", "audio": {"output": {"speed": 1.25}}}),
            ),
            false,
        )
        .unwrap()
        .to_json();
    assert_eq!(next["instructions"], "Be brief.");
    assert_eq!(next["audio"]["input"]["turn_detection"]["silence_duration_ms"], 300);
    assert_eq!(next["audio"]["input"]["turn_detection"]["interrupt_response"], true);
    assert_eq!(next["audio"]["output"]["speed"], 1.25);
    assert_eq!(next["audio"]["output"]["voice"], "marin");
}

#[test]
fn null_switches_off_and_emptiness_clears() {
    let off = updated(json!({
        "type": "realtime",
        "instructions": "",
        "tools": [],
        "audio": {"input": {"turn_detection": null, "transcription": null, "noise_reduction": null}},
    }));
    let off = off.unwrap().to_json();
    assert_eq!(off["audio"]["input"]["turn_detection"], Value::Null);
    assert_eq!(off["tools"], json!([]));
}

#[test]
fn each_refusal_has_the_official_code_and_path() {
    let tool = json!({"type": "function", "name": "f", "meta": 1});
    for (update, code, param) in [
        (json!({}), "missing_required_parameter", "session.type"),
        (json!({"type": "transcription"}), "invalid_value", "session.type"),
        (
            json!({"type": "realtime", "voice": "alloy"}),
            "unknown_parameter",
            "session.voice",
        ),
        (
            json!({"type": "realtime", "input_audio_format": "pcm16"}),
            "unknown_parameter",
            "session.input_audio_format",
        ),
        (
            json!({"type": "realtime", "turn_detection": null}),
            "unknown_parameter",
            "session.turn_detection",
        ),
        (
            json!({"type": "realtime", "output_modalities": ["audio", "text"]}),
            "invalid_value",
            "session.output_modalities",
        ),
        (
            json!({"type": "realtime", "audio": {"input": {"format": "pcm16"}}}),
            "invalid_type",
            "session.audio.input.format",
        ),
        (
            json!({"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm"}}}}),
            "missing_required_parameter",
            "session.audio.output.format.rate",
        ),
        (
            json!({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}}),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": null}}}}),
            "invalid_type",
            "session.audio.input.turn_detection.create_response",
        ),
        (
            json!({"type": "realtime", "tools": [tool]}),
            "unknown_parameter",
            "session.tools[0].meta",
        ),
        (
            json!({"type": "realtime", "tool_choice": "maybe"}),
            "invalid_value",
            "session.tool_choice",
        ),
        (
            json!({"type": "realtime", "max_output_tokens": 0}),
            "invalid_value",
            "session.max_output_tokens",
        ),
        (
            json!({"type": "realtime", "audio": {"output": {"speed": 2}}}),
            "invalid_value",
            "session.audio.output.speed",
        ),
        (json!("realtime"), "invalid_type", "session"),
    ] {
        let refusal = updated(update.clone()).expect_err(&update.to_string());
        assert_eq!(
            (refusal.code.as_ref(), refusal.param.as_deref()),
            (code, Some(param)),
            "{update}"
        );
    }
}

#[test]
fn what_the_sdks_send_on_connecting_is_accepted() {
    let update = json!({
        "type": "realtime",
        "instructions": "You are helpful.",
        "model": "some-other-model",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": null,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1},
        },
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
        "tool_choice": "auto",
    });
    let session = updated(update).unwrap();
    let traced = session
        .updated(
            &Field::new("session", &json!({"type": "realtime", "tracing": "auto"})),
            false,
        )
        .unwrap();
    let json = traced.to_json();
    assert_eq!((&json["tracing"], &json["model"]), (&json!("auto"), &json!("operator")));
    assert_eq!(json["audio"]["input"]["turn_detection"]["interrupt_response"], true);
    assert!(
        traced
            .updated(
                &Field::new("session", &json!({"type": "realtime", "tracing": null})),
                false
            )
            .is_err()
    );
}

#[test]
fn the_voice_is_fixed_once_it_was_heard() {
    let session = Session::new("sess_1".to_owned(), "operator", 0);
    let voice = |name: &str| json!({"type": "realtime", "audio": {"output": {"voice": name}}});
    let same = session.updated(&Field::new("session", &voice("marin")), true);
    assert!(same.is_ok());
    let other = session
        .updated(&Field::new("session", &voice("cedar")), true)
        .unwrap_err();
    assert_eq!(other.code, "cannot_update_voice");
    assert!(session.updated(&Field::new("session", &voice("cedar")), false).is_ok());
}

fn updated(update: Value) -> Result<Session, Refusal> {
    Session::new("sess_1".to_owned(), "operator", 0).updated(&Field::new("session", &update), false)
}
