//! Sound that tests make and measure.

use crate::audio::{SampleRate, Tone};

pub(super) fn tone(rate: SampleRate, hz: f32, ms: usize) -> Vec<i16> {
    let mut pcm = vec![0; ms * rate.per_ms()];
    Tone::new(rate, hz, -12.0).fill(&mut pcm);
    pcm
}

/// The largest step between neighbours.
pub(super) fn steepest(pcm: &[i16]) -> i32 {
    let steps = pcm
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    steps.max().unwrap_or(0)
}
