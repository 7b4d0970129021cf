//! The left side of a recording: what comes in bursts and gaps, laid on the line of time.

use std::collections::VecDeque;

use super::{AHEAD_MS_MAX, ASTRAY_MS, HOLE_MS, NUDGE_MS, Reader, TOLERANCE_MS, WINDOW_MS, samples};
use crate::audio::SampleRate;

/// What the agent was given, from the base of the recording on.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) line: VecDeque<i16>,
    reader: Reader,
    rate: SampleRate,
    /// Whether anything has come yet.
    begun: bool,
    /// Where the window ends in which the best portion is looked for, and how far ahead of its time that one lies.
    window_end: u64,
    best: i64,
    /// How far the line is to be moved: samples to drop, or, below zero, to put in.
    owed: i64,
    /// Whether sound that is not quiet has been moved in this window.
    nudged: bool,
    /// The loudest sample of late, slowly forgotten.
    loudest: i32,
}

/// A peak below this is quiet, -50 dBFS.
const QUIET_PEAK: i32 = 100;
/// So is one this much below the loudest of late: the caller is somewhere noisy.
const QUIET_BELOW: i32 = 16;
/// The share of the loudest sample that each portion forgets; in 20 ms portions it halves in two seconds.
const FORGET_SHIFT: i32 = 7;

impl Caller {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            line: VecDeque::new(),
            reader: Reader::new(rate),
            rate,
            begun: false,
            window_end: 0,
            best: i64::MIN,
            owed: 0,
            nudged: false,
            loudest: 0,
        }
    }

    /// The agent was given these samples at `now`, a place on the line; `base` is where the line stands.
    pub(super) fn hear(&mut self, base: u64, now: u64, rate: SampleRate, pcm: &[i16]) {
        let mut pcm = std::mem::take(self.reader.read(rate, pcm));
        self.place(base, now, &mut pcm);
        self.reader.pcm = pcm;
    }

    fn place(&mut self, base: u64, now: u64, pcm: &mut Vec<i16>) {
        let mut ahead = self.ahead(base, now, pcm.len());
        if !self.begun || ahead < -self.per(HOLE_MS) {
            // What it lies behind its time is a time of silence; what was heard before the beginning is not recorded.
            self.line
                .resize(self.line.len() + ahead.min(0).unsigned_abs() as usize, 0);
            pcm.drain(..pcm.len().min(ahead.max(0) as usize));
            (self.begun, self.owed, ahead) = (true, 0, 0);
            self.look_afresh(now);
        }
        if ahead > self.per(AHEAD_MS_MAX) {
            return;
        }
        self.watch(now, ahead);
        if self.correct(pcm) {
            // What was measured before the line moved is measured again.
            self.look_afresh(now);
        }
        self.line.extend(pcm.iter());
    }

    /// How far ahead of its time a portion would end.
    fn ahead(&self, base: u64, now: u64, len: usize) -> i64 {
        (base + self.line.len() as u64 + len as u64) as i64 - now as i64
    }

    /// At the end of a window its best portion says by how much the line is off.
    fn watch(&mut self, now: u64, ahead: i64) {
        self.best = self.best.max(ahead);
        if now < self.window_end {
            return;
        }
        let off = self.best.abs() > self.per(TOLERANCE_MS);
        self.owed = if off { self.best } else { 0 };
        self.nudged = false;
        self.look_afresh(now);
    }

    fn look_afresh(&mut self, now: u64) {
        self.best = i64::MIN;
        self.window_end = now + self.per(WINDOW_MS) as u64;
    }

    /// Moves the line as far as this portion allows; false when it stays where it is.
    fn correct(&mut self, pcm: &mut Vec<i16>) -> bool {
        let quiet = self.is_quiet(pcm);
        if self.owed == 0 {
            return false;
        }
        let moved = match (quiet, self.owed.abs() > self.per(ASTRAY_MS) && !self.nudged) {
            (true, _) => self.move_quiet(pcm),
            (false, true) => self.nudge(pcm),
            (false, false) => 0,
        };
        self.owed -= moved;
        moved != 0
    }

    fn is_quiet(&mut self, pcm: &[i16]) -> bool {
        let peak = pcm.iter().map(|&sample| i32::from(sample).abs()).max().unwrap_or(0);
        self.loudest = peak.max(self.loudest - (self.loudest >> FORGET_SHIFT));
        peak <= QUIET_PEAK.max(self.loudest / QUIET_BELOW)
    }

    /// Drops quiet samples, or puts silence in front of them. Tells how many.
    fn move_quiet(&mut self, pcm: &mut Vec<i16>) -> i64 {
        if self.owed < 0 {
            self.line.resize(self.line.len() + self.owed.unsigned_abs() as usize, 0);
            return self.owed;
        }
        let dropped = pcm.len().min(self.owed as usize);
        pcm.drain(..dropped);
        dropped as i64
    }

    /// Moves sound by a little, blended so that it does not click. Tells by how much.
    fn nudge(&mut self, pcm: &mut Vec<i16>) -> i64 {
        let len = samples(self.rate, NUDGE_MS);
        if pcm.len() < 2 * len {
            return 0;
        }
        self.nudged = true;
        if self.owed > 0 {
            for at in 0..len {
                pcm[at + len] = blend(pcm[at], pcm[at + len], at, len);
            }
            pcm.drain(..len);
            return len as i64;
        }
        self.line.extend(&pcm[..len]);
        let again = (0..len).map(|at| blend(pcm[at + len], pcm[at], at, len));
        self.line.extend(again);
        pcm.drain(..len);
        -(len as i64)
    }

    fn per(&self, ms: u32) -> i64 {
        samples(self.rate, ms) as i64
    }
}

/// From one sample to the other, as far as `at` has come.
fn blend(from: i16, to: i16, at: usize, len: usize) -> i16 {
    let (weight, len) = (at as i32 + 1, len as i32 + 1);
    ((i32::from(from) * (len - weight) + i32::from(to) * weight) / len) as i16
}
