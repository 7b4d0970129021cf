//! From one session to the next, and a server that has gone silent.

use super::*;
use crate::realtime::Legacy;

const LIVE: &str = include_str!("../../../tests/data/realtime/live.jsonl");

const STALL_MAX: Duration = Duration::from_secs(8);

#[test]
fn the_rebuilt_conversation_is_the_heard_one_in_its_order() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(committed("u1"));
    let answer = bench.speak("r1", "a1", 1_000);
    bench.server(caller_transcript("u1", "What is my balance?"));
    bench.server(agent_transcript("r1", "a1", "It is four hundred euros and one cent"));
    bench.server(done("r1"));
    bench.heard = vec![heard(answer, 500, 1_000)];
    bench.server(speech_started());
    bench.server(committed("u2"));
    bench.server(created("r2"));
    bench.server(tool_call("r2", "c"));
    bench.server(done("r2"));
    bench.server(caller_transcript("u2", "And in dollars?"));
    bench.bridge(|machine, now| machine.tool_result(now, "c", "430", true));
    let (next, _) = successor(bench, &[]);
    let told: Vec<String> = next.iter().filter_map(item_words).collect();
    let expected = [
        "user: What is my balance?",
        "assistant: It is four hundred…",
        "user: And in dollars?",
        "call hang_up",
        "output 430",
    ];
    // The call was told before the words of the turn that led to it came; the turn keeps its place all the same.
    assert_eq!(told, expected);
}

#[test]
fn a_session_made_before_its_call_takes_it_on_at_once_when_it_knows_all_it_has_to() {
    let mut bench = Bench::ready(Settings::default());
    let greeted = Settings {
        greeting: Some("Hello there.".to_owned()),
        ..Settings::default()
    };
    assert!(bench.machine.can_adopt(&greeted));
    bench.bridge(|machine, now| machine.adopt(now, greeted));
    assert_eq!((bench.outputs.pop(), bench.sent.len()), (Some(Output::Ready), 0));
    bench.bridge(Machine::greet);
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn what_it_does_not_know_it_is_told_before_it_takes_the_call_on() {
    let mut bench = Bench::ready(Settings::default());
    let settings = Settings {
        instructions: "The caller is Ada.".to_owned(),
        ..Settings::default()
    };
    bench.bridge(|machine, now| machine.adopt(now, settings));
    bench.bridge(|machine, now| {
        let mut legacy = Legacy::default();
        legacy.caller_wrote("DTMF 5");
        machine.inherit(now, legacy);
    });
    assert_eq!(
        (bench.sent_types(), bench.append()),
        (vec!["session.update".to_owned()], false)
    );
    bench.server(session_updated(json!({ "type": "server_vad" })));
    assert_eq!(bench.outputs, [Output::Ready]);
    assert_eq!(bench.sent_types(), ["conversation.item.create", "response.create"]);
}

#[test]
fn no_session_takes_on_a_call_that_it_cannot_serve() {
    let other = |backend: &str, instructions: &str, dialect| Settings {
        backend: backend.to_owned(),
        instructions: instructions.to_owned(),
        dialect,
        ..Settings::default()
    };
    let mut live = Machine::new(other("b", "", Dialect::Live));
    assert!(!live.can_adopt(&other("b", "", Dialect::Live)));
    let now = Instant::now();
    live.handle_open(now);
    let started = LIVE.lines().find(|line| line.contains("session.started")).unwrap();
    let started: Value = serde_json::from_str(started).unwrap();
    live.handle_text(now, &started["event"].to_string());
    assert!(live.is_ready() && live.can_adopt(&other("b", "", Dialect::Live)));
    assert!(!live.can_adopt(&other("b", "Be brief.", Dialect::Live)));
    let ga = Bench::ready(other("b", "", Dialect::Ga)).machine;
    assert!(ga.can_adopt(&other("b", "Be brief.", Dialect::Ga)));
    assert!(!ga.can_adopt(&other("c", "", Dialect::Ga)) && !ga.can_adopt(&other("b", "", Dialect::Beta)));
}

#[test]
fn a_session_that_dies_in_mid_speech_leaves_what_was_heard_and_owes_the_rest() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "a", 1_000);
    bench.server(agent_words("r", "a", "one two "));
    bench.server(agent_words("r", "a", "three four"));
    let (next, _) = successor(bench, &[heard(utterance, 550, 1_000)]);
    let told: Vec<String> = next.iter().filter_map(item_words).collect();
    assert_eq!(told, ["assistant: one two…"]);
    assert_eq!(next.last().unwrap()["type"], "response.create");
}

#[test]
fn a_greeting_of_which_nothing_was_heard_is_asked_for_again() {
    let greeting = Settings {
        greeting: Some("Hello there.".to_owned()),
        ..Settings::default()
    };
    for (sent_ms, again) in [(0, true), (60, false)] {
        let mut bench = Bench::ready(greeting.clone());
        bench.bridge(Machine::greet);
        let utterance = bench.speak("r", "a", 500);
        let (next, _) = successor(bench, &[heard(utterance, sent_ms, 500)]);
        let asked = &next.last().unwrap()["response"]["instructions"];
        assert_eq!(asked.as_str().is_some_and(|text| text.contains("Hello there.")), again);
    }
}

#[test]
fn a_call_that_was_at_rest_owes_nothing() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "a", 100);
    bench.server(audio_done("r", "a"));
    bench.server(done("r"));
    assert!(!bench.machine.is_at_rest());
    bench.machine.finished(utterance);
    assert!(bench.machine.is_at_rest());
    let (next, _) = successor(bench, &[]);
    assert!(next.is_empty(), "{next:?}");
}

