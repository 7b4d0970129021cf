//! What the server has to say, in order: events with their ids, and the end of the connection.

use std::collections::VecDeque;

use serde_json::Value;

use super::error::Refusal;
use super::{Output, beta};
use crate::realtime::beta_name;

/// The queue of outputs and the source of every id. Emptied by the driver after each input, which bounds it: one input
/// never yields more than a response's worth of events.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Output>,
    seed: u64,
    issued: u64,
    muted: bool,
    /// Whether events leave in the beta dialect.
    beta: bool,
}

impl Outbox {
    /// Empty; the seed makes the ids of this session differ from those of others.
    pub fn new(seed: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            seed,
            issued: 0,
            muted: false,
            beta: false,
        }
    }

    /// The same, for a client of the beta dialect.
    pub fn in_beta(self, beta: bool) -> Self {
        Self { beta, ..self }
    }

    /// A fresh id such as `item_5f3c…`.
    pub fn id(&mut self, prefix: &str) -> String {
        self.issued += 1;
        let [high, low] = [0x9E37, 0x79B9].map(|salt| mix(self.seed ^ salt, self.issued));
        format!("{prefix}_{high:016x}{:08x}", low as u32)
    }

    /// Queues an event; `body` is an object with its members but `type` and `event_id`.
    pub fn event(&mut self, kind: &str, body: &Value) {
        if !self.beta {
            return self.event_as(kind, body);
        }
        if let Some((kind, body)) = beta::outbound(kind, body) {
            self.event_as(kind, &body);
        }
    }

    fn event_as(&mut self, kind: &str, body: &Value) {
        let (id, body) = (self.event_id(), body.to_string());
        let rest = body.strip_prefix('{').unwrap_or("}");
        let comma = if rest == "}" { "" } else { "," };
        self.send(format!(r#"{{"type":"{kind}","event_id":"{id}"{comma}{rest}"#));
    }

    /// Queues an `error` event.
    pub fn error(&mut self, refusal: &Refusal, event_id: Option<&str>) {
        self.event("error", &serde_json::json!({"error": refusal.to_json(event_id)}));
    }

    /// Queues agent audio, written by hand because it is most of what the server sends.
    pub fn audio_delta(&mut self, response_id: &str, item_id: &str, bytes: &[u8]) {
        let id = self.event_id();
        let mut text = String::with_capacity(256 + bytes.len() * 4 / 3);
        let kind = "response.output_audio.delta";
        let kind = if self.beta { beta_name(kind) } else { kind };
        for part in [
            r#"{"type":""#,
            kind,
            r#"","event_id":""#,
            &id,
            r#"","response_id":""#,
            response_id,
            r#"","item_id":""#,
            item_id,
        ] {
            text.push_str(part);
        }
        text.push_str(r#"","output_index":0,"content_index":0,"delta":""#);
        base64_simd::STANDARD.encode_append(bytes, &mut text);
        text.push_str("\"}");
        self.send(text);
    }

    /// Queues a text frame as it is.
    pub fn send(&mut self, text: String) {
        if !self.muted {
            self.queue.push_back(Output::Send(text));
        }
    }

    /// Ends the connection after what is queued.
    pub fn end(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// Swallows every event from now on.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    fn event_id(&mut self) -> String {
        self.issued += 1;
        format!("event_{:016x}", mix(self.seed, self.issued))
    }
}

/// SplitMix64: spreads a counter over all 64 bits without repeating.
fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_json_with_type_and_id() {
        let mut outbox = Outbox::new(1);
        outbox.event("input_audio_buffer.cleared", &json!({}));
        outbox.event("session.created", &json!({"session": {"a": "\""}}));
        outbox.audio_delta("resp_1", "item_1", &[1, 2, 3]);
        let events: Vec<Value> = std::iter::from_fn(|| outbox.poll()).map(parsed).collect();
        assert_eq!(events[0]["type"], "input_audio_buffer.cleared");
        assert_eq!(events[1]["session"]["a"], "\"");
        assert_eq!(events[2]["delta"], "AQID");
        assert_ne!(events[0]["event_id"], events[1]["event_id"]);
    }

    #[test]
    fn a_muted_outbox_can_still_end_the_connection() {
        let mut outbox = Outbox::new(1);
        outbox.mute();
        outbox.event("x", &json!({}));
        outbox.end(Output::Drop);
        assert_eq!(outbox.poll(), Some(Output::Drop));
        assert_eq!(outbox.poll(), None);
    }

    fn parsed(output: Output) -> Value {
        let Output::Send(text) = output else {
            panic!("{output:?}")
        };
        serde_json::from_str(&text).unwrap()
    }
}
