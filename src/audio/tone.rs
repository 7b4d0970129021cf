//! A sine oscillator with a steady phase.

use super::SampleRate;

/// Produces one frequency for as long as it is asked; the phase carries on across calls.
#[derive(Clone, Debug)]
pub struct Tone {
    step: f32,
    phase: f32,
    peak: f32,
}

impl Tone {
    /// A tone of `hz` at `dbfs` RMS (a full-scale sine is -3 dBFS).
    pub fn new(rate: SampleRate, hz: f32, dbfs: f32) -> Self {
        let peak = (super::level::amplitude(dbfs) * std::f32::consts::SQRT_2).min(32_767.0);
        Self {
            step: hz / rate.hz() as f32,
            phase: 0.0,
            peak,
        }
    }

    /// The next sample.
    pub fn sample(&mut self) -> f32 {
        let sample = self.peak * (self.phase * std::f32::consts::TAU).sin();
        self.phase = (self.phase + self.step).fract();
        sample
    }

    /// Overwrites `pcm` with the next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        pcm.fill_with(|| self.sample() as i16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level;

    #[test]
    fn a_tone_has_the_level_and_pitch_it_was_asked_for() {
        let mut pcm = [0; 8_000];
        Tone::new(SampleRate::Hz8000, 440.0, -20.0).fill(&mut pcm);
        assert!((level::dbfs(&pcm) + 20.0).abs() < 0.05, "{}", level::dbfs(&pcm));
        let rising = pcm.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((439..=440).contains(&rising), "{rising}");
    }
}
