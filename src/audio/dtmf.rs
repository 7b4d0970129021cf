//! Keys heard in the sound itself, for callers whose far end sends no telephone-events.
//!
//! Every 8 ms a Hann window of 16 ms is compared with the eight tones of a telephone keypad (ITU-T Q.23). It counts as
//! a key when one tone of each group stands out, both are loud enough and within `TWIST_MAX` of each other, almost
//! all of the sound is these two (which leaves no room for the harmonics of a voice), and both have the right pitch:
//! the phase must have turned since the window before as the tone's own would, which tells 1.5 % (valid, Q.24) from 3.5
//! % (not). Three such windows in a row make a key; it is told once and ends with a gap of four.
//!
//! The detector works at 8 kHz; other line rates are brought down to it first.

use super::{Resampler, SampleRate};

/// Listens to one stream.
#[derive(Clone, Debug)]
pub struct DtmfDetector {
    down: Resampler,
    /// What was brought down to 8 kHz and is not looked at yet.
    narrow: Vec<i16>,
    window: [f32; WINDOW],
    filled: usize,
    last: Spectrum,
    /// The key that the last windows agree on, and how many they are.
    candidate: Option<(char, u32)>,
    /// The key being pressed, already told.
    held: Option<char>,
    /// Windows without it since.
    missed: u32,
}

/// How much stronger one of the two tones may be, as energies: 9 dB. Lines damp the upper, senders overdo its
/// correction.
const TWIST_MAX: f32 = 8.0;
/// The softest tone that counts: -40 dBFS, as energy in squared sample units.
const ENERGY_MIN: f32 = 32_768.0 * 32_768.0 * 1e-4;
/// The least share of the sound that both tones make together. Noise 15 dB below them leaves 97 %.
const SHARE_MIN: f32 = 0.92;
/// How far a tone may be from its pitch.
const DEVIATION_MAX: f32 = 0.025;
/// How much every other tone of its group must be below the strongest, as energies: 4 dB. A neighbour 73 Hz away shows
/// 8 dB below it.
const CLEARANCE: f32 = 2.5;

/// Windows that must agree before a key is told: with their overlap 32 ms.
const WINDOWS_TO_BEGIN: u32 = 3;
/// Windows without the key that end it: it survives an interruption of 10 ms and not one of 40.
const WINDOWS_TO_END: u32 = 4;

const RATE: SampleRate = SampleRate::Hz8000;
/// 8 ms.
const HOP: usize = 64;
const WINDOW: usize = 2 * HOP;

const TONES: usize = 8;
/// Rows, then columns (Q.23).
const HZ: [f64; TONES] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];

impl DtmfDetector {
    /// A detector for one stream of this rate.
    pub fn new(rate: SampleRate) -> Self {
        Self {
            down: Resampler::new(rate, RATE),
            narrow: Vec::with_capacity(4 * HOP),
            window: [0.0; WINDOW],
            filled: HOP,
            last: Spectrum::default(),
            candidate: None,
            held: None,
            missed: 0,
        }
    }

    /// Takes samples in any portion and tells a key that began with them; when they are so many that several did, the
    /// last.
    pub fn push(&mut self, pcm: &[i16]) -> Option<char> {
        let mut narrow = std::mem::take(&mut self.narrow);
        narrow.clear();
        self.down.process(pcm, &mut narrow);
        let mut told = None;
        for &sample in &narrow {
            self.window[self.filled] = f32::from(sample);
            self.filled += 1;
            if self.filled == WINDOW {
                told = self.look().or(told);
                self.window.copy_within(HOP.., 0);
                self.filled = HOP;
            }
        }
        self.narrow = narrow;
        told
    }

    /// Judges a window that is full.
    fn look(&mut self) -> Option<char> {
        let spectrum = Spectrum::of(&self.window);
        let key = spectrum.key(&self.last);
        self.last = spectrum;
        let agreeing = match self.candidate {
            Some((before, count)) if key == Some(before) => count + 1,
            _ => 1,
        };
        self.candidate = key.map(|key| (key, agreeing));
        if self.held.is_some() && self.held == key {
            self.missed = 0;
            return None;
        }
        self.missed += 1;
        if self.missed == WINDOWS_TO_END {
            self.held = None;
        }
        let confirmed = key.filter(|_| agreeing == WINDOWS_TO_BEGIN);
        if confirmed.is_some() {
            self.held = confirmed;
            self.missed = 0;
        }
        confirmed
    }
}

/// One window: the eight tones as cosine and sine, and the energy of everything.
#[derive(Clone, Copy, Debug, Default)]
struct Spectrum {
    cosines: [f32; TONES],
    sines: [f32; TONES],
    energy: f32,
}

impl Spectrum {
    fn of(window: &[f32; WINDOW]) -> Self {
        let mut sums = [0.0; 2 * TONES];
        let mut energy = 0.0;
        for ((&sample, shape), waves) in window.iter().zip(&SHAPE).zip(&WAVES) {
            let shaped = sample * shape;
            energy += shaped * shaped;
            for (sum, wave) in sums.iter_mut().zip(waves) {
                *sum += shaped * wave;
            }
        }
        let (mut cosines, mut sines) = ([0.0; TONES], [0.0; TONES]);
        cosines.copy_from_slice(&sums[..TONES]);
        sines.copy_from_slice(&sums[TONES..]);
        Self {
            cosines,
            sines,
            // A Hann window keeps three eighths of the energy.
            energy: energy / (WINDOW as f32 * 0.375),
        }
    }

