//! The time one 20 ms frame takes through the bridge, each way.

use std::time::{Duration, Instant};

use patchcord::{audio::Law, call::Bridge};

use crate::leg;

/// Frames per batch; the fastest batch counts, because everything else is the machine's noise.
const BATCH: u32 = 2_000;

/// Batches per direction.
const BATCHES: u32 = 15;

/// Samples of a 200 ms delta at 24 kHz.
const DELTA_SAMPLES: usize = 4_800;

/// Prints the table.
pub fn print() {
    println!("One 20 ms frame, PCMU to and from PCM16 24 kHz JSON, in the bridge alone");
    println!("{:>24} {:>12} {:>12}", "direction", "best ns", "median ns");
    row("packet to message", &mut caller_to_session());
    row("message to packet", &mut session_to_caller());
}

fn row(direction: &str, batches: &mut [f64]) {
    batches.sort_by(f64::total_cmp);
    println!(
        "{direction:>24} {:>12.0} {:>12.0}",
        batches[0],
        batches[batches.len() / 2]
    );
}

fn caller_to_session() -> Vec<f64> {
    let mut line = Line::new();
    let packet_payload = speech();
    let mut sequence = 0_u16;
    let mut packet = [0; 172];
    let batches = (0..BATCHES)
        .map(|_| {
            line.time(|line| {
                write_packet(&mut packet, sequence, &packet_payload);
                sequence = sequence.wrapping_add(1);
                line.bridge.handle_rtp(line.now, leg::caller(), &mut packet);
                line.drain();
            })
        })
        .collect();
    assert!(line.messages >= BATCHES * BATCH, "a frame became no message");
    batches
}

/// A delta of 200 ms is ten frames, and each leaves with a tick of its own.
fn session_to_caller() -> Vec<f64> {
    let mut line = Line::new();
    let delta = delta();
    let batches = (0..BATCHES)
        .map(|_| {
            let mut frame = 0_u32;
            line.time(|line| {
                if frame.is_multiple_of(10) {
                    line.bridge.handle_session(line.now, &delta);
                }
                frame += 1;
                line.bridge.handle_timeout(line.now);
                line.drain();
            })
        })
        .collect();
    assert!(line.packets >= BATCHES * BATCH, "a frame became no packet");
    batches
}

/// A bridge with a leg and a ready session.
struct Line {
    bridge: Bridge,
    now: Instant,
    messages: u32,
    packets: u32,
}

impl Line {
    fn new() -> Self {
        let now = Instant::now();
        let mut bridge = leg::bridge(now);
        bridge.session_opened(now, leg::session());
        let format = r#"{"format":{"type":"audio/pcm","rate":24000}}"#;
        let audio = format!(r#"{{"input":{format},"output":{format}}}"#);
        for kind in ["session.created", "session.updated"] {
            let session = format!(r#"{{"type":"realtime","audio":{audio}}}"#);
            bridge.handle_session(
                now,
                &format!(r#"{{"type":"{kind}","event_id":"e","session":{session}}}"#),
            );
        }
        let mut line = Self {
            bridge,
            now,
            messages: 0,
            packets: 0,
        };
        line.drain();
        line
    }

    /// Nanoseconds per frame of one batch. The line's clock advances by 20 ms a frame.
    fn time(&mut self, mut frame: impl FnMut(&mut Self)) -> f64 {
        let started = Instant::now();
        for _ in 0..BATCH {
            self.now += Duration::from_millis(20);
            frame(self);
        }
        started.elapsed().as_nanos() as f64 / f64::from(BATCH)
    }

    fn drain(&mut self) {
        while self.bridge.poll_transmit().is_some() {
            self.packets += 1;
        }
        while self.bridge.poll_message().is_some() {
            self.messages += 1;
        }
        while self.bridge.poll_report().is_some() {}
    }
}

fn speech() -> Vec<u8> {
    let pcm: Vec<i16> = (0..160).map(|n| ((n as f32 * 0.35).sin() * 8000.0) as i16).collect();
    let mut code = Vec::new();
    Law::Mu.encode(&pcm, &mut code);
    code
}

fn write_packet(packet: &mut [u8; 172], sequence: u16, payload: &[u8]) {
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
    packet[12..].copy_from_slice(payload);
}

fn delta() -> String {
    let pcm: Vec<u8> = (0..DELTA_SAMPLES)
        .flat_map(|n| (((n as f32 * 0.115).sin() * 8000.0) as i16).to_le_bytes())
        .collect();
    let audio = base64_simd::STANDARD.encode_to_string(&pcm);
    format!(
        r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"r","item_id":"i","output_index":0,"content_index":0,"delta":"{audio}"}}"#
    )
}
