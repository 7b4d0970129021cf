//! Every sample event of every dialect, and the same turn in each of them.

use super::*;
use crate::realtime::{event::ClientEvent, interpreter::Interpreter};

const GA: &str = include_str!("../../../tests/data/realtime/ga_server.jsonl");
const BETA: &str = include_str!("../../../tests/data/realtime/beta.jsonl");
const LIVE: &str = include_str!("../../../tests/data/realtime/live.jsonl");

#[test]
fn every_sample_event_of_a_server_is_known_in_its_dialect() {
    for (dialect, samples, count) in [
        (Dialect::Ga, GA, 24),
        (Dialect::Beta, BETA, 6),
        (Dialect::Live, LIVE, 6),
    ] {
        let mut interpreter = interpreter(dialect);
        let events: Vec<Value> = samples.lines().filter_map(server_event).collect();
        for event in &events {
            let read = interpreter
                .read(Instant::now(), &event.to_string())
                .map(|read| format!("{read:?}"));
            assert_ne!(read.as_deref(), Ok("Unknown"), "{event}");
            assert!(read.is_ok(), "{read:?}: {event}");
        }
        assert_eq!(events.len(), count, "{dialect:?}");
    }
}

#[test]
fn what_a_server_does_by_itself_is_told_apart() {
    let of_item = |kind: &str| json!({ "type": kind, "item_id": "i" });
    let read = |event: Value| {
        format!(
            "{:?}",
            interpreter(Dialect::Ga)
                .read(Instant::now(), &event.to_string())
                .unwrap()
        )
    };
    for (event, expected) in [
        (
            json!({ "type": "input_audio_buffer.dtmf_event_received", "event": "5" }),
            "Key('5')",
        ),
        (
            json!({ "type": "input_audio_buffer.dtmf_event_received", "event": "55" }),
            "Noted",
        ),
        (
            of_item("input_audio_buffer.speech_started"),
            r#"SpeechStarted { item: "i" }"#,
        ),
        (
            of_item("input_audio_buffer.speech_stopped"),
            r#"SpeechStopped { item: "i" }"#,
        ),
        (
            of_item("input_audio_buffer.committed"),
            r#"TurnCommitted { item: "i" }"#,
        ),
        (of_item("conversation.item.truncated"), r#"Truncated { item: "i" }"#),
        (
            of_item("response.mcp_call.failed"),
            r#"RemoteTool { item: "i", progress: Failed }"#,
        ),
        (
            of_item("mcp_list_tools.completed"),
            r#"RemoteTool { item: "i", progress: Done }"#,
        ),
        (
            json!({ "type": "rate_limits.updated", "rate_limits": [{ "name": "tokens", "remaining": 7 }] }),
            r#"RateLimits([RateLimit { name: "tokens", remaining: Some(7), limit: None }])"#,
        ),
        (
            json!({ "type": "response.function_call_arguments.delta", "response_id": "r", "call_id": "c", "delta": "{" }),
            r#"ToolArgumentsDelta { response: "r", call: "c", delta: "{" }"#,
        ),
        (
            json!({ "type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "hel" }),
            r#"CallerTranscriptDelta { item: "i", text: "hel" }"#,
        ),
        (json!({ "type": "ping", "timestamp": 1 }), "Ping"),
        (json!({ "type": "response.audio.delta", "delta": "AA==" }), "Unknown"),
    ] {
        assert_eq!(read(event), expected);
    }
}

#[test]
fn a_beta_turn_is_the_same_to_everything_behind_the_dialect() {
    let mut bench = Bench::open(Settings {
        dialect: Dialect::Beta,
        quirks: Quirks::of("openai", Dialect::Beta).unwrap(),
        greeting: Some("Hello.".to_owned()),
        ..Settings::default()
    });
    assert_eq!(bench.sent[0]["session"]["input_audio_format"], "pcm16");
    let detection = json!({ "type": "server_vad", "interrupt_response": true });
    let session = json!({ "input_audio_format": "pcm16", "output_audio_format": "pcm16", "turn_detection": detection });
    bench.server(json!({ "type": "session.updated", "session": session }));
    assert_eq!(bench.take_outputs(), [Output::Ready]);
    bench.bridge(|machine, now| machine.greet(now));
    assert_eq!(bench.sent_types(), ["session.update", "response.create"]);
    bench.server(created("r"));
    let mut audio = delta("r", "i", 500);
    audio["type"] = "response.audio.delta".into();
    let (utterance, pcm) = bench.server(audio).unwrap();
    assert_eq!(pcm.len(), 12_000);
    let part =
        json!({ "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0, "transcript": "Hello." });
    bench.server(with_type(&part, "response.audio_transcript.done"));
    bench.server(with_type(&part, "response.audio.done"));
    let said = Transcript {
        who: Speaker::Agent,
        text: "Hello.".to_owned(),
        item: "i".to_owned(),
    };
    assert_eq!(
        bench.take_outputs(),
        [Output::Transcript(said), Output::AudioDone(utterance)]
    );
    bench.heard = vec![heard(utterance, 200, 500)];
    bench.server(speech_started());
    assert_eq!(bench.take_outputs(), [Output::Interrupt]);
    assert_eq!(bench.sent[0]["audio_end_ms"], 200);
}

#[test]
fn a_backend_that_takes_no_truncation_is_not_told_of_one() {
    let mut bench = Bench::open(Settings {
        dialect: Dialect::Beta,
        quirks: Quirks::of("speaches", Dialect::Beta).unwrap(),
        ..Settings::default()
    });
    bench.server(json!({ "type": "session.updated", "session": {} }));
    let utterance = bench.speak("r", "i", 500);
    bench.sent.clear();
    bench.heard = vec![heard(utterance, 200, 500)];
    bench.server(speech_started());
    assert!(bench.take_outputs().contains(&Output::Interrupt));
    assert_eq!(bench.sent_types(), ["response.cancel"]);
}

#[test]
fn an_unknown_event_is_counted_and_a_request_for_leave_is_answered() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(json!({ "type": "session.daydream" }));
    assert_eq!(bench.take_outputs(), [Output::Unknown(Unknown::Event)]);
    bench.server(json!({ "type": "input_audio_buffer.committed", "item_id": "i", "mood": 1, "phase": 2 }));
    let committed = Output::TurnCommitted("i".to_owned());
    assert_eq!(bench.take_outputs(), [Output::Unknown(Unknown::Fields(2)), committed]);
    let item =
        json!({ "type": "mcp_approval_request", "id": "q", "server_label": "s", "name": "f", "arguments": "{}" });
    bench.server(json!({ "type": "response.output_item.done", "response_id": "r", "item": item }));
    let answer = &bench.sent[0]["item"];
    assert_eq!(
        (&answer["approval_request_id"], &answer["approve"]),
        (&json!("q"), &json!(false))
    );
}

/// What a dialect has no word for is not written, and what it writes is JSON with the number of the event.
#[test]
fn every_client_event_is_written_or_left_out() {
    let settings = Settings {
        model: "m".to_owned(),
        ..Settings::default()
    };
    let history = HistoryItem::Called {
        call: "c".to_owned(),
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
    };
    let nothing = Value::Null;
    let events = [
        ClientEvent::Configure(&settings, AudioFormat::PCM_24K),
        ClientEvent::Recall(&history),
        ClientEvent::Say("DTMF 5"),
        ClientEvent::ToolResult { call: "c", output: "o" },
        ClientEvent::Truncate {
            item: "i",
            content_index: 0,
            audio_end_ms: 20,
        },
        ClientEvent::Respond { instructions: None },
        ClientEvent::Respond {
            instructions: Some("Say yes."),
        },
        ClientEvent::Cancel { response: "r" },
        ClientEvent::Update {
            instructions: Some("Be brief."),
            tools: None,
            turn_detection: Some(&nothing),
        },
        ClientEvent::Commit,
        ClientEvent::ClearInput,
        ClientEvent::Delete { item: "i" },
        ClientEvent::Retrieve { item: "i" },
        ClientEvent::Approve {
            request: "q",
            approve: true,
            reason: "",
        },
    ];
    for (dialect, left_out) in [(Dialect::Ga, 0), (Dialect::Beta, 0), (Dialect::Live, 6)] {
        let mut interpreter = interpreter(dialect);
        let mut bench = Bench::closed(Settings::default());
        let written: Vec<String> = events.iter().filter_map(|event| interpreter.write(7, event)).collect();
        for text in &written {
            bench.sent(text);
        }
        assert_eq!(events.len() - written.len(), left_out, "{dialect:?}");
        assert!(
            bench
                .sent
                .iter()
                .all(|event| event["event_id"] == "patchcord_7" && event["type"].is_string())
        );
    }
}

fn interpreter(dialect: Dialect) -> Interpreter {
    Interpreter::new(dialect, Quirks::of("openai", dialect).unwrap())
}

/// The event of a line, unless a client says it.
fn server_event(line: &str) -> Option<Value> {
    let mut json: Value = serde_json::from_str(line).unwrap();
    match json["dir"].as_str() {
        Some("server") => Some(json["event"].take()),
        Some(_) => None,
        None => Some(json),
    }
}

fn with_type(event: &Value, kind: &str) -> Value {
    let mut event = event.clone();
    event["type"] = kind.into();
    event
}
