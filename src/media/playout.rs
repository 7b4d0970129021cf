//! Agent to caller: the agent's words, from when they arrive in bursts until they leave one packet at a time.
//!
//! The samples of all utterances stand in one ring, at the line rate, in the order they came; a list of runs says whose
//! they are, and a ledger how much of each utterance came and how much left. What is counted as heard is what was taken
//! out to be sent. Samples are encoded when they leave.
//!
//! An utterance that begins in silence waits until 40 ms of it are there (more with long packets), or it is complete, or
//! that much time has passed:
//! deltas that trickle in real time then have room for jitter, and bursts wait for nothing. Wherever words and
//! silence meet inside a packet they are ramped over 5 ms, so that a cut does not click.
//!
//! When the codec changes to one of another line rate, what waits stays as it is and is brought to the new rate as it
//! leaves, until a silence comes in which the ring can follow.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    coder::{Coded, Coder},
    drift::Depth,
    event::{Event, Events},
    ledger::Ledger,
    reach::Reported,
    settings::Silence,
    statistics::Statistics,
    stretch::{self, STRETCH_MS_MAX},
    tap::Side,
    ticks::{self, TICKS_PER_MS, Ticks, per_sample},
};
use crate::{
    audio::{Heard, Resampler, SampleRate, Utterance, level},
    sdp::Format,
};

mod duck;

use self::duck::Duck;

/// What the caller is going to hear.
#[derive(Debug)]
pub(super) struct Playout {
    session: SampleRate,
    /// Of the ring.
    rate: SampleRate,
    ring: VecDeque<i16>,
    ring_ms_max: usize,
    ledger: Ledger,
    state: State,
    /// The faded end of what was cut off, for the one packet that still leaves.
    tail: Vec<i16>,
    /// Whether the last packet ended in the middle of words.
    talking: bool,
    /// How long nothing has been said.
    silent_ms: u32,
    /// How early words come while they come no faster than they are said.
    depth: Depth,
    /// Up to when the last packet goes, and how long it is.
    said_until: Option<(Instant, Ticks)>,
    resampler: Resampler,
    coder: Coder,
    duck: Duck,
    last: Option<Utterance>,
    incoming: Vec<i16>,
    packet: Vec<i16>,
    starved_ms: u32,
    underruns: u64,
    /// Words that left.
    spoken: Ticks,
    stretched: Ticks,
    dropped_ms: u64,
    pub(super) tap: Side,
}

/// What leaves in a packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// A packet of audio: [`Playout::payload`].
    Audio {
        /// It is the first after silence.
        spurt: bool,
    },
    /// A packet of comfort noise, when that was agreed on.
    Noise,
    /// No packet.
    Nothing,
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

/// How much of an utterance must be there before it begins, and how long it waits for that at most.
const GATHERED_MS: u32 = 40;
/// As much must be there besides the first packet.
const SPARE_MS: u32 = 20;
/// What is quieter lies between two words: 20 dB below quiet speech on a telephone, 30 below a voice that is synthesised.
const PAUSE_DBFS: f32 = -50.0;
/// Length of a ramp between words and silence.
const RAMP_MS: usize = 5;
/// An utterance whose words have not come for this long counts as over for [`Playout::is_quiet`].
const STARVED_MS_MAX: u32 = 500;
/// However long a portion comes, it is worked on so much at a time.
const PORTION_MS: usize = 100;
/// How much the ring keeps allocated when it is empty.
const RING_KEPT_MS: usize = 500;

impl Playout {
    pub(super) fn new(playout_ms_max: u32, session: SampleRate, silence: Silence) -> Self {
        Self {
            session,
            rate: SampleRate::Hz8000,
            ring: VecDeque::new(),
            ring_ms_max: playout_ms_max as usize,
            ledger: Ledger::new(),
            state: State::Idle,
            tail: Vec::new(),
            talking: false,
            silent_ms: 0,
            depth: Depth::default(),
            said_until: None,
            resampler: Resampler::new(session, SampleRate::Hz8000),
            coder: Coder::new(silence),
            duck: Duck::new(),
            last: None,
            incoming: Vec::new(),
            packet: Vec::new(),
            starved_ms: 0,
            underruns: 0,
            spoken: 0,
            stretched: 0,
            dropped_ms: 0,
            tap: Side::new(),
        }
    }

