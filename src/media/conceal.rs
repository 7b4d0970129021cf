//! Makes up for missing caller audio: the last pitch periods again and again, fading out within 60 ms (after G.711
//! Appendix I, at any line rate), then silence.
//!
//! Speech recognisers take a hole for a plosive and an endless vowel for speech; a short fade is neither. One period is
//! repeated for 10 ms, then two, then three, so that it does not turn into a buzz. Where one stretch meets another they
//! overlap. What was heard before a gap has been handed on already, so nothing of it can overlap: instead the
//! difference at the seam is carried over and faded out.

use crate::audio::SampleRate;

/// Knows the last 50 ms heard.
#[derive(Clone, Debug)]
pub(super) struct Concealment {
    per_ms: usize,
    /// The last samples heard, oldest first.
    history: Vec<i16>,
    /// While something is being made up.
    filling: Option<Filling>,
    /// The periods being repeated, their end smoothed into their beginning.
    cycle: Vec<i16>,
    /// What fades out while the cycle fades in.
    overlap: Vec<i16>,
}

#[derive(Clone, Copy, Debug)]
struct Filling {
    period: usize,
    periods: usize,
    /// Where the cycle is.
    at: usize,
    /// How much of the overlap has passed.
    overlapped: usize,
    /// Samples made up.
    made: usize,
}

/// Pitch periods searched: 200 Hz down to 66 Hz. Higher voices are found at a multiple.
const PERIOD_MS_MIN: usize = 5;
const PERIOD_MS_MAX: usize = 15;
/// How much of the past is compared to find the period.
const COMPARED_MS: usize = 20;
const PERIODS_MAX: usize = 3;
/// The longest cycle and a quarter of a period before it.
const HISTORY_MS: usize = PERIOD_MS_MAX * PERIODS_MAX + PERIOD_MS_MAX / 4 + 2;
/// Full level for so long, which most often is half of all that is missing; another period is added each time.
const STEADY_MS: usize = 10;
const FADED_MS: usize = 60;
/// Over how much the first audio after a gap is blended with what was made up: after a longer one for longer.
const BLEND_MS: usize = 5;
const BLEND_MS_MAX: usize = 10;

impl Concealment {
    pub(super) fn new(rate: SampleRate) -> Self {
        let per_ms = rate.per_ms();
        Self {
            per_ms,
            history: vec![0; HISTORY_MS * per_ms],
            filling: None,
            cycle: Vec::with_capacity(PERIOD_MS_MAX * PERIODS_MAX * per_ms),
            overlap: Vec::with_capacity(PERIOD_MS_MAX * per_ms / 4),
        }
    }

    /// Appends `samples` of what might have been said.
    pub(super) fn make_up(&mut self, samples: usize, out: &mut Vec<i16>) {
        if samples > 0 {
            self.begin();
        }
        for _ in 0..samples {
            let sample = self.next();
            out.push(sample);
        }
    }

    /// Makes the next audio heard overlap with what the last would have gone on with, as it does after a gap.
    pub(super) fn begin(&mut self) {
        if self.filling.is_none() {
            let period = self.period();
            self.filling = Some(Filling {
                period,
                periods: 1,
                at: 0,
                overlapped: 0,
                made: 0,
            });
            self.load(period, 1);
            self.carry_over(period);
        }
    }

    /// Takes note of audio that came, and blends its beginning with what was made up before it.
    pub(super) fn hear(&mut self, pcm: &mut [i16]) {
        if let Some(filling) = self.filling {
            let blend = (BLEND_MS * self.per_ms + filling.made * 2 / 5).min(BLEND_MS_MAX * self.per_ms);
            let blend = if filling.made < FADED_MS * self.per_ms {
                blend
            } else {
                BLEND_MS * self.per_ms
            };
            for (index, sample) in pcm.iter_mut().take(blend).enumerate() {
                *sample = mix(self.next(), *sample, index + 1, blend + 1);
            }
            self.filling = None;
        }
        self.remember(pcm);
    }

