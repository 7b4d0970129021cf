//! One conversation that makes the server send every event it knows.
//!
//! With `PATCHCORD_EVENT_LOG=FILE` the server's events are written there as JSON lines, for `check_events.py` of the
//! interoperability tests to judge.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Client;
use super::client::{find, hang_up_tool, silence, tone};

#[test]
fn every_event_is_sent_once_in_one_conversation() {
    let mut client = Client::new();
    converse(&mut client);
    let sent: BTreeSet<&str> = client
        .events
        .iter()
        .filter_map(|(_, event)| event["type"].as_str())
        .collect();
    assert_eq!(sent.len(), 30, "{sent:#?}");
    if let Some(path) = std::env::var_os("PATCHCORD_EVENT_LOG") {
        let line = |event: &Value| json!({"dir": "server", "event": event}).to_string() + "\n";
        let lines: String = client.events.iter().map(|(_, event)| line(event)).collect();
        std::fs::write(path, lines).unwrap();
    }
}

fn converse(client: &mut Client) {
    let turns = json!({"type": "server_vad", "idle_timeout_ms": 3_000});
    client.update(json!({
        "instructions": "Repeat what the caller says.",
        "tools": hang_up_tool(),
        "tracing": "auto",
        "include": ["item.input_audio_transcription.logprobs"],
        "audio": {
            "input": {
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "noise_reduction": {"type": "near_field"},
                "turn_detection": turns,
            },
        },
    }));
    client.respond(json!({"instructions": "Greet the caller.", "metadata": {"client_event_id": "1"}}));
    // A turn, its echo, and a second turn that interrupts it.
    client.speak(&[silence(500), tone(2_000), silence(700)].concat());
    let interrupted = client.speak(&[tone(600), silence(2_000)].concat());
    let item = find(&interrupted, "response.output_item.done")["item"]["id"].clone();
    client
        .send(json!({"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 100}));
    client.send(json!({"type": "conversation.item.retrieve", "item_id": item}));
    client.send(json!({"type": "conversation.item.delete", "item_id": item}));
    // Nobody speaks until the caller is prompted.
    client.wait(10_000);
    client.update(json!({"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": null}}}}));
    client.wait(10_000);
    client.write("DTMF 5");
    client.respond(json!({"output_modalities": ["text"]}));
    client.respond(json!({"conversation": "none", "input": [], "max_output_tokens": 20}));
    client.write("DTMF *");
    let call = find(&client.respond(json!({})), "response.function_call_arguments.done")["call_id"].clone();
    let output = json!({"type": "function_call_output", "call_id": call, "output": "{}"});
    client.send(json!({"type": "conversation.item.create", "item": output}));
    // Manual mode, in the other formats.
    let format = json!({"format": {"type": "audio/pcmu"}});
    client.update(
        json!({"audio": {"input": {"turn_detection": null, "format": {"type": "audio/pcma"}}, "output": format}}),
    );
    client.speak(&tone(400));
    client.send(json!({"type": "input_audio_buffer.commit"}));
    client.send(json!({"type": "input_audio_buffer.clear"}));
    client.send(json!({"type": "input_audio_buffer.commit", "event_id": "commit_2"}));
    client.update(json!({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}));
    client.wait(4_000_000);
}
