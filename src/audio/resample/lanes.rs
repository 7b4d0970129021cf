//! Sixteen neighbouring outputs of a filter at once.
//!
//! Two taps at a time meet two neighbouring samples: the even outputs take them from one place on, the odd ones from the
//! next. The sums of every eight such pairs are halved before they are joined, so that none leaves 32 bits.

/// Outputs computed side by side.
pub(super) const LANES: usize = 16;
/// Pairs of taps taken in one go.
pub(super) const RUN: usize = 8;

/// The sums under way, and those halved.
pub(super) struct Sums {
    now: [i32; LANES],
    halved: [i32; LANES],
}

impl Sums {
    pub(super) fn new() -> Self {
        Self {
            now: [0; LANES],
            halved: [0; LANES],
        }
    }

    /// As many taps as a run has.
    pub(super) fn add_run(&mut self, samples: &[i16; 2 * RUN + LANES - 1], taps: &[[i16; 8]; RUN]) {
        for (window, taps) in samples.windows(LANES + 1).step_by(2).zip(taps) {
            self.add(window.first_chunk().unwrap_or(&[0; LANES + 1]), taps);
        }
        self.fold();
    }

    /// Two taps.
    pub(super) fn add(&mut self, samples: &[i16; LANES + 1], taps: &[i16; 8]) {
        for (sum, pair) in self.now.iter_mut().zip(samples.windows(2)) {
            *sum += i32::from(pair[0]) * i32::from(taps[0]) + i32::from(pair[1]) * i32::from(taps[1]);
        }
    }

    /// Halves what was added since the last time.
    pub(super) fn fold(&mut self) {
        for (halved, now) in self.halved.iter_mut().zip(&mut self.now) {
            *halved += *now >> 1;
            *now = 0;
        }
    }

    /// The sums divided by two to the power of `shift`, rounded and saturated.
    pub(super) fn to_samples(&self, shift: u32) -> [i16; LANES] {
        self.halved.map(|sum| {
            let rounded = (sum + (1 << (shift - 2))) >> (shift - 1);
            rounded.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
        })
    }
}
