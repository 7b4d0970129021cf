//! The caller's voice as the agent gets it: decoded, made up where it is missing, at the session's rate.
//!
//! When nothing comes at all (silence suppression, hold, a dead network) silence is made up in real time, because an
//! agent's turn detection moves on only with audio. What was made up counts against what a gap still owes, so that an
//! outage is not heard twice.
//!
//! The agent's time line keeps up with real time: a pause of the far end is as long as its timestamps say, and a clock
//! that is faster or slower than ours is made up for a few milliseconds at a time (see [`TimeLine`]).
//!
//! A far end may describe its background before it stops sending: then that is heard instead of silence.
//!
//! Every payload type has a decoder of its own, made when its first packet comes. Where one takes over from another the
//! two overlap for a few milliseconds at the session's rate.

use std::time::{Duration, Instant};

use super::{
    conceal::Concealment,
    drift::TimeLine,
    statistics::Statistics,
    stretch,
    tap::Side,
    ticks::{self, TICKS_PER_MS, Ticks, duration, per_sample},
};
use crate::{
    audio::{Codec, ComfortNoise, Decoder, Resampler, SampleRate},
    sdp::Format,
};

/// Decoding, and everything behind it.
#[derive(Debug)]
pub(super) struct Voice {
    session: SampleRate,
    listeners: Vec<Listener>,
    /// Which of them heard the last packet.
    current: Option<usize>,
    /// The line rate under way.
    rate: SampleRate,
    concealment: Concealment,
    resampler: Resampler,
    /// What the last decoder would have gone on with, to overlap with what comes from another.
    leaving: Vec<i16>,
    /// What the far end describes, since it stopped sending.
    background: Option<ComfortNoise>,
    pub(super) tap: Side,
    time_line: TimeLine,
    /// Up to when the agent has been given audio, as far as silence is concerned.
    fed_until: Instant,
    /// The length of the last packet, which is how long a lost one probably was.
    packet: Ticks,
    /// Made up since the last packet that was heard, not yet set against a loss.
    made_up: Ticks,
    /// All that was made up since then.
    bridged: Ticks,
    /// The clock and the timestamp the next packet has unless something is missing.
    expected: Option<(u32, u32)>,
    /// At the line rate.
    line: Vec<i16>,
    noise: Vec<i16>,
    /// At the session's rate, for the owner.
    frames: Vec<i16>,
    taken: usize,
    excess: u64,
    undecodable: u64,
    concealed: Ticks,
    recovered: Ticks,
    silence: Ticks,
    stretched: Ticks,
}

/// A payload that may come.
#[derive(Debug)]
struct Listener {
    payload_type: u8,
    codec: Codec,
    decoder: Option<Decoder>,
}

/// The payload of a packet, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) arrived_at: Instant,
    pub(super) payload_type: u8,
    pub(super) timestamp: u32,
    pub(super) bytes: &'a [u8],
}

/// How long the agent is left without audio before silence is made up: past it even a bad network's packets have come.
pub(super) const HANGOVER: Duration = Duration::from_millis(80);
/// Coming later than this to make up silence, we were asleep ourselves: packets may be waiting in the socket, and the
/// time slept through is not made up.
const ASLEEP: Duration = Duration::from_millis(40);
/// How far the agent may be ahead of time, after a burst that made up for a stall. Past it audio packets are dropped
/// and counted: a far end that sends faster than time passes would only cost tokens.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(2);
/// The most that is made up for one gap.
const OWED_MAX: Ticks = 1_000 * TICKS_PER_MS;
/// Audio the owner has not asked for; past it packets are dropped and counted as excess.
const UNTAKEN_MS_MAX: usize = 4_000;
/// How much stays allocated when the owner has taken everything: a long packet and what comes with it.
const KEPT_MS: usize = 120;
/// A frame handed on, and the portion silence is made up in.
const FRAME_MS: usize = 20;
const FRAME: Ticks = FRAME_MS as Ticks * TICKS_PER_MS;
/// Over how much one decoder takes over from another.
const TAKE_OVER_MS: usize = 8;
/// A jump of the timestamp that is longer than this is no pause.
const PAUSE_MS_MAX: u32 = 60_000;
/// Payload types that may come at once; those agreed on behind them stay unheard, and are counted as undecodable.
const LISTENERS_MAX: usize = 8;

