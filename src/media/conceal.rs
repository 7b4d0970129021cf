//! Makes up for missing caller audio: the last pitch period again and again, fading out within 60 ms (in the manner of
//! G.711 Appendix I), then silence.
//!
//! Speech recognisers take a hole for a plosive and an endless vowel for speech; a short fade is neither.

/// Knows the last 40 ms heard.
#[derive(Clone, Debug)]
pub(super) struct Concealment {
    /// The last samples heard, oldest first.
    history: [i16; HISTORY],
    /// While something is being made up.
    filling: Option<Filling>,
}

#[derive(Clone, Copy, Debug)]
struct Filling {
    period: usize,
    position: usize,
}

const PER_MS: usize = 8;
/// Pitch periods searched: 200 Hz down to 50 Hz.
const PERIOD_MIN: usize = 5 * PER_MS;
const PERIOD_MAX: usize = 20 * PER_MS;
/// How much of the past is compared to find the period.
const COMPARED: usize = 20 * PER_MS;
const HISTORY: usize = PERIOD_MAX + COMPARED;
/// Full level for the first packet lost, which most often is the only one.
const STEADY: usize = 10 * PER_MS;
const FADED: usize = 60 * PER_MS;
/// Over how much the first audio after a gap is blended with what was made up.
const BLEND: usize = 5 * PER_MS;

impl Concealment {
    pub(super) fn new() -> Self {
        Self {
            history: [0; HISTORY],
            filling: None,
        }
    }

    /// Appends `samples` of what might have been said.
    pub(super) fn make_up(&mut self, samples: usize, out: &mut Vec<i16>) {
        let mut filling = self.filling.unwrap_or_else(|| self.begin());
        out.extend((0..samples).map(|_| filling.next(&self.history)));
        self.filling = Some(filling);
    }

    /// Takes note of audio that came, and blends its beginning with what was made up before it.
    pub(super) fn hear(&mut self, pcm: &mut [i16]) {
        if let Some(mut filling) = self.filling.take() {
            for (index, sample) in pcm.iter_mut().take(BLEND).enumerate() {
                let weight = (index + 1) as i32;
                let old = i32::from(filling.next(&self.history)) * (BLEND as i32 + 1 - weight);
                *sample = ((old + i32::from(*sample) * weight) / (BLEND as i32 + 1)) as i16;
            }
        }
        self.remember(pcm);
    }

    fn begin(&self) -> Filling {
        Filling {
            period: self.period(),
            position: 0,
        }
    }

    /// The distance at which the recent past resembles itself most, of those distances that fit.
    fn period(&self) -> usize {
        let recent = &self.history[HISTORY - COMPARED..];
        let likeness = |period: usize| {
            let before = &self.history[HISTORY - COMPARED - period..HISTORY - period];
            let (mut product, mut energy) = (0_i64, 1_i64);
            for (&new, &old) in recent.iter().zip(before) {
                product += i64::from(new) * i64::from(old);
                energy += i64::from(old) * i64::from(old);
            }
            product as f64 / (energy as f64).sqrt()
        };
        let scored = (PERIOD_MIN..=PERIOD_MAX).map(|period| (period, likeness(period)));
        scored
            .max_by(|left, right| left.1.total_cmp(&right.1))
            .map_or(PERIOD_MIN, |(period, _)| period)
    }

    fn remember(&mut self, pcm: &[i16]) {
        let kept = &pcm[pcm.len().saturating_sub(HISTORY)..];
        self.history.copy_within(kept.len().., 0);
        self.history[HISTORY - kept.len()..].copy_from_slice(kept);
    }
}

impl Filling {
    fn next(&mut self, history: &[i16; HISTORY]) -> i16 {
        let at = HISTORY - self.period + self.position % self.period;
        let left = FADED.saturating_sub(self.position.max(STEADY)) as i32;
        self.position = (self.position + 1).min(FADED);
        (i32::from(history[at]) * left / (FADED - STEADY) as i32) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{SampleRate, Tone, level};

    #[test]
    fn a_lost_packet_of_a_tone_sounds_like_the_tone() {
        let mut pcm = vec![0; 1_600];
        Tone::new(SampleRate::Hz8000, 200.0, -12.0).fill(&mut pcm);
        let mut concealment = Concealment::new();
        concealment.hear(&mut pcm[..800]);
        let mut made_up = Vec::new();
        concealment.make_up(160, &mut made_up);
        let error: Vec<i16> = made_up[..80]
            .iter()
            .zip(&pcm[800..])
            .map(|(made, real)| made - real)
            .collect();
        assert!(level::dbfs(&error) < -40.0, "{}", level::dbfs(&error));
    }

    #[test]
    fn what_is_made_up_is_silent_after_sixty_milliseconds() {
        let mut concealment = Concealment::new();
        concealment.hear(&mut [9_000; 400]);
        let mut made_up = Vec::new();
        for _ in 0..10 {
            concealment.make_up(160, &mut made_up);
        }
        assert!(made_up[..FADED - 10].iter().all(|&sample| sample > 0));
        assert!(made_up[FADED..].iter().all(|&sample| sample == 0));
        assert!(made_up.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn audio_after_a_gap_comes_in_without_a_step() {
        let mut concealment = Concealment::new();
        concealment.hear(&mut [8_000; 400]);
        let mut made_up = Vec::new();
        concealment.make_up(800, &mut made_up);
        let mut next = [8_000; 160];
        concealment.hear(&mut next);
        assert!(next[0] < 400);
        assert_eq!(next[BLEND..], [8_000; 160 - BLEND]);
    }

    #[test]
    fn before_anything_was_heard_it_makes_up_silence() {
        let mut made_up = Vec::new();
        Concealment::new().make_up(160, &mut made_up);
        assert_eq!(made_up, [0; 160]);
    }
}
