//! The caller speaks over the agent.

use super::*;

#[test]
fn caller_speech_interrupts_at_once_and_truncates_to_what_was_sent() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 2_000);
    bench.heard = vec![heard(utterance, 340, 2_000)];
    bench.server(speech_started());
    assert_eq!(bench.take_outputs(), [Output::Interrupt]);
    assert_eq!(bench.sent.len(), 1, "the server cancels by itself");
    let truncate = &bench.sent[0];
    assert_eq!(truncate["type"], "conversation.item.truncate");
    assert_eq!(
        (&truncate["item_id"], &truncate["content_index"]),
        (&json!("i"), &json!(0))
    );
    assert_eq!(truncate["audio_end_ms"], json!(340));
}

#[test]
fn a_truncation_never_exceeds_the_audio_that_came() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 100);
    bench.heard = vec![heard(utterance, 160, 160)];
    bench.server(speech_started());
    assert_eq!(bench.sent[0]["audio_end_ms"], json!(100));
}

#[test]
fn every_item_of_a_response_is_truncated_and_one_not_started_to_zero() {
    let mut bench = Bench::ready(Settings::default());
    let first = bench.speak("r", "i1", 500);
    let second = bench.server(delta("r", "i2", 500)).unwrap().0;
    bench.heard = vec![heard(first, 200, 500), heard(second, 0, 500)];
    bench.server(speech_started());
    let ends: Vec<&Value> = bench.sent.iter().map(|event| &event["audio_end_ms"]).collect();
    assert_eq!(ends, [&json!(200), &json!(0)]);
}

#[test]
fn an_utterance_heard_to_its_end_is_not_truncated() {
    let mut bench = Bench::ready(Settings::default());
    let first = bench.speak("r", "i1", 500);
    bench.server(audio_done("r", "i1"));
    let second = bench.server(delta("r", "i2", 500)).unwrap().0;
    bench.heard = vec![
        Heard {
            complete: true,
            ..heard(first, 500, 500)
        },
        heard(second, 20, 500),
    ];
    bench.server(speech_started());
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(bench.sent[0]["item_id"], "i2");
}

#[test]
fn late_audio_of_an_interrupted_response_is_dropped() {
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.server(speech_started());
    assert_eq!(bench.server(delta("r", "i", 20)), None);
    assert_eq!(bench.server(delta("r", "another_item", 20)), None);
    bench.server(done("r"));
    assert_eq!(bench.server(delta("r", "i", 20)), None, "not even after its end");
    bench.server(created("next"));
    assert!(bench.server(delta("next", "j", 20)).is_some());
}

#[test]
fn audio_that_comes_before_the_bridge_answers_the_interruption_is_dropped() {
    let mut bench = Bench::ready(Settings::default());
    bench.speak("r", "i", 100);
    bench.server(done("r"));
    assert_eq!(
        bench.machine.handle_text(bench.now, &speech_started().to_string()),
        None
    );
    assert_eq!(
        bench.machine.handle_text(bench.now, &delta("r", "i", 20).to_string()),
        None
    );
}

#[test]
fn a_response_without_audio_yet_is_cut_off_as_well() {
    let mut bench = Bench::ready_to_cancel();
    bench.server(created("r"));
    bench.server(speech_started());
    assert_eq!(bench.take_outputs(), [], "nothing is in the playout");
    assert_eq!(bench.sent_types(), ["response.cancel"]);
    assert_eq!(bench.server(delta("r", "i", 20)), None);
}

#[test]
fn the_response_is_cancelled_when_the_server_does_not_do_it() {
    let mut bench = Bench::ready_to_cancel();
    let utterance = bench.speak("r", "i", 100);
    bench.heard = vec![heard(utterance, 20, 100)];
    bench.server(speech_started());
    assert_eq!(bench.sent[0]["response_id"], "r");
    assert_eq!(bench.sent_types(), ["response.cancel", "conversation.item.truncate"]);
}

#[test]
fn a_server_that_does_not_say_whether_it_cancels_is_taken_at_the_word_of_the_configuration() {
    for (asked, sent) in [(json!(true), vec![]), (json!(false), vec!["response.cancel"])] {
        let turn_detection = json!({ "type": "server_vad", "interrupt_response": asked });
        let mut bench = Bench::open(Settings {
            turn_detection,
            ..Settings::default()
        });
        bench.server(session_updated(json!({ "type": "server_vad" })));
        bench.server(created("r"));
        bench.sent.clear();
        bench.server(speech_started());
        assert_eq!(bench.sent_types(), sent);
    }
}

#[test]
fn nothing_is_cancelled_once_the_response_has_ended() {
    let mut bench = Bench::ready_to_cancel();
    let utterance = bench.speak("r", "i", 5_000);
    bench.server(audio_done("r", "i"));
    bench.server(done("r"));
    bench.heard = vec![heard(utterance, 700, 5_000)];
    bench.server(speech_started());
    assert_eq!(
        bench.sent_types(),
        ["conversation.item.truncate"],
        "its audio was still playing"
    );
}

#[test]
fn speech_after_everything_was_heard_interrupts_nothing() {
    let mut bench = Bench::ready_to_cancel();
    let utterance = bench.speak("r", "i", 100);
    bench.server(audio_done("r", "i"));
    bench.server(done("r"));
    bench.machine.finished(utterance);
    bench.take_outputs();
    bench.server(speech_started());
    assert_eq!(bench.take_outputs(), []);
    assert!(bench.sent.is_empty());
}

#[test]
fn the_end_of_the_audio_is_told_once() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 100);
    bench.server(audio_done("r", "i"));
    bench.server(done("r"));
    assert_eq!(bench.take_outputs(), [Output::AudioDone(utterance)]);
}

#[test]
fn a_response_that_ends_without_ending_its_audio_ends_it() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 100);
    bench.server(done("r"));
    assert_eq!(bench.take_outputs(), [Output::AudioDone(utterance)]);
}

#[test]
fn the_bridge_may_interrupt_of_its_own_accord() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 100);
    bench.bridge(|machine, _| machine.interrupted(&[heard(utterance, 40, 100)]));
    assert_eq!(bench.sent[0]["audio_end_ms"], json!(40));
    assert_eq!(bench.server(delta("r", "i", 20)), None);
}

#[test]
fn a_digit_interrupts_and_the_truncation_precedes_the_next_response() {
    let mut bench = Bench::ready(Settings::default());
    let utterance = bench.speak("r", "i", 5_000);
    bench.server(done("r"));
    bench.heard = vec![heard(utterance, 700, 5_000)];
    bench.bridge(|machine, now| machine.digit(now, '5'));
    assert_eq!(
        bench.sent[1]["item"]["content"],
        json!([{ "type": "input_text", "text": "DTMF 5" }])
    );
    let order = [
        "conversation.item.truncate",
        "conversation.item.create",
        "response.create",
    ];
    assert_eq!(bench.sent_types(), order);
}