    /// Takes note of audio that is continuous by itself.
    pub(super) fn remember(&mut self, pcm: &[i16]) {
        let all = self.history.len();
        let kept = &pcm[pcm.len().saturating_sub(all)..];
        self.history.copy_within(kept.len().., 0);
        self.history[all - kept.len()..].copy_from_slice(kept);
    }

    /// The next sample made up; zero when nothing is.
    fn next(&mut self) -> i16 {
        let Some(mut filling) = self.filling else { return 0 };
        if filling.made >= FADED_MS * self.per_ms {
            return 0;
        }
        if filling.periods < PERIODS_MAX && filling.made == filling.periods * STEADY_MS * self.per_ms {
            self.grow(&mut filling);
        }
        let mut sample = self.cycle[filling.at];
        if let Some(&old) = self.overlap.get(filling.overlapped) {
            filling.overlapped += 1;
            sample = mix(old, sample, filling.overlapped, self.overlap.len() + 1);
        }
        let left = FADED_MS * self.per_ms - filling.made.max(STEADY_MS * self.per_ms);
        filling.at = (filling.at + 1) % self.cycle.len();
        filling.made += 1;
        self.filling = Some(filling);
        (i32::from(sample) * left as i32 / ((FADED_MS - STEADY_MS) * self.per_ms) as i32) as i16
    }

    /// Repeats one period more, beginning with the oldest, in the phase the last ended in.
    fn grow(&mut self, filling: &mut Filling) {
        self.overlap.clear();
        let old = self.cycle.iter().cycle().skip(filling.at);
        self.overlap.extend(old.take(filling.period / 4));
        filling.overlapped = 0;
        filling.periods += 1;
        filling.at %= filling.period;
        self.load(filling.period, filling.periods);
    }

    /// Fills the cycle with the last periods; its end runs into what came before its beginning.
    fn load(&mut self, period: usize, periods: usize) {
        let (end, quarter) = (self.history.len(), period / 4);
        let begin = end - period * periods;
        self.cycle.clear();
        self.cycle.extend_from_slice(&self.history[begin..]);
        let before = &self.history[begin - quarter..begin];
        let last = self.cycle.len() - quarter;
        for (index, (sample, &before)) in self.cycle[last..].iter_mut().zip(before).enumerate() {
            *sample = mix(*sample, before, index + 1, quarter + 1);
        }
    }

    /// The step between the last sample heard and the one before the cycle, which a fade takes away.
    fn carry_over(&mut self, period: usize) {
        let end = self.history.len();
        let step = i32::from(self.history[end - 1]) - i32::from(self.history[end - 1 - period]);
        self.overlap.clear();
        let carried = self.cycle.iter().take(period / 4);
        self.overlap
            .extend(carried.map(|&sample| clamp(i32::from(sample) + step)));
    }

    /// The distance at which the recent past resembles itself most, of those distances that fit: searched roughly at
    /// 4 kHz, then around the best at the full rate.
    fn period(&self) -> usize {
        let (shortest, longest) = (PERIOD_MS_MIN * self.per_ms, PERIOD_MS_MAX * self.per_ms);
        let stride = self.per_ms / 4;
        let rough = self.best((shortest..=longest).step_by(stride), stride);
        let around = rough.saturating_sub(stride).max(shortest)..=(rough + stride).min(longest);
        self.best(around, 1)
    }

    fn best(&self, periods: impl Iterator<Item = usize>, stride: usize) -> usize {
        let scored = periods.map(|period| (period, self.likeness(period, stride)));
        scored
            .max_by(|left, right| left.1.total_cmp(&right.1))
            .map_or(PERIOD_MS_MIN * self.per_ms, |(period, _)| period)
    }

