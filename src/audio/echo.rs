//! Is what comes from the caller our own sound, sent back by the far end's telephone?
//!
//! Both directions are kept as a narrow band for a while. A voice of the caller's own resembles nothing that was played;
//! an echo resembles what was played some time before, whatever its strength and its delay.

use super::SampleRate;

/// Samples per millisecond of the band that is compared.
const BAND_PER_MS: usize = 4;

/// How much of what was heard last is compared.
const WINDOW_MS: usize = 200;

/// Less than this of sound says nothing.
const WINDOW_MS_MIN: usize = 40;

/// The longest way there and back that an echo is looked for at.
const DELAY_MS_MAX: usize = 600;

/// From this correlation on the two are the same sound. Two voices reach about half.
const RESEMBLANCE: f32 = 0.7;

/// What is quieter than this, as the mean square of samples, resembles anything.
const ENERGY_MIN: f32 = 100.0;

/// Compares what is heard with what was played.
#[derive(Debug, Clone)]
pub struct EchoDetector {
    played: Band,
    heard: Band,
}

/// The last stretch of one direction, oldest first, as a narrow band.
#[derive(Debug, Clone)]
struct Band {
    samples: Vec<f32>,
    samples_max: usize,
    sum: i32,
    summed: usize,
}

impl Default for EchoDetector {
    fn default() -> Self {
        Self {
            played: Band::new(WINDOW_MS + DELAY_MS_MAX),
            heard: Band::new(WINDOW_MS),
        }
    }
}

impl EchoDetector {
    /// What leaves for the caller, silence included.
    pub fn play(&mut self, rate: SampleRate, pcm: &[i16]) {
        self.played.push(rate, pcm);
    }

    /// Nothing leaves for so long.
    pub fn pause(&mut self, ms: u32) {
        (0..ms as usize * BAND_PER_MS).for_each(|_| self.played.keep(0.0));
    }

    /// What comes from the caller, silence included.
    pub fn hear(&mut self, rate: SampleRate, pcm: &[i16]) {
        self.heard.push(rate, pcm);
    }

    /// Whether the last stretch heard is what was played some time before.
    pub fn is_echo(&self) -> bool {
        self.resemblance() >= RESEMBLANCE
    }

    /// The greatest correlation at any delay, from 0 to 1.
    fn resemblance(&self) -> f32 {
        let heard = self.heard.last(WINDOW_MS * BAND_PER_MS);
        let heard_energy = energy(heard);
        if heard.len() < WINDOW_MS_MIN * BAND_PER_MS || heard_energy < ENERGY_MIN * heard.len() as f32 {
            return 0.0;
        }
        let played = self.played.last(usize::MAX);
        let stretches = played.windows(heard.len()).rev();
        let resemblances = stretches.map(|played| {
            let energy = energy(played);
            let resembles = energy >= ENERGY_MIN * played.len() as f32;
            f32::from(u8::from(resembles)) * product(heard, played).abs() / (heard_energy * energy).sqrt().max(1.0)
        });
        resemblances.fold(0.0, f32::max)
    }
}

impl Band {
    fn new(ms: usize) -> Self {
        let samples_max = ms * BAND_PER_MS;
        Self {
            // What is too old is dropped in one go, not sample by sample.
            samples: Vec::with_capacity(2 * samples_max),
            samples_max,
            sum: 0,
            summed: 0,
        }
    }

    fn push(&mut self, rate: SampleRate, pcm: &[i16]) {
        let step = rate.per_ms() / BAND_PER_MS;
        for sample in pcm {
            self.sum += i32::from(*sample);
            self.summed += 1;
            if self.summed >= step {
                self.keep(self.sum as f32 / self.summed as f32);
                (self.sum, self.summed) = (0, 0);
            }
        }
    }

    fn keep(&mut self, sample: f32) {
        if self.samples.len() == 2 * self.samples_max {
            self.samples.drain(..self.samples_max);
        }
        self.samples.push(sample);
    }

    /// The newest samples, at most so many and at most as many as are kept.
    fn last(&self, samples: usize) -> &[f32] {
        let len = self.samples.len().min(self.samples_max).min(samples);
        &self.samples[self.samples.len() - len..]
    }
}

