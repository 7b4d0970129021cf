//! What must hold for every packet and every session message of a call, checked as it passes.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use patchcord::{audio::Law, media::LATE_TICKS_MAX};
use serde_json::Value;

use crate::{
    backend::is_append,
    mouth::{FRAME, FRAME_TIME},
    reference::Reference,
    rtp::Packet,
};

/// The audit of one call.
#[derive(Debug)]
pub struct Audit {
    /// What was found wrong.
    pub faults: Vec<String>,
    /// RTP packets that left.
    pub packets: u64,
    /// Truncations the gateway asked for.
    pub truncates: u32,
    /// Interruptions of words that had certainly not been heard.
    pub interruptions: u32,
    start: Instant,
    /// Now and then packet times are passed over.
    hiccups: bool,
    media_at: Option<Instant>,
    /// Nothing may have left since the last packet.
    held: bool,
    /// How much later than ordered the media wakes up, at most.
    lag_max: Duration,
    reference: Reference,
    stream: Option<Stream>,
    session: Option<Session>,
    /// Responses seen on this session.
    responses: HashSet<String>,
    /// Those whose words are not wanted.
    stale: HashSet<String>,
    cut: bool,
    /// The caller has been served.
    served: bool,
    /// Since when there has been no session.
    away_at: Instant,
    /// Keys pressed.
    keys: u32,
    /// Items truncated since the last look.
    truncated: Vec<String>,
}

/// The outgoing RTP stream.
#[derive(Debug)]
struct Stream {
    sequence: u16,
    timestamp: u32,
    /// Packet times since the first.
    frames: u32,
    /// When the stream began, by the packet that was least late.
    earliest: Instant,
}

/// The caller audio of one session.
#[derive(Debug)]
struct Session {
    ready_at: Instant,
    samples: u64,
    /// How much the caller may have said before it that nobody understood.
    backlog_max: Duration,
}

/// The longest turn that is kept of one session for the next.
const TURN_MAX: Duration = Duration::from_secs(4);

/// How far caller audio may be ahead of time, after a burst that made up for a stall.
const AHEAD_MAX: Duration = Duration::from_millis(2_200);
/// How far it may be behind time: waiting for what is missing, and the hangover,
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// and this part of the time, because the hangover before silence is made up is not caught up with.
const BEHIND_PART: u32 = 20;

/// What a key takes of it.
const KEY: Duration = Duration::from_millis(100);

impl Audit {
    /// The audit of a call that begins.
    pub fn new(start: Instant, lag_max: Duration, hiccups: bool) -> Self {
        Self {
            start,
            hiccups,
            media_at: None,
            held: false,
            faults: Vec::new(),
            packets: 0,
            truncates: 0,
            interruptions: 0,
            lag_max,
            reference: Reference::new(Law::Mu),
            stream: None,
            session: None,
            responses: HashSet::new(),
            stale: HashSet::new(),
            cut: false,
            served: false,
            away_at: start,
            keys: 0,
            truncated: Vec::new(),
        }
    }

    /// The media is settled, and flows from now on.
    pub fn settled(&mut self, now: Instant, law: Law, sends: bool) {
        self.reference.set_law(law);
        self.held |= !sends;
        if !sends {
            self.reference.hold();
        }
        self.media_at.get_or_insert(now);
    }

    /// A packet leaves.
    pub fn packet(&mut self, now: Instant, bytes: &[u8]) {
        let packet = Packet::read(bytes);
        self.packets += 1;
        self.check_stream(now, &packet);
        if !self.reference.packet(packet.payload) {
            let what = format!("{:02x?}", packet.payload);
            self.fault(
                now,
                &format!("packet {} carries what it should not: {what}", self.packets),
            );
        }
    }

    /// The comfort tone is switched.
    pub fn comfort(&mut self, on: bool) {
        self.served |= !on;
        self.reference.comfort = on && self.session.is_none();
    }

    /// The gateway says something of its own.
    pub fn prompt(&mut self) {
        self.reference.prompting = true;
    }

    /// A new session is asked for.
    pub fn session_opened(&mut self) {
        self.responses.clear();
        self.stale.clear();
    }

    /// The session hears from now on.
    pub fn session_ready(&mut self, now: Instant) {
        self.session = Some(Session {
            ready_at: now,
            samples: 0,
            backlog_max: now - self.away_at + TURN_MAX,
        });
        // Words to a caller who waits end here, and fade.
        if self.reference.comfort {
            self.reference.comfort = false;
            self.reference.cut();
        }
    }

    /// The session is over.
    pub fn session_lost(&mut self, now: Instant) {
        self.check_caller_audio(now);
        if self.session.take().is_some() {
            self.away_at = now;
            // At once, before the call knows of it.
            self.reference.comfort |= self.served;
        }
        self.reference.cut();
    }