    fn likeness(&self, period: usize, stride: usize) -> f32 {
        let end = self.history.len();
        let begin = end - COMPARED_MS * self.per_ms;
        let recent = self.history[begin..].iter().step_by(stride);
        let before = self.history[begin - period..end - period].iter().step_by(stride);
        let (mut product, mut energy) = (0.0_f32, 1.0_f32);
        for (&new, &old) in recent.zip(before) {
            product += f32::from(new) * f32::from(old);
            energy += f32::from(old) * f32::from(old);
        }
        product / energy.sqrt()
    }
}

/// From the old to the new, `weight` of `whole` of the way.
fn mix(old: i16, new: i16, weight: usize, whole: usize) -> i16 {
    let (weight, whole) = (weight as i32, whole as i32);
    ((i32::from(old) * (whole - weight) + i32::from(new) * weight) / whole) as i16
}

fn clamp(sample: i32) -> i16 {
    sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::level,
        media::test_sound::{steepest, tone},
    };

    const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];

    #[test]
    fn a_lost_packet_of_a_tone_sounds_like_the_tone() {
        for rate in RATES {
            let pcm = tone(rate, 200.0, 200);
            let (before, after) = pcm.split_at(100 * rate.per_ms());
            let mut concealment = Concealment::new(rate);
            concealment.hear(&mut before.to_vec());
            let mut made_up = Vec::new();
            concealment.make_up(STEADY_MS * rate.per_ms(), &mut made_up);
            let error: Vec<i16> = made_up.iter().zip(after).map(|(made, real)| made - real).collect();
            assert!(level::dbfs(&error) < -40.0, "{rate:?}: {}", level::dbfs(&error));
        }
    }

    #[test]
    fn no_border_of_a_gap_steps_whatever_the_pitch_and_the_length() {
        for rate in RATES {
            for hz in [97.0, 151.0, 223.0, 310.0, 440.0] {
                for gap_ms in [10, 20, 35, 50, 80] {
                    let per_ms = rate.per_ms();
                    let pcm = tone(rate, hz, 300);
                    let mut concealment = Concealment::new(rate);
                    let mut out = pcm[..103 * per_ms].to_vec();
                    concealment.hear(&mut out.clone());
                    concealment.make_up(gap_ms * per_ms, &mut out);
                    let mut after = pcm[(103 + gap_ms) * per_ms..].to_vec();
                    concealment.hear(&mut after);
                    out.extend(after);
                    let worst = steepest(&out[per_ms..]) as f32;
                    let usual = steepest(&pcm[per_ms..103 * per_ms]) as f32;
                    assert!(worst < 1.7 * usual, "{rate:?} {hz} Hz, {gap_ms} ms: {worst} {usual}");
                }
            }
        }
    }

    #[test]
    fn what_is_made_up_is_silent_after_sixty_milliseconds() {
        for rate in RATES {
            let mut concealment = Concealment::new(rate);
            concealment.hear(&mut vec![9_000; 60 * rate.per_ms()]);
            let mut made_up = Vec::new();
            for _ in 0..10 {
                concealment.make_up(20 * rate.per_ms(), &mut made_up);
            }
            let faded = FADED_MS * rate.per_ms();
            assert!(made_up[..faded - 10].iter().all(|&sample| sample > 0));
            assert!(made_up[faded..].iter().all(|&sample| sample == 0));
            assert!(made_up.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }

    #[test]
    fn audio_after_a_gap_comes_in_without_a_step() {
        let mut concealment = Concealment::new(SampleRate::Hz8000);
        concealment.hear(&mut [8_000; 400]);
        concealment.make_up(800, &mut Vec::new());
        let mut next = [8_000; 160];
        concealment.hear(&mut next);
        assert!(next[0] < 400);
        assert_eq!(next[40..], [8_000; 120]);
    }

    #[test]
    fn before_anything_was_heard_it_makes_up_silence() {
        let mut made_up = Vec::new();
        Concealment::new(SampleRate::Hz8000).make_up(160, &mut made_up);
        assert_eq!(made_up, [0; 160]);
    }
}
