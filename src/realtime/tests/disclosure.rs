//! Words that the caller hears to their end, whatever the caller and the server do meanwhile.

use super::*;

const WORDS: &str = "This call is answered by a machine.";

#[test]
fn until_the_words_are_heard_the_server_is_told_to_do_nothing_by_itself_and_then_what_the_agent_wants() {
    let turn_detection = json!({ "type": "semantic_vad", "eagerness": "low", "interrupt_response": true });
    let mut bench = Bench::closed(settings(turn_detection));
    bench.machine.handle_open(bench.now);
    bench.drain();
    let configured = &bench.sent[0]["session"]["audio"]["input"]["turn_detection"];
    assert_eq!(
        *configured,
        json!({ "type": "semantic_vad", "eagerness": "low", "interrupt_response": false, "create_response": false })
    );
    let mut bench = saying(bench);
    let utterance = say(&mut bench, "r", 1_000);
    bench.server(done("r"));
    bench.sent.clear();
    hear(&mut bench, utterance, 1_000);
    assert!(bench.take_outputs().contains(&Output::Disclosed { sent_ms: 1_000 }));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(
        bench.sent[0]["session"]["audio"]["input"]["turn_detection"],
        json!({ "type": "semantic_vad", "eagerness": "low", "interrupt_response": true, "create_response": true })
    );
}

#[test]
fn neither_voice_nor_keys_nor_texts_cut_the_words_off_and_they_are_answered_behind_the_greeting() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    let utterance = say(&mut bench, "r", 1_000);
    bench.sent.clear();
    bench.server(speech_started());
    bench.server(committed());
    bench.bridge(|machine, now| machine.digit(now, '1'));
    bench.bridge(|machine, now| machine.text(now, "hello?"));
    bench.bridge(|machine, now| machine.cut_in(now));
    assert!(!bench.take_outputs().contains(&Output::Interrupt));
    assert_eq!(
        bench.sent_types(),
        ["conversation.item.create", "conversation.item.create"]
    );
    assert!(bench.server(delta("r", "i", 20)).is_some(), "it goes on");
    bench.server(audio_done("r", "i"));
    bench.server(done("r"));
    hear(&mut bench, utterance, 1_020);
    assert_eq!(bench.sent_types(), ["session.update"]);
    bench.bridge(|machine, now| machine.greet(now));
    assert!(instructions(&bench).contains("Hello."));
    bench.sent.clear();
    bench.server(created("g"));
    bench.server(done("g"));
    assert_eq!(
        bench.sent_types(),
        ["response.create"],
        "one answer to all that was said"
    );
}

#[test]
fn a_server_that_cancels_all_the_same_is_heard_out_and_asked_again() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    let utterance = say(&mut bench, "r", 400);
    bench.sent.clear();
    bench.server(speech_started());
    bench.server(cancelled("r"));
    assert_eq!(bench.sent_types(), [""; 0], "what has come is played first");
    hear(&mut bench, utterance, 400);
    assert!(instructions(&bench).ends_with(WORDS));
    let utterance = say(&mut bench, "again", 1_000);
    bench.server(done("again"));
    hear(&mut bench, utterance, 1_000);
    assert!(bench.take_outputs().contains(&Output::Disclosed { sent_ms: 1_000 }));
}

#[test]
fn words_that_never_get_through_are_given_up_and_that_is_told() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    for number in 0..5 {
        assert_eq!(bench.sent_types(), ["response.create"]);
        let response = number.to_string();
        let utterance = say(&mut bench, &response, 100);
        bench.server(cancelled(&response));
        hear(&mut bench, utterance, 100);
    }
    assert!(bench.take_outputs().contains(&Output::NotDisclosed));
    assert_eq!(bench.sent_types(), ["session.update"]);
}

