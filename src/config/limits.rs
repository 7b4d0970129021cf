//! `[limits]`: how much, and how long.

use std::time::Duration;

use super::{effective::Writer, section::Section, trunk_limits::CALLS_PER_S_MAX};

const DAY_S: u64 = 24 * 60 * 60;

/// Settings of `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls at the same time; one more is refused with `calls_max`.
    pub calls_max: usize,
    /// New calls a second, in both directions; 0: no limit. One more is refused with `calls_rate`.
    pub calls_per_s: u32,
    /// How long one call may last, from its answer; then it ends with `duration_max`.
    pub call_duration_max: Duration,
    /// How long calls may go on after the order to stop; what is left then ends with `drained`.
    pub drain_max: Duration,
    /// How long a call may ring before its session is ready; then it is refused with `session_unavailable`.
    pub ring_max: Duration,
    /// How late the timers of media and signalling may fire; while they fire later, new calls are refused with
    /// `overloaded_cpu`. `None`: however late.
    pub lag_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1000,
            calls_per_s: 0,
            call_duration_max: Duration::from_secs(7200),
            drain_max: Duration::from_secs(120),
            ring_max: Duration::from_secs(60),
            lag_max: Some(Duration::from_millis(100)),
        }
    }
}

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let limits = Self {
            calls_max: section.whole("calls_max", default.calls_max as u64, 1..=100_000, "calls") as usize,
            calls_per_s: section.whole("calls_per_s", 0, 0..=CALLS_PER_S_MAX, "calls") as u32,
            call_duration_max: section.seconds("call_duration_s_max", default.call_duration_max, 1..=DAY_S),
            drain_max: section.seconds("drain_s_max", default.drain_max, 0..=DAY_S),
            ring_max: section.seconds("ring_s_max", default.ring_max, 1..=180),
            lag_max: read_lag_max(&mut section, default.lag_max),
        };
        section.finish();
        limits
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[limits]");
        out.whole("calls_max", self.calls_max);
        out.whole("calls_per_s", self.calls_per_s);
        out.whole("call_duration_s_max", self.call_duration_max.as_secs());
        out.whole("drain_s_max", self.drain_max.as_secs());
        out.whole("ring_s_max", self.ring_max.as_secs());
        out.whole("lag_ms_max", self.lag_max.map_or(0, |lag| lag.as_millis()));
    }
}

fn read_lag_max(section: &mut Section<'_>, default: Option<Duration>) -> Option<Duration> {
    let lag = section.millis("lag_ms_max", default.unwrap_or_default(), 0..=10_000);
    Some(lag).filter(|lag| !lag.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn settings_are_read() {
        let text = "[limits]\ncalls_max = 1\ncalls_per_s = 9\ncall_duration_s_max = 2\ndrain_s_max = 0\nring_s_max = 4\n\
                    lag_ms_max = 0";
        let limits = Limits {
            calls_max: 1,
            calls_per_s: 9,
            call_duration_max: Duration::from_secs(2),
            drain_max: Duration::ZERO,
            ring_max: Duration::from_secs(4),
            lag_max: None,
        };
        assert_eq!(read(text).limits, limits);
    }

    #[test]
    fn what_is_no_whole_number_in_range_is_refused() {
        assert_eq!(
            problems("[limits]\ncalls_max = 0\ncall_duration_s_max = 1.5\ndrain_s_max = \"10\"\nring_s_max = true"),
            [
                "f.toml:2:13: limits.calls_max = 0 is out of range: 1 to 100000 calls",
                "f.toml:3:23: limits.call_duration_s_max = 1.5 is not a whole number: 1 to 86400 s",
                "f.toml:4:15: limits.drain_s_max = \"10\" is not a whole number: 0 to 86400 s",
                "f.toml:5:14: limits.ring_s_max = true is not a whole number: 1 to 180 s",
            ]
        );
    }
}
