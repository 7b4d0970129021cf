//! A far end that speaks any codec over a link that loses, delays, reorders and repeats, in virtual time.

use std::time::{Duration, Instant};

use super::line::{SIGNALLED, terms};
use crate::{
    audio::{Codec, Decoder, Encoder, OpusWishes, SampleRate, Utterance},
    media::{Channel, Machine, Settings, settings::Random},
    rtp::{Header, Packet},
    sdp::{EventFormat, Format, Negotiated},
};

/// What the link does to packets, as shares of one and milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) seed: u64,
    pub(super) loss: f64,
    pub(super) twice: f64,
    pub(super) jitter_ms: f64,
}

/// A call: the machine, its far end, the link and the time.
pub(super) struct Link {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    pub(super) start: Instant,
    /// Everything the agent heard, at the session's rate.
    pub(super) heard: Vec<i16>,
    /// Everything the far end heard, at its line rate, and the headers it came with.
    pub(super) played: Vec<i16>,
    pub(super) headers: Vec<(Instant, Header)>,
    pub(super) session: SampleRate,
    /// The least by which the agent's time line was behind real time, in milliseconds, since this was set.
    pub(super) lag_low: i64,
    forgotten: usize,
    weather: Weather,
    random: Random,
    on_the_way: Vec<(Instant, Vec<u8>)>,
    /// The far end's clock runs so much slower (positive) or faster than ours.
    pub(super) drift_ppm: f64,
    spoken: u64,
    mouth: Mouth,
    ears: Vec<(u8, Decoder)>,
}

struct Mouth {
    format: Format,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
    ptime_ms: usize,
}

impl Link {
    pub(super) fn new(format: Format, session: SampleRate, weather: Weather) -> Self {
        let now = Instant::now();
        let mut machine = Machine::new(now, Settings::from_seed(7));
        machine.set_session_rate(session);
        machine.apply(now, &agreed(&[format]));
        Self {
            machine,
            now,
            start: now,
            heard: Vec::new(),
            played: Vec::new(),
            headers: Vec::new(),
            session,
            lag_low: i64::MAX,
            forgotten: 0,
            random: Random::new(weather.seed),
            weather,
            on_the_way: Vec::new(),
            drift_ppm: 0.0,
            spoken: 0,
            mouth: Mouth {
                format,
                encoder: Encoder::new(format.codec, session, format.opus).unwrap(),
                sequence: 65_530,
                timestamp: 77,
                ptime_ms: 20,
            },
            ears: Vec::new(),
        }
    }

    /// The rate the far end speaks at.
    pub(super) fn rate(&self) -> SampleRate {
        self.mouth.format.codec.line_rate(self.session)
    }

    /// The far end speaks another codec from now on.
    pub(super) fn speak_as(&mut self, format: Format) {
        self.mouth.format = format;
        self.mouth.encoder = Encoder::new(format.codec, self.session, format.opus).unwrap();
    }

    /// Makes room in a long test.
    pub(super) fn forget(&mut self) {
        self.forgotten += self.heard.len();
        self.heard.clear();
        self.played.clear();
        self.headers.clear();
    }

    /// The far end is told that so much of what it sends is lost.
    pub(super) fn expect_loss(&mut self, percent: u8) {
        self.mouth.encoder.expect_loss(percent);
    }

    /// Both sides settle on these.
    pub(super) fn settle(&mut self, formats: &[Format], ptime_ms: u32) {
        let terms = Negotiated {
            ptime_ms,
            ..agreed(formats)
        };
        self.machine.apply(self.now, &terms);
        self.mouth.ptime_ms = ptime_ms as usize;
    }

    /// The far end says this, at its own rate, packet after packet.
    pub(super) fn speak(&mut self, pcm: &[i16]) {
        let samples = self.mouth.ptime_ms * self.rate().per_ms();
        for frame in pcm.chunks_exact(samples) {
            self.speak_frame(frame);
        }
    }

    /// One packet, sent when it is complete; what is to arrive until then arrives.
    pub(super) fn speak_frame(&mut self, frame: &[i16]) {
        self.pass();
        let mut payload = Vec::new();
        self.mouth.encoder.encode(frame, &mut payload);
        let header = self.mouth.header();
        if payload.is_empty() {
            // Nothing to say: time passes, and no packet is counted.
            self.mouth.sequence = self.mouth.sequence.wrapping_sub(1);
        } else {
            self.post(&header, &payload);
        }
        self.deliver();
    }

    /// The far end sends something else in the place that is next.
    pub(super) fn post(&mut self, header: &Header, payload: &[u8]) {
        let mut datagram = Vec::new();
        header.write(&mut datagram);
        datagram.extend_from_slice(payload);
        let copies = 1 + usize::from(self.random.fraction() < self.weather.twice);
        for _ in 0..copies {
            if self.random.fraction() >= self.weather.loss {
                let late = Duration::from_secs_f64(self.random.fraction() * self.weather.jitter_ms / 1_000.0);
                self.on_the_way.push((self.now + late, datagram.clone()));
            }
        }
    }

