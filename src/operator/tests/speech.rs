//! The caller speaks: turns, echo, interruption, manual mode, silence.

use serde_json::{Value, json};

use super::Client;
use super::client::{audio, find, has, kinds, refusal, silence, tone};
use crate::audio::{Law, level};

#[test]
fn a_turn_is_found_committed_and_repeated_at_the_same_length_and_pitch() {
    let mut client = Client::new();
    let events = client.speak(&[silence(1_000), tone(2_000), silence(3_000)].concat());
    assert_eq!(
        kinds(&events)[..6],
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
    );
    assert_eq!(
        find(&events, "input_audio_buffer.speech_started")["audio_start_ms"],
        700
    );
    assert_eq!(
        find(&events, "input_audio_buffer.speech_stopped")["audio_end_ms"],
        3_500
    );
    let id = &find(&events, "input_audio_buffer.committed")["item_id"];
    assert_eq!(&find(&events, "input_audio_buffer.speech_started")["item_id"], id);
    let pcm = samples(&audio(&events));
    assert_eq!(pcm.len(), 24 * (300 + 2_000 + 100));
    let voice = &pcm[24 * 300..24 * 2_300];
    assert_eq!(voice.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count(), 999);
    assert!((level::dbfs(voice) + 20.0).abs() < 0.1);
}

#[test]
fn speaking_interrupts_and_the_rest_can_be_truncated_to_what_was_heard() {
    let mut client = Client::new();
    client.send(json!({"type": "response.create"}));
    client.wait(260);
    let events = client.speak(&tone(40));
    let started = events
        .iter()
        .position(|e| e["type"] == "input_audio_buffer.speech_started")
        .unwrap();
    let done = &find(&events[started..], "response.done")["response"];
    assert_eq!(
        done["status_details"],
        json!({"type": "cancelled", "reason": "turn_detected"})
    );
    assert!(!has(&events[started..], "response.output_audio.delta"));
    let sent_ms = client
        .events
        .iter()
        .map(|(_, event)| audio(std::slice::from_ref(event)).len() / 48)
        .sum::<usize>();
    let item = &done["output"][0]["id"];
    let truncate = |ms: usize| json!({"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": ms});
    let refused = client.send(truncate(sent_ms + 1));
    let message = format!("Audio content of {sent_ms}ms is already shorter than {}ms", sent_ms + 1);
    assert_eq!(refusal(&refused), ("invalid_value", message.as_str()));
    let truncated = client.send(truncate(220));
    assert_eq!(
        (kinds(&truncated), &truncated[0]["audio_end_ms"]),
        (vec!["conversation.item.truncated"], &json!(220))
    );
    let retrieved = client.send(json!({"type": "conversation.item.retrieve", "item_id": item}));
    let part = &retrieved[0]["item"]["content"][0];
    assert_eq!(part.get("transcript"), None);
    let bytes = base64_simd::STANDARD
        .decode_to_vec(part["audio"].as_str().unwrap())
        .unwrap();
    assert_eq!(bytes.len(), 48 * 220);
}

#[test]
fn the_switches_of_turn_detection_are_honoured() {
    let mut client = Client::new();
    let off = json!({"type": "server_vad", "create_response": false, "interrupt_response": false});
    client.update(json!({"audio": {"input": {"turn_detection": off}}}));
    client.send(json!({"type": "response.create"}));
    let events = client.speak(&[tone(300), silence(1_000)].concat());
    assert!(has(&events, "input_audio_buffer.committed"));
    let done: Vec<&Value> = events.iter().filter(|event| event["type"] == "response.done").collect();
    assert_eq!((done.len(), &done[0]["response"]["status"]), (1, &json!("completed")));
}

