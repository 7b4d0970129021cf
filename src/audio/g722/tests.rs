//! Against the signal itself and against the reference's output.

use super::*;
use crate::audio::level;

#[test]
fn a_tone_survives_with_the_quality_of_the_recommendation() {
    for (hz, decibel) in [(300.0, 30.0), (1_000.0, 30.0), (3_000.0, 25.0), (6_000.0, 9.0)] {
        let input = sine(hz, 16_000);
        let output = decoded(&encoded(&input));
        assert_eq!(output.len(), input.len());
        let ratio = best_ratio(&input, &output);
        assert!(ratio > decibel, "{hz} Hz: {ratio} dB");
    }
}

#[test]
fn the_delay_is_that_of_the_mirror_filters() {
    let input = sine(433.0, 4_000);
    let output = decoded(&encoded(&input));
    assert_eq!(best_delay(&input, &output), 22);
}

/// The sums are of what the ITU-T's own program (G.191) makes of the same samples: noise of every loudness, then a
/// square wave at full scale.
#[test]
fn every_bit_is_that_of_the_reference() {
    let mut state = 3_u32;
    let noise = (0..48_000).map(|n| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as i32 >> (16 + n / 3_200 % 12)) as i16
    });
    let square = (0..16_000).map(|n| if n / 9 % 2 == 0 { i16::MAX } else { i16::MIN });
    let octets = encoded(&noise.chain(square).collect::<Vec<_>>());
    assert_eq!(checksum(octets.iter().copied()), 0x80B1_3459_A40F_C109);
    let samples = decoded(&octets);
    assert_eq!(
        checksum(samples.iter().flat_map(|sample| sample.to_le_bytes())),
        0x7EA6_2D74_2C38_537A
    );
}

/// FNV-1a.
fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[test]
fn portions_of_any_size_give_the_same_octets_and_samples() {
    let input = noise(4_000);
    let octets = encoded(&input);
    let samples = decoded(&octets);
    for portion in [1, 2, 7, 80, 81, 160, 321] {
        let (mut encoder, mut out) = (G722Encoder::new(), Vec::new());
        input.chunks(portion).for_each(|part| encoder.encode(part, &mut out));
        assert_eq!(out, octets, "{portion}");
        let (mut decoder, mut out) = (G722Decoder::new(), Vec::new());
        octets.chunks(portion).for_each(|part| decoder.decode(part, &mut out));
        assert_eq!(out, samples, "{portion}");
    }
}

#[test]
fn silence_stays_silence() {
    let output = decoded(&encoded(&[0; 3_200]));
    assert!(level::dbfs(&output[320..]) < -70.0, "{}", level::dbfs(&output));
}

#[test]
fn any_octets_and_any_samples_are_taken() {
    let mut state = 7_u32;
    let mut octet = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let octets: Vec<u8> = (0..40_000).map(|_| octet()).collect();
    assert_eq!(decoded(&octets).len(), 80_000);
    for octet in 0..=255 {
        assert_eq!(decoded(&[octet; 500]).len(), 1_000);
    }
    let square: Vec<i16> = (0..32_000)
        .map(|n| if n / 9 % 2 == 0 { i16::MAX } else { i16::MIN })
        .collect();
    assert_eq!(encoded(&square).len(), 16_000);
}

fn encoded(pcm: &[i16]) -> Vec<u8> {
    let mut out = Vec::new();
    G722Encoder::new().encode(pcm, &mut out);
    out
}

fn decoded(octets: &[u8]) -> Vec<i16> {
    let mut out = Vec::new();
    G722Decoder::new().decode(octets, &mut out);
    out
}

fn sine(hz: f64, len: usize) -> Vec<i16> {
    let sample = |n: usize| (8_000.0 * (std::f64::consts::TAU * hz * n as f64 / 16_000.0).sin()) as i16;
    (0..len).map(sample).collect()
}

fn noise(len: usize) -> Vec<i16> {
    let mut state = 3_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as i32 >> 18) as i16
    };
    (0..len).map(|_| next()).collect()
}

fn error(input: &[i16], output: &[i16], delay: usize) -> f64 {
    let pairs = input.iter().zip(&output[delay..]).skip(input.len() / 2);
    pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

fn best_delay(input: &[i16], output: &[i16]) -> usize {
    (0..40)
        .min_by(|&a, &b| error(input, output, a).total_cmp(&error(input, output, b)))
        .unwrap_or(0)
}

/// Signal to noise at the delay that fits best, in dB.
fn best_ratio(input: &[i16], output: &[i16]) -> f64 {
    let power: f64 = input[input.len() / 2..]
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum();
    10.0 * (power / error(input, output, best_delay(input, output))).log10()
}
