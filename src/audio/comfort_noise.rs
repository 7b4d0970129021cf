//! Comfort noise a sender describes instead of sending its silence (RFC 3389).
//!
//! A payload is one byte of level and, optionally, reflection coefficients that shape the spectrum. The noise is made
//! at the rate asked for with the level it says; the shape is applied at that rate too. Between descriptions the noise
//! goes on, and a new one is reached over some 20 ms, so that it is not heard. Describing our own silence is not
//! needed: we send samples.

use super::level;

/// Noise as last described; silence before that.
#[derive(Clone, Debug, Default)]
pub struct ComfortNoise {
    random: u32,
    /// Peak of the excitation now and where it goes.
    peak: f32,
    peak_wanted: f32,
    /// The lattice: coefficients, and what it remembers.
    reflections: [f32; ORDER_MAX],
    order: usize,
    memory: [f32; ORDER_MAX],
}

/// The description cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("comfort noise without a level")]
pub struct NoLevel;

/// Coefficients listened to; senders use ten at most, and what lies beyond is left out.
const ORDER_MAX: usize = 12;
/// Share of the way to a new level per sample: 20 ms at 8 kHz for most of it.
const GLIDE: f32 = 0.015;
/// The most an excitation sample can be: strongly shaped noise must not start from less than nothing.
const PEAK_MAX: f32 = 32_767.0;

impl ComfortNoise {
    /// Silent until told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a payload; the noise becomes what it says.
    pub fn describe(&mut self, payload: &[u8]) -> Result<(), NoLevel> {
        let (&level, shape) = payload.split_first().ok_or(NoLevel)?;
        self.order = shape.len().min(ORDER_MAX);
        self.reflections = [0.0; ORDER_MAX];
        self.memory[self.order..].fill(0.0);
        for (reflection, &code) in self.reflections.iter_mut().zip(shape) {
            // RFC 3389 section 3.2; 255 is not used and would make an unstable filter.
            *reflection = 258.0 * (f32::from(code.min(254)) - 127.0) / 32_768.0;
        }
        // What the filter adds to the power is taken from the excitation.
        let gain: f32 = self.reflections.iter().map(|k| 1.0 - k * k).product();
        let rms = level::amplitude(-f32::from(level & 0x7F));
        // A uniform value of peak p has an RMS of p / sqrt(3).
        self.peak_wanted = (rms * 3.0_f32.sqrt() * gain.sqrt()).min(PEAK_MAX);
        Ok(())
    }

    /// Overwrites samples with noise.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            self.peak += GLIDE * (self.peak_wanted - self.peak);
            let excitation = self.next_random() * self.peak;
            *sample = self.shaped(excitation) as i16;
        }
    }

    /// The all-pole lattice filter.
    fn shaped(&mut self, excitation: f32) -> f32 {
        let mut forward = excitation;
        for stage in (0..self.order).rev() {
            forward -= self.reflections[stage] * self.memory[stage];
            if stage + 1 < self.order {
                self.memory[stage + 1] = self.memory[stage] + self.reflections[stage] * forward;
            }
        }
        self.memory[0] = forward;
        forward
    }

    /// The next of a linear congruential sequence, in -1..1.
    fn next_random(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random as i32 >> 8) as f32 / (1 << 23) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_has_the_level_it_was_described_with() {
        for dbov in [20, 40, 60, 70] {
            let level = level::dbfs(&settled(&[dbov]));
            assert!((level + f32::from(dbov)).abs() < 1.0, "{dbov}: {level}");
        }
    }

    #[test]
    fn shaped_noise_has_the_same_level_and_leans_to_its_side() {
        // k1 = -0.8 is a first-order low-pass, +0.8 a high-pass.
        for (code, falling) in [(127 - 101, true), (127 + 101, false)] {
            let noise = settled(&[40, code, 127, 120]);
            let level = level::dbfs(&noise);
            assert!((level + 40.0).abs() < 1.0, "{level}");
            let neighbours = noise
                .windows(2)
                .map(|pair| f64::from(pair[0]) * f64::from(pair[1]))
                .sum::<f64>();
            assert_eq!(neighbours > 0.0, falling);
        }
    }

    #[test]
    fn a_new_description_is_reached_without_a_jump() {
        let mut noise = ComfortNoise::new();
        noise.describe(&[20]).unwrap();
        let mut pcm = [0; 1_600];
        noise.fill(&mut pcm);
        assert!(level::dbfs(&pcm[..8]) < -35.0, "the beginning fades in");
        noise.describe(&[60]).unwrap();
        noise.fill(&mut pcm);
        assert!(level::dbfs(&pcm[..16]) > -24.0 && level::dbfs(&pcm[800..]) < -58.0);
    }

    #[test]
    fn nothing_described_is_silence_and_nothing_to_read_is_an_error() {
        let mut noise = ComfortNoise::new();
        assert_eq!(noise.describe(&[]), Err(NoLevel));
        let mut pcm = [7; 160];
        noise.fill(&mut pcm);
        assert_eq!(pcm, [0; 160]);
    }

    #[test]
    fn no_description_makes_it_burst() {
        let mut state = 1_u32;
        for _ in 0..500 {
            let payload: Vec<u8> = (0..20)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let level = level::dbfs(&settled(&payload));
            assert!(
                level < (20.0 - f32::from(payload[0] & 0x7F)).max(-90.0),
                "{payload:?}: {level}"
            );
        }
        settled(&[0; 13]);
        settled(&[255; 40]);
    }

    /// A second, after it has reached its level.
    fn settled(payload: &[u8]) -> Vec<i16> {
        let mut noise = ComfortNoise::new();
        noise.describe(payload).unwrap();
        let mut pcm = vec![0; 10_000];
        noise.fill(&mut pcm);
        pcm.split_off(2_000)
    }
}