    /// The session says something.
    pub fn heard(&mut self, text: &str) {
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "response.created" => drop(self.responses.insert(word(&event["response"]["id"]))),
            "response.output_audio.delta" if !self.stale.contains(&word(&event["response_id"])) => {
                self.reference
                    .say(&word(&event["item_id"]), &samples(&word(&event["delta"])));
            }
            "input_audio_buffer.speech_started" if self.session.is_some() => self.cut(),
            _ => {}
        }
    }

    /// The caller pressed a key, which interrupts, and takes a place in which nothing is said.
    pub fn key(&mut self) {
        self.keys += 1;
        self.cut();
    }

    /// The caller interrupts: whatever was begun is not wanted any more.
    fn cut(&mut self) {
        self.stale.extend(self.responses.iter().cloned());
        self.cut = true;
    }

    /// The gateway tells the session something.
    pub fn said(&mut self, now: Instant, text: &str) {
        if is_append(text) {
            return self.append(now, text);
        }
        let event: Value = serde_json::from_str(text).expect("the gateway writes JSON");
        match event["type"].as_str().unwrap_or_default() {
            "conversation.item.truncate" => self.truncate(now, &event),
            "response.cancel" => drop(
                self.stale
                    .insert(event["response_id"].as_str().unwrap_or_default().to_owned()),
            ),
            _ => {}
        }
    }

    /// Everything that one input caused has been seen.
    pub fn settle(&mut self, now: Instant) {
        if std::mem::take(&mut self.cut) {
            let untold = self
                .reference
                .unheard()
                .find(|item| !self.truncated.iter().any(|each| each == item));
            let untold = untold.map(|item| format!("no truncate of {item}: {}", self.reference.describe(item)));
            self.interruptions += u32::from(self.reference.unheard().next().is_some());
            untold.into_iter().for_each(|what| self.fault(now, &what));
            self.reference.cut();
        }
        self.truncated.clear();
    }

    /// Notes that something is wrong.
    pub fn fault(&mut self, now: Instant, what: &str) {
        if self.faults.len() < 5 {
            self.faults
                .push(format!("{:?} into the call: {what}", now - self.start));
        }
    }

    fn check_stream(&mut self, now: Instant, packet: &Packet<'_>) {
        let Packet {
            sequence, timestamp, ..
        } = *packet;
        let held = std::mem::take(&mut self.held);
        let Some(stream) = &mut self.stream else {
            self.stream = Some(Stream {
                sequence,
                timestamp,
                frames: 0,
                earliest: now,
            });
            return self.check(now, packet.marker, || "the first packet has no marker".to_owned());
        };
        let frames = timestamp.wrapping_sub(stream.timestamp) / FRAME as u32;
        let whole = timestamp == stream.timestamp.wrapping_add(frames * FRAME as u32) && packet.payload.len() == FRAME;
        let next = sequence == stream.sequence.wrapping_add(1);
        stream.frames += frames;
        (stream.sequence, stream.timestamp) = (sequence, timestamp);
        let begins = now - FRAME_TIME * stream.frames;
        stream.earliest = stream.earliest.min(begins);
        let late = begins - stream.earliest;
        let gap = frames != 1;
        let number = self.packets;
        self.check(now, next && whole, || {
            format!("packet {number} does not follow its predecessor")
        });
        self.check(now, !gap || (packet.marker && (held || self.hiccups)), || {
            format!("a gap before packet {number}")
        });
        // What a late worker owes leaves half a packet time apart, and past so many packet times it owes nothing.
        let late_max = self.lag_max + FRAME_TIME * LATE_TICKS_MAX as u32;
        self.check(now, late <= late_max || self.hiccups, || {
            format!("packet {number} leaves {late:?} late")
        });
    }

    fn check(&mut self, now: Instant, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fault(now, &what());
        }
    }

    fn append(&mut self, now: Instant, text: &str) {
        let base64 = text
            .rsplit_once(r#":""#)
            .map_or("", |(_, rest)| rest.trim_end_matches(r#""}"#));
        let bytes = base64.len() / 4 * 3 - base64.bytes().rev().take_while(|byte| *byte == b'=').count();
        if let Some(session) = &mut self.session {
            session.samples += bytes as u64 / 2;
        }
        self.check_caller_audio(now);
    }

    fn check_caller_audio(&mut self, now: Instant) {
        let (Some(session), Some(media_at)) = (&self.session, self.media_at) else {
            return;
        };
        let elapsed = now - session.ready_at.max(media_at);
        let given = Duration::from_micros(session.samples * 1_000 / 24);
        let behind_max = BEHIND_MAX + self.lag_max + elapsed / BEHIND_PART + KEY * self.keys;
        if given > elapsed + AHEAD_MAX + session.backlog_max || (given + behind_max < elapsed && !self.hiccups) {
            self.fault(
                now,
                &format!("the session was given {given:?} of caller audio in {elapsed:?}"),
            );
        }
    }

    fn truncate(&mut self, now: Instant, event: &Value) {
        self.truncates += 1;
        let item = event["item_id"].as_str().unwrap_or_default();
        let ms = event["audio_end_ms"].as_u64().unwrap_or(u64::MAX);
        if !self.cut {
            self.fault(now, &format!("{item} is truncated and nobody interrupted"));
        }
        if !self.reference.may_have_heard(item, ms) {
            let what = format!("{item} is truncated at {ms} ms: {}", self.reference.describe(item));
            self.fault(now, &what);
        }
        self.truncated.push(item.to_owned());
    }
}

fn samples(base64: &str) -> Vec<i16> {
    let bytes = base64_simd::STANDARD
        .decode_to_vec(base64)
        .expect("the operator writes base64");
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| i16::from_le_bytes(*pair))
        .collect()
}
