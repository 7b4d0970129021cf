//! The recording's ear: both sides of a leg on one line of time, sample by sample.
//!
//! The clock is the send pacer's. What left in a packet stands on the right at that packet's time, exactly. What the
//! agent was given of the caller stands on the left at the time it was given: it comes in bursts and gaps, so it is put
//! one portion after the other, and what has stood for `LAG_MS` is handed out. How far the portions lie ahead of the
//! time they came at is watched: the best of `WINDOW_MS` is the far end's clock against ours. When it is off by more
//! than `TOLERANCE_MS`, samples are dropped or silence is put in where the caller is quiet; one who is never quiet is
//! moved by `NUDGE_MS` once a window when it is off by more than `ASTRAY_MS`. Time in which nothing comes (hold,
//! before there is media, a stall) is silence, so that a recording is as long as what it records.
//!
//! Samples leave in buffers that are used again: the owner takes [`Chunk`]s and brings their buffers back. What finds no
//! buffer is lost, counted, and silence in the recording, because a chunk says where it stands. Both sides go through
//! the same kind of resampler when the line's rate is not the recording's, and are delayed by it alike. Files, threads
//! and who wants a recording are no matter of this module.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use crate::audio::{Resampler, SampleRate};

mod caller;
#[cfg(test)]
mod tests;

use caller::Caller;

/// How long samples stand before they are handed out: what comes later than this finds its place taken. Longer than a
/// gap in the packets is waited for, and than a worker stalls on a good day.
const LAG_MS: u32 = 400;
/// Samples of one chunk.
const CHUNK_MS: u32 = 200;
/// Buffers of one recording: what more than 3.2 s of sound needs while the disk takes nothing is lost.
pub const BUFFERS_MAX: usize = 16;
/// Pauses that have not been handed out yet; past it the last one and the next become one.
const PAUSES_MAX: usize = 8;
/// How long the best portion is looked for.
const WINDOW_MS: u32 = 2_000;
/// How far the caller may lie off the time it came at.
const TOLERANCE_MS: u32 = 5;
/// How far it may at most, before sound is touched that is not quiet.
const ASTRAY_MS: u32 = 60;
/// By how much sound that is not quiet is moved at a time.
const NUDGE_MS: u32 = 5;
/// A portion that comes this much too late is not late but begins afresh: time has passed that nobody told of.
const HOLE_MS: u32 = 350;
/// How far the caller may lie ahead of time after a burst; what comes beyond it is dropped.
const AHEAD_MS_MAX: u32 = 1_000;
/// Samples one side keeps between two looks, at the highest rate; past it the newest are lost.
const SIDE_SAMPLES_MAX: usize = 4_000 * SampleRate::Hz24000.per_ms();

/// What one direction of a leg puts aside for the tap until it is asked.
#[derive(Clone, Debug)]
pub(super) struct Side {
    open: bool,
    rate: SampleRate,
    pcm: Vec<i16>,
}

/// Some of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How many pairs of samples stand before it. What no chunk covers is silence.
    pub at: u64,
    /// Caller and agent in turn.
    pub pcm: Vec<i16>,
}

/// What a recording came to, in pairs of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// From its beginning to its end.
    pub frames: u64,
    /// Of those, what was paused.
    pub paused: u64,
    /// Of those, what found no buffer and is silent.
    pub lost: u64,
}

/// Both sides on one line of time.
#[derive(Debug, Default)]
pub(super) struct Tap {
    run: Option<Box<Run>>,
    spare: Vec<Vec<i16>>,
    buffers: usize,
    full: VecDeque<Chunk>,
}

/// One recording.
#[derive(Debug)]
struct Run {
    rate: SampleRate,
    begun: Instant,
    caller: Caller,
    agent: Agent,
    /// Pairs that have been handed out, or lost.
    base: u64,
    pauses: VecDeque<Range<u64>>,
    paused: u64,
    lost: u64,
}

/// What left, from `Run::base` on.
#[derive(Debug)]
struct Agent {
    line: VecDeque<i16>,
    reader: Reader,
}

/// One side's samples at the recording's rate.
#[derive(Debug)]
struct Reader {
    from: SampleRate,
    to: SampleRate,
    resampler: Resampler,
    pcm: Vec<i16>,
}