impl Voice {
    pub(super) fn new(now: Instant, session: SampleRate) -> Self {
        Self {
            session,
            listeners: Vec::new(),
            current: None,
            rate: SampleRate::Hz8000,
            concealment: Concealment::new(SampleRate::Hz8000),
            resampler: Resampler::new(SampleRate::Hz8000, session),
            leaving: Vec::new(),
            background: None,
            tap: Side::new(),
            time_line: TimeLine::default(),
            fed_until: now,
            packet: FRAME,
            made_up: 0,
            bridged: 0,
            expected: None,
            line: Vec::new(),
            noise: Vec::new(),
            frames: Vec::new(),
            taken: 0,
            excess: 0,
            undecodable: 0,
            concealed: 0,
            recovered: 0,
            silence: 0,
            stretched: 0,
        }
    }

    /// What may come from now on. Decoders of what goes on being agreed on stay as they are.
    pub(super) fn set_formats(&mut self, formats: &[Format]) {
        let heard = self.current.take().map(|index| self.listeners[index].payload_type);
        let mut old = std::mem::take(&mut self.listeners);
        for format in formats.iter().take(LISTENERS_MAX) {
            let same = |each: &Listener| each.payload_type == format.payload_type && each.codec == format.codec;
            let kept = old.iter().position(same).map(|index| old.swap_remove(index));
            self.listeners.push(kept.unwrap_or_else(|| Listener::new(format)));
        }
        let kept = |each: &Listener| each.decoder.is_some() && Some(each.payload_type) == heard;
        self.current = self.listeners.iter().position(kept);
    }

    /// The rate the owner takes audio at from now on. What it has not asked for is brought to it.
    pub(super) fn set_session_rate(&mut self, session: SampleRate) {
        if session == self.session {
            return;
        }
        let waiting = std::mem::take(&mut self.frames);
        Resampler::new(self.session, session).process(&waiting[self.taken..], &mut self.frames);
        self.taken = 0;
        self.leaving.clear();
        self.session = session;
        self.resampler = Resampler::new(self.rate, session);
        for listener in &mut self.listeners {
            listener
                .decoder
                .take_if(|decoder| decoder.rate() != listener.codec.line_rate(session));
        }
    }

    /// Takes in the packet that is next in order.
    pub(super) fn hear(&mut self, now: Instant, payload: &Payload<'_>) {
        if self.is_ahead(now) {
            self.excess += 1;
            return;
        }
        let Some(index) = self.listener(payload.payload_type) else {
            self.undecodable += 1;
            return;
        };
        self.turn_to(index);
        self.pause(now, index, payload);
        self.line.clear();
        let decoder = self.listeners[index].decoder.as_mut();
        if decoder.is_none_or(|decoder| decoder.decode(payload.bytes, &mut self.line).is_err()) {
            self.undecodable += 1;
            return self.miss(now, 1, None);
        }
        self.background = None;
        self.packet = self.ticks();
        self.concealment.hear(&mut self.line);
        self.made_up = 0;
        self.bridged = 0;
        self.keep_time();
        self.hand_on();
        self.time_line.heard(now);
        // What passed before the packet came was silence nobody made up, and is not owed.
        self.fed_until = self.fed_until.max(payload.arrived_at);
    }

    /// Takes in what the far end says of its background.
    pub(super) fn hear_noise(&mut self, payload: &[u8]) {
        // One without a level says nothing.
        let _ = self.background.get_or_insert_default().describe(payload);
    }

    /// The far end may have paused, which its timestamps tell: the agent hears the pause in full. Never is so much made
    /// up that it would be ahead of real time, whatever timestamps say.
    fn pause(&mut self, now: Instant, index: usize, payload: &Payload<'_>) {
        let listener = &self.listeners[index];
        let samples = listener
            .decoder
            .as_ref()
            .map_or(0, |decoder| decoder.samples(payload.bytes));
        let packet = ticks::of(samples, self.rate);
        let clock_hz = listener.codec.clock_hz();
        let per_ms = clock_hz / 1_000;
        let next = payload.timestamp.wrapping_add((packet / TICKS_PER_MS) as u32 * per_ms);
        let before = self.expected.replace((clock_hz, next));
        let Some((_, expected)) = before.filter(|(clock, _)| *clock == clock_hz) else {
            return;
        };
        let passed = payload.timestamp.wrapping_sub(expected);
        let paused = u64::from(passed / per_ms) * TICKS_PER_MS;
        let Some(unheard) = paused
            .checked_sub(self.bridged)
            .filter(|_| passed < PAUSE_MS_MAX * per_ms)
        else {
            return;
        };
        let lag = self.time_line.lag(now).unwrap_or(0) - packet as i64;
        let owed = lag.clamp(0, OWED_MAX as i64).min(unheard as i64) as Ticks;
        let whole = owed - owed % (5 * TICKS_PER_MS);
        if whole > 0 {
            self.be_silent(whole);
        }
    }