fn energy(samples: &[f32]) -> f32 {
    product(samples, samples)
}

/// Eight sums side by side, which the compiler makes one step of: this is done thousands of times in one go, while every
/// call of the thread waits.
fn product(one: &[f32], other: &[f32]) -> f32 {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (one, other) in ones.iter().zip(others) {
        for ((sum, one), other) in sums.iter_mut().zip(one).zip(other) {
            *sum += one * other;
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 160;

    #[test]
    fn our_own_sound_is_known_again_quieter_and_later() {
        for delay_frames in [1, 7, 25] {
            let agent = babble(1, 60 * FRAME);
            let mut echo = EchoDetector::default();
            for (index, frame) in agent.chunks(FRAME).enumerate() {
                echo.play(SampleRate::Hz8000, frame);
                let back: Vec<i16> = match index.checked_sub(delay_frames) {
                    Some(index) => agent[index * FRAME..][..FRAME]
                        .iter()
                        .map(|sample| -sample / 8)
                        .collect(),
                    None => vec![0; FRAME],
                };
                echo.hear(SampleRate::Hz8000, &back);
            }
            assert!(echo.is_echo(), "{delay_frames}: {}", echo.resemblance());
        }
    }

    #[test]
    fn a_voice_of_its_own_is_none_even_over_an_echo() {
        let (agent, caller) = (babble(1, 60 * FRAME), babble(2, 60 * FRAME));
        let mut echo = EchoDetector::default();
        for (index, (played, spoken)) in agent.chunks(FRAME).zip(caller.chunks(FRAME)).enumerate() {
            echo.play(SampleRate::Hz8000, played);
            let before = &agent[index.saturating_sub(5) * FRAME..][..FRAME];
            let heard: Vec<i16> = before
                .iter()
                .zip(spoken)
                .map(|(echo, voice)| echo / 8 + voice / 2)
                .collect();
            echo.hear(SampleRate::Hz8000, &heard);
        }
        assert!(!echo.is_echo(), "{}", echo.resemblance());
    }

    #[test]
    fn the_two_directions_may_have_rates_of_their_own() {
        let agent = babble(3, 40 * FRAME);
        let wide: Vec<i16> = agent.iter().flat_map(|sample| [*sample; 3]).collect();
        let mut echo = EchoDetector::default();
        for (narrow, wide) in agent.chunks(FRAME).zip(wide.chunks(3 * FRAME)) {
            echo.play(SampleRate::Hz8000, narrow);
            echo.hear(SampleRate::Hz24000, wide);
        }
        assert!(echo.is_echo(), "{}", echo.resemblance());
    }

    #[test]
    fn silence_and_the_first_moments_are_no_echo() {
        let mut echo = EchoDetector::default();
        assert!(!echo.is_echo());
        echo.play(SampleRate::Hz8000, &babble(4, 20 * FRAME));
        echo.hear(SampleRate::Hz8000, &[0; 20 * FRAME]);
        assert!(!echo.is_echo());
        echo.hear(SampleRate::Hz8000, &babble(4, FRAME));
        assert!(echo.played.samples.len() <= 2 * echo.played.samples_max);
    }

    /// Syllables of changing pitch and loudness, as unlike one another as voices are.
    fn babble(seed: u32, samples: usize) -> Vec<i16> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            f64::from(state) / f64::from(u32::MAX)
        };
        let (mut phase, mut pitch, mut drift, mut loudness) = (0.0f64, 120.0, 0.0, 4_000.0);
        (0..samples)
            .map(|index| {
                if index % 1_200 == 0 {
                    pitch = 90.0 + 160.0 * random();
                    drift = (random() - 0.5) * 0.03;
                    loudness = 1_500.0 + 5_000.0 * random();
                }
                pitch += drift;
                phase += pitch / 8_000.0;
                let voice: f64 = (1..=8)
                    .map(|harmonic| (std::f64::consts::TAU * phase * f64::from(harmonic)).sin() / f64::from(harmonic))
                    .sum();
                (loudness * (voice * 0.7 + (random() - 0.5))) as i16
            })
            .collect()
    }
}
