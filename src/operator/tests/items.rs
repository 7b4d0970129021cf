//! Items, and events that are none.

use serde_json::{Value, json};

use super::Client;
use super::client::{kinds, refusal};

#[test]
fn items_are_placed_retrieved_and_deleted() {
    let mut client = Client::new();
    let first = client.send(create("a", json!({})));
    assert_eq!(kinds(&first), ["conversation.item.added", "conversation.item.done"]);
    assert_eq!(
        (&first[0]["previous_item_id"], &first[0]["item"]["status"]),
        (&json!(null), &json!("completed"))
    );
    assert_eq!(client.send(create("b", json!({})))[0]["previous_item_id"], "a");
    assert_eq!(
        client.send(create("c", json!({"previous_item_id": "a"})))[0]["previous_item_id"],
        "a"
    );
    assert_eq!(
        client.send(create("d", json!({"previous_item_id": "root"})))[0]["previous_item_id"],
        json!(null)
    );
    let retrieved = client.send(json!({"type": "conversation.item.retrieve", "item_id": "c"}));
    assert_eq!(
        retrieved[0]["item"]["content"],
        json!([{"type": "input_text", "text": "c"}])
    );
    let deleted = client.send(json!({"type": "conversation.item.delete", "item_id": "c"}));
    assert_eq!(
        (kinds(&deleted), &deleted[0]["item_id"]),
        (vec!["conversation.item.deleted"], &json!("c"))
    );
    for (event, code) in [
        (create("a", json!({})), "item_create_duplicate_item_id"),
        (
            create("e", json!({"previous_item_id": "c"})),
            "item_create_invalid_previous_item_id",
        ),
        (
            json!({"type": "conversation.item.retrieve", "item_id": "c"}),
            "item_retrieve_invalid_item_id",
        ),
        (
            json!({"type": "conversation.item.delete", "item_id": "c"}),
            "item_delete_invalid_item_id",
        ),
        (truncate("c", json!(0)), "item_truncate_invalid_item_id"),
        (truncate("a", json!(0)), "invalid_value"),
        (truncate("a", json!(1.5)), "invalid_type"),
    ] {
        assert_eq!(refusal(&client.send(event)).0, code);
    }
}

#[test]
fn every_kind_of_item_is_taken_and_echoed() {
    let mut client = Client::new();
    for (item, member) in [
        (
            message("system", json!([{"type": "input_text", "text": "s"}])),
            "content",
        ),
        (
            message("assistant", json!([{"type": "output_text", "text": "a"}])),
            "content",
        ),
        (
            message("user", json!([{"type": "input_audio", "audio": "AAAAAA=="}])),
            "content",
        ),
        (
            message(
                "user",
                json!([{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]),
            ),
            "content",
        ),
        (
            json!({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}),
            "arguments",
        ),
        (
            json!({"type": "function_call_output", "output": "ok", "call_id": "c"}),
            "output",
        ),
    ] {
        let events = client.send(json!({"type": "conversation.item.create", "item": item}));
        assert_eq!(
            kinds(&events),
            ["conversation.item.added", "conversation.item.done"],
            "{item}"
        );
        assert!(events[0]["item"][member] != json!(null) && events[0]["item"]["id"].is_string());
    }
}

#[test]
fn items_that_cannot_be_are_refused() {
    let mut client = Client::new();
    for (item, code, param) in [
        (json!({"type": "poem"}), "invalid_value", "item.type"),
        (
            message("assistant", json!([{"type": "output_audio", "audio": ""}])),
            "invalid_value",
            "item.content[0].type",
        ),
        (
            message("user", json!([{"type": "output_text", "text": ""}])),
            "invalid_value",
            "item.content[0].type",
        ),
        (
            message("user", json!([{"type": "input_audio", "audio": "*"}])),
            "invalid_value",
            "item.content[0].audio",
        ),
        (message("user", json!("hello")), "invalid_type", "item.content"),
        (
            json!({"type": "function_call_output", "call_id": "c"}),
            "missing_required_parameter",
            "item.output",
        ),
    ] {
        let refused = client.send(json!({"type": "conversation.item.create", "item": item}));
        assert_eq!(
            (refusal(&refused).0, &refused[0]["error"]["param"]),
            (code, &json!(param)),
            "{item}"
        );
    }
}

#[test]
fn events_that_are_none_are_refused_and_the_session_carries_on() {
    let mut client = Client::new();
    for (text, code) in [
        ("nonsense", "invalid_json"),
        ("[]", "invalid_event"),
        ("{}", "invalid_event"),
        (r#"{"type":"poem.create"}"#, "invalid_event"),
        (r#"{"type":5}"#, "invalid_type"),
        (r#"{"type":"session.update"}"#, "missing_required_parameter"),
        (r#"{"type":"output_audio_buffer.clear"}"#, "invalid_event"),
        (r#"{"type":"operator.fault","fault":"drop"}"#, "invalid_event"),
    ] {
        assert_eq!(refusal(&client.send_text(text)).0, code, "{text}");
    }
    assert_eq!(kinds(&client.update(json!({}))), ["session.updated"]);
}

fn create(id: &str, mut event: Value) -> Value {
    event["type"] = json!("conversation.item.create");
    event["item"] = message("user", json!([{"type": "input_text", "text": id}]));
    event["item"]["id"] = json!(id);
    event
}

fn message(role: &str, content: Value) -> Value {
    json!({"type": "message", "role": role, "content": content})
}

fn truncate(id: &str, audio_end_ms: Value) -> Value {
    json!({"type": "conversation.item.truncate", "item_id": id, "content_index": 0, "audio_end_ms": audio_end_ms})
}