    /// The far end describes its background, so many dB below full scale.
    pub(super) fn describe(&mut self, level: u8) {
        let header = Header {
            payload_type: 13,
            sequence: self.mouth.sequence,
            timestamp: self.mouth.timestamp,
            ssrc: 99,
            marker: false,
        };
        self.mouth.sequence = self.mouth.sequence.wrapping_add(1);
        self.post(&header, &[level]);
        self.deliver();
    }

    /// The far end says nothing and sends nothing.
    pub(super) fn pause(&mut self, packets: u32) {
        for _ in 0..packets {
            self.pass();
            let ticks = self.mouth.ticks();
            self.mouth.timestamp = self.mouth.timestamp.wrapping_add(ticks);
        }
    }

    /// A packet time of the far end passes.
    fn pass(&mut self) {
        self.spoken += self.mouth.ptime_ms as u64;
        let ms = self.spoken as f64 * (1.0 + self.drift_ppm / 1e6);
        let until = self.start + Duration::from_secs_f64(ms / 1_000.0);
        self.run_until(until);
    }

    pub(super) fn run(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    fn run_until(&mut self, until: Instant) {
        loop {
            let deadline = self.machine.poll_timeout().filter(|&deadline| deadline <= until);
            let arrival = self
                .on_the_way
                .iter()
                .map(|(at, _)| *at)
                .min()
                .filter(|&at| at <= until);
            match (deadline, arrival) {
                (None, None) => break,
                (Some(deadline), arrival) if arrival.is_none_or(|at| deadline <= at) => {
                    self.now = self.now.max(deadline);
                    self.machine.handle_timeout(self.now);
                    self.drain();
                }
                (_, arrival) => {
                    self.now = arrival.unwrap_or(self.now).max(self.now);
                    self.deliver();
                }
            }
        }
        self.now = until;
    }

    fn deliver(&mut self) {
        while let Some(index) = self.on_the_way.iter().position(|(at, _)| *at <= self.now) {
            let (_, mut datagram) = self.on_the_way.remove(index);
            self.machine.handle_rtp(self.now, SIGNALLED, &mut datagram);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(frame) = self.machine.poll_caller() {
            self.heard.extend_from_slice(frame);
            let heard_ms = (self.forgotten + self.heard.len()) / self.session.per_ms();
            self.lag_low = self
                .lag_low
                .min((self.now - self.start).as_millis() as i64 - heard_ms as i64);
        }
        while self.machine.poll_event().is_some() {}
        while let Some(transmit) = self.machine.poll_transmit() {
            if transmit.channel == Channel::Rtp {
                let packet = Packet::read(transmit.bytes).unwrap();
                let header = Header {
                    payload_type: packet.payload_type,
                    sequence: packet.sequence,
                    timestamp: packet.timestamp,
                    ssrc: packet.ssrc,
                    marker: packet.marker,
                };
                self.headers.push((self.now, header));
                if let Some(codec) = codec(packet.payload_type) {
                    let session = self.session;
                    let known = self
                        .ears
                        .iter()
                        .position(|(payload_type, _)| *payload_type == packet.payload_type);
                    let ear = known.unwrap_or_else(|| {
                        let decoder = Decoder::new(codec, session).unwrap();
                        self.ears.push((packet.payload_type, decoder));
                        self.ears.len() - 1
                    });
                    self.ears[ear].1.decode(packet.payload, &mut self.played).unwrap();
                }
            }
        }
    }

    /// The agent says this, as it would come from a session: in portions of 100 ms, far ahead of time.
    pub(super) fn say(&mut self, utterance: Utterance, pcm: &[i16]) {
        for portion in pcm.chunks(100 * self.session.per_ms()) {
            self.machine.play(self.now, utterance, portion);
        }
    }
}

impl Mouth {
    fn header(&mut self) -> Header {
        let header = Header {
            payload_type: self.format.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: 99,
            marker: false,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.ticks());
        header
    }

    fn ticks(&self) -> u32 {
        self.ptime_ms as u32 * self.format.codec.clock_hz() / 1_000
    }
}

/// Terms with these, the first of which we send.
pub(super) fn agreed(formats: &[Format]) -> Negotiated {
    let clock_hz = formats[0].codec.clock_hz();
    Negotiated {
        send: formats[0],
        receive: formats.to_vec(),
        events: vec![EventFormat {
            payload_type: 101,
            clock_hz,
        }],
        ..terms(Codec::Pcmu)
    }
}

/// Opus as the far end may want it.
pub(super) fn opus(fec: bool, dtx: bool) -> Format {
    Format {
        opus: OpusWishes {
            fec,
            dtx,
            ..OpusWishes::default()
        },
        ..Format::plain(Codec::Opus)
    }
}

fn codec(payload_type: u8) -> Option<Codec> {
    Codec::ALL
        .into_iter()
        .find(|codec| codec.payload_type() == payload_type)
}
