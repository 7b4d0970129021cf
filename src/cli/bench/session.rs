//! One session of the benchmark's backend: takes what a caller says and has the agent speak, in the GA dialect.

use std::{
    io::{self, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::{
    clock::{self, MS},
    frames::{self, Frame, Inbox},
    pitch::{self, Meter},
    plan::Deltas,
    reports::{Mark, ServedSession},
    speech,
    stamped::Receiver,
};
use crate::audio::Law;

/// Sound of one delta, in ms.
const DELTA_MS: u64 = 200;

/// Deltas of one response.
const DELTAS: u64 = 24;

/// From the beginning of one response to that of the next.
const CYCLE: u64 = (DELTAS * DELTA_MS + 400) * MS;

/// Bytes that may wait for the gateway; past it the session ends.
const OUTBOX_BYTES_MAX: usize = 4 << 20;

/// Marks and the like kept of one measurement.
const KEPT_MAX: usize = 4_096;

/// Space for what is read and decoded, shared by all sessions.
#[derive(Debug)]
pub struct Workspace {
    bytes: Vec<u8>,
    audio: Vec<u8>,
    pcm: Vec<i16>,
    receiver: Receiver,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    open: bool,
    ears: Ears,
    speech: Speech,
    served: ServedSession,
}

/// The session is over.
#[derive(Debug)]
pub struct Over;

/// How audio is written in a session's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Pcm(u32),
    Law(Law),
}

#[derive(Debug)]
struct Ears {
    format: Format,
    meter: Meter,
    samples: u64,
    marked: bool,
}

/// What the agent says: the same tone over and over.
#[derive(Debug)]
struct Speech {
    number: usize,
    deltas: Deltas,
    audio: String,
    begun_at: Option<u64>,
    delta: u64,
    response: u64,
}

impl Workspace {
    /// Space.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; 64 << 10],
            audio: Vec::new(),
            pcm: Vec::new(),
            receiver: Receiver::new(),
        }
    }
}

impl Session {
    /// The session of this number on this connection.
    pub fn new(number: usize, stream: TcpStream, deltas: Deltas) -> Self {
        Self {
            stream,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            open: false,
            ears: Ears::new(Format::Pcm(24_000)),
            speech: Speech {
                number,
                deltas,
                audio: String::new(),
                begun_at: None,
                delta: 0,
                response: 0,
            },
            served: ServedSession {
                speaks_hz: pitch::of_session(number),
                ..ServedSession::default()
            },
        }
    }

    /// Forgets what was measured.
    pub fn begin(&mut self) {
        self.report();
    }

    /// What was measured since the beginning.
    pub fn report(&mut self) -> ServedSession {
        let empty = ServedSession {
            speaks_hz: self.served.speaks_hz,
            ..ServedSession::default()
        };
        std::mem::replace(&mut self.served, empty)
    }

    /// Reads and answers what has come.
    pub fn read(&mut self, space: &mut Workspace) -> Result<(), Over> {
        loop {
            let got = match space.receiver.receive(&self.stream, &mut space.bytes) {
                Ok(got) if got.bytes == 0 => return Err(Over),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.flush(),
                Err(_) => return Err(Over),
            };
            self.inbox.push(&space.bytes[..got.bytes]);
            self.take(got.at, space)?;
        }
    }

    /// Says what is due.
    pub fn speak(&mut self) -> Result<(), Over> {
        let now = clock::now();
        if !self.speech.is_due(now) {
            return Ok(());
        }
        let begins = self.speech.begins();
        self.speech.write(now, &mut self.outbox);
        if begins && self.served.starts.len() < KEPT_MAX {
            self.served.starts.push(clock::now());
        }
        self.flush()
    }

    fn take(&mut self, at: u64, space: &mut Workspace) -> Result<(), Over> {
        if !self.open {
            let Some(request) = self.inbox.request() else {
                return Ok(());
            };
            self.welcome(&request)?;
        }
        while let Some(frame) = self.inbox.next() {
            match frame {
                Frame::Text(text) => match appended(text) {
                    Some(audio) => self.ears.hear(at, audio, space, &mut self.served),
                    None => {
                        let event = serde_json::from_slice(text).map_err(|_| Over)?;
                        self.answer(event);
                    }
                },
                Frame::Ping(payload) => frames::write_pong(payload, &mut self.outbox),
                Frame::Other => {}
                Frame::Close => return Err(Over),
            }
        }
        Ok(())
    }

