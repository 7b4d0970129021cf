//! The probe's end of a session: a socket and a machine, without any media.

use std::{
    fs::File,
    future::poll_fn,
    io::Write,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    audio::{Heard, Utterance},
    drivers::realtime::{Dial, Event, Loss, SessionSocket},
    realtime::{AudioFormat, Fault, FaultClass, Machine, Output, Settings, Unknown},
};

use super::HEARD_MS;

/// Read at a time.
const SCRATCH_BYTES: usize = 16 << 10;

/// Complaints kept; further ones are not told.
const REFUSED_MAX: usize = 32;

/// Frames of silence sent, as a caller who listens sends them.
const SILENT_FRAMES: usize = 10;

/// Something that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The session is ready.
    Ready,
    /// Audio came of an utterance that had none.
    Audio,
    /// The agent called this tool.
    Tool(String),
}

/// One session.
pub struct Link {
    socket: SessionSocket,
    machine: Machine,
    scratch: Vec<u8>,
    log: Option<File>,
    moments: Vec<Moment>,
    utterance: Option<Utterance>,
    failure: Option<String>,
    /// Events nobody here knows.
    pub unknown_events: u64,
    /// Members of events that nobody here knows.
    pub unknown_fields: u64,
    /// What was complained about.
    pub refused: Vec<String>,
}

impl Link {
    /// A session that is not open; its events go to `log`.
    pub fn new(settings: Settings, log: Option<File>) -> Self {
        Self {
            socket: SessionSocket::default(),
            machine: Machine::new(settings),
            scratch: vec![0; SCRATCH_BYTES],
            log,
            moments: Vec::new(),
            utterance: None,
            failure: None,
            unknown_events: 0,
            unknown_fields: 0,
            refused: Vec::new(),
        }
    }

    /// Connects and configures the session.
    pub async fn open(&mut self, dial: Box<dyn FnOnce() -> Dial + Send>, limit: Duration) -> Result<(), String> {
        self.socket.dial(dial());
        let deadline = Instant::now() + limit;
        while !self.step(deadline).await? {}
        self.with(|machine, now| machine.handle_open(now));
        Ok(())
    }

    /// Waits for something to happen.
    pub async fn until(&mut self, limit: Duration, wanted: impl Fn(&Moment) -> bool) -> Result<Moment, String> {
        let deadline = Instant::now() + limit;
        loop {
            let moments = std::mem::take(&mut self.moments);
            if let Some(moment) = moments.into_iter().find(&wanted) {
                return Ok(moment);
            }
            if Instant::now() >= deadline {
                return Err(format!("nothing came within {} s", limit.as_secs()));
            }
            self.step(deadline).await?;
        }
    }

    /// Listens for a while.
    pub async fn rest(&mut self, length: Duration) -> Result<(), String> {
        let deadline = Instant::now() + length;
        while Instant::now() < deadline {
            self.step(deadline).await?;
        }
        self.moments.clear();
        Ok(())
    }

    /// Has the machine do something.
    pub fn with(&mut self, act: impl FnOnce(&mut Machine, Instant)) {
        act(&mut self.machine, Instant::now());
        self.drain();
    }

    /// A caller who says nothing.
    pub fn send_silence(&mut self) {
        let frame = vec![0; 20 * self.machine.format().rate().per_ms()];
        for _ in 0..SILENT_FRAMES {
            let mut text = String::new();
            if self.machine.append(&frame, &mut text) {
                self.send(&text, true);
            }
        }
    }

    /// The format of the session.
    pub fn format(&self) -> AudioFormat {
        self.machine.format()
    }

    /// Closes politely.
    pub async fn close(&mut self) {
        self.socket.close().await;
    }

    /// Whether the connection has been opened by what came next.
    async fn step(&mut self, deadline: Instant) -> Result<bool, String> {
        let due = self.machine.poll_timeout().map_or(deadline, |due| due.min(deadline));
        let (mut texts, socket, scratch) = (Vec::new(), &mut self.socket, &mut self.scratch);
        let polled = poll_fn(|context| socket.poll(context, scratch, &mut |text| texts.push(text.to_owned())));
        let event = tokio::time::timeout_at(due.into(), polled).await;
        for text in texts {
            self.hear(&text);
        }
        self.with(|machine, now| machine.handle_timeout(now));
        match (event, self.failure.take()) {
            (_, Some(failure)) => Err(failure),
            (Ok(Event::Lost(loss)), None) => Err(worded(loss)),
            (Ok(Event::Opened), None) => Ok(true),
            (Ok(Event::Heard) | Err(_), None) => Ok(false),
        }
    }

    fn hear(&mut self, text: &str) {
        self.keep("server", text);
        let delta = self.machine.handle_text(Instant::now(), text);
        let heard = delta.map(|delta| delta.utterance);
        if heard.is_some() && heard != self.utterance {
            self.utterance = heard;
            self.moments.push(Moment::Audio);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(text) => self.send(&text, false),
                Output::Ready => self.moments.push(Moment::Ready),
                Output::Interrupt => self.interrupt(),
                Output::ToolCall { call_id, name, .. } => {
                    self.machine.tool_result(Instant::now(), &call_id, "It is done.", true);
                    self.moments.push(Moment::Tool(name));
                }
                Output::Unknown(Unknown::Event) => self.unknown_events += 1,
                Output::Unknown(Unknown::Fields(count)) => self.unknown_fields += u64::from(count),
                Output::Fault(fault) => self.complain(&fault),
                _ => {}
            }
        }
    }

    fn complain(&mut self, fault: &Fault) {
        let words = format!("{}: {}", fault.code, fault.message);
        if fault.class != FaultClass::Harmless {
            self.failure = Some(words);
        } else if self.refused.len() < REFUSED_MAX {
            self.refused.push(words);
        }
    }

    /// Nothing is played here, so that a fixed piece counts as heard.
    fn interrupt(&mut self) {
        let heard = self.utterance.map(|utterance| Heard {
            utterance,
            sent_ms: HEARD_MS,
            received_ms: HEARD_MS,
            complete: false,
        });
        self.machine.interrupted(heard.as_slice());
    }

    fn send(&mut self, text: &str, audio: bool) {
        self.keep("client", text);
        self.socket.send(text, audio);
    }

    /// What is no JSON is no event. A server of the beta dialect may show a key of its own making in a session.
    fn keep(&mut self, who: &str, text: &str) {
        let Some(log) = &mut self.log else { return };
        let Ok(mut event) = serde_json::from_str::<Value>(text) else {
            return;
        };
        if let Some(secret) = event.pointer_mut("/session/client_secret") {
            *secret = Value::Null;
        }
        // A log that cannot be written is not worth the probe.
        let _ = writeln!(log, "{}", json!({ "dir": who, "event": event }));
    }
}

fn worded(loss: Loss) -> String {
    match loss {
        Loss::Connect(error) => error.to_string(),
        Loss::Closed { code, reason } => format!("closed with {code} {reason}").trim_end().to_owned(),
        Loss::Broken(why) => why,
        Loss::Stalled => "the backend takes nothing more".to_owned(),
    }
}