#[test]
fn a_tool_that_answers_later_is_told_to_the_session_that_is_there_once() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.server(tool_call("r", "c"));
    let (sent, mut next) = successor(bench, &[]);
    assert_eq!(sent.iter().filter_map(item_words).collect::<Vec<_>>(), ["call hang_up"]);
    assert_eq!(sent.len(), 1, "the response waits for the tool");
    next.server(created("r2"));
    next.server(tool_call("r2", "c"));
    next.server(done("r2"));
    assert_eq!(next.take_outputs(), [], "it is at work already");
    next.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    assert_eq!(next.sent_types(), ["conversation.item.create", "response.create"]);
    next.bridge(|machine, now| machine.tool_result(now, "c", "43", true));
    assert_eq!(next.sent_types(), [""; 0]);
    assert_eq!(next.fault().unwrap().code, "tool_result_repeated");
}

#[test]
fn what_happens_while_no_session_is_ready_is_told_when_one_is() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(tool_call("r", "c"));
    let mut legacy = bench.machine.into_legacy(&[]);
    legacy.caller_wrote("DTMF 1");
    let mut next = Bench::open(Settings::default());
    next.bridge(|machine, now| machine.inherit(now, legacy));
    next.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    next.bridge(|machine, now| machine.digit(now, '2'));
    next.sent.clear();
    next.server(session_updated(Value::Null));
    let told: Vec<String> = next.sent.iter().filter_map(item_words).collect();
    assert_eq!(told, ["call hang_up", "user: DTMF 1", "output 42", "user: DTMF 2"]);
    let asked = next
        .sent_types()
        .iter()
        .filter(|kind| *kind == "response.create")
        .count();
    assert_eq!(asked, 1);
}

#[test]
fn a_turn_whose_words_never_came_is_left_to_its_sound() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(committed("u"));
    bench.server(created("r"));
    let (sent, _) = successor(bench, &[]);
    assert!(sent.is_empty(), "the sound is told again and answered: {sent:?}");
}

#[test]
fn a_turn_that_was_understood_and_not_answered_is_answered_by_the_next() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(committed("u"));
    bench.server(caller_transcript("u", "Hello?"));
    let (sent, _) = successor(bench, &[]);
    assert_eq!(item_words(&sent[0]).unwrap(), "user: Hello?");
    assert_eq!(sent[1]["type"], "response.create");
}

#[test]
fn a_server_that_owes_a_response_and_goes_silent_is_lost() {
    let mut bench = watched();
    bench.server(created("r"));
    bench.pass(STALL_MAX - Duration::from_millis(1));
    assert_eq!(bench.fault(), None);
    bench.server(delta("r", "a", 20));
    bench.pass(STALL_MAX - Duration::from_millis(1));
    assert_eq!(bench.fault(), None, "it is slow");
    bench.pass(Duration::from_millis(1));
    let fault = bench.fault().unwrap();
    assert_eq!((fault.class, fault.code.as_str()), (FaultClass::Retryable, "stalled"));
}

#[test]
fn a_server_that_owes_nothing_may_be_silent() {
    let mut bench = watched();
    bench.server(created("r"));
    bench.server(done("r"));
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn a_turn_that_is_not_answered_is_asked_about_and_then_the_session_is_lost() {
    let mut bench = watched();
    bench.server(committed("u"));
    bench.pass(STALL_MAX / 2);
    assert_eq!(bench.sent_types(), ["response.create"]);
    bench.pass(STALL_MAX / 2);
    assert_eq!(bench.fault().unwrap().code, "stalled");
    let mut answered = watched();
    answered.server(committed("u"));
    answered.server(created("r"));
    answered.server(done("r"));
    answered.pass(STALL_MAX);
    assert_eq!(answered.sent_types(), [""; 0]);
}

#[test]
fn a_response_that_never_begins_is_a_stall_when_nothing_else_comes_either() {
    let mut bench = watched();
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.pass(STALL_MAX);
    assert_eq!(bench.fault().unwrap().code, "stalled");
}

fn watched() -> Bench {
    Bench::ready(Settings {
        stall_max: Some(STALL_MAX),
        ..Settings::default()
    })
}

/// The next session, ready, and what it told its server.
fn successor(bench: Bench, heard: &[Heard]) -> (Vec<Value>, Bench) {
    let legacy: Legacy = bench.machine.into_legacy(heard);
    let mut next = Bench::open(Settings::default());
    next.bridge(|machine, now| machine.inherit(now, legacy));
    next.sent.clear();
    next.server(session_updated(Value::Null));
    next.outputs.clear();
    (std::mem::take(&mut next.sent), next)
}

fn item_words(event: &Value) -> Option<String> {
    let item = event.get("item")?;
    let word = |member: &str| item[member].as_str().unwrap_or_default();
    Some(match word("type") {
        "message" => format!("{}: {}", word("role"), item["content"][0]["text"].as_str().unwrap()),
        "function_call" => format!("call {}", word("name")),
        _ => format!("output {}", word("output")),
    })
}

fn committed(item: &str) -> Value {
    json!({ "type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": null })
}

fn caller_transcript(item: &str, text: &str) -> Value {
    json!({
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item, "content_index": 0, "transcript": text,
    })
}

fn agent_transcript(response: &str, item: &str, text: &str) -> Value {
    json!({
        "type": "response.output_audio_transcript.done",
        "response_id": response, "item_id": item, "output_index": 0, "content_index": 0, "transcript": text,
    })
}

fn agent_words(response: &str, item: &str, text: &str) -> Value {
    json!({
        "type": "response.output_audio_transcript.delta",
        "response_id": response, "item_id": item, "output_index": 0, "content_index": 0, "delta": text,
    })
}
