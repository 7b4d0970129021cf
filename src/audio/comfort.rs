//! What a caller hears while the session is away: soft noise and, every few seconds, a short soft beep, so that the line
//! sounds alive. Level and timing follow the call-waiting family of tones: noticeable, never startling.

use super::tone::Tone;
use super::{SampleRate, level};

/// An endless 8 kHz comfort signal.
#[derive(Clone, Debug)]
pub struct Comfort {
    noise: u32,
    position: usize,
    beep: Tone,
}

/// Samples from one beep to the next.
const PERIOD: usize = 4_000 * RATE.per_ms();
/// The first beep comes early, to tell the caller at once that the silence is meant.
const LEAD: usize = 400 * RATE.per_ms();
const BEEP: usize = 180 * RATE.per_ms();
const RAMP: usize = 30 * RATE.per_ms();
const RATE: SampleRate = SampleRate::Hz8000;
const NOISE_DBFS: f32 = -55.0;
const BEEP_DBFS: f32 = -32.0;
const BEEP_HZ: f32 = 425.0;

impl Comfort {
    /// Starts with noise; the first beep comes after 0.4 s.
    pub fn new() -> Self {
        Self {
            noise: 0x2545_F491,
            position: 0,
            beep: Tone::new(RATE, BEEP_HZ, BEEP_DBFS),
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
        self.position = (at + 1) % PERIOD;
        match at.checked_sub(LEAD) {
            Some(at) if at < BEEP => self.beep.sample() * (at.min(BEEP - at) as f32 / RAMP as f32).min(1.0),
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
        let mut pcm = [0; PERIOD];
        Comfort::new().fill(&mut pcm);
        let noise = level::dbfs(&pcm[..LEAD]);
        let beep = level::dbfs(&pcm[LEAD + RAMP..LEAD + BEEP - RAMP]);
        assert!((noise - NOISE_DBFS).abs() < 1.0, "{noise}");
        assert!((beep - BEEP_DBFS).abs() < 1.0, "{beep}");
        assert!((level::dbfs(&pcm[LEAD + BEEP..]) - NOISE_DBFS).abs() < 1.0);
    }

    #[test]
    fn the_beep_returns_every_period_and_does_not_depend_on_how_it_is_asked_for() {
        let mut whole = vec![0; 2 * PERIOD];
        Comfort::new().fill(&mut whole);
        let mut comfort = Comfort::new();
        let mut parts = vec![0; 2 * PERIOD];
        parts.chunks_mut(160).for_each(|frame| comfort.fill(frame));
        assert_eq!(whole, parts);
        assert!(level::dbfs(&whole[PERIOD + LEAD + RAMP..PERIOD + LEAD + BEEP - RAMP]) > -34.0);
    }
}
