//! When packets leave: at absolute deadlines `start + n × packet time`, so that no lateness adds up.
//!
//! An owner that comes a little late catches up, two packets in each packet time and never at once; one that comes far
//! too late passes over the packet times it missed: a burst would only overflow the far end's jitter buffer.

use std::time::{Duration, Instant};

/// The clock of one outgoing stream.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    start: Instant,
    ticks: u64,
    packet_time_ms: u32,
    /// While catching up: not before this.
    held_until: Option<Instant>,
}

/// A packet time that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Packet times passed over before this one.
    pub skipped: u64,
}

/// From so many packet times behind on, what was missed is passed over instead of sent in a burst.
pub const LATE_TICKS_MAX: u64 = 5;

impl Pacer {
    /// The first deadline is one packet time after `start`: audio is sent when it is over.
    pub(super) fn new(start: Instant, packet_time_ms: u32) -> Self {
        Self {
            start,
            ticks: 1,
            packet_time_ms: packet_time_ms.max(1),
            held_until: None,
        }
    }

    /// Another packet time from the present deadline on.
    pub(super) fn set_packet_time(&mut self, packet_time_ms: u32) {
        if packet_time_ms != self.packet_time_ms {
            *self = Self {
                start: self.nominal(),
                ticks: 0,
                packet_time_ms: packet_time_ms.max(1),
                held_until: self.held_until,
            };
        }
    }

    pub(super) fn packet_time_ms(&self) -> u32 {
        self.packet_time_ms
    }

    /// When the next packet leaves.
    pub(super) fn deadline(&self) -> Instant {
        let nominal = self.nominal();
        self.held_until.map_or(nominal, |held| held.max(nominal))
    }

    fn nominal(&self) -> Instant {
        self.start + Duration::from_millis(self.ticks.saturating_mul(self.packet_time_ms.into()))
    }

    fn packet_time(&self) -> Duration {
        Duration::from_millis(self.packet_time_ms.into())
    }

    /// The packet time that is due, if one is; ask again for the next.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Tick> {
        now.checked_duration_since(self.deadline())?;
        let late = now.saturating_duration_since(self.nominal());
        let behind = late.as_millis() as u64 / u64::from(self.packet_time_ms);
        let skipped = if behind >= LATE_TICKS_MAX { behind } else { 0 };
        self.ticks += skipped + 1;
        self.held_until = Some(now + self.packet_time() / 2);
        Some(Tick { skipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_exact_however_late_each_is_met() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 20);
        for index in 1..=10_000_u32 {
            assert_eq!(pacer.deadline(), start + Duration::from_millis(20) * index);
            assert_eq!(pacer.tick(pacer.deadline() - Duration::from_nanos(1)), None);
            let late = Duration::from_micros(u64::from(index % 19_000));
            assert_eq!(pacer.tick(pacer.deadline() + late), Some(Tick { skipped: 0 }));
        }
    }

    #[test]
    fn a_little_late_is_made_up_for_two_at_a_time_and_far_too_late_is_passed_over() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 20);
        let late = start + Duration::from_millis(20 * LATE_TICKS_MAX);
        assert_eq!(pacer.tick(late), Some(Tick { skipped: 0 }));
        assert_eq!(pacer.tick(late), None);
        let mut ticks = 1;
        for ms in 0..200 {
            ticks += u64::from(pacer.tick(late + Duration::from_millis(ms)).is_some());
            assert!(ticks <= 1 + ms / 10, "{ticks} packets within {ms} ms");
        }
        assert_eq!(ticks, LATE_TICKS_MAX + 9);
        let far = pacer.deadline() + Duration::from_millis(20 * LATE_TICKS_MAX);
        assert_eq!(
            pacer.tick(far),
            Some(Tick {
                skipped: LATE_TICKS_MAX
            })
        );
        assert_eq!(pacer.tick(far), None);
        assert_eq!(pacer.deadline(), far + Duration::from_millis(20));
    }

    #[test]
    fn another_packet_time_begins_at_the_next_deadline() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 20);
        pacer.set_packet_time(30);
        assert_eq!(pacer.deadline(), start + Duration::from_millis(20));
        pacer.tick(pacer.deadline());
        assert_eq!(pacer.deadline(), start + Duration::from_millis(50));
    }
}
