//! Agent to caller: the agent's words, encoded, from when they arrive in bursts until they leave one packet at a time.
//!
//! The bytes of all utterances stand in one ring in the order they came; a list of runs says whose they are, and a
//! ledger how much of each utterance came and how much left. What is counted as heard is what was taken out to be
//! sent.
//!
//! An utterance that begins in silence waits until 40 ms of it are there, or it is complete, or 40 ms have passed:
//! deltas that trickle in real time then have room for jitter, and bursts wait for nothing. Wherever words and
//! silence meet inside a packet they are ramped over 5 ms, so that a cut does not click.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    event::{Event, Events},
    ledger::Ledger,
    statistics::Statistics,
    tap::Side,
};
use crate::audio::{Comfort, Downsampler, Heard, Law, SampleRate, Utterance};

/// What the caller is going to hear.
#[derive(Debug)]
pub(super) struct Playout {
    law: Law,
    ring: VecDeque<u8>,
    ring_max: usize,
    ledger: Ledger,
    state: State,
    /// The faded end of what was cut off, for the one packet that still leaves.
    tail: Vec<u8>,
    /// Whether the last packet ended in the middle of words.
    talking: bool,
    comfort: Option<Comfort>,
    downsampler: Downsampler,
    last: Option<Utterance>,
    narrow: Vec<i16>,
    coded: Vec<u8>,
    starved_ms: u32,
    underruns: u64,
    /// Bytes of words that left.
    spoken: u64,
    dropped: u64,
    pub(super) tap: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to say.
    Idle,
    /// Words have begun to come, not enough to begin with.
    Gathering(Instant),
    /// Words go out, or would if they had come.
    Speaking,
}

const PER_MS: usize = SampleRate::Hz8000.per_ms();
/// How much of an utterance must be there before it begins, and how long it waits for that at most.
const GATHERED: usize = 40 * PER_MS;
const GATHERING_MAX: Duration = Duration::from_millis(40);
/// Length of a ramp between words and silence.
const RAMP: usize = 5 * PER_MS;
/// An utterance whose words have not come for this long counts as over for [`Playout::is_quiet`].
const STARVED_MS_MAX: u32 = 500;
/// Bytes the ring keeps allocated when it is empty.
const RING_KEPT: usize = 8_000;

impl Playout {
    pub(super) fn new(playout_ms_max: u32) -> Self {
        Self {
            law: Law::Mu,
            ring: VecDeque::new(),
            ring_max: (playout_ms_max as usize).saturating_mul(PER_MS),
            ledger: Ledger::default(),
            state: State::Idle,
            tail: Vec::with_capacity(RAMP),
            talking: false,
            comfort: None,
            downsampler: Downsampler::new(),
            last: None,
            narrow: Vec::new(),
            coded: Vec::new(),
            starved_ms: 0,
            underruns: 0,
            spoken: 0,
            dropped: 0,
            tap: Side::new(),
        }
    }

    /// Another codec: what waits is translated.
    pub(super) fn set_law(&mut self, law: Law) {
        let old = std::mem::replace(&mut self.law, law);
        if old != law {
            let waiting: Vec<u8> = self.ring.drain(..).collect();
            self.ring.extend(translate(&waiting, old, law));
            self.tail = translate(&self.tail, old, law);
        }
    }

    /// More of an utterance, at 24 kHz.
    pub(super) fn play(&mut self, now: Instant, utterance: Utterance, pcm: &[i16], events: &mut Events) {
        self.narrow(utterance, pcm);
        let room = self.ring_max.saturating_sub(self.ring.len());
        let kept = match self.ledger.receive(utterance, pcm.len()) {
            true => self.narrow.len().min(room),
            false => 0,
        };
        self.coded.clear();
        self.law.encode(&self.narrow[..kept], &mut self.coded);
        self.ring.extend(&self.coded);
        self.ledger.queue(utterance, kept);
        self.drop_newest(utterance, self.narrow.len() - kept, events);
        self.starved_ms = 0;
        if self.state == State::Idle {
            self.state = State::Gathering(now);
        }
    }

    /// No more of this utterance will come.
    pub(super) fn finish(&mut self, utterance: Utterance, events: &mut Events) {
        if self.ledger.finish(utterance) {
            events.push(Event::Finished(utterance));
        }
        if self.ledger.is_empty() {
            self.rest();
        }
    }

    /// Drops everything that has not left, except a faded end of at most 5 ms. Tells what was heard of every utterance
    /// not told as finished.
    pub(super) fn flush(&mut self, events: &mut Events) -> Vec<Heard> {
        if self.talking {
            let len = self.ledger.continuation().min(RAMP);
            self.tail.extend(self.ring.drain(..len));
            self.ledger.send(len, |event| events.push(event));
            fade_out(&mut self.tail, self.law);
        }
        self.ring.clear();
        self.ring.shrink_to(RING_KEPT);
        self.downsampler.reset();
        self.state = State::Idle;
        self.starved_ms = 0;
        self.ledger.close()
    }

    /// What the caller hears while there are no words: silence, or a sign of life.
    pub(super) fn set_comfort(&mut self, on: bool) {
        match (on, &self.comfort) {
            (true, None) => self.comfort = Some(Comfort::new()),
            (true, Some(_)) => {}
            (false, _) => self.comfort = None,
        }
    }

