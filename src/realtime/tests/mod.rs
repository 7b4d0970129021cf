//! The protocol machine as a bridge and a server see it.

mod audio;
mod back_channel;
mod configuration;
mod dialects;
mod disclosure;
mod handover;
mod interruption;
mod live;
mod properties;
mod turns;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::*;
use crate::audio::{Heard, Utterance};

/// A machine with a bridge that keeps what it is given.
struct Bench {
    machine: Machine,
    now: Instant,
    /// Client events not looked at yet.
    sent: Vec<Value>,
    /// Other outputs not looked at yet.
    outputs: Vec<Output>,
    /// What the bridge answers to the next interruption.
    heard: Vec<Heard>,
}

impl Bench {
    fn closed(settings: Settings) -> Self {
        let machine = Machine::new(settings);
        Self {
            machine,
            now: Instant::now(),
            sent: Vec::new(),
            outputs: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn open(settings: Settings) -> Self {
        let mut bench = Self::closed(settings);
        bench.machine.handle_open(bench.now);
        bench.drain();
        bench
    }

    fn ready(settings: Settings) -> Self {
        let mut bench = Self::open(settings);
        bench.server(session_updated(
            json!({ "type": "server_vad", "interrupt_response": true }),
        ));
        assert!(bench.outputs.contains(&Output::Ready));
        bench.sent.clear();
        bench.outputs.clear();
        bench
    }

    /// The server cancels nothing by itself.
    fn ready_to_cancel() -> Self {
        let mut bench = Self::open(Settings::default());
        bench.server(session_updated(
            json!({ "type": "server_vad", "interrupt_response": false }),
        ));
        bench.sent.clear();
        bench.outputs.clear();
        bench
    }

    fn server(&mut self, event: Value) -> Option<(Utterance, Vec<i16>)> {
        self.text(&event.to_string())
    }

    fn text(&mut self, text: &str) -> Option<(Utterance, Vec<i16>)> {
        let delta = self
            .machine
            .handle_text(self.now, text)
            .map(|delta| (delta.utterance, delta.pcm.to_vec()));
        self.drain();
        delta
    }

    fn bridge<T>(&mut self, input: impl FnOnce(&mut Machine, Instant) -> T) -> T {
        let result = input(&mut self.machine, self.now);
        self.drain();
        result
    }

    /// One frame of caller audio; true when it is sent.
    fn append(&mut self) -> bool {
        let mut text = String::new();
        let sent = self.machine.append(&[-7; 480], &mut text);
        if sent {
            self.sent(&text);
        }
        sent
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.machine.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.machine.handle_timeout(self.now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(text) => self.sent(&text),
                Output::Interrupt => {
                    self.machine.interrupted(&self.heard);
                    self.outputs.push(Output::Interrupt);
                }
                output => self.outputs.push(output),
            }
        }
    }

    /// With the variable set, every client event that any test writes can be checked by another program.
    fn sent(&mut self, text: &str) {
        if let Some(path) = std::env::var_os("PATCHCORD_EVENT_LOG") {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap();
            file.write_all(format!("{text}\n").as_bytes()).unwrap();
        }
        self.sent.push(serde_json::from_str(text).unwrap());
    }

    /// The types of the client events since the last look.
    fn sent_types(&mut self) -> Vec<String> {
        self.sent
            .drain(..)
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }

    fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn fault(&mut self) -> Option<Fault> {
        self.take_outputs().into_iter().find_map(|output| match output {
            Output::Fault(fault) => Some(fault),
            _ => None,
        })
    }

    /// A response with this much audio in one part.
    fn speak(&mut self, response: &str, item: &str, ms: usize) -> Utterance {
        self.server(created(response));
        self.server(delta(response, item, ms)).expect("audio").0
    }
}

fn session_updated(turn_detection: Value) -> Value {
    let format = json!({ "type": "audio/pcm", "rate": 24000 });
    let input = json!({ "format": format, "turn_detection": turn_detection });
    let audio = json!({ "input": input, "output": { "format": format } });
    json!({ "type": "session.updated", "session": { "type": "realtime", "audio": audio } })
}

fn created(response: &str) -> Value {
    json!({ "type": "response.created", "response": { "id": response, "status": "in_progress" } })
}

fn done(response: &str) -> Value {
    json!({ "type": "response.done", "response": { "id": response, "status": "completed" } })
}

fn delta(response: &str, item: &str, ms: usize) -> Value {
    let audio = base64_simd::STANDARD.encode_to_string(vec![1; ms * 48]);
    json!({
        "type": "response.output_audio.delta",
        "response_id": response, "item_id": item, "output_index": 0, "content_index": 0,
        "delta": audio,
    })
}

fn audio_done(response: &str, item: &str) -> Value {
    json!({
        "type": "response.output_audio.done",
        "response_id": response, "item_id": item, "output_index": 0, "content_index": 0,
    })
}

fn speech_started() -> Value {
    json!({ "type": "input_audio_buffer.speech_started", "item_id": "item_u", "audio_start_ms": 0 })
}

fn error(code: &str, event_id: Option<&Value>) -> Value {
    let kind = "invalid_request_error";
    json!({ "type": "error", "error": { "type": kind, "code": code, "message": "no", "event_id": event_id } })
}

fn tool_call(response: &str, call: &str) -> Value {
    json!({
        "type": "response.function_call_arguments.done",
        "response_id": response, "item_id": "item_f", "output_index": 1,
        "call_id": call, "name": "hang_up", "arguments": "{}",
    })
}

fn heard(utterance: Utterance, sent_ms: u32, received_ms: u32) -> Heard {
    Heard {
        utterance,
        sent_ms,
        received_ms,
        complete: false,
    }
}
