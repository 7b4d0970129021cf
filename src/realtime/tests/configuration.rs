//! From the open connection to a session that hears and speaks.

use super::*;

#[test]
fn tools_that_change_are_told_once_no_response_runs() {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: json!({}),
    };
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.bridge(|machine, _| machine.set_tools(&[tool("a")]));
    bench.bridge(|machine, _| machine.set_tools(&[tool("b")]));
    assert_eq!(bench.sent_types(), [""; 0]);
    bench.server(done("r"));
    assert_eq!(bench.sent[0]["session"]["tools"][0]["name"], "b");
    assert_eq!(bench.sent_types(), ["session.update"]);
    bench.bridge(|machine, _| machine.set_tools(&[tool("b")]));
    assert_eq!(bench.sent_types(), [""; 0], "nothing is new");
    // Between the configuration and its confirmation they wait.
    let mut bench = Bench::open(Settings::default());
    bench.sent.clear();
    bench.bridge(|machine, _| machine.set_tools(&[tool("a")]));
    assert_eq!(bench.sent_types(), [""; 0]);
    bench.server(session_updated(json!({ "type": "server_vad" })));
    assert_eq!(bench.sent_types(), ["session.update"]);
}

#[test]
fn the_configuration_is_sent_before_anything_is_read() {
    let mut bench = Bench::open(full_settings());
    assert_eq!(bench.sent.len(), 1);
    let session = &bench.sent[0]["session"];
    assert_eq!(session["type"], "realtime");
    assert_eq!(session["output_modalities"], json!(["audio"]));
    assert_eq!(session["audio"]["output"]["voice"], "marin");
    assert_eq!(session["tools"][0]["name"], "hang_up");
    bench.server(json!({ "type": "session.created", "session": { "id": "s" } }));
    assert!(
        bench.take_outputs().is_empty(),
        "a session that is only created is not ready"
    );
}

#[test]
fn the_session_is_ready_only_when_both_formats_are_confirmed() {
    let mut bench = Bench::open(Settings::default());
    bench.server(session_updated(Value::Null));
    assert_eq!(bench.take_outputs(), [Output::Ready]);
    bench.server(session_updated(Value::Null));
    assert!(bench.take_outputs().is_empty(), "ready is said once");
}

#[test]
fn a_session_that_took_another_format_is_a_fatal_fault() {
    for side in ["input", "output"] {
        let mut bench = Bench::open(Settings::default());
        let mut event = session_updated(Value::Null);
        event["session"]["audio"][side]["format"] = json!({ "type": "audio/pcmu" });
        bench.server(event);
        let fault = bench.fault().unwrap();
        assert_eq!(
            (fault.class, fault.code.as_str()),
            (FaultClass::Fatal, "format_mismatch")
        );
        assert!(
            fault.message.contains(side) && fault.message.contains("audio/pcmu"),
            "{}",
            fault.message
        );
    }
}

#[test]
fn a_session_that_does_not_say_its_format_has_not_confirmed_it() {
    let mut bench = Bench::open(Settings::default());
    bench.server(json!({ "type": "session.updated", "session": { "type": "realtime" } }));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Fatal);
}

