//! Clocks that disagree: how far one side's time line has moved from ours, and what is owed to bring it back.
//!
//! A packet or a delta may be late, never early: of many, the one that was least late shows where the other clock stands.
//! So it is the lowest figure of each few seconds that counts, and only what lies outside a margin is acted on. What is
//! owed is paid a few milliseconds at a time, in silence if there is any before it presses.

use std::time::Instant;

use super::{
    stretch::Liberty,
    ticks::{TICKS_PER_MS, Ticks, elapsed},
};

/// The caller's time line as the agent has it, against real time.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeLine {
    /// When it began, by what has been appended since.
    base: Option<Instant>,
    position: Ticks,
    lows: Lows,
    owed: i64,
}

/// How long before they are needed words come, when they come in real time.
#[derive(Clone, Debug, Default)]
pub(super) struct Depth {
    lows: Lows,
    /// The last figure, to tell a clock from a burst.
    before: Option<i64>,
    owed: i64,
    pressing: bool,
}

/// The lowest figure of so many.
#[derive(Clone, Debug, Default)]
struct Lows {
    count: u32,
    low: i64,
}

/// Packets or portions that are looked at together: two seconds of them at 20 ms.
const WINDOW: u32 = 100;
/// No more than this is paid back; past it the time line begins anew. A stall of our own is not made up for.
const OWED_MAX: i64 = 1_000 * MS;
/// As far as the time line may move before anything is owed, only silence is used, and before anything at all is.
const MARGIN: i64 = 20 * MS;
const PRESSING: i64 = 35 * MS;
const INTOLERABLE: i64 = 50 * MS;
/// As little as this is let go.
const TRIFLE: i64 = 5 * MS;
/// How early they should come when they are latest, and between which bounds nothing is done.
const DEPTH: i64 = 25 * MS;
const SHALLOW: i64 = 8 * MS;
const DEEP: i64 = 50 * MS;
const PRESSING_DEEP: i64 = 80 * MS;
/// A clock moves it by less than this from one window to the next.
const STEADY: i64 = 15 * MS;
/// More than this came faster than time passes, and will be over when it was said.
const DEPTH_MAX: i64 = 250 * MS;
const MS: i64 = TICKS_PER_MS as i64;

impl TimeLine {
    /// Audio was appended.
    pub(super) fn advance(&mut self, ticks: Ticks) {
        self.position += ticks;
    }

    /// How far it is behind real time; negative when ahead. Nothing before the first packet.
    pub(super) fn lag(&self, now: Instant) -> Option<i64> {
        let passed = elapsed(self.base?, now);
        Some(passed as i64 - self.position as i64)
    }

    /// A packet was heard just now.
    pub(super) fn heard(&mut self, now: Instant) {
        let Some(lag) = self.lag(now) else {
            self.begin(now);
            return;
        };
        let Some(low) = self.lows.push(lag) else { return };
        match low.abs() {
            OWED_MAX.. => self.begin(now),
            MARGIN.. => self.owed = low,
            _ => self.owed = 0,
        }
    }

    /// What is to be put in, or taken out when negative, and where that may be done.
    pub(super) fn owed(&self) -> Option<(i64, Liberty)> {
        let liberty = match self.owed.abs() {
            INTOLERABLE.. => Liberty::Any,
            PRESSING.. => Liberty::Alike,
            TRIFLE.. => Liberty::Quiet,
            _ => return None,
        };
        Some((self.owed, liberty))
    }

    /// So much was put in, or taken out.
    pub(super) fn pay(&mut self, ticks: i64) {
        self.owed -= ticks;
        self.lows.shift(-ticks);
    }

    fn begin(&mut self, now: Instant) {
        self.base = Some(now);
        self.position = 0;
        self.owed = 0;
        self.lows = Lows::default();
    }
}

impl Depth {
    /// Words came, so long before they are needed for sure.
    pub(super) fn arrived(&mut self, spare: i64) {
        let Some(low) = self.lows.push(spare) else {
            return;
        };
        let steady = self
            .before
            .replace(low)
            .is_some_and(|before| (low - before).abs() <= STEADY);
        self.pressing = !(SHALLOW / 2..PRESSING_DEEP).contains(&low);
        self.owed = match low {
            DEPTH_MAX.. | SHALLOW..DEEP => 0,
            _ if !steady => 0,
            _ => DEPTH - low,
        };
    }

    /// Words begin, or end: what was seen before says nothing any more.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// What is to be put in, or taken out when negative, and where that may be done.
    pub(super) fn owed(&self) -> Option<(i64, Liberty)> {
        let liberty = if self.pressing { Liberty::Alike } else { Liberty::Quiet };
        (self.owed.abs() >= TRIFLE).then_some((self.owed, liberty))
    }

    /// So much was put in, or taken out.
    pub(super) fn pay(&mut self, ticks: i64) {
        self.owed -= ticks;
        self.lows.shift(ticks);
        self.before = self.before.map(|low| low + ticks);
    }
}

impl Lows {
    /// The lowest of the last so many, when they are complete.
    fn push(&mut self, value: i64) -> Option<i64> {
        self.low = if self.count == 0 { value } else { self.low.min(value) };
        self.count += 1;
        (self.count == WINDOW).then(|| std::mem::take(self).low)
    }

    fn shift(&mut self, by: i64) {
        self.low += by;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_least_late_of_many_counts() {
        let start = Instant::now();
        let mut line = TimeLine::default();
        for index in 0..1_000_u32 {
            let late = Duration::from_millis(u64::from(index * 7 % 30));
            line.advance(20 * TICKS_PER_MS);
            line.heard(start + Duration::from_millis(20) * index + late);
            assert_eq!(line.owed(), None);
        }
    }

    #[test]
    fn a_clock_that_is_slower_owes_and_one_that_is_faster_gets_back() {
        for (ms, sign) in [(20.2, 1), (19.8, -1)] {
            let start = Instant::now();
            let mut line = TimeLine::default();
            let mut paid = 0;
            for index in 0..5_000_u32 {
                line.advance(20 * TICKS_PER_MS);
                let now = start + Duration::from_micros((ms * 1_000.0) as u64) * index;
                line.heard(now);
                if let Some((owed, _)) = line.owed() {
                    let part = owed.clamp(-10 * MS, 10 * MS);
                    line.pay(part);
                    line.advance(0);
                    line.position = line.position.saturating_add_signed(part);
                    paid += part;
                }
                assert!(line.lag(now).unwrap().abs() < 50 * MS);
            }
            assert!((paid * sign - 1_000 * MS).abs() < 60 * MS, "{paid}");
        }
    }

    #[test]
    fn a_stall_is_not_paid_back() {
        let start = Instant::now();
        let mut line = TimeLine::default();
        for index in 0..1_000_u32 {
            let stall = if index > 500 { 5 } else { 0 };
            line.advance(20 * TICKS_PER_MS);
            line.heard(start + Duration::from_millis(20) * index + Duration::from_secs(stall));
            assert_eq!(line.owed(), None);
        }
    }

    #[test]
    fn the_playout_is_kept_neither_shallow_nor_deep_unless_it_came_in_a_burst() {
        for (level, owed) in [(2, Some(23)), (20, None), (45, None), (70, Some(-45)), (1_000, None)] {
            let mut depth = Depth::default();
            for _ in 0..2 * WINDOW {
                depth.arrived(level * MS);
            }
            assert_eq!(depth.owed().map(|(owed, _)| owed), owed.map(|ms| ms * MS));
        }
    }
}
