//! The tones of a benchmark: every caller and every session has a pitch of its own, so that sound which is lost, slow,
//! garbled or on the wrong call is noticed.

/// The deepest caller, in Hz.
const CALLER_LOW_HZ: f32 = 300.0;

/// Between two callers, in Hz; a loop of [`CALLER_LOOP_PACKETS`] packets holds whole waves of each.
const CALLER_STEP_HZ: f32 = 1.25;

/// Packets of 20 ms after which a caller's sound repeats.
pub const CALLER_LOOP_PACKETS: usize = 40;

/// The most callers with a pitch of their own; the highest of them is 1,800 Hz.
pub const CALLERS_MAX: usize = 1_200;

/// The deepest session, in Hz.
const SESSION_LOW_HZ: f32 = 300.0;

/// Between two sessions, in Hz; a delta of 200 ms holds whole waves of each.
const SESSION_STEP_HZ: f32 = 5.0;

/// Sessions with a pitch of their own; further ones share.
const SESSION_PITCHES: usize = 300;

/// A pitch counts as the right one within this distance: less than half of what is between two callers.
pub const TOLERANCE_HZ: f32 = 0.5;

/// Sound that one measurement of a pitch takes.
const WINDOW_MS: usize = 1_600;

/// The pitch of a caller.
pub fn of_caller(number: usize) -> f32 {
    CALLER_LOW_HZ + CALLER_STEP_HZ * number as f32
}

/// The caller whose pitch this is.
pub fn caller(hz: f32) -> Option<usize> {
    let number = ((hz - CALLER_LOW_HZ) / CALLER_STEP_HZ).round();
    let is_one = (0.0..CALLERS_MAX as f32).contains(&number);
    let number = number.max(0.0) as usize;
    (is_one && (of_caller(number) - hz).abs() <= TOLERANCE_HZ).then_some(number)
}

/// The pitch of a session.
pub fn of_session(number: usize) -> f32 {
    SESSION_LOW_HZ + SESSION_STEP_HZ * (number % SESSION_PITCHES) as f32
}

/// `count` samples of a tone from its beginning on.
pub fn tone(hz: f32, rate_hz: u32, peak: f32, count: usize) -> Vec<f32> {
    let step = f64::from(hz) / f64::from(rate_hz) * std::f64::consts::TAU;
    let sample = |n: usize| (f64::from(peak) * (step * n as f64).sin()) as f32;
    (0..count).map(sample).collect()
}

/// The same as samples.
pub fn pcm(hz: f32, rate_hz: u32, peak: f32, count: usize) -> Vec<i16> {
    let tone = tone(hz, rate_hz, peak, count);
    tone.into_iter().map(|sample| sample as i16).collect()
}

/// Measures the pitch of a sound by its rising zero crossings.
#[derive(Debug, Clone)]
pub struct Meter {
    rate_hz: f32,
    window: usize,
    at: usize,
    last: i16,
    armed: bool,
    crossings: u32,
    first: f32,
    latest: f32,
}

/// A crossing counts once the wave has been this far below zero.
const HYSTERESIS: i16 = 300;

impl Meter {
    /// A meter for sound of this rate.
    pub fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: rate_hz as f32,
            window: rate_hz as usize / 1_000 * WINDOW_MS,
            at: 0,
            last: 0,
            armed: false,
            crossings: 0,
            first: 0.0,
            latest: 0.0,
        }
    }

    /// Begins again, because the sound was interrupted.
    pub fn reset(&mut self) {
        (self.at, self.crossings, self.armed) = (0, 0, false);
    }

    /// More of the sound; its pitch each time enough has come.
    pub fn hear(&mut self, pcm: &[i16]) -> Option<f32> {
        for &sample in pcm {
            if sample < -HYSTERESIS {
                self.armed = true;
            } else if self.armed && sample >= 0 {
                self.cross(sample);
            }
            self.last = sample;
            self.at += 1;
        }
        if self.at < self.window {
            return None;
        }
        let waves = self.crossings.saturating_sub(1) as f32;
        let pitch = waves * self.rate_hz / (self.latest - self.first).max(1.0);
        self.reset();
        Some(pitch)
    }

    fn cross(&mut self, sample: i16) {
        self.armed = false;
        let (before, after) = (f32::from(self.last), f32::from(sample));
        let position = self.at as f32 - after / (after - before).max(1.0);
        if self.crossings == 0 {
            self.first = position;
        }
        self.latest = position;
        self.crossings += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;

    #[test]
    fn the_pitch_of_every_caller_is_told_from_its_neighbours_at_every_rate() {
        for rate in [8_000, 16_000, 24_000] {
            for number in [0, 1, 2, 500, 1_198, 1_199] {
                let heard = measured(&pcm(of_caller(number), rate, 4_000.0, rate as usize * 2), rate);
                assert_eq!(heard.and_then(caller), Some(number), "{rate}: {heard:?}");
            }
        }
    }

    #[test]
    fn companding_does_not_hide_a_pitch() {
        for number in [3, 700, 1_199] {
            let mut code = Vec::new();
            Law::Mu.encode(&pcm(of_caller(number), 8_000, 4_000.0, 16_000), &mut code);
            let mut heard = Vec::new();
            Law::Mu.decode(&code, &mut heard);
            assert_eq!(measured(&heard, 8_000).and_then(caller), Some(number));
        }
    }

    #[test]
    fn sound_at_the_wrong_speed_is_no_callers() {
        // 16 kHz taken for 24 kHz.
        let sound = pcm(of_caller(1_000), 16_000, 4_000.0, 48_000);
        assert_eq!(measured(&sound, 24_000).and_then(caller), None);
        assert_eq!(caller(of_caller(5) + 0.6), None);
        assert_eq!((caller(f32::NAN), caller(1e9), caller(-1e9)), (None, None, None));
    }

    #[test]
    fn loops_hold_whole_waves() {
        let waves = |hz: f32, ms: f32| (hz * ms / 1_000.0).fract();
        let loop_ms = 20.0 * CALLER_LOOP_PACKETS as f32;
        assert!((0..CALLERS_MAX).all(|number| waves(of_caller(number), loop_ms) == 0.0));
        assert!((0..SESSION_PITCHES).all(|number| waves(of_session(number), 200.0) == 0.0));
    }

    #[test]
    fn silence_has_no_pitch_of_anybody() {
        assert_eq!(measured(&[0; 16_000], 8_000).and_then(caller), None);
    }

    fn measured(pcm: &[i16], rate: u32) -> Option<f32> {
        let mut meter = Meter::new(rate);
        pcm.chunks(160).find_map(|packet| meter.hear(packet))
    }
}
