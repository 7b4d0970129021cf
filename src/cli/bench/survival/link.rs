//! One session of a backend that can be made to die, in the GA dialect: it confirms, answers and hears at once.

use std::{io, net::TcpStream};

use serde_json::{Value, json};

use super::{
    super::{
        clock,
        frames::{self, Frame, Inbox},
        pitch,
    },
    coded::{Told, ToldPacket},
    hearing::{AGENT_HZ, PEAK},
    wire::{Death, Space, Wire},
};
use crate::audio::Law;

/// Sound of one delta, in ms.
const DELTA_MS: usize = 200;

/// How a backend behaves; a script changes it as it goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// It takes connections and says nothing.
    pub holds: bool,
    /// It says so as soon as it hears a voice.
    pub interrupts: bool,
    /// Deltas of one response.
    pub deltas: usize,
    /// Having been told of this packet it answers, so much later.
    pub answers: Option<(u32, u64)>,
}

/// One session.
#[derive(Debug)]
pub struct Link {
    wire: Option<Wire>,
    inbox: Inbox,
    outbox: Vec<u8>,
    open: bool,
    responses: u32,
    turns: u32,
    hears_voice: bool,
    answer_at: Option<u64>,
    answered: Option<u32>,
    /// What it was told of the caller.
    pub told: Told,
    /// When it began to speak: just before the first delta was written.
    pub spoke: Vec<u64>,
}

impl Link {
    /// The session on this connection.
    pub fn new(wire: Wire) -> Self {
        Self {
            wire: Some(wire),
            inbox: Inbox::default(),
            outbox: Vec::new(),
            open: false,
            responses: 0,
            turns: 0,
            hears_voice: false,
            answer_at: None,
            answered: None,
            told: Told::default(),
            spoke: Vec::new(),
        }
    }

    /// The connection, while there is one.
    pub fn stream(&self) -> Option<&TcpStream> {
        self.wire.as_ref().map(Wire::stream)
    }

    /// When it has something to say by itself.
    pub fn due(&self) -> Option<u64> {
        self.answer_at
    }

    /// Reads what has come, and does what is due.
    pub fn serve(&mut self, manner: &Manner, space: &mut Space) {
        if self.read(manner, space).is_err() {
            self.wire = None;
        }
    }

    /// Ends it; when that began.
    pub fn die(&mut self, death: Death) -> Option<u64> {
        self.wire.take().map(|wire| wire.die(death))
    }

    fn read(&mut self, manner: &Manner, space: &mut Space) -> io::Result<()> {
        while let Some(wire) = &mut self.wire
            && let Some(at) = wire.read(space, &mut self.inbox)?
        {
            self.take(at, manner)?;
        }
        self.take(clock::now(), manner)?;
        if self.answer_at.is_some_and(|at| clock::now() >= at) {
            self.answer_at = None;
            self.speak(manner.deltas);
        }
        self.flush()
    }

    fn take(&mut self, at: u64, manner: &Manner) -> io::Result<()> {
        if !self.open {
            if manner.holds {
                return Ok(());
            }
            let Some(request) = self.inbox.request() else {
                return Ok(());
            };
            self.welcome(&request)?;
        }
        while let Some(frame) = self.inbox.next() {
            match frame {
                Frame::Text(text) => {
                    let event = serde_json::from_slice::<Value>(text)?;
                    self.event(at, &event, manner);
                }
                Frame::Ping(payload) => frames::write_pong(payload, &mut self.outbox),
                Frame::Other => {}
                Frame::Close => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        self.flush()
    }

    fn welcome(&mut self, request: &str) -> io::Result<()> {
        let answer = frames::upgraded(request).ok_or(io::ErrorKind::InvalidData)?;
        self.outbox.extend_from_slice(answer.as_bytes());
        self.open = true;
        self.say(&json!({"type": "session.created", "session": {"type": "realtime"}}));
        Ok(())
    }

    fn event(&mut self, at: u64, event: &Value, manner: &Manner) {
        match event["type"].as_str() {
            Some("session.update") => self.say(&json!({"type": "session.updated", "session": event["session"]})),
            Some("response.create") => self.speak(manner.deltas),
            Some("input_audio_buffer.append") => self.hear(at, event["audio"].as_str().unwrap_or_default(), manner),
            // Responses are written whole, so there is never one to be cancelled.
            _ => {}
        }
    }

    fn hear(&mut self, at: u64, audio: &str, manner: &Manner) {
        let bytes = base64_simd::STANDARD.decode_to_vec(audio).unwrap_or_default();
        let new = self.told.push(at, &bytes);
        for index in new {
            let packet = self.told.packets[index];
            self.follow(&packet, manner);
        }
    }

    fn follow(&mut self, packet: &ToldPacket, manner: &Manner) {
        let begins = packet.voiced && !std::mem::replace(&mut self.hears_voice, packet.voiced);
        self.hears_voice = packet.voiced;
        let item = format!("item_caller_{}", self.turns);
        if begins && manner.interrupts {
            self.say(&json!({"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 0}));
        }
        if let Some((number, later)) = manner.answers
            && packet.number >= number
            && self.answered != Some(number)
        {
            self.answered = Some(number);
            self.turns += 1;
            self.say(&json!({"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 0}));
            self.answer_at = Some(clock::now() + later);
        }
    }

    /// Says a whole response in one go, as models do that are faster than speech.
    fn speak(&mut self, deltas: usize) {
        self.responses += 1;
        let (response, item) = (format!("resp_{}", self.responses), format!("item_{}", self.responses));
        let part = json!({"response_id": response, "item_id": item, "output_index": 0, "content_index": 0});
        self.say(&json!({"type": "response.created", "response": {"id": response, "status": "in_progress"}}));
        let mut delta = part.clone();
        delta["type"] = json!("response.output_audio.delta");
        delta["delta"] = json!(voice());
        let mut first = Vec::new();
        frames::write_text(delta.to_string().as_bytes(), &mut first);
        self.spoke.push(clock::now());
        (0..deltas).for_each(|_| self.outbox.extend_from_slice(&first));
        let mut done = part;
        done["type"] = json!("response.output_audio.done");
        self.say(&done);
        self.say(&json!({"type": "response.done", "response": {"id": response, "status": "completed"}}));
    }

    fn say(&mut self, event: &Value) {
        frames::write_text(event.to_string().as_bytes(), &mut self.outbox);
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(wire) = self.wire.as_mut().filter(|_| !self.outbox.is_empty()) {
            wire.write(&self.outbox)?;
        }
        self.outbox.clear();
        Ok(())
    }
}

/// One delta of the agent's voice, in base64.
fn voice() -> String {
    let pcm = pitch::pcm(AGENT_HZ, 8_000, PEAK, DELTA_MS * 8);
    let mut code = Vec::new();
    Law::Mu.encode(&pcm, &mut code);
    base64_simd::STANDARD.encode_to_string(code)
}
