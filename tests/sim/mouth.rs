//! What a phone says as RTP: one packet every 20 ms of silence, tones and keys, written by hand.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use patchcord::audio::{Law, SampleRate, Tone};

/// Samples of one packet.
pub const FRAME: usize = 160;
/// The time of one packet.
pub const FRAME_TIME: Duration = Duration::from_millis(20);
/// The payload type of telephone-events in the phone's session description.
pub const KEY_TYPE: u8 = 101;

const KEYS: &str = "0123456789*#ABCD";

/// The mouth of one phone.
#[derive(Debug)]
pub struct Mouth {
    /// Where to send.
    pub to: SocketAddr,
    /// The keys pressed, with the timestamps their packets carry.
    pub pressed: Vec<(char, u32)>,
    payload_type: u8,
    law: Law,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    next_at: Instant,
    /// Sends nothing while there is nothing to say.
    suppresses_silence: bool,
    quiet: bool,
    sound: VecDeque<i16>,
    keys: VecDeque<char>,
    press: Option<Press>,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    key: u8,
    timestamp: u32,
    packets: u16,
}

/// Packets of one press before those that end it.
const PRESS_PACKETS: u16 = 5;
/// How often the end of a press is said.
const PRESS_ENDS: u16 = 3;

impl Mouth {
    /// A mouth that begins to send now.
    pub fn new(now: Instant, to: SocketAddr, payload_type: u8, start: u64, suppresses_silence: bool) -> Self {
        Self {
            to,
            pressed: Vec::new(),
            payload_type,
            law: if payload_type == 8 { Law::A } else { Law::Mu },
            ssrc: start as u32,
            sequence: (start >> 16) as u16,
            timestamp: (start >> 32) as u32,
            next_at: now,
            suppresses_silence,
            quiet: true,
            sound: VecDeque::new(),
            keys: VecDeque::new(),
            press: None,
        }
    }

    /// Says a tone of this pitch and length, after what is being said.
    pub fn say(&mut self, hz: f32, ms: u64) {
        let mut pcm = vec![0; SampleRate::Hz8000.per_ms() * ms as usize];
        Tone::new(SampleRate::Hz8000, hz, -15.0).fill(&mut pcm);
        self.sound.extend(pcm);
    }

    /// Presses a key, after those being pressed.
    pub fn press(&mut self, key: char) {
        self.keys.push_back(key);
    }

    /// When the next packet leaves.
    pub fn poll_timeout(&self) -> Instant {
        self.next_at
    }

    /// The packet whose time has come; while silence is suppressed there may be none.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.next_at {
            return None;
        }
        self.next_at += FRAME_TIME;
        let packet = match self.press {
            Some(press) => Some(self.hold(press)),
            None if !self.keys.is_empty() && self.sound.is_empty() => Some(self.begin_press()),
            None => self.speak(),
        };
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        packet
    }

    fn speak(&mut self) -> Option<Vec<u8>> {
        let silent = self.sound.is_empty();
        if silent && self.suppresses_silence {
            self.quiet = true;
            return None;
        }
        let mut pcm: Vec<i16> = self.sound.drain(..self.sound.len().min(FRAME)).collect();
        pcm.resize(FRAME, 0);
        let mut payload = Vec::new();
        self.law.encode(&pcm, &mut payload);
        let marker = std::mem::replace(&mut self.quiet, false);
        Some(self.packet(self.payload_type, marker, self.timestamp, &payload))
    }

    fn begin_press(&mut self) -> Vec<u8> {
        let key = self.keys.pop_front().unwrap_or_default();
        self.pressed.push((key, self.timestamp));
        let key = KEYS.find(key).expect("a key of a telephone") as u8;
        self.hold(Press {
            key,
            timestamp: self.timestamp,
            packets: 0,
        })
    }

    fn hold(&mut self, mut press: Press) -> Vec<u8> {
        press.packets += 1;
        let ends = press.packets > PRESS_PACKETS;
        let [high, low] = (press.packets.min(PRESS_PACKETS + 1) * FRAME as u16).to_be_bytes();
        let payload = [press.key, if ends { 0x8A } else { 0x0A }, high, low];
        self.press = Some(press).filter(|press| press.packets < PRESS_PACKETS + PRESS_ENDS);
        self.quiet = true;
        self.packet(KEY_TYPE, press.packets == 1, press.timestamp, &payload)
    }

    fn packet(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}
