//! Responses: order, pace, cancellation, kinds.

use serde_json::json;

use super::Client;
use super::client::{audio, find, hang_up_tool, has, kinds, refusal};

#[test]
fn the_session_is_announced_first_and_updated_in_full() {
    let mut client = Client::new();
    assert_eq!(kinds(&[client.events[0].1.clone()]), ["session.created"]);
    let updated = client.update(json!({"instructions": "Be brief."}));
    assert_eq!(kinds(&updated), ["session.updated"]);
    assert_eq!(
        updated[0]["session"]["audio"]["output"]["format"],
        json!({"type": "audio/pcm", "rate": 24000})
    );
}

#[test]
fn a_spoken_response_has_the_official_order() {
    let mut client = Client::new();
    let events = client.respond(json!({"instructions": "Greet the caller.", "metadata": {"client_event_id": "7"}}));
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let done = &find(&events, "response.done")["response"];
    assert_eq!(
        (&done["status"], &done["metadata"]["client_event_id"]),
        (&json!("completed"), &json!("7"))
    );
    let words: String = deltas(&events, "response.output_audio_transcript.delta");
    assert!(words.starts_with("Hello. You have reached"), "{words}");
    assert_eq!(done["output"][0]["content"][0]["transcript"], words);
    assert_eq!(done["output"][0]["content"][0].get("audio"), None);
    let seconds = audio(&events).len() as f64 / 48_000.0;
    let tokens = done["usage"]["output_token_details"]["audio_tokens"].as_f64().unwrap();
    assert!(
        (4.0..6.5).contains(&seconds) && (tokens - seconds * 20.0).abs() <= 1.0,
        "{seconds} s, {tokens} tokens"
    );
}

#[test]
fn audio_comes_faster_than_it_plays_but_not_at_once() {
    let mut client = Client::new();
    client.respond(json!({}));
    let times: Vec<u64> = client
        .events
        .iter()
        .filter(|(_, e)| e["type"] == "response.output_audio.delta")
        .map(|(ms, _)| *ms)
        .collect();
    assert_eq!(times[0], 60);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 40), "{times:?}");
}

#[test]
fn oversleeping_changes_nothing_but_the_time() {
    let (mut punctual, mut late) = (Client::new(), Client::new());
    let expected = punctual.respond(json!({}));
    let mut events = late.send(json!({"type": "response.create", "response": {}}));
    events.extend(late.oversleep(10_000));
    assert_eq!(events, expected);
}

#[test]
fn a_second_response_is_refused_with_the_event_id_until_the_first_is_done() {
    let mut client = Client::new();
    client.send(json!({"type": "response.create"}));
    client.wait(100);
    let refused = client.send(json!({"type": "response.create", "event_id": "agents_js_response_create_2"}));
    let (code, message) = refusal(&refused);
    assert_eq!(code, "conversation_already_has_active_response");
    assert!(
        message.starts_with("Conversation already has an active response in progress: resp_"),
        "{message}"
    );
    assert_eq!(refused[0]["error"]["event_id"], "agents_js_response_create_2");
    client.wait(10_000);
    assert!(has(&client.respond(json!({})), "response.done"));
}