    /// Makes the line's samples a little more or fewer when the far end's clock is another than ours.
    fn keep_time(&mut self) {
        let Some((owed, liberty)) = self.time_line.owed() else {
            return;
        };
        let most = (owed.unsigned_abs() / per_sample(self.rate)) as usize;
        let changed = if owed > 0 {
            ticks::of(stretch::lengthen(&mut self.line, self.rate, most, liberty), self.rate) as i64
        } else {
            -(ticks::of(stretch::shorten(&mut self.line, self.rate, most, liberty), self.rate) as i64)
        };
        self.time_line.pay(changed);
        self.stretched += changed.unsigned_abs();
    }

    /// Makes up for lost packets, as far as that has not been done while nothing came; the last of them from the packet
    /// behind it, when that carries it.
    pub(super) fn miss(&mut self, now: Instant, packets: u32, next: Option<&Payload<'_>>) {
        if self.is_ahead(now) {
            return;
        }
        let missing = u64::from(packets).saturating_mul(self.packet);
        let owed = missing.saturating_sub(self.made_up).min(OWED_MAX);
        self.made_up = 0;
        let last = next.filter(|_| owed >= self.packet);
        let first = owed - if last.is_some() { self.packet } else { 0 };
        self.conceal(first);
        if let Some(next) = last
            && !self.recover(next)
        {
            self.conceal(owed - first);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.poll_timeout()) else {
            return;
        };
        if late > ASLEEP {
            self.fed_until += late;
        }
        self.made_up = self.made_up.saturating_add(FRAME);
        self.be_silent(FRAME);
    }

