//! Whole sessions in virtual time.

use serde_json::{Value, json};

use super::*;
use crate::audio::{SampleRate, Tone};

#[test]
fn nothing_is_said_before_the_session_is_started_and_then_the_stream_never_ends() {
    let mut client = Client::new();
    client.pass(500);
    assert_eq!(client.take(), Vec::<Value>::new());
    client.send(json!({ "type": "session.input_audio.append", "audio": "AAAA", "event_id": "e" }));
    let refused = client.take().remove(0);
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["client_event_id"]),
        (&json!("session_not_started"), &json!("e"))
    );
    client.start();
    client.pass(1_000);
    let deltas = client
        .take()
        .into_iter()
        .filter(|event| event["type"] == "session.output_audio.delta");
    assert_eq!(deltas.count(), 10);
}

#[test]
fn the_agent_greets_repeats_and_falls_silent_when_spoken_to() {
    let mut client = Client::started();
    client.send(json!({ "type": "session.commentary.append", "content": "Greet.", "delegation_id": null }));
    client.pass(500);
    assert!(client.spoke(), "the greeting");
    client.speak(440.0, 600);
    client.take();
    client.pass(300);
    assert!(!client.spoke(), "it has been interrupted");
    client.speak(0.0, 1_200);
    assert!(client.spoke_in_what_came(), "the echo");
    let events = client.take();
    let heard = events
        .iter()
        .find(|event| event["type"] == "session.input_transcript.delta");
    assert!(
        heard.is_some_and(|event| event["delta"].as_str().unwrap().starts_with("(speech")),
        "{events:?}"
    );
}

#[test]
fn a_star_is_worked_out_by_the_model_behind_and_answered_before_it_goes_on() {
    let mut client = Client::started();
    client.send(json!({ "type": "session.instructions.append", "content": "Now: DTMF *", "delegation_id": null }));
    client.pass(200);
    let events = client.take();
    let item = events
        .iter()
        .find_map(|event| event.pointer("/event/item"))
        .expect("a call");
    assert_eq!(item["name"], "hang_up");
    client.send(json!({ "type": "response.create" }));
    assert_eq!(client.take()[0]["error"]["code"], "tool_outputs_missing");
    let output = json!({ "type": "function_call_output", "call_id": item["call_id"], "output": "done" });
    client.send(json!({ "type": "response.item.create", "item": output }));
    client.send(json!({ "type": "response.create" }));
    client.pass(400);
    assert!(client.spoke(), "it says that it is done");
}

#[test]
fn a_session_ends_when_it_is_closed_or_told_to() {
    let mut client = Client::started();
    client.send(json!({ "type": "session.close" }));
    let closed = client.take();
    assert_eq!(
        (&closed[0]["type"], &closed[0]["reason"]),
        (&json!("session.closed"), &json!("close_requested"))
    );
    assert!(matches!(client.end, Some(Output::Close { code: 1000, .. })));
    let mut client = Client::with("close:1011@300");
    client.pass(300);
    assert!(matches!(client.end, Some(Output::Close { code: 1011, .. })));
}

#[test]
fn what_a_session_does_not_have_is_refused() {
    for (session, param) in [
        (json!({ "model": "m", "temperature": 1 }), "session.temperature"),
        (
            json!({ "model": "m", "audio": { "format": { "type": "audio/pcmu" } } }),
            "session.audio.format.rate",
        ),
        (json!({}), "session.model"),
    ] {
        let mut client = Client::new();
        client.send(json!({ "type": "session.start", "session": session }));
        assert_eq!(client.take()[0]["error"]["param"], param);
    }
}

/// The other end, with a clock of its own.
struct Client {
    machine: Machine,
    now: Instant,
    events: Vec<Value>,
    end: Option<Output>,
}

impl Client {
    fn new() -> Self {
        Self::with("")
    }

    fn with(faults: &str) -> Self {
        let faults: crate::operator::Faults = faults.parse().unwrap();
        let now = Instant::now();
        let settings = Settings {
            faults: faults.on_connection(0).collect(),
            ..Settings::default()
        };
        Self {
            machine: Machine::new(now, settings),
            now,
            events: Vec::new(),
            end: None,
        }
    }

    fn started() -> Self {
        let mut client = Self::new();
        client.start();
        client.take();
        client
    }

    fn start(&mut self) {
        let tools = json!([{ "type": "function", "name": "hang_up", "parameters": {} }]);
        let delegation = json!({ "type": "responses", "responses": { "model": "thinker", "tools": tools } });
        self.send(json!({ "type": "session.start", "session": { "model": "gpt-live-1", "delegation": delegation } }));
        assert_eq!(self.events.last().unwrap()["type"], "session.started");
    }

    fn send(&mut self, event: Value) {
        self.machine.handle_text(self.now, &event.to_string());
        self.drain();
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.machine.handle_timeout(self.now);
        self.drain();
    }

    /// A tone, or silence, in real time.
    fn speak(&mut self, hz: f32, ms: u64) {
        let mut tone = Tone::new(SampleRate::Hz24000, hz, -10.0);
        for _ in 0..ms / 20 {
            let mut pcm = vec![0; 480];
            if hz > 0.0 {
                tone.fill(&mut pcm);
            }
            let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let audio = base64_simd::STANDARD.encode_to_string(bytes);
            self.send(json!({ "type": "session.input_audio.append", "audio": audio }));
            self.pass(20);
        }
    }

    /// Whether there was a voice in what came since the last look.
    fn spoke(&mut self) -> bool {
        let spoke = self.spoke_in_what_came();
        self.events.clear();
        spoke
    }

    fn spoke_in_what_came(&self) -> bool {
        self.events.iter().any(|event| {
            let delta = event["delta"]
                .as_str()
                .filter(|_| event["type"] == "session.output_audio.delta");
            let bytes = delta.map(|delta| base64_simd::STANDARD.decode_to_vec(delta).unwrap());
            bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
        })
    }

    fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(text) => self.events.push(serde_json::from_str(&text).unwrap()),
                end => self.end = Some(end),
            }
        }
    }
}
