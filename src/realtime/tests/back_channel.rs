//! "Mm-hm" while the agent speaks, and what looks like it.

use super::*;

#[test]
fn a_turn_that_only_says_go_on_is_not_answered_and_the_agent_goes_on() {
    let mut bench = speaking();
    over_the_agent(&mut bench, "u");
    bench.server(words("u", "Mm-hm."));
    assert_eq!(
        (bench.take_outputs().contains(&Output::Interrupt), bench.sent.len()),
        (false, 0)
    );
    assert!(bench.server(delta("r", "i", 20)).is_some());
    bench.server(done("r"));
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.sent_types(), [""; 0]);
}

#[test]
fn a_turn_with_other_words_is_answered_behind_what_the_agent_says() {
    for told in [words("u", "Stop, please."), failed("u")] {
        let mut bench = speaking();
        over_the_agent(&mut bench, "u");
        bench.server(told);
        assert_eq!(bench.sent_types(), [""; 0]);
        bench.server(done("r"));
        assert_eq!(bench.sent_types(), ["response.create"]);
    }
}

#[test]
fn a_turn_whose_words_do_not_come_is_answered() {
    let mut bench = speaking();
    over_the_agent(&mut bench, "u");
    bench.server(done("r"));
    assert!(!bench.machine.is_at_rest());
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.sent_types(), ["response.create"]);
    bench.server(words("u", "Yes"));
    assert_eq!(bench.sent_types(), [""; 0], "once");
}

#[test]
fn a_yes_to_an_agent_that_has_finished_is_an_answer() {
    let mut bench = speaking();
    over_the_agent(&mut bench, "u");
    bench.server(done("r"));
    bench.bridge(|machine, _| machine.finished(Utterance(0)));
    bench.server(words("u", "Yes."));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

#[test]
fn a_turn_to_a_silent_agent_and_one_that_cut_it_off_are_answered_at_once() {
    let mut bench = ready();
    over_the_agent(&mut bench, "u");
    assert_eq!(bench.sent_types(), ["response.create"]);
    let mut bench = speaking();
    bench.server(speech_started());
    bench.bridge(|machine, now| machine.cut_in(now));
    bench.server(cancelled("r"));
    bench.sent.clear();
    bench.server(committed("u"));
    assert_eq!(bench.sent_types(), ["response.create"]);
}

/// The caller says something short while the agent is, or is not, heard.
fn over_the_agent(bench: &mut Bench, item: &str) {
    bench.server(speech_started());
    bench.server(committed(item));
}

fn ready() -> Bench {
    let turn_detection = json!({ "type": "server_vad", "interrupt_response": false, "create_response": false });
    let mut bench = Bench::open(Settings {
        turn_detection: turn_detection.clone(),
        own_ear: true,
        back_channel: ["mm-hm", "yes"].map(str::to_owned).into(),
        ..Settings::default()
    });
    bench.server(session_updated(turn_detection));
    bench.sent.clear();
    bench.outputs.clear();
    bench
}

fn speaking() -> Bench {
    let mut bench = ready();
    bench.speak("r", "i", 1_000);
    bench
}

fn committed(item: &str) -> Value {
    json!({ "type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": null })
}

fn cancelled(response: &str) -> Value {
    json!({ "type": "response.done", "response": { "id": response, "status": "cancelled" } })
}

fn words(item: &str, text: &str) -> Value {
    json!({
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item, "content_index": 0, "transcript": text,
    })
}

fn failed(item: &str) -> Value {
    json!({
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": item, "content_index": 0, "error": { "type": "transcription_error", "message": "no" },
    })
}
