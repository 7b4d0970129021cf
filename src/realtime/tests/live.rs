//! The live dialect: turns found in a stream that has none.

use super::*;

/// One delta of the server's.
const DELTA_MS: usize = 100;

#[test]
fn a_session_is_started_in_one_piece_with_what_was_said_before() {
    let mut bench = Bench::open(Settings {
        voice: "marin".to_owned(),
        history: vec![
            HistoryItem::Said {
                who: Speaker::Caller,
                text: "Hi.".to_owned(),
            },
            HistoryItem::Called {
                call: "c".to_owned(),
                name: "f".to_owned(),
                arguments: "{}".to_owned(),
            },
        ],
        ..settings()
    });
    let session = bench.sent[0]["session"].take();
    assert_eq!(bench.sent_types(), ["session.start"]);
    assert_eq!(
        session["audio"]["format"],
        json!({ "type": "audio/pcm", "rate": 24_000 })
    );
    assert_eq!(session.pointer("/audio/output/voice"), Some(&json!("marin")));
    assert_eq!(session.pointer("/delegation/responses/model"), Some(&json!("thinker")));
    assert_eq!(session.pointer("/input/0/content/0/text"), Some(&json!("Hi.")));
    assert_eq!(
        session.pointer("/input/1/content/0/text"),
        Some(&json!("(called f with {})"))
    );
    started(&mut bench);
    assert_eq!(bench.sent_types(), [""; 0]);
    assert!(bench.append());
    assert_eq!(bench.sent_types(), ["session.input_audio.append"]);
}

#[test]
fn only_what_lies_between_pauses_is_played() {
    let mut bench = ready();
    assert_eq!(quiet(&mut bench), None);
    let (utterance, pcm) = loud(&mut bench).unwrap();
    let lead = pcm.iter().take_while(|sample| **sample == 0).count();
    assert_eq!((lead, pcm.len()), (60 * 24, (60 + DELTA_MS) * 24));
    assert_eq!(loud(&mut bench).unwrap().1.len(), DELTA_MS * 24);
    words(&mut bench, "output", "Hello", 0, 100);
    words(&mut bench, "output", " there.", 100, 200);
    for _ in 0..4 {
        assert_eq!(quiet(&mut bench).unwrap().0, utterance);
    }
    assert_eq!(quiet(&mut bench), None);
    let mut said = bench.take_outputs();
    said.retain(|output| !matches!(output, Output::TranscriptDelta(_)));
    assert_eq!(said[0], Output::AudioDone(utterance));
    assert!(matches!(&said[1], Output::Transcript(said) if said.text == "Hello there." && said.who == Speaker::Agent));
    assert_eq!(quiet(&mut bench), None);
    assert_ne!(loud(&mut bench).unwrap().0, utterance);
}

#[test]
fn a_stream_that_stops_ends_the_utterance() {
    let mut bench = ready();
    let (utterance, _) = loud(&mut bench).unwrap();
    bench.pass(Duration::from_millis(999));
    assert_eq!(bench.take_outputs(), []);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.take_outputs(), [Output::AudioDone(utterance)]);
}