    /// The stream stops for a while: words stay where they are.
    pub(super) fn pause(&mut self) {
        self.talking = false;
        self.tail.clear();
    }

    /// Nothing is left to be heard, and nothing more is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        let over = self.ledger.is_empty() || self.starved_ms >= STARVED_MS_MAX;
        self.ring.is_empty() && self.tail.is_empty() && over
    }

    /// Whether words begin in the next packet, after silence.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        !self.talking && self.tail.is_empty() && !self.ring.is_empty() && self.is_ready(now)
    }

    /// Appends the next packet's payload.
    pub(super) fn take(&mut self, now: Instant, len: usize, out: &mut Vec<u8>, events: &mut Events) {
        let words = if self.is_ready(now) {
            self.ring.len().min(len)
        } else {
            0
        };
        match words {
            _ if !self.tail.is_empty() => self.take_tail(len, out),
            0 => self.take_silence(len, out),
            _ => self.take_words(words, len, out, events),
        }
        if self.tap.is_open() {
            self.narrow.clear();
            self.law.decode(&out[out.len() - len..], &mut self.narrow);
            self.tap.hear(SampleRate::Hz8000, &self.narrow);
        }
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.playout_dropped_ms = self.dropped / PER_MS as u64;
        statistics.spoken_ms = self.spoken / PER_MS as u64;
        statistics.underruns = self.underruns;
    }

    /// Brings `pcm` to 8 kHz. An utterance that follows another without a pause carries on its filter, one that begins
    /// afresh must not begin with an echo of the last.
    fn narrow(&mut self, utterance: Utterance, pcm: &[i16]) {
        if self.last.replace(utterance) != Some(utterance) && self.ring.is_empty() {
            self.downsampler.reset();
        }
        self.narrow.clear();
        self.downsampler.process(pcm, &mut self.narrow);
    }

    fn drop_newest(&mut self, utterance: Utterance, samples: usize, events: &mut Events) {
        if samples > 0 {
            let dropped_ms = samples.div_ceil(PER_MS) as u32;
            self.dropped += samples as u64;
            events.push(Event::Overflow { utterance, dropped_ms });
        }
    }

    fn is_ready(&mut self, now: Instant) -> bool {
        if let State::Gathering(since) = self.state {
            let waited = now.saturating_duration_since(since) >= GATHERING_MAX;
            if waited || self.ring.len() >= GATHERED || self.ledger.has_finished() {
                self.state = State::Speaking;
            }
        }
        self.state == State::Speaking
    }

    fn take_words(&mut self, words: usize, len: usize, out: &mut Vec<u8>, events: &mut Events) {
        let begin = out.len();
        out.extend(self.ring.drain(..words));
        self.spoken += words as u64;
        self.ledger.send(words, |event| events.push(event));
        let over = self.ring.is_empty() && self.ledger.is_empty();
        if !self.talking {
            fade_in(&mut out[begin..], self.law);
        }
        if words < len || over {
            fade_out(&mut out[begin..], self.law);
        }
        out.resize(begin + len, self.law.silence());
        self.talking = words == len && !over;
        self.underruns += u64::from(words < len && !over);
        if over {
            self.rest();
        }
    }

    fn take_silence(&mut self, len: usize, out: &mut Vec<u8>) {
        if !self.ledger.is_empty() && self.ring.is_empty() {
            self.underruns += u64::from(self.talking);
            self.starved_ms = self.starved_ms.saturating_add((len / PER_MS) as u32);
        }
        self.talking = false;
        match &mut self.comfort {
            Some(comfort) => {
                self.narrow.resize(len, 0);
                comfort.fill(&mut self.narrow);
                self.law.encode(&self.narrow, out);
            }
            None => out.resize(out.len() + len, self.law.silence()),
        }
    }

    fn take_tail(&mut self, len: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.append(&mut self.tail);
        out.resize(begin + len, self.law.silence());
        self.talking = false;
    }

    /// Everything was said.
    fn rest(&mut self) {
        self.state = State::Idle;
        self.ring.shrink_to(RING_KEPT);
    }
}

fn translate(coded: &[u8], from: Law, to: Law) -> Vec<u8> {
    let (mut pcm, mut out) = (Vec::new(), Vec::new());
    from.decode(coded, &mut pcm);
    to.encode(&pcm, &mut out);
    out
}

fn fade_in(coded: &mut [u8], law: Law) {
    let len = coded.len().min(RAMP);
    scale(&mut coded[..len], law, |index| index + 1);
}

fn fade_out(coded: &mut [u8], law: Law) {
    let from = coded.len().saturating_sub(RAMP);
    let len = coded.len() - from;
    scale(&mut coded[from..], law, |index| len - index);
}

/// Multiplies each sample with `weight / (RAMP + 1)`; at most a ramp's length is handed in.
fn scale(coded: &mut [u8], law: Law, weight: impl Fn(usize) -> usize) {
    let (mut pcm, mut out) = (Vec::with_capacity(RAMP), Vec::with_capacity(RAMP));
    law.decode(coded, &mut pcm);
    for (index, sample) in pcm.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * weight(index) as i32 / (RAMP as i32 + 1)) as i16;
    }
    law.encode(&pcm, &mut out);
    coded.copy_from_slice(&out);
}

#[cfg(test)]
mod tests;
