//! What a datagram costs that is dropped unread, beside one that is read and refused.

use std::time::Instant;

use patchcord::sip::{Endpoint, Flow, Peer, Settings, Transport, defence};

/// Datagrams per batch; the fastest batch counts, because everything else is the machine's noise.
const BATCH: u32 = 20_000;

/// Batches per row.
const BATCHES: u32 = 15;

const INVITE: &str = "INVITE sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.5:5060;rport;branch=z9hG4bKa\r\n\
    Max-Forwards: 70\r\nFrom: <sip:a@198.51.100.5>;tag=1\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: c\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:a@198.51.100.5>\r\nUser-Agent: scanner\r\nContent-Length: 0\r\n\r\n";

/// Prints the table.
pub fn print() {
    println!();
    println!("One INVITE of a stranger, in the SIP endpoint alone");
    println!("{:>24} {:>12}", "what becomes of it", "best ns");
    let limited = defence::Settings {
        requests_per_s: 10,
        lockout_failures: 10,
        ..defence::Settings::OFF
    };
    let read = best(defence::Settings::OFF, 1);
    let dropped = best(limited, 1);
    let crowd = best(limited, 1 << 20);
    println!("{:>24} {read:>12.0}", "read and refused");
    println!("{:>24} {dropped:>12.0}", "dropped, one source");
    println!("{:>24} {crowd:>12.0}", "one each of a million");
    println!("a drop costs 1/{:.0} of a refusal", read / dropped);
}

/// Nanoseconds of one datagram when they come from this many sources in turn.
fn best(defence: defence::Settings, sources: u32) -> f64 {
    let now = Instant::now();
    let peer = Peer {
        name: "lan".to_owned(),
        networks: vec!["192.0.2.0/24".parse().expect("a network")],
        credentials: None,
        uplink: None,
        session_expires: Some(patchcord::sip::SESSION_EXPIRES),
        transports: Vec::new(),
    };
    let settings = Settings {
        peers: vec![peer],
        defence,
        ..Settings::new([7; 32], 7)
    };
    let mut endpoint = Endpoint::new(now, settings);
    let mut number = 0_u32;
    let mut batch = || {
        let began = Instant::now();
        for _ in 0..BATCH {
            number = (number + 1) % sources;
            let remote = ((0x0b00_0000 + number).to_be_bytes(), 5060).into();
            let flow = Flow {
                transport: Transport::Udp,
                local: ([192, 0, 2, 1], 5060).into(),
                remote,
                connection: 0,
            };
            endpoint.handle_datagram(now, flow, INVITE.as_bytes());
            while let Some(output) = endpoint.poll_output() {
                std::hint::black_box(output);
            }
        }
        began.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    (0..BATCHES).map(|_| batch()).fold(f64::INFINITY, f64::min)
}