    /// What is sent from now on.
    pub(super) fn set_format(&mut self, format: &Format) {
        self.coder.set_format(format, self.session);
        self.follow_line();
    }

    /// The rate words come at from now on.
    pub(super) fn set_session_rate(&mut self, session: SampleRate) {
        if session != self.session {
            self.session = session;
            self.resampler = Resampler::new(session, self.rate);
            self.coder.set_session_rate(session);
            self.follow_line();
        }
    }

    /// More of an utterance, at the session's rate.
    pub(super) fn play(&mut self, now: Instant, utterance: Utterance, pcm: &[i16], events: &mut Events) {
        self.follow_line();
        self.time(now);
        let known = self.ledger.receive(utterance, pcm.len(), self.session);
        for portion in pcm.chunks(PORTION_MS * self.session.per_ms()) {
            self.queue(utterance, portion, known, events);
        }
        self.starved_ms = 0;
        if self.state == State::Idle {
            self.state = State::Gathering(now);
        }
    }

    fn queue(&mut self, utterance: Utterance, pcm: &[i16], known: bool, events: &mut Events) {
        self.resample(utterance, pcm);
        let room = (self.ring_ms_max * self.rate.per_ms()).saturating_sub(self.ring.len());
        let kept = if known { self.incoming.len().min(room) } else { 0 };
        self.ring.extend(&self.incoming[..kept]);
        self.ledger.queue(utterance, kept);
        self.drop_newest(utterance, self.incoming.len() - kept, events);
    }

    /// No more of this utterance will come.
    pub(super) fn finish(&mut self, utterance: Utterance, events: &mut Events) {
        let heard = self.ledger.finish(utterance);
        heard.into_iter().for_each(|heard| events.push(Event::Finished(heard)));
        if self.ledger.is_empty() {
            self.rest();
        }
    }

    /// Drops everything that has not left, except a faded end of at most 5 ms. Tells what was heard of every utterance
    /// not told as finished.
    pub(super) fn flush(&mut self, now: Instant, events: &mut Events) -> Vec<Heard> {
        if self.talking {
            let len = self.ledger.continuation().min(self.ramp());
            self.tail.extend(self.ring.drain(..len));
            self.ledger.follow(now);
            self.ledger.send(len, self.rate, |event| events.push(event));
            fade_out(&mut self.tail, RAMP_MS * self.rate.per_ms());
        }
        self.depth.reset();
        self.duck.reset();
        self.ring.clear();
        self.ring.shrink_to(RING_KEPT_MS * self.rate.per_ms());
        self.resampler.reset();
        self.state = State::Idle;
        self.starved_ms = 0;
        self.ledger.close(now)
    }

    /// The packet that is made next is the how manieth of the stream.
    pub(super) fn next_packet(&mut self, number: u64, now: Instant) {
        self.ledger.next_packet(number, now);
    }

    /// The far end reports which packet it has had last, see the ledger.
    pub(super) fn hear_report(&mut self, now: Instant, reported: Option<Reported>) {
        self.ledger.hear_report(now, reported);
    }

    /// Makes words quieter, or as loud as before.
    pub(super) fn duck(&mut self, on: bool) {
        self.duck.set(on);
    }

    /// What the packet that was prepared says, and at which rate; nothing when it is silent.
    pub(super) fn said(&self) -> (SampleRate, &[i16]) {
        (self.rate, &self.packet)
    }

    /// Whether the last packet lies between two words.
    pub(super) fn pauses(&self) -> bool {
        level::dbfs(&self.packet) < PAUSE_DBFS
    }

    /// What the caller hears while there are no words: silence, or a sign of life.
    pub(super) fn set_comfort(&mut self, on: bool) {
        self.coder.set_comfort(on);
    }

    /// The stream stops for a while: words stay where they are.
    pub(super) fn pause(&mut self) {
        self.talking = false;
        self.tail.clear();
    }

    /// How much waits to be heard, in milliseconds.
    pub(super) fn waiting_ms(&self) -> u32 {
        u32::try_from(self.ring.len() / self.rate.per_ms()).unwrap_or(u32::MAX)
    }