#[test]
fn the_callers_words_are_a_turn_when_the_agent_begins_or_after_a_rest() {
    let mut bench = ready();
    words(&mut bench, "input", "I want", 0, 400);
    words(&mut bench, "input", " a cab", 400, 900);
    loud(&mut bench);
    assert_eq!(callers(&mut bench), ["I want a cab"]);
    words(&mut bench, "input", "now", 5_000, 5_300);
    words(&mut bench, "input", "or later", 9_000, 9_300);
    assert_eq!(callers(&mut bench), ["now"]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(callers(&mut bench), ["or later"]);
}

#[test]
fn an_interruption_empties_the_playout_and_is_told_in_words() {
    let mut bench = ready();
    let (utterance, _) = loud(&mut bench).unwrap();
    loud(&mut bench);
    bench.heard = vec![heard(utterance, 120, 260)];
    bench.bridge(|machine, now| machine.digit(now, '5'));
    assert_eq!(bench.take_outputs(), [Output::Interrupt]);
    let sent = std::mem::take(&mut bench.sent);
    assert_eq!(sent[0]["type"], "session.thinking.append");
    assert!(sent[0]["content"].as_str().unwrap().contains("0.1 seconds"), "{sent:?}");
    assert!(sent[1]["content"].as_str().unwrap().ends_with("DTMF 5"), "{sent:?}");
    assert_eq!(
        (sent.len(), &sent[1]["type"]),
        (2, &json!("session.instructions.append"))
    );
    // What it was saying goes on for a moment and is not heard; what comes after a short pause is.
    assert_eq!(loud(&mut bench), None);
    assert_eq!(quiet(&mut bench), None);
    assert!(loud(&mut bench).is_some());
}

#[test]
fn an_agent_that_never_pauses_is_heard_again_soon_after_it_was_cut_off() {
    let mut bench = ready();
    let (first, _) = loud(&mut bench).unwrap();
    bench.heard = vec![heard(first, 20, 160)];
    bench.bridge(|machine, now| machine.text(now, "wait"));
    let muted = std::iter::from_fn(|| loud(&mut bench).is_none().then_some(()))
        .take(10)
        .count();
    assert_eq!(muted, 5);
}

#[test]
fn a_greeting_is_something_to_speak_of_and_the_prompt_is_known_again() {
    let mut bench = ready();
    bench.bridge(|machine, now| machine.greet(now));
    assert_eq!(bench.sent[0]["type"], "session.commentary.append");
    assert!(bench.sent[0]["content"].as_str().unwrap().ends_with("Hello."));
    loud(&mut bench);
    (0..5).for_each(|_| drop(quiet(&mut bench)));
    bench.bridge(|machine, now| machine.recite(now, "This call is recorded."));
    let (utterance, _) = loud(&mut bench).unwrap();
    assert!(bench.machine.is_prompt(utterance));
}

#[test]
fn tools_are_called_together_and_the_last_answer_lets_the_model_go_on() {
    let mut bench = ready();
    bench.server(delegated(
        json!({ "type": "response.output_item.done", "item": function_call("a") }),
    ));
    bench.server(delegated(
        json!({ "type": "response.output_item.done", "item": function_call("b") }),
    ));
    assert_eq!(bench.take_outputs(), []);
    let usage = json!({ "input_tokens": 7, "output_tokens": 2 });
    bench.server(delegated(
        json!({ "type": "response.completed", "response": { "id": "resp_1", "usage": usage } }),
    ));
    let calls = bench.take_outputs();
    assert!(
        matches!(
            &calls[..],
            [Output::ToolCall { .. }, Output::ToolCall { .. }, Output::Used(_)]
        ),
        "{calls:?}"
    );
    assert_eq!(bench.machine.usage().input_text_tokens, 7);
    loud(&mut bench);
    bench.bridge(|machine, now| machine.tool_result(now, "a", "1", true));
    assert_eq!(bench.sent_types(), ["response.item.create"]);
    bench.bridge(|machine, now| machine.tool_result(now, "b", "2", true));
    assert_eq!(bench.sent_types(), ["response.item.create", "response.create"]);
}

#[test]
fn calls_of_a_response_that_failed_are_not_made() {
    let mut bench = ready();
    bench.server(delegated(
        json!({ "type": "response.output_item.done", "item": function_call("a") }),
    ));
    let error = json!({ "code": "server_error", "message": "no" });
    bench.server(delegated(
        json!({ "type": "response.failed", "response": { "id": "resp_1", "error": error } }),
    ));
    assert_eq!(bench.fault().map(|fault| fault.class), Some(FaultClass::Harmless));
    assert!(bench.append());
}

#[test]
fn an_end_we_did_not_ask_for_is_a_fault_and_one_we_did_is_not() {
    for (reason, code) in [
        ("expired", Some("session_expired")),
        ("content", Some("session_closed_content")),
        ("close_requested", None),
    ] {
        let mut bench = ready();
        bench.server(json!({ "type": "session.closed", "reason": reason, "usage": { "seconds": 1.5 } }));
        let fault = bench.fault();
        assert_eq!(fault.as_ref().map(|fault| fault.code.as_str()), code);
        assert!(fault.is_none_or(|fault| fault.class == FaultClass::Retryable));
    }
}

fn settings() -> Settings {
    Settings {
        dialect: Dialect::Live,
        quirks: Quirks::of("openai", Dialect::Live).unwrap(),
        model: "gpt-live-1".to_owned(),
        delegation_model: "thinker".to_owned(),
        greeting: Some("Hello.".to_owned()),
        tools: vec![ToolSpec {
            name: "f".to_owned(),
            description: "d".to_owned(),
            parameters: json!({}),
        }],
        ..Settings::default()
    }
}

fn ready() -> Bench {
    let mut bench = Bench::open(settings());
    started(&mut bench);
    bench.sent.clear();
    bench
}

fn started(bench: &mut Bench) {
    let format = json!({ "type": "audio/pcm", "rate": 24_000 });
    bench.server(json!({ "type": "session.started", "session": { "audio": { "format": format } } }));
    assert_eq!(bench.take_outputs(), [Output::Ready]);
}

fn loud(bench: &mut Bench) -> Option<(Utterance, Vec<i16>)> {
    output(bench, 3_000)
}

fn quiet(bench: &mut Bench) -> Option<(Utterance, Vec<i16>)> {
    output(bench, 1)
}

fn output(bench: &mut Bench, sample: i16) -> Option<(Utterance, Vec<i16>)> {
    let bytes = sample.to_le_bytes().repeat(DELTA_MS * 24);
    let delta = base64_simd::STANDARD.encode_to_string(bytes);
    bench.server(json!({ "type": "session.output_audio.delta", "delta": delta }))
}

fn words(bench: &mut Bench, whose: &str, text: &str, start_ms: u64, end_ms: u64) {
    let kind = format!("session.{whose}_transcript.delta");
    bench.server(json!({ "type": kind, "delta": text, "start_ms": start_ms, "end_ms": end_ms }));
}

fn callers(bench: &mut Bench) -> Vec<String> {
    let said = |output| match output {
        Output::Transcript(said) if said.who == Speaker::Caller => Some(said.text),
        _ => None,
    };
    bench.take_outputs().into_iter().filter_map(said).collect()
}

fn delegated(event: Value) -> Value {
    json!({ "type": "response.event", "delegation_id": "dlg_1", "event": event })
}

fn function_call(id: &str) -> Value {
    json!({ "type": "function_call", "status": "completed", "call_id": id, "name": "f", "arguments": "{}" })
}
