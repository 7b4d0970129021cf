//! Responses one after another, digits, tools, usage.

use super::*;

#[test]
fn a_response_is_never_asked_for_while_another_runs() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    assert_eq!(bench.sent_types(), ["conversation.item.create"]);
    bench.server(done("r"));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_digit_cancels_the_running_response_and_waits_for_its_end() {
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.bridge(|machine, now| machine.digit(now, '1'));
    assert_eq!(bench.take_outputs(), [Output::Interrupt]);
    assert_eq!(bench.sent_types(), ["response.cancel", "conversation.item.create"]);
    bench.bridge(|machine, now| machine.digit(now, '2'));
    assert_eq!(
        bench.sent_types(),
        ["conversation.item.create"],
        "one cancellation is enough"
    );
    bench.server(done("r"));
    assert_eq!(bench.sent_types(), ["response.create"], "both digits get one answer");
}

#[test]
fn a_digit_overtakes_a_response_that_has_not_begun() {
    let mut bench = Bench::ready(Settings::default());
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.bridge(|machine, now| machine.digit(now, '2'));
    bench.sent.clear();
    bench.server(created("first"));
    assert_eq!(bench.sent[0]["response_id"], "first");
    assert_eq!(bench.sent_types(), ["response.cancel"]);
    assert_eq!(bench.server(delta("first", "i", 20)), None);
    bench.server(done("first"));
    assert_eq!(bench.sent_types(), ["response.create"]);
    bench.server(created("second"));
    assert!(bench.server(delta("second", "j", 20)).is_some());
}

#[test]
fn what_is_to_be_recited_is_known_again_and_nothing_else_is() {
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.bridge(|machine, now| machine.recite(now, "This call is recorded."));
    assert_eq!(
        bench.sent_types(),
        [""; 0],
        "it waits for the end of the running response"
    );
    assert!(!bench.machine.is_prompt(Utterance(0)));
    bench.server(done("r"));
    let instructions = bench.sent[0]["response"]["instructions"].as_str().unwrap();
    assert!(instructions.ends_with(": This call is recorded."), "{instructions}");
    bench.sent.clear();
    bench.server(created("p"));
    let (utterance, _) = bench.server(delta("p", "j", 20)).unwrap();
    assert!(bench.machine.is_prompt(utterance) && !bench.machine.is_prompt(Utterance(0)));
    bench.server(done("p"));
    bench.server(created("s"));
    let (utterance, _) = bench.server(delta("s", "k", 20)).unwrap();
    assert!(!bench.machine.is_prompt(utterance));
}

#[test]
fn a_response_that_came_in_the_place_of_what_was_to_be_recited_is_not_taken_for_it() {
    let mut bench = Bench::ready(Settings::default());
    bench.bridge(|machine, now| machine.recite(now, "This call is recorded."));
    let event_id = bench.sent[0]["event_id"].clone();
    // The server began an answer of its own just before, and refuses ours.
    bench.server(created("own"));
    bench.server(error("conversation_already_has_active_response", Some(&event_id)));
    let (utterance, _) = bench.server(delta("own", "j", 20)).unwrap();
    assert!(!bench.machine.is_prompt(utterance));
}

#[test]
fn only_keys_of_a_telephone_are_digits() {
    let mut bench = Bench::ready(Settings::default());
    for key in ['x', '\n', '"', 'E'] {
        bench.bridge(|machine, now| machine.digit(now, key));
    }
    assert!(bench.sent.is_empty());
    assert_eq!(bench.take_outputs().len(), 4, "each is told as harmless");
}

