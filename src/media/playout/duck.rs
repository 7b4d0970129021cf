//! The agent made quieter while it is not clear whether the caller cuts in.

/// A quarter of the amplitude: 12 dB less, still to be followed.
const DUCKED: i32 = 64;

/// As loud as ever.
const FULL: i32 = 256;

/// Over this the loudness changes, so that nothing clicks.
const RAMP_MS: usize = 10;

/// How loud the agent is now, and is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duck {
    gain: i32,
    target: i32,
}

impl Duck {
    /// As loud as ever.
    pub(super) fn new() -> Self {
        Self {
            gain: FULL,
            target: FULL,
        }
    }

    pub(super) fn set(&mut self, ducked: bool) {
        self.target = if ducked { DUCKED } else { FULL };
    }

    /// At once as loud as ever: what comes next is not what was made quieter.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Makes the next samples as loud as they are to be.
    pub(super) fn apply(&mut self, pcm: &mut [i16], per_ms: usize) {
        if (self.gain, self.target) == (FULL, FULL) {
            return;
        }
        let (from, ramp) = (self.gain, (RAMP_MS * per_ms) as i32);
        for (index, sample) in pcm.iter_mut().enumerate() {
            let step = (index as i32 + 1).min(ramp);
            self.gain = from + (self.target - from) * step / ramp;
            *sample = (i32::from(*sample) * self.gain / FULL) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loudness_changes_over_ten_milliseconds_and_back() {
        let mut duck = Duck::new();
        let packet = |duck: &mut Duck| {
            let mut pcm = [8_000i16; 160];
            duck.apply(&mut pcm, 8);
            pcm
        };
        assert_eq!(packet(&mut duck), [8_000; 160]);
        duck.set(true);
        let down = packet(&mut duck);
        assert_eq!((down[79], down[159]), (2_000, 2_000));
        assert!(down.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 100));
        assert_eq!(packet(&mut duck), [2_000; 160]);
        duck.set(false);
        let up = packet(&mut duck);
        assert!(up[0] < 2_200 && up[79] == 8_000);
        assert_eq!(packet(&mut duck), [8_000; 160]);
    }

    #[test]
    fn a_change_in_the_middle_of_a_change_does_not_jump() {
        let mut duck = Duck::new();
        duck.set(true);
        let mut first = [8_000i16; 40];
        duck.apply(&mut first, 8);
        duck.set(false);
        let mut second = [8_000i16; 40];
        duck.apply(&mut second, 8);
        assert!((first[39] - second[0]).abs() <= 100);
        duck.set(true);
        duck.reset();
        let mut third = [8_000i16; 40];
        duck.apply(&mut third, 8);
        assert_eq!(third, [8_000; 40]);
    }
}
