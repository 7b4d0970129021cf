//! Lag: how late a thread is with its work, as told by a tick that should come at even steps.
//!
//! Whoever runs the tick reports when it fired; whoever asks also counts the tick that has not come yet, so a thread
//! that hangs is as late as it hangs. One late tick changes little, lasting lateness shows within a few hundred
//! milliseconds.

use std::time::{Duration, Instant};

/// How often the tick should fire.
pub const TICK: Duration = Duration::from_millis(20);

/// How much one tick counts: the mean forgets with a time constant of this many ticks.
const WEIGHT: u32 = 16;

/// The lateness of one thread.
#[derive(Debug, Clone, Copy)]
pub struct Lag {
    due: Instant,
    mean: Duration,
}

impl Lag {
    /// A thread that is on time; its first tick is due a step from now.
    pub fn new(now: Instant) -> Self {
        Self {
            due: now + TICK,
            mean: Duration::ZERO,
        }
    }

    /// When the next tick is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The tick fired. How late it was.
    pub fn fired(&mut self, now: Instant) -> Duration {
        let late = now.saturating_duration_since(self.due);
        self.mean = (self.mean * (WEIGHT - 1) + late) / WEIGHT;
        // Ticks that a long pause swallowed are not made up for.
        self.due = if late < TICK { self.due + TICK } else { now + TICK };
        late
    }

    /// How late the thread is now.
    pub fn get(&self, now: Instant) -> Duration {
        self.mean.max(now.saturating_duration_since(self.due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_on_time_has_no_lag() {
        let (mut lag, _) = started();
        for _ in 0..100 {
            tick(&mut lag, Duration::ZERO);
        }
        assert_eq!(lag.get(lag.due()), Duration::ZERO);
    }

    #[test]
    fn one_late_tick_is_nothing_and_lasting_lateness_shows_and_passes() {
        let (mut lag, _) = started();
        let late = Duration::from_millis(300);
        let now = tick(&mut lag, late);
        assert!(lag.get(now) < Duration::from_millis(20), "{:?}", lag.get(now));
        let ticks = (1..100).find(|_| {
            let now = tick(&mut lag, late);
            lag.get(now) > Duration::from_millis(100)
        });
        assert!((4..=8).contains(&ticks.unwrap()), "{ticks:?}");
        let ticks = (1..100).find(|_| {
            let now = tick(&mut lag, Duration::ZERO);
            lag.get(now) < Duration::from_millis(10)
        });
        assert!(ticks.unwrap() <= 50, "{ticks:?}");
    }

    #[test]
    fn a_tick_that_does_not_come_counts_while_it_is_missing() {
        let (lag, start) = started();
        let hung = Duration::from_secs(3);
        assert_eq!(lag.get(start + TICK + hung), hung);
    }

    fn started() -> (Lag, Instant) {
        let start = Instant::now();
        (Lag::new(start), start)
    }

    fn tick(lag: &mut Lag, late: Duration) -> Instant {
        let now = lag.due() + late;
        assert_eq!(lag.fired(now), late);
        now
    }
}
