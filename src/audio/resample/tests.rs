//! Measurements of both resamplers: sines in, one discrete Fourier coefficient out.

use super::*;

const SECOND: usize = 8_000;
const PEAK: f64 = 16_000.0;

#[test]
fn passband_is_flat_to_3300_hz_both_ways() {
    for hz in [50.0, 300.0, 1_000.0, 2_000.0, 3_000.0, 3_300.0] {
        let up = decibel(amplitude(&up(&sine(8_000.0, hz)), 24_000.0, hz));
        let down = decibel(amplitude(&down(&sine(24_000.0, hz)), 8_000.0, hz));
        assert!(up.abs() < 0.1, "up {hz} Hz: {up} dB");
        assert!(down.abs() < 0.1, "down {hz} Hz: {down} dB");
    }
}

#[test]
fn images_are_seventy_decibels_down() {
    for hz in [50.0, 300.0, 1_000.0, 2_000.0, 3_000.0, 3_300.0] {
        let out = up(&sine(8_000.0, hz));
        for image in [8_000.0 - hz, 8_000.0 + hz] {
            let level = decibel(amplitude(&out, 24_000.0, image));
            assert!(level < -70.0, "{hz} Hz leaves {level} dB at {image} Hz");
        }
    }
}

#[test]
fn aliases_are_seventy_decibels_down() {
    for hz in [4_700.0, 5_000.0, 6_500.0, 7_900.0, 9_000.0, 11_000.0, 11_900.0] {
        let folded = f64::min(hz % 8_000.0, 8_000.0 - hz % 8_000.0);
        let level = decibel(amplitude(&down(&sine(24_000.0, hz)), 8_000.0, folded));
        assert!(level < -70.0, "{hz} Hz leaves {level} dB at {folded} Hz");
    }
}

#[test]
fn delay_is_two_milliseconds_each_way() {
    let mut impulse = vec![0i16; 400];
    impulse[100] = 30_000;
    let out = up(&impulse);
    let peak = out
        .iter()
        .enumerate()
        .max_by_key(|(_, sample)| sample.abs())
        .map(|(at, _)| at);
    assert_eq!(peak, Some(100 * 3 + MIDDLE));
    let mut burst = vec![0i16; 1_200];
    burst[300..303].fill(20_000);
    let out = down(&burst);
    let peak = out
        .iter()
        .enumerate()
        .max_by_key(|(_, sample)| sample.abs())
        .map(|(at, _)| at);
    assert_eq!(peak, Some(100 + 15), "1.88 ms");
}

#[test]
fn there_and_back_is_the_same_signal_later() {
    let input: Vec<i16> = sine(8_000.0, 700.0)
        .iter()
        .zip(sine(8_000.0, 2_600.0))
        .map(|(a, b)| a / 2 + b / 2)
        .collect();
    let output = down(&up(&input));
    assert_eq!(output.len(), input.len());
    // 47 samples of delay up and 45 down are no whole number of 8 kHz samples, so compare levels, not samples.
    for hz in [700.0, 2_600.0] {
        let loss = decibel(amplitude(&output, 8_000.0, hz) / amplitude(&input, 8_000.0, hz) * PEAK);
        assert!(loss.abs() < 0.05, "{hz} Hz: {loss} dB");
    }
}

#[test]
fn portions_of_any_size_give_identical_output() {
    let (narrow, wide) = (sine(8_000.0, 1_234.0), sine(24_000.0, 1_234.0));
    let (whole_up, whole_down) = (up(&narrow), down(&wide));
    for portion in [1, 2, 3, 5, 16, 17, 159, 160, 161, 480, 1_001] {
        let (mut upsampler, mut out) = (Upsampler::new(), Vec::new());
        narrow
            .chunks(portion)
            .for_each(|part| upsampler.process(part, &mut out));
        assert_eq!(out, whole_up, "up by {portion}");
        let (mut downsampler, mut out) = (Downsampler::new(), Vec::new());
        wide.chunks(portion)
            .for_each(|part| downsampler.process(part, &mut out));
        assert_eq!(out, whole_down, "down by {portion}");
    }
}

#[test]
fn lengths_are_exact() {
    assert_eq!(up(&[0; 161]).len(), 483);
    assert_eq!(down(&[0; 481]).len(), 160);
    let (mut downsampler, mut out) = (Downsampler::new(), Vec::new());
    downsampler.process(&[0; 2], &mut out);
    downsampler.process(&[0; 1], &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn full_scale_saturates_instead_of_wrapping() {
    let square: Vec<i16> = (0..SECOND)
        .map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN })
        .collect();
    let out = up(&square);
    assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
    // A wrapped overshoot would flip the sign in the middle of a half-wave.
    let middle = |half: usize| out[(half * 20 + 10) * 3 + MIDDLE];
    assert!((2..300).all(|half| (middle(half) > 0) == (half % 2 == 0)));
}

#[test]
fn reset_forgets_everything() {
    let (mut upsampler, mut downsampler, mut out) = (Upsampler::new(), Downsampler::new(), Vec::new());
    upsampler.process(&[i16::MAX; 50], &mut out);
    downsampler.process(&[i16::MAX; 50], &mut out);
    upsampler.reset();
    downsampler.reset();
    out.clear();
    upsampler.process(&[0; 50], &mut out);
    downsampler.process(&[0; 51], &mut out);
    assert_eq!(out.len(), 150 + 17);
    assert!(out.iter().all(|&sample| sample == 0));
}

fn up(pcm: &[i16]) -> Vec<i16> {
    let mut out = Vec::new();
    Upsampler::new().process(pcm, &mut out);
    out
}

fn down(pcm: &[i16]) -> Vec<i16> {
    let mut out = Vec::new();
    Downsampler::new().process(pcm, &mut out);
    out
}

/// One second.
fn sine(rate: f64, hz: f64) -> Vec<i16> {
    let sample = |n: usize| (PEAK * (std::f64::consts::TAU * hz * n as f64 / rate).sin()).round() as i16;
    (0..rate as usize).map(sample).collect()
}

/// Amplitude of one frequency over the last half second, past every transient; both ends are whole periods.
fn amplitude(pcm: &[i16], rate: f64, hz: f64) -> f64 {
    let pcm = &pcm[pcm.len() / 2..];
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in pcm.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * n as f64 / rate;
        re += f64::from(sample) * angle.cos();
        im += f64::from(sample) * angle.sin();
    }
    2.0 * re.hypot(im) / pcm.len() as f64
}

/// Against the input's amplitude.
fn decibel(amplitude: f64) -> f64 {
    20.0 * (amplitude / PEAK).max(1e-9).log10()
}
