//! A client at the other end of a machine, with a clock of its own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::audio::{SampleRate, Tone};
use crate::operator::{Machine, Output, Settings};

/// Sends events, lets time pass, and keeps everything that came back.
pub struct Client {
    machine: Machine,
    now: Instant,
    started: Instant,
    /// Every event with the time it came, in milliseconds.
    pub events: Vec<(u64, Value)>,
    /// Frames that were no JSON.
    pub garbage: Vec<String>,
    /// How the connection ended.
    pub end: Option<(u64, Output)>,
}

impl Client {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let now = Instant::now();
        let machine = Machine::new(now, settings);
        let mut client = Self {
            machine,
            now,
            started: now,
            events: Vec::new(),
            garbage: Vec::new(),
            end: None,
        };
        client.drain();
        client
    }

    pub fn with_faults(faults: &str) -> Self {
        let faults: crate::operator::Faults = faults.parse().unwrap();
        Self::with(Settings {
            faults: faults.on_connection(0).collect(),
            ..Settings::default()
        })
    }

    /// Sends one event and returns what it brought at once.
    pub fn send(&mut self, event: Value) -> Vec<Value> {
        self.send_text(&event.to_string())
    }

    pub fn send_text(&mut self, text: &str) -> Vec<Value> {
        let before = self.events.len();
        self.machine.handle_text(self.now, text);
        self.drain();
        self.events[before..].iter().map(|(_, event)| event.clone()).collect()
    }

    /// Lets time pass and returns what came.
    pub fn wait(&mut self, ms: u64) -> Vec<Value> {
        let (before, end) = (self.events.len(), self.now + Duration::from_millis(ms));
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.machine.handle_timeout(due);
            self.drain();
        }
        self.now = end;
        self.events[before..].iter().map(|(_, event)| event.clone()).collect()
    }

    /// Lets a long time pass that the machine only learns of at its end.
    pub fn oversleep(&mut self, ms: u64) -> Vec<Value> {
        let before = self.events.len();
        self.now += Duration::from_millis(ms);
        self.machine.handle_timeout(self.now);
        self.drain();
        self.events[before..].iter().map(|(_, event)| event.clone()).collect()
    }

    /// Sends 24 kHz audio in real time, 20 ms at a time.
    pub fn speak(&mut self, pcm: &[i16]) -> Vec<Value> {
        let before = self.events.len();
        for frame in pcm.chunks(480) {
            let bytes: Vec<u8> = frame.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            self.send(
                json!({"type": "input_audio_buffer.append", "audio": base64_simd::STANDARD.encode_to_string(bytes)}),
            );
            self.wait(20);
        }
        self.events[before..].iter().map(|(_, event)| event.clone()).collect()
    }

    /// Asks for a response and waits for its end.
    pub fn respond(&mut self, response: Value) -> Vec<Value> {
        let mut events = self.send(json!({"type": "response.create", "response": response}));
        events.extend(self.wait(10_000));
        events
    }

    /// A message of the caller.
    pub fn write(&mut self, text: &str) -> Vec<Value> {
        let content = [json!({"type": "input_text", "text": text})];
        self.send(json!({
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": content},
        }))
    }

    pub fn update(&mut self, mut session: Value) -> Vec<Value> {
        session["type"] = json!("realtime");
        self.send(json!({"type": "session.update", "session": session}))
    }

    fn drain(&mut self) {
        let ms = (self.now - self.started).as_millis() as u64;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(text) => match serde_json::from_str(&text) {
                    Ok(event) => self.events.push((ms, event)),
                    Err(_) => self.garbage.push(text),
                },
                end => assert!(self.end.replace((ms, end)).is_none(), "a connection ends once"),
            }
        }
    }
}

/// The types of events in order, with repeated deltas told once.
pub fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in events.iter().filter_map(|event| event["type"].as_str()) {
        if !(kind.ends_with(".delta") && kinds.contains(&kind)) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The first event of a type.
pub fn find<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    let found = events.iter().find(|event| event["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} among {:?}", kinds(events)))
}

pub fn has(events: &[Value], kind: &str) -> bool {
    events.iter().any(|event| event["type"] == kind)
}

/// All agent audio of these events.
pub fn audio(events: &[Value]) -> Vec<u8> {
    let deltas = events
        .iter()
        .filter(|event| event["type"] == "response.output_audio.delta");
    deltas
        .flat_map(|event| {
            base64_simd::STANDARD
                .decode_to_vec(event["delta"].as_str().unwrap())
                .unwrap()
        })
        .collect()
}

/// `error.code` of the only event.
pub fn refusal(events: &[Value]) -> (&str, &str) {
    assert_eq!(kinds(events), ["error"]);
    let error = &events[0]["error"];
    (error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
}

pub fn tone(ms: usize) -> Vec<i16> {
    let mut pcm = vec![0; 24 * ms];
    Tone::new(SampleRate::Hz24000, 500.0, -20.0).fill(&mut pcm);
    pcm
}

pub fn silence(ms: usize) -> Vec<i16> {
    vec![0; 24 * ms]
}

/// Offers the tool that ends a call.
pub fn hang_up_tool() -> Value {
    json!([{
        "type": "function",
        "name": "hang_up",
        "description": "Ends the call.",
        "parameters": {"type": "object", "properties": {"reason": {"type": "string"}}},
    }])
}
