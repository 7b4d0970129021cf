//! What protecting a packet costs: RTP of 20 ms PCMU, in place, by suite.

use std::time::Instant;

use patchcord::rtp::srtp::{Inbound, MasterKey, Outbound, Suite};

/// Packets per batch; the fastest batch counts, because everything else is the machine's noise.
const BATCH: u32 = 20_000;

/// Batches per row.
const BATCHES: u32 = 15;

/// 20 ms of G.711.
const PAYLOAD_BYTES: usize = 160;

/// Prints the table.
pub fn print() {
    println!();
    println!("One RTP packet of {PAYLOAD_BYTES} bytes payload, protected and unprotected in place");
    println!("{:>24} {:>12} {:>12}", "suite", "protect µs", "unprotect µs");
    for suite in Suite::ALL {
        let (protect, unprotect) = best(suite);
        println!("{:>24} {protect:>12.2} {unprotect:>12.2}", suite.name());
    }
}

/// Microseconds of one packet each way.
fn best(suite: Suite) -> (f64, f64) {
    let bytes: Vec<u8> = (0..suite.key_and_salt_len() as u8).collect();
    let key = MasterKey::new(suite, &bytes).expect("a key of the suite's length");
    let mut ours = Outbound::new(&key).expect("a key of the suite's length");
    let mut theirs = Inbound::new(&key).expect("a key of the suite's length");
    let mut sequence = 0_u16;
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..BATCHES {
        let mut packets: Vec<Vec<u8>> = (0..BATCH)
            .map(|_| {
                sequence = sequence.wrapping_add(1);
                packet(sequence)
            })
            .collect();
        let began = Instant::now();
        for packet in &mut packets {
            ours.protect_rtp(packet).expect("a packet");
        }
        best.0 = best.0.min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        for packet in &mut packets {
            theirs.unprotect_rtp(packet).expect("a packet of the same key");
        }
        best.1 = best.1.min(began.elapsed().as_secs_f64());
    }
    let each = 1e6 / f64::from(BATCH);
    (best.0 * each, best.1 * each)
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + PAYLOAD_BYTES + 16);
    packet.extend([0x80, 0]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    packet.extend([0xD5; PAYLOAD_BYTES]);
    packet
}
