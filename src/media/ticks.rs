//! A length of audio at no particular rate: 1/48000 s, of which a sample of every line and session rate has a whole
//! number.

use std::time::{Duration, Instant};

use crate::audio::SampleRate;

/// So many 1/48000 s.
pub(super) type Ticks = u64;

pub(super) const TICKS_PER_MS: Ticks = 48;

/// Ticks in a sample.
pub(super) const fn per_sample(rate: SampleRate) -> Ticks {
    TICKS_PER_MS / rate.per_ms() as Ticks
}

/// How long so many samples are.
pub(super) const fn of(samples: usize, rate: SampleRate) -> Ticks {
    samples as Ticks * per_sample(rate)
}

pub(super) fn duration(ticks: Ticks) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(62_500) / 3)
}

/// What has passed between two moments.
pub(super) fn elapsed(from: Instant, to: Instant) -> Ticks {
    to.saturating_duration_since(from).as_nanos() as u64 * 3 / 62_500
}