impl Side {
    pub(super) fn new() -> Self {
        Self {
            open: false,
            rate: SampleRate::Hz8000,
            pcm: Vec::new(),
        }
    }

    /// Samples at this rate have come or gone. Without a recording this does nothing.
    pub(super) fn hear(&mut self, rate: SampleRate, pcm: &[i16]) {
        if !self.open {
            return;
        }
        if self.rate != rate {
            self.pcm.clear();
            self.rate = rate;
        }
        let room = SIDE_SAMPLES_MAX.saturating_sub(self.pcm.len());
        self.pcm.extend_from_slice(&pcm[..pcm.len().min(room)]);
    }

    fn close(&mut self) {
        self.open = false;
        self.pcm = Vec::new();
    }
}

impl Tap {
    /// Begins a recording here. One that runs goes on.
    pub(super) fn begin(&mut self, now: Instant, rate: SampleRate) {
        if self.run.is_none() {
            // Buffers of an earlier recording that are still out do not come back.
            (self.buffers, self.spare) = (0, Vec::new());
            self.run = Some(Box::new(Run::new(now, rate)));
        }
    }

    /// From here on there is silence on both sides, until [`Self::resume`].
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(run) = &mut self.run {
            run.pause(now);
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(run) = &mut self.run {
            run.resume(now);
        }
    }

    /// The agent has been given what this side holds.
    pub(super) fn caller(&mut self, now: Instant, side: &mut Side) {
        side.open = self.run.is_some();
        self.hand_out_before(now);
        let Some(run) = &mut self.run else { return side.close() };
        if !side.pcm.is_empty() {
            let now = run.position(now);
            run.caller.hear(run.base, now, side.rate, &side.pcm);
            side.pcm.clear();
        }
    }

    /// A packet time has passed that ends then; what this side holds left in its packet.
    pub(super) fn agent(&mut self, end: Instant, side: &mut Side) {
        side.open = self.run.is_some();
        self.hand_out_before(end);
        let Some(run) = &mut self.run else { return side.close() };
        let end = run.position(end);
        run.agent.hear(run.base, end, side);
    }

    /// Ends the recording here and hands out what is left of it.
    pub(super) fn end(&mut self, now: Instant) -> Option<Length> {
        let run = self.run.as_deref()?;
        let (end, chunk) = (run.position(now), run.samples(CHUNK_MS));
        while let Some(left) = self
            .run
            .as_ref()
            .map(|run| end.saturating_sub(run.base))
            .filter(|left| *left > 0)
        {
            self.hand_out(left.min(chunk));
        }
        let run = self.run.take()?;
        Some(Length {
            frames: run.base,
            paused: run.paused,
            lost: run.lost,
        })
    }

    /// The next piece of the recording.
    pub(super) fn poll(&mut self) -> Option<Chunk> {
        self.full.pop_front()
    }

    /// A buffer that has been written, to be filled again.
    pub(super) fn give_back(&mut self, buffer: Vec<i16>) {
        if self.run.is_some() && self.spare.len() < BUFFERS_MAX {
            self.spare.push(buffer);
        }
    }

    /// Hands out what has stood long enough by then.
    fn hand_out_before(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (lag, chunk) = (run.samples(LAG_MS), run.samples(CHUNK_MS));
        for _ in 0..run.position(now).saturating_sub(run.base + lag) / chunk {
            self.hand_out(chunk);
        }
    }

    /// The next so many pairs go into a chunk, when there is anything in them and a buffer for it.
    fn hand_out(&mut self, frames: u64) {
        let Some(run) = &mut self.run else { return };
        if !run.has_sound() {
            return run.pass(frames);
        }
        let buffer = match self.spare.pop() {
            None if self.buffers < BUFFERS_MAX => {
                self.buffers += 1;
                Some(Vec::with_capacity(2 * run.samples(CHUNK_MS) as usize))
            }
            spare => spare,
        };
        match buffer {
            Some(pcm) => self.full.push_back(run.take(frames, pcm)),
            None => run.lose(frames),
        }
    }
}