    /// When silence is made up unless something comes.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.fed_until + HANGOVER
    }

    /// The next frame, 20 ms or what there is.
    pub(super) fn poll(&mut self) -> Option<&[i16]> {
        if self.taken >= self.frames.len() {
            self.frames.clear();
            self.frames.shrink_to(KEPT_MS * self.session.per_ms());
            self.taken = 0;
            return None;
        }
        let from = self.taken;
        self.taken = self.frames.len().min(from + FRAME_MS * self.session.per_ms());
        self.frames.get(from..self.taken)
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.excess = self.excess;
        statistics.undecodable = self.undecodable;
        statistics.concealed_ms = self.concealed / TICKS_PER_MS;
        statistics.recovered_ms = self.recovered / TICKS_PER_MS;
        statistics.silence_ms = self.silence / TICKS_PER_MS;
        statistics.stretched_ms = self.stretched / TICKS_PER_MS;
    }

    fn is_ahead(&self, now: Instant) -> bool {
        self.fed_until > now + AHEAD_MAX || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= UNTAKEN_MS_MAX * self.session.per_ms()
    }

    /// Who hears this payload type, with a decoder.
    fn listener(&mut self, payload_type: u8) -> Option<usize> {
        let index = self
            .listeners
            .iter()
            .position(|each| each.payload_type == payload_type)?;
        let listener = &mut self.listeners[index];
        if listener.decoder.is_none() {
            listener.decoder = Decoder::new(listener.codec, self.session).ok();
        }
        listener.decoder.as_ref().map(|_| index)
    }

    /// Another decoder than the last takes over.
    fn turn_to(&mut self, index: usize) {
        let before = self.current.replace(index);
        let rate = self.listeners[index].codec.line_rate(self.session);
        if before == Some(index) && rate == self.rate {
            return;
        }
        if rate == self.rate {
            return self.concealment.begin();
        }
        self.line.clear();
        self.concealment
            .make_up(TAKE_OVER_MS * self.rate.per_ms(), &mut self.line);
        self.leaving.clear();
        self.resampler.process(&self.line, &mut self.leaving);
        self.rate = rate;
        self.concealment = Concealment::new(rate);
        self.resampler = Resampler::new(rate, self.session);
    }

    fn conceal(&mut self, ticks: Ticks) {
        self.concealed += ticks;
        self.make_up(ticks);
    }

    /// What was said dies away into the background, if the far end described one.
    fn be_silent(&mut self, mut ticks: Ticks) {
        self.silence += ticks;
        if self.background.is_none() {
            return self.make_up(ticks);
        }
        self.bridged = self.bridged.saturating_add(ticks);
        while ticks > 0 {
            let part = ticks.min(FRAME);
            self.rustle((part / per_sample(self.rate)) as usize);
            ticks -= part;
        }
    }

    fn rustle(&mut self, samples: usize) {
        self.noise.resize(samples, 0);
        if let Some(background) = &mut self.background {
            background.fill(&mut self.noise);
        }
        self.line.clear();
        self.concealment.make_up(samples, &mut self.line);
        for (sample, &noise) in self.line.iter_mut().zip(&self.noise) {
            *sample = sample.saturating_add(noise);
        }
        self.hand_on();
    }

    /// By the codec itself when it can, else from the waveform.
    fn make_up(&mut self, mut ticks: Ticks) {
        self.bridged = self.bridged.saturating_add(ticks);
        while ticks > 0 {
            let part = ticks.min(FRAME);
            self.make_up_frame((part / per_sample(self.rate)) as usize);
            ticks -= part;
        }
    }

    fn make_up_frame(&mut self, samples: usize) {
        self.line.clear();
        let by_itself = self.conceal_by_codec(samples);
        self.concealment.make_up(samples - by_itself, &mut self.line);
        self.hand_on();
    }

    /// As many samples as the codec makes up by itself: all or none.
    fn conceal_by_codec(&mut self, samples: usize) -> usize {
        let decoder = self.current.and_then(|index| self.listeners[index].decoder.as_mut());
        if !decoder.is_some_and(|decoder| decoder.conceal(samples, &mut self.line)) {
            return 0;
        }
        self.concealment.remember(&self.line);
        samples
    }

    /// Gets the packet before this one out of it.
    fn recover(&mut self, next: &Payload<'_>) -> bool {
        let samples = (self.packet / per_sample(self.rate)) as usize;
        let Some(listener) = self.current.map(|index| &mut self.listeners[index]) else {
            return false;
        };
        let decoder = listener
            .decoder
            .as_mut()
            .filter(|_| listener.payload_type == next.payload_type);
        self.line.clear();
        if !decoder.is_some_and(|decoder| decoder.recover(next.bytes, samples, &mut self.line)) {
            return false;
        }
        self.recovered += self.ticks();
        self.bridged += self.ticks();
        self.concealment.hear(&mut self.line);
        self.hand_on();
        true
    }

    fn ticks(&self) -> Ticks {
        ticks::of(self.line.len(), self.rate)
    }

    /// Brings the line's samples to the owner, unless it does not take them, and the agent's time forward. Everything
    /// the agent hears passes here.
    fn hand_on(&mut self) {
        self.tap.hear(self.rate, &self.line);
        if !self.is_full() {
            let begin = self.frames.len();
            self.resampler.process(&self.line, &mut self.frames);
            self.take_over(begin);
        }
        self.fed_until += duration(self.ticks());
        self.time_line.advance(self.ticks());
    }

    /// Overlaps what comes from another decoder with what the last would have gone on with.
    fn take_over(&mut self, begin: usize) {
        let whole = self.leaving.len() as i32 + 1;
        let arriving = self.frames[begin..].iter_mut();
        for (index, (new, &old)) in arriving.zip(&self.leaving).enumerate() {
            let weight = index as i32 + 1;
            *new = ((i32::from(old) * (whole - weight) + i32::from(*new) * weight) / whole) as i16;
        }
        self.leaving.clear();
    }
}

impl Listener {
    fn new(format: &Format) -> Self {
        Self {
            payload_type: format.payload_type,
            codec: format.codec,
            decoder: None,
        }
    }
}

#[cfg(test)]
mod tests;