#[test]
fn words_that_the_playout_dropped_or_nobody_spoke_do_not_count_as_heard() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    bench.sent.clear();
    bench.server(created("mute"));
    bench.server(done("mute"));
    assert_eq!(bench.sent_types(), ["response.create"], "it wrote and did not speak");
    let utterance = say(&mut bench, "r", 500);
    bench.server(done("r"));
    let cut = [heard(utterance, 200, 500)];
    bench.bridge(|machine, _| machine.interrupted(&cut));
    bench.sent.clear();
    bench.bridge(|machine, now| machine.disclose(now));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_lost_session_leaves_no_words_to_the_next_but_the_answer_to_what_was_written() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    let utterance = say(&mut bench, "r", 500);
    bench.bridge(|machine, now| machine.text(now, "hello?"));
    let legacy = bench.machine.into_legacy(&[heard(utterance, 200, 500)]);
    let mut next = Bench::open(settings(Value::Null));
    let now = next.now;
    next.machine.inherit(now, legacy);
    let mut next = saying(next);
    assert!(next.sent_types().ends_with(&["response.create".to_owned()]));
    let utterance = say(&mut next, "r", 500);
    next.server(done("r"));
    next.sent.clear();
    hear(&mut next, utterance, 500);
    next.bridge(|machine, now| machine.greet(now));
    assert_eq!(next.sent_types(), ["session.update", "response.create"]);
    next.server(created("g"));
    next.server(done("g"));
    assert_eq!(next.sent_types(), ["response.create"]);
}

#[test]
fn a_session_whose_words_have_been_heard_elsewhere_takes_turns_at_once() {
    let mut bench = Bench::open(settings(json!({ "type": "server_vad", "create_response": false })));
    bench.server(session_updated(
        json!({ "type": "server_vad", "interrupt_response": false }),
    ));
    bench.sent.clear();
    bench.bridge(|machine, _| machine.lift_disclosure());
    assert_eq!(
        bench.sent[0]["session"]["audio"]["input"]["turn_detection"],
        json!({ "type": "server_vad", "create_response": false, "interrupt_response": true })
    );
    bench.bridge(|machine, _| machine.lift_disclosure());
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_server_that_repeats_only_what_is_new_goes_on() {
    let mut bench = saying(Bench::open(settings(Value::Null)));
    let turns =
        json!({ "type": "realtime", "audio": { "input": { "turn_detection": { "interrupt_response": true } } } });
    bench.server(json!({ "type": "session.updated", "session": turns }));
    assert_eq!(bench.fault(), None);
}

fn settings(turn_detection: Value) -> Settings {
    Settings {
        turn_detection,
        greeting: Some("Hello.".to_owned()),
        disclosure: Some(WORDS.to_owned()),
        ..Settings::default()
    }
}

/// Confirmed, and asked for the words.
fn saying(mut bench: Bench) -> Bench {
    bench.server(session_updated(
        json!({ "type": "server_vad", "interrupt_response": false }),
    ));
    bench.sent.clear();
    bench.bridge(|machine, now| machine.disclose(now));
    assert!(instructions(&bench).ends_with(WORDS));
    bench
}

fn say(bench: &mut Bench, response: &str, ms: usize) -> Utterance {
    bench.speak(response, "i", ms)
}

fn hear(bench: &mut Bench, utterance: Utterance, ms: u32) {
    // What the response's end closed has been told to the playout before.
    let whole = Heard {
        complete: true,
        ..heard(utterance, ms, ms)
    };
    bench.bridge(|machine, now| machine.heard_whole(now, &whole));
}

fn instructions(bench: &Bench) -> String {
    let asked = bench.sent.iter().rev().find(|event| event["type"] == "response.create");
    let asked = asked.expect("a response is asked for");
    asked["response"]["instructions"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn committed() -> Value {
    json!({ "type": "input_audio_buffer.committed", "item_id": "item_u", "previous_item_id": null })
}

fn cancelled(response: &str) -> Value {
    json!({ "type": "response.done", "response": { "id": response, "status": "cancelled" } })
}
