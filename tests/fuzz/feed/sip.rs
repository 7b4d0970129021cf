//! SIP bytes: as a datagram, as a stream in pieces, and as what reaches an endpoint that answers calls.

use std::time::{Duration, Instant};

use patchcord::rtp::srtp::{MasterKey, Suite};
use patchcord::sdp::{self, Fingerprint, Local, Protection, Srtp};
use patchcord::sip::reader::DATAGRAM_BYTES_MAX;
use patchcord::sip::stream::STREAM_BUFFER_BYTES_MAX;
use patchcord::sip::{
    Command, Endpoint, Event, Flow, LegId, Message, Output, Peer, Request, Response, Settings, StreamEvent,
    StreamReader, Transport, read_datagram,
};

use super::Work;

/// Outputs and deadlines one input may cause: 64 x T1 of retransmissions for each of its few messages.
const STEPS_MAX: usize = 5_000;

/// Feeds the bytes to everything that reads SIP.
pub fn sip(bytes: &[u8]) {
    read_and_write_again(bytes);
    stream_in_pieces(bytes);
    Exchange::new(bytes).run(bytes);
}

/// The body of a message is taken for an offer and for an answer.
fn negotiate(message: &Message) {
    let (Message::Request(Request { body, .. }) | Message::Response(Response { body, .. })) = message;
    negotiate_as(body, Local::new([127, 0, 0, 1].into(), 4000, 1));
    negotiate_as(body, protected());
}

/// What was agreed on is what the next offer, and its answer, go on from.
fn negotiate_as(body: &[u8], mut local: Local) {
    let _ = sdp::read_answer(body, &local);
    if let Ok((negotiated, answer)) = sdp::answer(body, &local) {
        assert!(!answer.is_empty(), "an answer of nothing");
        local.before = Some(Box::new(negotiated));
        let offer = sdp::offer(&local);
        assert!(
            sdp::answer(&offer, &protected()).is_ok(),
            "an offer that we would refuse"
        );
        let _ = sdp::read_answer(body, &local);
    }
}

/// With keys for every suite and a certificate.
fn protected() -> Local {
    let key = |suite: Suite| MasterKey::new(suite, &vec![7; suite.key_and_salt_len()]).expect("a key that fits");
    let protection = Protection {
        srtp: Srtp::Offered,
        keys: Suite::ALL.into_iter().map(key).collect(),
        dtls: Some(Fingerprint {
            algorithm: "sha-256".to_owned(),
            bytes: vec![7; 32],
        }),
    };
    Local {
        protection,
        ..Local::new([127, 0, 0, 1].into(), 4000, 1)
    }
}

/// What was read and written is read again, and the same. Full names and the Content-Length may make it too large.
fn read_and_write_again(bytes: &[u8]) {
    let Ok(message) = read_datagram(bytes) else { return };
    negotiate(&message);
    let written = write(&message);
    if written.len() > DATAGRAM_BYTES_MAX {
        return;
    }
    let Ok(again) = read_datagram(&written) else {
        panic!("not readable any more: {}", String::from_utf8_lossy(&written));
    };
    assert_eq!(write(&again), written, "written differently the second time");
}

/// What repeats the headers of a very large request is larger still: more than a datagram may be, not more than a stream.
fn is_readable(bytes: &[u8]) -> bool {
    let mut stream = StreamReader::new();
    stream.push(bytes);
    read_datagram(bytes).is_ok() || matches!(stream.poll_event(), Some(StreamEvent::Message(_)))
}

fn write(message: &Message) -> Vec<u8> {
    match message {
        Message::Request(request) => request.to_bytes(),
        Message::Response(response) => response.to_bytes(),
    }
}

/// The same events come out however the stream is cut, also of the bytes twice; the pieces are as long as the bytes
/// before them say.
fn stream_in_pieces(bytes: &[u8]) {
    let twice = [bytes, b"\r\n", bytes].concat();
    let stream = if twice.len() <= STREAM_BUFFER_BYTES_MAX {
        &twice
    } else {
        bytes
    };
    let (mut pieces, mut whole) = (StreamReader::new(), StreamReader::new());
    let mut work = Work::new(stream.len() + 10);
    let mut in_pieces = Vec::new();
    let mut rest = stream;
    while let Some(first) = rest.first() {
        let (piece, after) = rest.split_at(rest.len().min(1 + usize::from(*first)));
        pieces.push(piece);
        in_pieces.extend(events(&mut pieces, &mut work));
        rest = after;
    }
    whole.push(stream);
    let at_once = events(&mut whole, &mut Work::new(stream.len() + 10));
    assert_eq!(at_once, in_pieces, "cutting the stream changed what it says");
}

