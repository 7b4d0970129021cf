//! Measurements of every pair of rates: sines in, one discrete Fourier coefficient out.

use super::*;
use crate::audio::{Resampler, SampleRate};

const PEAK: f64 = 16_000.0;
const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];

/// Every pair of different rates.
fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
    let all = RATES.into_iter().flat_map(|from| RATES.map(|to| (from, to)));
    all.filter(|(from, to)| from != to)
}

/// Half the lower rate, in Hz.
fn limit(from: SampleRate, to: SampleRate) -> f64 {
    f64::from(from.hz().min(to.hz())) / 2.0
}

#[test]
fn the_passband_is_flat() {
    for (from, to) in pairs() {
        for share in [0.0125, 0.075, 0.25, 0.5, 0.75, 0.8, 0.825] {
            let hz = (limit(from, to) * share).round();
            let level = decibel(amplitude(&resampled(from, to, &sine(from, hz)), to, hz));
            assert!(level.abs() < 0.02, "{from:?} to {to:?}, {hz} Hz: {level} dB");
        }
    }
}

/// Everything that is not the tone itself is an image, an alias or rounding, which is 98 dB below full scale.
#[test]
fn what_does_not_belong_is_eighty_decibels_down() {
    for (from, to) in pairs() {
        let (pass, stop) = (limit(from, to) * 0.82, limit(from, to) * 1.18);
        let mut hz = 37.0;
        while hz < f64::from(from.hz()) / 2.0 {
            let tone = sine(from, hz);
            let out = resampled(from, to, &tone);
            let left = if hz < pass {
                without(&out, to, hz)
            } else if hz > stop {
                second_half(&out)
            } else {
                Vec::new()
            };
            let level = decibel(peak(&left));
            assert!(level < -80.0, "{from:?} to {to:?}: {hz} Hz leaves {level} dB");
            hz += 211.0;
        }
    }
}

#[test]
fn the_delay_is_one_to_two_milliseconds() {
    for (from, to) in pairs() {
        // The middle of a low pulse comes out this much later.
        let pulse = |rate: SampleRate, at_ms: f64| -> Vec<f64> {
            let place = |n: usize| (n as f64 / rate.per_ms() as f64 - at_ms) / 0.3;
            (0..rate.per_ms() * 40)
                .map(|n| PEAK * (-place(n) * place(n)).exp())
                .collect()
        };
        let input: Vec<i16> = pulse(from, 10.0).into_iter().map(|sample| sample as i16).collect();
        let out = resampled(from, to, &input);
        let weight: f64 = out.iter().map(|&sample| f64::from(sample)).sum();
        let moment: f64 = out
            .iter()
            .enumerate()
            .map(|(n, &sample)| n as f64 * f64::from(sample))
            .sum();
        let delay_ms = moment / weight / to.per_ms() as f64 - 10.0;
        let narrow = from == SampleRate::Hz8000 || to == SampleRate::Hz8000;
        let expected = if narrow { 1.85..2.0 } else { 0.9..1.0 };
        assert!(expected.contains(&delay_ms), "{from:?} to {to:?}: {delay_ms} ms");
    }
}

#[test]
fn portions_of_any_size_give_identical_output() {
    for (from, to) in pairs() {
        let input = sine(from, 1_234.0);
        let whole = resampled(from, to, &input);
        for portion in [1, 2, 3, 5, 16, 17, 159, 160, 161, 480, 1_001] {
            let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
            input.chunks(portion).for_each(|part| resampler.process(part, &mut out));
            assert_eq!(out, whole, "{from:?} to {to:?} by {portion}");
        }
    }
}

#[test]
fn lengths_are_exact() {
    for (from, to) in pairs() {
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
        for frames in 1..=50 {
            resampler.process(&vec![0; from.per_ms() * 20], &mut out);
            assert_eq!(out.len(), to.per_ms() * 20 * frames, "{from:?} to {to:?}");
        }
    }
    let (mut down, mut out) = (Downsampler::new(), Vec::new());
    down.process(&[0; 2], &mut out);
    assert_eq!(out.len(), 0);
    down.process(&[0; 1], &mut out);
    assert_eq!(out.len(), 1);
    let (mut up, mut out) = (Converter::<2, 3>::new(), Vec::new());
    up.process(&[0; 321], &mut out);
    up.process(&[0; 1], &mut out);
    assert_eq!(out.len(), 483);
}