    fn welcome(&mut self, request: &str) -> Result<(), Over> {
        let answer = frames::upgraded(request).ok_or(Over)?;
        self.outbox.extend_from_slice(answer.as_bytes());
        self.open = true;
        self.event(&json!({"type": "session.created", "session": {"type": "realtime"}}));
        Ok(())
    }

    fn answer(&mut self, event: Value) {
        match event["type"].as_str() {
            Some("session.update") => self.configure(&event["session"]),
            // The agent speaks as it is, whatever it is asked and told.
            Some("response.create" | "conversation.item.create") => {}
            _ => self.served.surprises += 1,
        }
    }

    fn configure(&mut self, session: &Value) {
        self.ears = Ears::new(Format::read(&session["audio"]["input"]["format"]));
        self.speech.tune(Format::read(&session["audio"]["output"]["format"]));
        self.event(&json!({"type": "session.updated", "session": session}));
    }

    fn event(&mut self, event: &Value) {
        frames::write_text(event.to_string().as_bytes(), &mut self.outbox);
    }

    /// Writes as much as the gateway takes.
    fn flush(&mut self) -> Result<(), Over> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Over),
            }
        }
        if self.outbox.len() > OUTBOX_BYTES_MAX {
            return Err(Over);
        }
        Ok(())
    }
}

/// The audio of an append; the one event that is not read as JSON.
fn appended(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, rest) = text.split_once(r#""audio":""#)?;
    head.contains("input_audio_buffer.append").then_some(())?;
    rest.split('"').next()
}

impl Format {
    fn read(format: &Value) -> Self {
        match format["type"].as_str() {
            Some("audio/pcmu") => Self::Law(Law::Mu),
            Some("audio/pcma") => Self::Law(Law::A),
            _ => Self::Pcm(format["rate"].as_u64().map_or(24_000, |rate| rate as u32)),
        }
    }

    fn rate_hz(self) -> u32 {
        match self {
            Self::Pcm(rate) => rate,
            Self::Law(_) => 8_000,
        }
    }

    fn decode(self, bytes: &[u8], pcm: &mut Vec<i16>) {
        pcm.clear();
        match self {
            Self::Pcm(_) => pcm.extend(bytes.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two))),
            Self::Law(law) => law.decode(bytes, pcm),
        }
    }

    fn encode(self, pcm: &[i16]) -> Vec<u8> {
        match self {
            Self::Pcm(_) => pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Self::Law(law) => {
                let mut code = Vec::new();
                law.encode(pcm, &mut code);
                code
            }
        }
    }
}

impl Ears {
    fn new(format: Format) -> Self {
        Self {
            format,
            meter: Meter::new(format.rate_hz()),
            samples: 0,
            marked: false,
        }
    }

    fn hear(&mut self, at: u64, audio: &str, space: &mut Workspace, served: &mut ServedSession) {
        space.audio.clear();
        if base64_simd::STANDARD.decode_append(audio, &mut space.audio).is_err() {
            served.surprises += 1;
            return;
        }
        let pcm = &mut space.pcm;
        self.format.decode(&space.audio, pcm);
        let begins = !std::mem::replace(&mut self.marked, speech::is_mark(pcm)) && self.marked;
        let packet = self.samples / u64::from(self.format.rate_hz() / 50);
        if begins && served.marks.len() < KEPT_MAX {
            served.marks.push(Mark { packet, at });
        }
        self.samples += pcm.len() as u64;
        if let Some(pitch) = self.meter.hear(pcm).filter(|_| served.pitches.len() < KEPT_MAX) {
            served.pitches.push(pitch);
        }
    }
}

impl Speech {
    /// From now on there is something to say, in this format. Sessions begin at moments of their own.
    fn tune(&mut self, format: Format) {
        let samples = format.rate_hz() as u64 * DELTA_MS / 1_000;
        let pcm = pitch::pcm(
            pitch::of_session(self.number),
            format.rate_hz(),
            8_000.0,
            samples as usize,
        );
        self.audio = base64_simd::STANDARD.encode_to_string(format.encode(&pcm));
        let spread = self.number as u64 * 137 % (CYCLE / MS) * MS;
        self.begun_at = Some(clock::now() + spread);
    }