fn events(reader: &mut StreamReader, work: &mut Work) -> Vec<StreamEvent> {
    std::iter::from_fn(|| reader.poll_event())
        .inspect(|_| work.step())
        .collect()
}

/// An endpoint and an application that answers or refuses every call, by a byte of the input.
struct Exchange {
    now: Instant,
    endpoint: Endpoint,
    flow: Flow,
    answers: bool,
    /// What is sent back for an unreadable request repeats what was unreadable.
    readable: bool,
    /// What was sent last.
    sent: Vec<u8>,
    work: Work,
}

impl Exchange {
    fn new(bytes: &[u8]) -> Self {
        let now = Instant::now();
        let everyone = Peer {
            name: "everyone".to_owned(),
            networks: vec!["0.0.0.0/0".parse().expect("a network")],
            credentials: None,
            uplink: None,
            session_expires: Some(patchcord::sip::SESSION_EXPIRES),
            transports: Vec::new(),
        };
        let settings = Settings {
            peers: vec![everyone],
            ..Settings::new([7; 32], 7)
        };
        let odd = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) % 2 == 1;
        let transport = if odd { Transport::Tcp } else { Transport::Udp };
        Self {
            now,
            endpoint: Endpoint::new(now, settings),
            flow: Flow {
                transport,
                local: ([127, 0, 0, 1], 5060).into(),
                remote: ([127, 0, 0, 2], 5060).into(),
                connection: u64::from(odd),
            },
            answers: !bytes.len().is_multiple_of(3),
            readable: read_datagram(bytes).is_ok(),
            sent: Vec::new(),
            work: Work::new(STEPS_MAX),
        }
    }

    /// Twice the same, as a retransmission, then everything runs out; nothing may be left.
    fn run(mut self, bytes: &[u8]) {
        for _ in 0..2 {
            self.endpoint.handle_datagram(self.now, self.flow, bytes);
            let legs = self.drain();
            self.decide(&legs);
            self.now += Duration::from_millis(700);
        }
        self.run_out();
        self.endpoint.handle_flow_closed(self.now, self.flow);
        self.drain();
        self.run_out();
        let counts = self.endpoint.counts();
        assert_eq!(
            (counts.legs, counts.dialogs, counts.transactions),
            (0, 0, 0),
            "{counts:?} left at the end"
        );
    }

    fn run_out(&mut self) {
        while let Some(deadline) = self.endpoint.poll_timeout() {
            self.work.step();
            self.now = self.now.max(deadline);
            self.endpoint.handle_timeout(self.now);
            let legs = self.drain();
            self.decide(&legs);
        }
    }

    fn decide(&mut self, legs: &[LegId]) {
        for leg in legs {
            self.endpoint.command(self.now, *leg, Command::Ring);
            let command = if self.answers {
                Command::Answer {
                    sdp: b"v=0\r\n".to_vec(),
                }
            } else {
                Command::Refuse {
                    status: 404,
                    reason: "no_route".into(),
                }
            };
            self.endpoint.command(self.now, *leg, command);
            self.drain();
        }
    }

    /// A retransmission was checked before.
    fn check(&mut self, bytes: Vec<u8>) {
        if self.sent != bytes {
            let written = is_readable(&bytes) || !self.readable;
            assert!(written, "we sent {}", String::from_utf8_lossy(&bytes));
            self.sent = bytes;
        }
    }

    /// Takes everything out and gives the legs that wait for a decision; what is sent must be readable.
    fn drain(&mut self) -> Vec<LegId> {
        let mut waiting = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            self.work.step();
            match output {
                Output::Send { bytes, .. } => {
                    self.check(bytes);
                }
                Output::Event {
                    leg,
                    event: Event::Incoming(_) | Event::Reoffered { .. },
                } => waiting.push(leg),
                // No name is known and no other address: what has to leave takes the flow that is there.
                Output::Resolve { query, .. } => {
                    let unknown = Err("unknown".to_owned());
                    self.endpoint.handle_resolved(self.now, query, unknown);
                }
                Output::Event { .. }
                | Output::Refused(_)
                | Output::Dropped(_)
                | Output::Repeated(_)
                | Output::Open { .. }
                | Output::Trunk(_) => {}
            }
        }
        waiting
    }
}