impl Run {
    fn new(now: Instant, rate: SampleRate) -> Self {
        Self {
            rate,
            begun: now,
            caller: Caller::new(rate),
            agent: Agent {
                line: VecDeque::new(),
                reader: Reader::new(rate),
            },
            base: 0,
            pauses: VecDeque::new(),
            paused: 0,
            lost: 0,
        }
    }

    fn samples(&self, ms: u32) -> u64 {
        samples(self.rate, ms) as u64
    }

    /// The place of an instant on the line of time. Rounded to the nearest sample, so that packet times, which are whole
    /// milliseconds apart, are whole samples apart wherever the recording began.
    fn position(&self, at: Instant) -> u64 {
        let since =
            at.saturating_duration_since(self.begun) + Duration::from_nanos(500_000_000 / u64::from(self.rate.hz()));
        (since.as_nanos() * u128::from(self.rate.hz()) / 1_000_000_000) as u64
    }

    fn pause(&mut self, now: Instant) {
        let from = self.position(now);
        let full = self.pauses.len() >= PAUSES_MAX;
        match self.pauses.back_mut() {
            Some(last) if full || last.end == u64::MAX => last.end = u64::MAX,
            _ => self.pauses.push_back(from..u64::MAX),
        }
    }

    fn resume(&mut self, now: Instant) {
        let end = self.position(now);
        if let Some(last) = self.pauses.back_mut().filter(|last| last.end == u64::MAX) {
            last.end = end;
        }
    }

    fn has_sound(&self) -> bool {
        !self.caller.line.is_empty() || !self.agent.line.is_empty()
    }

    fn take(&mut self, frames: u64, mut pcm: Vec<i16>) -> Chunk {
        let at = self.base;
        pcm.clear();
        for _ in 0..frames {
            let pair = [&mut self.caller.line, &mut self.agent.line];
            pcm.extend(pair.map(|line| line.pop_front().unwrap_or_default()));
        }
        self.base += frames;
        for range in self.pass_pauses(at) {
            pcm[2 * range.start as usize..2 * range.end as usize].fill(0);
        }
        Chunk { at, pcm }
    }

    /// Nothing is in these.
    fn pass(&mut self, frames: u64) {
        let at = self.base;
        self.base += frames;
        self.pass_pauses(at).for_each(drop);
    }

    fn lose(&mut self, frames: u64) {
        for line in [&mut self.caller.line, &mut self.agent.line] {
            line.drain(..line.len().min(frames as usize));
        }
        self.lost += frames;
        self.pass(frames);
    }

    /// The pauses between there and the base, counted from there.
    fn pass_pauses(&mut self, at: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (mut found, base) = ([const { 0..0 }; PAUSES_MAX + 1], self.base);
        for (slot, pause) in found.iter_mut().zip(&self.pauses) {
            *slot = pause.start.clamp(at, base) - at..pause.end.clamp(at, base) - at;
            self.paused += slot.end - slot.start;
        }
        self.pauses.retain(|pause| pause.end > base);
        found.into_iter()
    }
}

impl Agent {
    /// What left in the packet whose time ends at `end`. What the line misses before it is silence.
    fn hear(&mut self, base: u64, end: u64, side: &mut Side) {
        if side.pcm.is_empty() {
            return;
        }
        let pcm = self.reader.read(side.rate, &side.pcm);
        side.pcm.clear();
        let begin = end.saturating_sub(pcm.len() as u64);
        let stood = base + self.line.len() as u64;
        let missing = begin.saturating_sub(stood) as usize;
        let over = stood.saturating_sub(begin) as usize;
        self.line.resize(self.line.len() + missing, 0);
        self.line.extend(&pcm[over.min(pcm.len())..]);
    }
}

impl Reader {
    fn new(rate: SampleRate) -> Self {
        Self {
            from: rate,
            to: rate,
            resampler: Resampler::new(rate, rate),
            pcm: Vec::new(),
        }
    }

    /// These samples at the recording's rate.
    fn read(&mut self, rate: SampleRate, pcm: &[i16]) -> &mut Vec<i16> {
        if self.from != rate {
            self.from = rate;
            self.resampler = Resampler::new(rate, self.to);
        }
        self.pcm.clear();
        self.resampler.process(pcm, &mut self.pcm);
        &mut self.pcm
    }
}

fn samples(rate: SampleRate, ms: u32) -> usize {
    ms as usize * rate.per_ms()
}