#[test]
fn without_turn_detection_the_client_commits_and_asks() {
    let mut client = Client::new();
    client.update(json!({"audio": {"input": {"turn_detection": null}}}));
    assert_eq!(
        refusal(&client.send(json!({"type": "input_audio_buffer.commit"}))),
        (
            "input_audio_buffer_commit_empty",
            "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only \
             has 0.00ms of audio."
        )
    );
    assert!(client.speak(&[tone(500), silence(2_000)].concat()).is_empty());
    let events = client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(
        kinds(&events),
        [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done"
        ]
    );
    assert_eq!(audio(&client.respond(json!({}))).len(), 48 * 2_500);
    client.speak(&tone(500));
    assert_eq!(
        kinds(&client.send(json!({"type": "input_audio_buffer.clear"}))),
        ["input_audio_buffer.cleared"]
    );
    assert_eq!(
        refusal(&client.send(json!({"type": "input_audio_buffer.commit"}))).0,
        "input_audio_buffer_commit_empty"
    );
}

#[test]
fn transcription_tells_only_how_long_the_caller_spoke() {
    let mut client = Client::new();
    client.update(json!({"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}));
    let events = client.speak(&[silence(500), tone(1_400), silence(600)].concat());
    let completed = find(&events, "conversation.item.input_audio_transcription.completed");
    assert_eq!(completed["transcript"], "(speech, 1.8 s)");
    assert_eq!(
        completed["item_id"],
        find(&events, "input_audio_buffer.committed")["item_id"]
    );
    let retrieved = client.send(json!({"type": "conversation.item.retrieve", "item_id": completed["item_id"]}));
    assert_eq!(retrieved[0]["item"]["content"][0]["transcript"], "(speech, 1.8 s)");
}

#[test]
fn g711_in_is_repeated_as_g711() {
    let mut client = Client::new();
    let format = json!({"format": {"type": "audio/pcmu"}});
    client.update(json!({"audio": {"input": format, "output": format}}));
    let pcm: Vec<i16> = [silence(500), tone(1_000), silence(1_000)]
        .concat()
        .into_iter()
        .step_by(3)
        .collect();
    let mut code = Vec::new();
    Law::Mu.encode(&pcm, &mut code);
    let mut events = Vec::new();
    for frame in code.chunks(160) {
        let audio = base64_simd::STANDARD.encode_to_string(frame);
        events.extend(client.send(json!({"type": "input_audio_buffer.append", "audio": audio})));
        events.extend(client.wait(20));
    }
    events.extend(client.wait(2_000));
    // Of mu-law's two zeros the encoder knows the positive one.
    let expected: Vec<u8> = code[8 * 200..8 * 1_600]
        .iter()
        .map(|&code| if code == 0x7F { 0xFF } else { code })
        .collect();
    assert!(audio(&events) == expected);
}

#[test]
fn a_silent_caller_is_prompted_after_the_playback_and_the_timeout() {
    let mut client = Client::new();
    let turns = json!({"type": "server_vad", "idle_timeout_ms": 5_000});
    client.update(json!({"audio": {"input": {"turn_detection": turns}}}));
    let greeting_ms = audio(&client.respond(json!({}))).len() as u64 / 48;
    let events = client.wait(10_000);
    assert_eq!(
        kinds(&events)[..5],
        [
            "input_audio_buffer.timeout_triggered",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
    );
    let (ms, _) = client
        .events
        .iter()
        .find(|(_, e)| e["type"] == "input_audio_buffer.timeout_triggered")
        .unwrap();
    assert_eq!(*ms, 60 + greeting_ms + 5_000);
}

#[test]
fn an_unreadable_append_is_refused_with_its_event_id() {
    let mut client = Client::new();
    let refused = client.send(json!({"type": "input_audio_buffer.append", "event_id": "a1", "audio": "%%%"}));
    assert_eq!(
        (refusal(&refused).0, &refused[0]["error"]["event_id"]),
        ("invalid_value", &json!("a1"))
    );
    assert_eq!(
        refusal(&client.send(json!({"type": "input_audio_buffer.append", "audio": 5}))).0,
        "invalid_type"
    );
    let missing = client.send(json!({"type": "input_audio_buffer.append"}));
    assert_eq!(refusal(&missing).0, "missing_required_parameter");
    let escaped = r#"{"type":"input_audio_buffer.append","audio":"AAA\/"}"#;
    assert!(client.send_text(escaped).is_empty());
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}