#[test]
fn a_configuration_that_nobody_confirms_is_a_retryable_fault_after_ten_seconds() {
    let mut bench = Bench::open(Settings::default());
    bench.pass(Duration::from_millis(9_999));
    assert!(bench.take_outputs().is_empty());
    bench.pass(Duration::from_millis(1));
    let fault = bench.fault().unwrap();
    assert_eq!(
        (fault.class, fault.code.as_str()),
        (FaultClass::Retryable, "confirm_timeout")
    );
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn a_refused_configuration_is_fatal_although_the_session_goes_on() {
    for code in [
        "missing_required_parameter",
        "unknown_parameter",
        "invalid_type",
        "invalid_value",
        "",
    ] {
        let mut bench = Bench::open(Settings::default());
        bench.server(error(code, None));
        assert_eq!(bench.fault().unwrap().class, FaultClass::Fatal, "{code}");
        bench.server(session_updated(Value::Null));
        assert!(
            bench.take_outputs().is_empty(),
            "{code}: a failed session is never ready"
        );
    }
}

#[test]
fn an_unwell_server_before_the_confirmation_is_retryable() {
    let mut bench = Bench::open(Settings::default());
    bench.server(json!({ "type": "error", "error": { "type": "server_error", "message": "try later" } }));
    let fault = bench.fault().unwrap();
    assert_eq!(
        (fault.class, fault.code.as_str()),
        (FaultClass::Retryable, "server_error")
    );
}

#[test]
fn caller_audio_before_the_confirmation_is_dropped() {
    let mut bench = Bench::open(Settings::default());
    assert!(!bench.append());
    bench.server(session_updated(Value::Null));
    assert!(bench.append());
}

#[test]
fn a_session_that_takes_over_is_told_what_was_said() {
    let mut bench = Bench::ready(Settings::default());
    let text = "conversation.item.input_audio_transcription.completed";
    bench.server(json!({ "type": text, "item_id": "u", "content_index": 0, "transcript": "two beers" }));
    let utterance = bench.speak("r", "a", 100);
    bench.server(json!({
        "type": "response.output_audio_transcript.done", "response_id": "r", "item_id": "a", "output_index": 0,
        "content_index": 0, "transcript": "coming up",
    }));
    let transcripts = bench.take_outputs();
    assert_eq!(transcripts.len(), 2);
    bench.server(audio_done("r", "a"));
    bench.server(done("r"));
    bench.machine.finished(utterance);
    bench.bridge(|machine, now| machine.digit(now, '5'));
    let legacy = bench.machine.into_legacy(&[]);

    let mut next = Bench::open(Settings::default());
    next.bridge(|machine, now| machine.inherit(now, legacy));
    next.sent.clear();
    next.server(session_updated(Value::Null));
    assert_eq!(
        next.sent.pop().unwrap()["type"],
        "response.create",
        "the digit wants its answer"
    );
    let items: Vec<&Value> = next.sent.iter().map(|event| &event["item"]).collect();
    assert_eq!(items.len(), 3);
    assert_eq!(
        items[0]["content"],
        json!([{ "type": "input_text", "text": "two beers" }])
    );
    assert_eq!(
        items[1]["content"],
        json!([{ "type": "output_text", "text": "coming up" }])
    );
    assert_eq!(items[1]["role"], "assistant");
    assert_eq!(items[2]["content"][0]["text"], "DTMF 5");
    let third = next.machine.into_legacy(&[]);
    assert_eq!(third.items().len(), 3, "a third session is told as well");
}

#[test]
fn a_greeting_asked_for_too_early_is_said_when_the_session_is_ready() {
    let mut bench = Bench::open(full_settings());
    bench.sent.clear();
    bench.bridge(Machine::greet);
    assert!(bench.sent.is_empty());
    bench.server(session_updated(Value::Null));
    assert!(
        bench.sent[0]["response"]["instructions"]
            .as_str()
            .unwrap()
            .ends_with("Hello there.")
    );
}

#[test]
fn an_agent_without_greeting_lets_the_caller_speak_first() {
    let mut bench = Bench::ready(Settings::default());
    bench.bridge(Machine::greet);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_session_that_expires_or_loses_its_account_ends() {
    for (code, class) in [
        ("session_expired", FaultClass::Retryable),
        ("insufficient_quota", FaultClass::Fatal),
    ] {
        let mut bench = Bench::ready(Settings::default());
        bench.server(error(code, None));
        assert_eq!(bench.fault().unwrap().class, class);
        assert!(!bench.append());
    }
}

#[test]
fn errors_about_single_events_leave_the_session_alone() {
    for code in [
        "invalid_value",
        "input_audio_buffer_commit_empty",
        "response_cancel_not_active",
        "whatever",
    ] {
        let mut bench = Bench::ready(Settings::default());
        bench.server(error(code, None));
        assert_eq!(bench.fault().unwrap().class, FaultClass::Harmless, "{code}");
        assert!(bench.append(), "{code}");
    }
}

#[test]
fn what_is_no_event_is_told_and_ignored() {
    let mut bench = Bench::ready(Settings::default());
    for text in [
        "",
        "[]",
        "{\"type\":1}",
        "\u{0}",
        r#"{"type":"response.output_audio.delta"}"#,
    ] {
        assert_eq!(bench.text(text), None);
        assert_eq!(bench.fault().map(|fault| fault.class), Some(FaultClass::Harmless));
    }
    bench.server(json!({ "type": "session.daydream" }));
    assert_eq!(bench.fault(), None);
    assert!(bench.append());
}

fn full_settings() -> Settings {
    let parameters = json!({ "type": "object", "properties": {} });
    Settings {
        model: "gpt-realtime-2.1".to_owned(),
        instructions: "Be brief.".to_owned(),
        voice: "marin".to_owned(),
        turn_detection: json!({ "type": "server_vad", "create_response": true, "interrupt_response": true }),
        transcription: Some(json!({ "model": "gpt-transcribe" })),
        tools: vec![ToolSpec {
            name: "hang_up".to_owned(),
            description: "Ends the call.".to_owned(),
            parameters,
        }],
        greeting: Some("Hello there.".to_owned()),
        backend: "openai".to_owned(),
        ..Settings::default()
    }
}