    fn key(&self, before: &Self) -> Option<char> {
        // Two of the softest tones; most windows of a pause end here.
        if self.energy < 2.0 * ENERGY_MIN * SHARE_MIN {
            return None;
        }
        let (row, column) = (self.strongest(0)?, self.strongest(4)?);
        let low = self.tuned(row, before)?;
        let high = self.tuned(column, before)?;
        let loud = low.min(high) >= ENERGY_MIN;
        let balanced = low <= high * TWIST_MAX && high <= low * TWIST_MAX;
        let pure = low + high >= self.energy * SHARE_MIN;
        (loud && balanced && pure).then(|| KEYS[row][column - 4])
    }

    /// The tone of four that stands out.
    fn strongest(&self, first: usize) -> Option<usize> {
        let group = first..first + 4;
        let best = group
            .clone()
            .max_by(|&a, &b| self.energy_of(a).total_cmp(&self.energy_of(b)))?;
        let alone = |other| other == best || self.energy_of(other) * CLEARANCE < self.energy_of(best);
        group.into_iter().all(alone).then_some(best)
    }

    /// The energy of a tone that has its right pitch, corrected for what it loses by not having it exactly.
    fn tuned(&self, tone: usize, before: &Self) -> Option<f32> {
        let turned_by = |a: (f32, f32), b: (f32, f32)| (a.0 * b.0 + a.1 * b.1, a.1 * b.0 - a.0 * b.1);
        let turned = turned_by(self.phase(tone), before.phase(tone));
        let (x, y) = turned_by(turned, TURNS[tone]);
        // A sine with its sign turned: the phase of x(t) e^(-jwt) falls when the sine's sum grows.
        let cycles = y.atan2(x) / std::f32::consts::TAU;
        let deviation_hz = cycles * RATE.hz() as f32 / HOP as f32;
        (deviation_hz.abs() <= DEVIATION_MAX * HZ[tone] as f32).then(|| self.energy_of(tone) / response(2.0 * cycles))
    }

    fn phase(&self, tone: usize) -> (f32, f32) {
        (self.cosines[tone], -self.sines[tone])
    }

    /// In squared sample units, as if nothing else were there.
    fn energy_of(&self, tone: usize) -> f32 {
        // Half of the samples' number is the sum of the window.
        let scale = 8.0 / (WINDOW * WINDOW) as f32;
        (self.cosines[tone] * self.cosines[tone] + self.sines[tone] * self.sines[tone]) * scale
    }
}

/// What a Hann window shows of the energy of a tone so many bins (less than one) beside the one looked at.
fn response(bins: f32) -> f32 {
    let angle = std::f32::consts::PI * bins;
    let sinc = if angle.abs() < 1e-3 { 1.0 } else { angle.sin() / angle };
    let gain = sinc / (1.0 - bins * bins);
    gain * gain
}

static SHAPE: [f32; WINDOW] = {
    let mut shape = [0.0; WINDOW];
    let mut at = 0;
    while at < WINDOW {
        shape[at] = (0.5 - 0.5 * cosine((at as f64 + 0.5) / WINDOW as f64)) as f32;
        at += 1;
    }
    shape
};

/// Per sample the cosines of all tones, then their sines.
static WAVES: [[f32; 2 * TONES]; WINDOW] = {
    let mut waves = [[0.0; 2 * TONES]; WINDOW];
    let mut at = 0;
    while at < WINDOW {
        let mut tone = 0;
        while tone < TONES {
            let cycles = HZ[tone] * at as f64 / RATE.hz() as f64;
            waves[at][tone] = cosine(cycles) as f32;
            waves[at][TONES + tone] = cosine(cycles - 0.25) as f32;
            tone += 1;
        }
        at += 1;
    }
    waves
};

/// How each tone turns from window to window.
static TURNS: [(f32, f32); TONES] = {
    let mut turns = [(0.0, 0.0); TONES];
    let mut tone = 0;
    while tone < TONES {
        let cycles = HZ[tone] * HOP as f64 / RATE.hz() as f64;
        turns[tone] = (cosine(cycles) as f32, cosine(cycles - 0.25) as f32);
        tone += 1;
    }
    turns
};

/// By its series, of a number of turns.
const fn cosine(cycles: f64) -> f64 {
    let mut within = cycles - cycles as i64 as f64;
    if within > 0.5 {
        within -= 1.0;
    }
    if within < -0.5 {
        within += 1.0;
    }
    let square = -(within * std::f64::consts::TAU) * (within * std::f64::consts::TAU);
    let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
    while n < 30.0 {
        term *= square / (n * (n + 1.0));
        sum += term;
        n += 2.0;
    }
    sum
}

#[cfg(test)]
mod tests;
