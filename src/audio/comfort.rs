//! What a caller hears while the session is away: soft noise and, every few seconds, a short soft beep, so that the
//! line sounds alive. Level and timing follow the call-waiting family of tones: noticeable, never startling.

use super::tone::Tone;
use super::{SampleRate, level};

/// An endless comfort signal.
#[derive(Clone, Debug)]
pub struct Comfort {
    rate: SampleRate,
    noise: u32,
    position: usize,
    beep: Tone,
}

/// From one beep to the next.
const PERIOD_MS: usize = 4_000;
/// The first beep comes early, to tell the caller at once that the silence is meant.
const LEAD_MS: usize = 400;
const BEEP_MS: usize = 180;
const RAMP_MS: usize = 30;
const NOISE_DBFS: f32 = -55.0;
const BEEP_DBFS: f32 = -32.0;
const BEEP_HZ: f32 = 425.0;

impl Comfort {
    /// One for a line of 8 kHz.
    pub fn new() -> Self {
        Self::at(SampleRate::Hz8000)
    }

    /// Starts with noise; the first beep comes after 0.4 s.
    pub fn at(rate: SampleRate) -> Self {
        Self {
            rate,
            noise: 0x2545_F491,
            position: 0,
            beep: Tone::new(rate, BEEP_HZ, BEEP_DBFS),
        }
    }

    /// Overwrites `pcm` with the next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        // A uniform value of peak p has an RMS of p / sqrt(3).
        let peak = level::amplitude(NOISE_DBFS) * 1.732;
        pcm.fill_with(|| (self.noise() * peak + self.beep()) as i16);
    }

    /// The next of a linear congruential sequence, in -1..1: cheap, and nobody listens for its period.
    fn noise(&mut self) -> f32 {
        self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.noise as i32 >> 8) as f32 / (1 << 23) as f32
    }

    fn beep(&mut self) -> f32 {
        let at = self.position;
        let samples = |ms| ms * self.rate.per_ms();
        self.position = (at + 1) % samples(PERIOD_MS);
        let (beep, ramp) = (samples(BEEP_MS), samples(RAMP_MS) as f32);
        match at.checked_sub(samples(LEAD_MS)) {
            Some(at) if at < beep => self.beep.sample() * (at.min(beep - at) as f32 / ramp).min(1.0),
            _ => 0.0,
        }
    }
}

impl Default for Comfort {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_soft_and_the_beep_stands_above_it() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000] {
            let part = |from_ms: usize, to_ms: usize| from_ms * rate.per_ms()..to_ms * rate.per_ms();
            let mut pcm = vec![0; PERIOD_MS * rate.per_ms()];
            Comfort::at(rate).fill(&mut pcm);
            let noise = level::dbfs(&pcm[part(0, LEAD_MS)]);
            let beep = level::dbfs(&pcm[part(LEAD_MS + RAMP_MS, LEAD_MS + BEEP_MS - RAMP_MS)]);
            assert!((noise - NOISE_DBFS).abs() < 1.0, "{noise}");
            assert!((beep - BEEP_DBFS).abs() < 1.0, "{beep}");
            assert!((level::dbfs(&pcm[part(LEAD_MS + BEEP_MS, PERIOD_MS)]) - NOISE_DBFS).abs() < 1.0);
        }
    }

    #[test]
    fn the_beep_returns_every_period_and_does_not_depend_on_how_it_is_asked_for() {
        const PERIOD: usize = PERIOD_MS * SampleRate::Hz8000.per_ms();
        let mut whole = vec![0; 2 * PERIOD];
        Comfort::new().fill(&mut whole);
        let mut comfort = Comfort::new();
        let mut parts = vec![0; 2 * PERIOD];
        parts.chunks_mut(160).for_each(|frame| comfort.fill(frame));
        assert_eq!(whole, parts);
        let beep = (LEAD_MS + RAMP_MS) * 8..(LEAD_MS + BEEP_MS - RAMP_MS) * 8;
        assert!(level::dbfs(&whole[PERIOD..][beep]) > -34.0);
    }
}
