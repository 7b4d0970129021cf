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
    for case in [
        r#"missing_required_parameter session.type {}"#,
        r#"invalid_value session.type {"type": "transcription"}"#,
        r#"unknown_parameter session.voice {"type": "realtime", "voice": "alloy"}"#,
        r#"unknown_parameter session.input_audio_format {"type": "realtime", "input_audio_format": "pcm16"}"#,
        r#"unknown_parameter session.turn_detection {"type": "realtime", "turn_detection": null}"#,
        r#"invalid_value session.output_modalities {"type": "realtime", "output_modalities": ["audio", "text"]}"#,
        r#"invalid_type session.audio.input.format {"type": "realtime", "audio": {"input": {"format": "pcm16"}}}"#,
        r#"missing_required_parameter session.audio.output.format.rate {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm"}}}}"#,
        r#"invalid_value session.audio.input.format.rate {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}}"#,
        r#"invalid_type session.audio.input.turn_detection.create_response {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": null}}}}"#,
        r#"unknown_parameter session.tools[0].meta {"type": "realtime", "tools": [{"type": "function", "name": "f", "meta": 1}]}"#,
        r#"invalid_value session.tool_choice {"type": "realtime", "tool_choice": "maybe"}"#,
        r#"invalid_value session.max_output_tokens {"type": "realtime", "max_output_tokens": 0}"#,
        r#"invalid_value session.audio.output.speed {"type": "realtime", "audio": {"output": {"speed": 2}}}"#,
        r#"invalid_type session "realtime""#,
    ] {
        let (told, update) = case.split_at(case.find(['{', '"']).unwrap());
        let (code, param) = told.trim().split_once(' ').unwrap();
        let refusal = updated(serde_json::from_str(update).unwrap()).expect_err(case);
        assert_eq!(
            (refusal.code.as_ref(), refusal.param.as_deref()),
            (code, Some(param)),
            "{case}"
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
