//! The clock that all processes of a benchmark read, and the even slots that the loads are driven by.
//!
//! Times are nanoseconds of the machine's wall clock: the kernel stamps packets with it, and it is one clock for every
//! process. A step of it during a measurement would spoil that measurement.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// The wall clock, in nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until this time; returns at once when it is over.
pub fn sleep_until(time: u64) {
    let left = time.saturating_sub(now());
    if left > 0 {
        thread::sleep(Duration::from_nanos(left));
    }
}

/// Has the kernel wake this thread when it asked for it, instead of up to 50 µs later.
pub fn wake_punctually() {
    // Without it the load is only a little later than it could be, and says so in its column.
    let _ = nix::sys::prctl::set_timerslack(1_000);
}

/// Absolute deadlines at an even distance. One that is missed is not skipped: its work is done late.
#[derive(Debug)]
pub struct Slots {
    start: u64,
    length: u64,
    next: u64,
}

impl Slots {
    /// Slots of this many nanoseconds from now on.
    pub fn new(length: u64) -> Self {
        Self {
            start: now(),
            length,
            next: 0,
        }
    }

    /// The number of the next slot and its deadline, once it has come.
    pub fn wait(&mut self) -> (u64, u64) {
        let number = self.next;
        let deadline = self.start + number * self.length;
        self.next += 1;
        sleep_until(deadline);
        (number, deadline)
    }
}