#[test]
fn full_scale_saturates_instead_of_wrapping() {
    for (from, to) in pairs() {
        let half = from.per_ms() * 5 / 2;
        let square = (0..from.hz() as usize).map(|n| if n / half % 2 == 0 { i16::MAX } else { i16::MIN });
        let out = resampled(from, to, &square.collect::<Vec<_>>());
        assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN), "{from:?} to {to:?}");
        // A wrapped overshoot would flip the sign in the middle of a half-wave.
        let delay = if limit(from, to) > 4_000.0 {
            to.per_ms()
        } else {
            2 * to.per_ms()
        };
        let middle = |half: usize| out[(half * 5 + 2) * to.per_ms() / 2 + delay];
        assert!(
            (2..300).all(|half| (middle(half) > 0) == (half % 2 == 0)),
            "{from:?} to {to:?}"
        );
    }
}

/// The loudest a sum can get: every sample at full scale with the sign of its tap.
#[test]
fn no_sum_leaves_32_bits() {
    fn check<const IN: usize, const OUT: usize>() {
        for stream in filters::<IN, OUT>() {
            let mut halved = 1_i64 << stream.shift;
            for filter in &stream.filters {
                let pairs = filter.taps[..filter.pairs].iter().map(|taps| taps.to_array());
                let pairs: Vec<i64> = pairs
                    .map(|taps| i64::from(taps[0]).abs() + i64::from(taps[1]).abs())
                    .collect();
                for run in pairs.chunks(RUN) {
                    let loudest = run.iter().sum::<i64>() * 32_768;
                    assert!(loudest <= i64::from(i32::MAX), "{IN} to {OUT}: {loudest}");
                    halved += loudest / 2;
                }
            }
            assert!(halved <= i64::from(i32::MAX), "{IN} to {OUT}: {halved}");
        }
    }
    check::<1, 2>();
    check::<1, 3>();
    check::<2, 1>();
    check::<2, 3>();
    check::<3, 1>();
    check::<3, 2>();
}

#[test]
fn reset_forgets_everything() {
    for (from, to) in pairs() {
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
        resampler.process(&[i16::MAX; 50], &mut out);
        resampler.reset();
        out.clear();
        resampler.process(&vec![0; from.per_ms() * 20], &mut out);
        assert_eq!(out, vec![0; to.per_ms() * 20], "{from:?} to {to:?}");
    }
}

fn resampled(from: SampleRate, to: SampleRate, pcm: &[i16]) -> Vec<i16> {
    let mut out = Vec::new();
    Resampler::new(from, to).process(pcm, &mut out);
    out
}

/// One second.
fn sine(rate: SampleRate, hz: f64) -> Vec<i16> {
    let sample =
        |n: usize| (PEAK * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate.hz())).sin()).round() as i16;
    (0..rate.hz() as usize).map(sample).collect()
}

/// The wave at one frequency over the last half second, past every transient, as cosine and sine.
fn wave(pcm: &[f64], rate: SampleRate, hz: f64) -> (f64, f64) {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in pcm.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate.hz());
        re += sample * angle.cos();
        im += sample * angle.sin();
    }
    (2.0 * re / pcm.len() as f64, 2.0 * im / pcm.len() as f64)
}

fn second_half(pcm: &[i16]) -> Vec<f64> {
    pcm[pcm.len() / 2..].iter().map(|&sample| f64::from(sample)).collect()
}

fn amplitude(pcm: &[i16], rate: SampleRate, hz: f64) -> f64 {
    let (re, im) = wave(&second_half(pcm), rate, hz);
    re.hypot(im)
}

/// The last half second without one frequency.
fn without(pcm: &[i16], rate: SampleRate, hz: f64) -> Vec<f64> {
    let mut left = second_half(pcm);
    // Half a second is not a whole number of periods of an odd frequency: the second pass takes what the first left.
    for _ in 0..3 {
        let (re, im) = wave(&left, rate, hz);
        for (n, sample) in left.iter_mut().enumerate() {
            let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate.hz());
            *sample -= re * angle.cos() + im * angle.sin();
        }
    }
    left
}

/// The amplitude a sine of the same power would have.
fn peak(pcm: &[f64]) -> f64 {
    let power: f64 = pcm.iter().map(|sample| sample * sample).sum::<f64>() / pcm.len().max(1) as f64;
    (2.0 * power).sqrt()
}

/// Against the input's amplitude.
fn decibel(amplitude: f64) -> f64 {
    20.0 * (amplitude / PEAK).max(1e-9).log10()
}