#[test]
fn a_response_refused_because_another_runs_is_asked_for_after_that_one() {
    let mut bench = Bench::ready(Settings::default());
    let event_id = ask(&mut bench);
    bench.server(created("by_the_server"));
    bench.server(error("conversation_already_has_active_response", Some(&event_id)));
    assert!(bench.sent.is_empty());
    bench.server(done("by_the_server"));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_refusal_that_arrives_after_the_other_response_ended_does_not_hang() {
    let mut bench = Bench::ready(Settings::default());
    let event_id = ask(&mut bench);
    bench.server(created("by_the_server"));
    bench.server(done("by_the_server"));
    bench.server(error("conversation_already_has_active_response", Some(&event_id)));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_refusal_for_a_response_nobody_told_us_of_is_tried_again_soon() {
    let mut bench = Bench::ready(Settings::default());
    ask(&mut bench);
    bench.server(error("conversation_already_has_active_response", None));
    assert!(bench.sent.is_empty());
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_response_that_ends_without_having_begun_is_tolerated() {
    let mut bench = Bench::ready(Settings::default());
    ask(&mut bench);
    bench.server(done("never_created"));
    ask(&mut bench);
}

#[test]
fn a_response_the_server_refuses_for_its_own_sake_blocks_nothing() {
    let mut bench = Bench::ready(Settings::default());
    let event_id = ask(&mut bench);
    bench.server(error("invalid_value", Some(&event_id)));
    assert!(bench.sent.is_empty(), "it is not repeated");
    ask(&mut bench);
}

#[test]
fn a_response_that_never_begins_blocks_the_next_for_ten_seconds_only() {
    let mut bench = Bench::ready(Settings::default());
    ask(&mut bench);
    bench.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    bench.sent.clear();
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.sent_types(), ["response.create"]);
    assert_eq!(bench.fault().unwrap().code, "response_unanswered");
}

#[test]
fn a_cancellation_that_came_too_late_is_harmless_and_blocks_nothing() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.sent.clear();
    bench.server(error("response_cancel_not_active", None));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Harmless);
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_cancelled_response_that_never_ends_blocks_nothing_for_long() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.sent.clear();
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn the_late_end_of_a_cancelled_response_is_not_taken_for_the_end_of_the_next() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.pass(Duration::from_secs(5));
    bench.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    bench.sent.clear();
    bench.server(done("r"));
    assert!(bench.sent.is_empty(), "the one asked for meanwhile has not begun");
    bench.server(created("s"));
    bench.server(done("s"));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_tool_call_told_twice_is_passed_on_once() {
    let mut bench = Bench::ready(Settings::default());
    bench.server(created("r"));
    bench.server(tool_call("r", "c"));
    bench.server(item_done("c", "completed"));
    let call = |id: &str| Output::ToolCall {
        call_id: id.into(),
        name: "hang_up".into(),
        arguments: "{}".into(),
    };
    assert_eq!(bench.take_outputs(), [call("c")]);
    bench.server(item_done("d", "completed"));
    assert_eq!(bench.take_outputs(), [call("d")], "either event is enough");
    bench.server(item_done("e", "incomplete"));
    assert!(bench.take_outputs().is_empty(), "half a call is none");
}

#[test]
fn a_tool_call_the_caller_spoke_over_is_not_done() {
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.server(speech_started());
    bench.take_outputs();
    bench.server(tool_call("r", "c"));
    assert!(bench.take_outputs().is_empty());
}

#[test]
fn a_tool_result_asks_for_a_response_only_when_told_to() {
    let mut bench = Bench::ready(Settings::default());
    bench.bridge(|machine, now| machine.tool_result(now, "c", "bye", false));
    assert_eq!(
        bench.sent[0]["item"],
        json!({ "type": "function_call_output", "call_id": "c", "output": "bye" })
    );
    assert_eq!(bench.sent_types(), ["conversation.item.create"]);
}

#[test]
fn arguments_without_end_are_refused_to_the_model() {
    let mut bench = Bench::ready(Settings::default());
    let mut call = tool_call("r", "c");
    call["arguments"] = "x".repeat(70_000).into();
    bench.server(call);
    assert!(bench.take_outputs().is_empty());
    assert_eq!(bench.sent_types(), ["conversation.item.create", "response.create"]);
}

#[test]
fn tokens_are_summed_over_all_responses() {
    let mut bench = Bench::ready(Settings::default());
    let mut end = done("r");
    end["response"]["usage"] = json!({
        "input_tokens": 12, "output_tokens": 9,
        "input_token_details": { "text_tokens": 2, "audio_tokens": 10, "cached_tokens": 4 },
        "output_token_details": { "text_tokens": 1, "audio_tokens": 8 },
    });
    bench.server(end.clone());
    bench.server(end);
    let expected = Usage {
        input_text_tokens: 4,
        input_audio_tokens: 20,
        cached_tokens: 8,
        output_text_tokens: 2,
        output_audio_tokens: 16,
        ..Usage::default()
    };
    assert_eq!(bench.machine.usage(), expected);
}

#[test]
fn a_failed_response_leaves_the_session_unless_the_account_is_at_fault() {
    let failed = |code: &str| {
        let error = json!({ "type": "x", "code": code, "message": "m" });
        let details = json!({ "type": "failed", "error": error });
        json!({ "type": "response.done", "response": { "id": "r", "status": "failed", "status_details": details } })
    };
    let mut bench = Bench::ready(Settings::default());
    bench.server(failed("rate_limit_exceeded"));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Harmless);
    bench.server(failed("insufficient_quota"));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Fatal);
}

#[test]
fn transcripts_come_both_ways_and_are_bounded() {
    let mut bench = Bench::ready(Settings::default());
    let kind = "conversation.item.input_audio_transcription.completed";
    bench.server(json!({ "type": kind, "item_id": "u", "transcript": "é".repeat(20_000) }));
    let Some(Output::Transcript(transcript)) = bench.take_outputs().pop() else {
        panic!("no transcript")
    };
    assert_eq!((transcript.who, transcript.item.as_str()), (Speaker::Caller, "u"));
    assert_eq!(transcript.text.len(), 16 * 1024);
}

/// Has the machine ask for a response and returns the number of its event.
fn ask(bench: &mut Bench) -> Value {
    bench.bridge(|machine, now| machine.tool_result(now, "c", "42", true));
    let event = bench.sent.pop().unwrap();
    assert_eq!(event["type"], "response.create");
    bench.sent.clear();
    event["event_id"].clone()
}

fn item_done(call: &str, status: &str) -> Value {
    let item = json!({
        "id": "item_f", "type": "function_call", "status": status,
        "name": "hang_up", "call_id": call, "arguments": "{}",
    });
    json!({ "type": "response.output_item.done", "response_id": "r", "output_index": 0, "item": item })
}