    /// Whether the next delta is the first of a response.
    fn begins(&self) -> bool {
        self.delta.is_multiple_of(DELTAS)
    }

    fn is_due(&self, now: u64) -> bool {
        self.begun_at.is_some_and(|begun| now >= begun + self.offset())
    }

    /// When the next delta is due, from the beginning of the response.
    fn offset(&self) -> u64 {
        match (self.delta, self.deltas) {
            (DELTAS, _) => CYCLE,
            (delta, Deltas::Realtime) => delta.saturating_sub(1) * DELTA_MS * MS,
            (delta, Deltas::Burst) => delta * DELTA_MS * MS / 5,
        }
    }

    fn write(&mut self, now: u64, out: &mut Vec<u8>) {
        if self.delta == DELTAS {
            // However late it is, the pause is kept: a new voice must be heard to begin.
            (self.begun_at, self.delta) = (Some(now), 0);
            self.response += 1;
        }
        let (response, item) = (format!("resp_{}", self.response), format!("item_{}", self.response));
        let part = json!({"response_id": response, "item_id": item, "output_index": 0, "content_index": 0});
        if self.delta == 0 {
            let created = json!({"type": "response.created", "response": {"id": response, "status": "in_progress"}});
            frames::write_text(created.to_string().as_bytes(), out);
        }
        self.delta += 1;
        let delta = format!(
            r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"{response}","item_id":"{item}","output_index":0,"content_index":0,"delta":"{}"}}"#,
            self.audio
        );
        frames::write_text(delta.as_bytes(), out);
        if self.delta == DELTAS {
            let mut done = part;
            done["type"] = json!("response.output_audio.done");
            frames::write_text(done.to_string().as_bytes(), out);
            let done = json!({"type": "response.done", "response": {"id": response, "status": "completed"}});
            frames::write_text(done.to_string().as_bytes(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_found_whatever_stands_around_it() {
        let plain = r#"{"type":"input_audio_buffer.append","audio":"AAA="}"#;
        let named = r#"{"type":"input_audio_buffer.append","audio":"AAA=","event_id":"x"}"#;
        assert_eq!(appended(plain.as_bytes()), Some("AAA="));
        assert_eq!(appended(named.as_bytes()), Some("AAA="));
        let update = r#"{"type":"session.update","session":{"audio":{}}}"#;
        assert_eq!(appended(update.as_bytes()), None);
    }

    #[test]
    fn formats_are_read_as_the_dialect_writes_them() {
        let read = |text: &str| Format::read(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"type":"audio/pcm","rate":16000}"#), Format::Pcm(16_000));
        assert_eq!(read(r#"{"type":"audio/pcm"}"#), Format::Pcm(24_000));
        assert_eq!(read(r#"{"type":"audio/pcma"}"#), Format::Law(Law::A));
        let (mut pcm, sound) = (Vec::new(), [0, 1_000, -1_000]);
        for format in [Format::Pcm(24_000), Format::Law(Law::Mu)] {
            format.decode(&format.encode(&sound), &mut pcm);
            assert!(pcm.iter().zip(sound).all(|(a, b)| (a - b).abs() < 40), "{pcm:?}");
        }
    }

    #[test]
    fn a_response_is_spoken_in_real_time_and_followed_by_a_pause() {
        let mut speech = Speech {
            number: 0,
            deltas: Deltas::Realtime,
            audio: "AAA=".to_owned(),
            begun_at: Some(0),
            delta: 0,
            response: 0,
        };
        let mut written = Vec::new();
        let (mut deltas, mut starts) = (Vec::new(), Vec::new());
        for now in (0..=CYCLE).step_by(MS as usize) {
            while speech.is_due(now) {
                starts.extend(speech.begins().then_some(now / MS));
                speech.write(now, &mut written);
                deltas.push(now / MS);
            }
        }
        assert_eq!(starts, [0, 5_200]);
        assert_eq!(deltas[..4], [0, 0, 200, 400]);
        assert_eq!(deltas[23..], [4_400, 5_200, 5_200]);
        let text = String::from_utf8_lossy(&written);
        assert_eq!(text.matches("response.output_audio.delta").count(), 26);
        assert_eq!(text.matches("response.done").count(), 1);
    }
}