    /// Nothing is left to be heard, and nothing more is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        let over = self.ledger.is_empty() || self.starved_ms >= STARVED_MS_MAX;
        self.ring.is_empty() && self.tail.is_empty() && over
    }

    /// Makes the next packet.
    pub(super) fn prepare(&mut self, now: Instant, ms: u32, events: &mut Events) -> Leaving {
        let len = ms as usize * self.rate.per_ms();
        let ready = self.is_ready(now, ms);
        let packet = Ticks::from(ms) * TICKS_PER_MS;
        self.said_until = Some((now + ticks::duration(packet), packet));
        self.packet.clear();
        if !self.tail.is_empty() {
            self.take_tail(len);
            return self.code(false);
        }
        match self.ring.len().min(len) {
            words if ready && words > 0 => {
                let spurt = !self.talking;
                self.take_words(words, len, events);
                self.code(spurt)
            }
            _ => self.be_silent(ms),
        }
    }

    /// What goes into the packet that was prepared.
    pub(super) fn payload(&self) -> &[u8] {
        self.coder.payload()
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.playout_dropped_ms = self.dropped_ms;
        statistics.spoken_ms = self.spoken / TICKS_PER_MS;
        statistics.playout_stretched_ms = self.stretched / TICKS_PER_MS;
        statistics.underruns = self.underruns;
    }

    /// Brings `pcm` to the rate of the ring. An utterance that follows another without a pause carries on its filter,
    /// one that begins afresh must not begin with an echo of the last.
    fn resample(&mut self, utterance: Utterance, pcm: &[i16]) {
        if self.last.replace(utterance) != Some(utterance) && self.ring.is_empty() {
            self.resampler.reset();
        }
        self.incoming.clear();
        self.resampler.process(pcm, &mut self.incoming);
    }

    /// How early words come, in the middle of others.
    fn time(&mut self, now: Instant) {
        if let Some((said_until, packet)) = self.said_until.filter(|_| self.talking) {
            let waiting = ticks::of(self.ring.len(), self.rate) + ticks::elapsed(now, said_until);
            // What is less than a packet does not help the next one.
            self.depth.arrived(waiting as i64 - packet as i64);
        }
    }

    fn drop_newest(&mut self, utterance: Utterance, samples: usize, events: &mut Events) {
        if samples > 0 {
            let dropped_ms = samples.div_ceil(self.rate.per_ms()) as u32;
            self.dropped_ms += u64::from(dropped_ms);
            events.push(Event::Overflow { utterance, dropped_ms });
        }
    }

    fn is_ready(&mut self, now: Instant, packet_ms: u32) -> bool {
        if let State::Gathering(since) = self.state {
            let enough = GATHERED_MS.max(packet_ms + SPARE_MS);
            let waited = now.saturating_duration_since(since) >= Duration::from_millis(enough.into());
            let gathered = self.ring.len() >= enough as usize * self.rate.per_ms();
            if waited || gathered || self.ledger.has_finished() {
                self.state = State::Speaking;
            }
        }
        self.state == State::Speaking
    }

    fn take_words(&mut self, words: usize, len: usize, events: &mut Events) {
        // A filter that has just come in between is ahead of what leaves it.
        let ahead = self.coder.ahead();
        let words = self.ring.len().min(words + ahead);
        let len = len + ahead;
        let words = self.draw(words);
        self.spoken += ticks::of(words, self.rate);
        self.ledger.send(words, self.rate, |event| events.push(event));
        let over = self.ring.is_empty() && self.ledger.is_empty();
        let ramp = self.ramp();
        if !self.talking {
            fade_in(&mut self.packet, ramp);
        }
        let full = self.packet.len() == len;
        if !full || over {
            fade_out(&mut self.packet, ramp);
        }
        self.packet.resize(len, 0);
        self.talking = full && !over;
        self.silent_ms = 0;
        self.underruns += u64::from(!full && !over);
        if over || !full {
            self.depth.reset();
        }
        if over {
            self.rest();
        }
    }

    /// Moves samples from the ring to the packet: as many as are wanted, or a few more or fewer that sound like as many,
    /// when the session's clock is another than ours. Answers how many.
    fn draw(&mut self, samples: usize) -> usize {
        let drawn = match self.depth.owed() {
            None => {
                self.copy(samples);
                samples
            }
            Some((owed, liberty)) => {
                let most = (owed.unsigned_abs() / per_sample(self.rate)) as usize;
                let room = (self.ring.len() - samples).min(STRETCH_MS_MAX * self.rate.per_ms());
                let drawn = if owed > 0 {
                    self.copy(samples);
                    samples - stretch::lengthen(&mut self.packet, self.rate, most.min(samples / 2), liberty)
                } else {
                    self.copy(samples + room);
                    samples + stretch::shorten(&mut self.packet, self.rate, most.min(room), liberty)
                };
                self.packet.truncate(samples);
                let saved = (samples as i64 - drawn as i64) * per_sample(self.rate) as i64;
                self.depth.pay(saved);
                self.stretched += saved.unsigned_abs();
                drawn
            }
        };
        self.ring.drain(..drawn);
        drawn
    }

    fn copy(&mut self, samples: usize) {
        let (front, back) = self.ring.as_slices();
        let from_front = front.len().min(samples);
        self.packet.extend_from_slice(&front[..from_front]);
        self.packet.extend_from_slice(&back[..samples - from_front]);
    }

    fn be_silent(&mut self, ms: u32) -> Leaving {
        if !self.ledger.is_empty() && self.ring.is_empty() {
            self.underruns += u64::from(self.talking);
            self.starved_ms = self.starved_ms.saturating_add(ms);
        }
        self.talking = false;
        let begins = self.silent_ms == 0;
        self.silent_ms = self.silent_ms.saturating_add(ms);
        if !begins {
            self.follow_line();
        }
        let coded = self.coder.silence(ms, begins);
        self.tap.hear(self.coder.rate(), self.coder.stillness());
        self.leave(coded, false)
    }

    fn take_tail(&mut self, len: usize) {
        self.packet.append(&mut self.tail);
        self.packet.resize(len, 0);
        self.talking = false;
        self.silent_ms = 0;
    }

    /// Encodes the packet: everything that was said leaves here.
    fn code(&mut self, spurt: bool) -> Leaving {
        self.duck.apply(&mut self.packet, self.rate.per_ms());
        self.tap.hear(self.rate, &self.packet);
        let coded = self.coder.code(&self.packet);
        self.leave(coded, spurt)
    }

    fn leave(&self, coded: Coded, spurt: bool) -> Leaving {
        match coded {
            Coded::Audio { resumes } => Leaving::Audio {
                spurt: spurt || resumes,
            },
            Coded::Noise => Leaving::Noise,
            Coded::Nothing => Leaving::Nothing,
        }
    }

    /// When the ring is empty and a packet of silence lies behind, it takes on the rate of the line; until then the coder
    /// brings what leaves to it.
    fn follow_line(&mut self) {
        if self.rate == self.coder.rate() {
            return;
        }
        if self.ring.is_empty() && self.tail.is_empty() && !self.talking && self.silent_ms > 0 || self.last.is_none() {
            self.rate = self.coder.rate();
            self.resampler = Resampler::new(self.session, self.rate);
        }
        self.coder.take_from(self.rate);
    }

    /// Everything was said.
    fn rest(&mut self) {
        self.state = State::Idle;
        self.ring.shrink_to(RING_KEPT_MS * self.rate.per_ms());
    }

    fn ramp(&self) -> usize {
        RAMP_MS * self.rate.per_ms()
    }
}

fn fade_in(pcm: &mut [i16], ramp: usize) {
    for (index, sample) in pcm.iter_mut().take(ramp).enumerate() {
        *sample = scaled(*sample, index + 1, ramp);
    }
}

fn fade_out(pcm: &mut [i16], ramp: usize) {
    for (index, sample) in pcm.iter_mut().rev().take(ramp).enumerate() {
        *sample = scaled(*sample, index + 1, ramp);
    }
}

fn scaled(sample: i16, weight: usize, ramp: usize) -> i16 {
    (i32::from(sample) * weight as i32 / (ramp as i32 + 1)) as i16
}

#[cfg(test)]
mod tests;