#[test]
fn cancelling_closes_what_was_opened() {
    let mut client = Client::new();
    assert_eq!(
        refusal(&client.send(json!({"type": "response.cancel"}))).0,
        "response_cancel_not_active"
    );
    client.send(json!({"type": "response.create"}));
    let early = client.send(json!({"type": "response.cancel"}));
    assert_eq!(kinds(&early), ["response.done"]);
    assert_eq!(early[0]["response"]["output"], json!([]));
    let created = client.send(json!({"type": "response.create"}));
    client.wait(300);
    let id = &created[0]["response"]["id"];
    let cancelled = client.send(json!({"type": "response.cancel", "response_id": id}));
    assert_eq!(
        kinds(&cancelled),
        [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let done = &find(&cancelled, "response.done")["response"];
    assert_eq!(done["status"], "cancelled");
    assert_eq!(
        done["status_details"],
        json!({"type": "cancelled", "reason": "client_cancelled"})
    );
    assert_eq!(done["output"][0]["status"], "incomplete");
    assert!(client.wait(5_000).is_empty());
}

#[test]
fn keys_are_confirmed_and_star_calls_hang_up() {
    let mut client = Client::new();
    client.update(json!({"tools": hang_up_tool()}));
    client.write("DTMF 5");
    let events = client.respond(json!({}));
    assert_eq!(
        find(&events, "response.output_audio_transcript.done")["transcript"],
        "You pressed five."
    );
    client.write("DTMF *");
    let events = client.respond(json!({}));
    assert_eq!(
        kinds(&events)[2..],
        [
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let called = find(&events, "response.function_call_arguments.done");
    assert_eq!(
        (&called["name"], &called["arguments"]),
        (&json!("hang_up"), &json!(r#"{"reason":"caller pressed star"}"#))
    );
    let item = &find(&events, "response.output_item.done")["item"];
    assert_eq!(
        (&item["status"], &item["call_id"]),
        (&json!("completed"), &called["call_id"])
    );
    let output = json!({"type": "function_call_output", "call_id": called["call_id"], "output": "{}"});
    let settled = client.send(json!({"type": "conversation.item.create", "item": output}));
    assert_eq!(kinds(&settled), ["conversation.item.added", "conversation.item.done"]);
    assert!(client.wait(5_000).is_empty());
}

#[test]
fn without_permission_to_call_star_gets_a_goodbye() {
    let mut client = Client::new();
    client.update(json!({"tools": hang_up_tool()}));
    client.write("DTMF *");
    let events = client.respond(json!({"tool_choice": "none"}));
    assert_eq!(
        find(&events, "response.output_audio_transcript.done")["transcript"],
        "Goodbye."
    );
}

#[test]
fn text_alone_has_text_events() {
    let mut client = Client::new();
    let events = client.respond(json!({"output_modalities": ["text"]}));
    assert_eq!(
        kinds(&events)[2..],
        [
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    assert_eq!(
        deltas(&events, "response.output_text.delta"),
        find(&events, "response.output_text.done")["text"]
    );
    assert_eq!(find(&events, "response.content_part.done")["part"]["type"], "text");
}

#[test]
fn an_out_of_band_response_runs_beside_the_conversation_and_leaves_no_trace() {
    let mut client = Client::new();
    client.send(json!({"type": "response.create"}));
    let item = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "DTMF 1"}]});
    let side = client.send(json!({
        "type": "response.create",
        "response": {"conversation": "none", "input": [item], "metadata": {"topic": "key"}, "output_modalities": ["text"]},
    }));
    let side_id = side[0]["response"]["id"].clone();
    assert_eq!(side[0]["response"]["conversation_id"], json!(null));
    let events = client.wait(10_000);
    assert_eq!(find(&events, "response.output_text.done")["text"], "You pressed one.");
    assert_eq!(
        events
            .iter()
            .filter(|event| event["type"] == "conversation.item.added")
            .count(),
        1
    );
    let done = events
        .iter()
        .find(|e| e["type"] == "response.done" && e["response"]["id"] == side_id)
        .unwrap();
    assert_eq!(done["response"]["metadata"], json!({"topic": "key"}));
}

#[test]
fn a_token_limit_leaves_the_response_incomplete() {
    let mut client = Client::new();
    let events = client.respond(json!({"max_output_tokens": 30}));
    let done = &find(&events, "response.done")["response"];
    assert_eq!(
        done["status_details"],
        json!({"type": "incomplete", "reason": "max_output_tokens"})
    );
    assert_eq!(audio(&events).len(), 48 * 1_500);
}

#[test]
fn g711_goes_out_as_eight_bytes_a_millisecond() {
    for kind in ["audio/pcmu", "audio/pcma"] {
        let mut client = Client::new();
        client.update(json!({"audio": {"output": {"format": {"type": kind}}}}));
        let events = client.respond(json!({}));
        assert_eq!(
            find(&events, "response.created")["response"]["audio"]["output"]["format"]["type"],
            kind
        );
        let seconds = audio(&events).len() as f64 / 8_000.0;
        assert!((4.0..6.5).contains(&seconds), "{seconds}");
    }
}

#[test]
fn the_voice_cannot_change_after_it_was_heard() {
    let mut client = Client::new();
    client.respond(json!({}));
    assert_eq!(
        refusal(&client.update(json!({"audio": {"output": {"voice": "cedar"}}}))).0,
        "cannot_update_voice"
    );
}

#[test]
fn a_bad_request_names_the_member_and_starts_nothing() {
    let mut client = Client::new();
    for (response, code) in [
        (json!({"modalities": ["audio"]}), "unknown_parameter"),
        (json!({"conversation": "other"}), "invalid_value"),
        (
            json!({"input": [{"type": "item_reference", "id": "item_x"}]}),
            "invalid_value",
        ),
        (json!({"metadata": {"a": 1}}), "invalid_type"),
    ] {
        let refused = client.send(json!({"type": "response.create", "event_id": "e", "response": response}));
        assert_eq!(refusal(&refused).0, code);
        assert_eq!(refused[0]["error"]["event_id"], "e");
    }
    assert!(client.wait(5_000).is_empty());
}

fn deltas(events: &[serde_json::Value], kind: &str) -> String {
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .filter_map(|event| event["delta"].as_str())
        .collect()
}
