//! The tones of a benchmark: every caller and every session has a pitch of its own, so that sound which is lost, slow,
//! garbled or on the wrong call is noticed.

use crate::audio::Codec;

/// The deepest caller, in Hz.
const CALLER_LOW_HZ: f32 = 300.0;

/// Packets of 20 ms after which a caller's sound repeats.
pub const CALLER_LOOP_PACKETS: usize = 40;

/// The most callers with a pitch of their own, of whatever codec.
pub const CALLERS_MAX: usize = Scale::FINE.callers;

/// The deepest session, in Hz.
const SESSION_LOW_HZ: f32 = 300.0;

/// Between two sessions, in Hz; a delta of 200 ms holds whole waves of each.
const SESSION_STEP_HZ: f32 = 5.0;

/// Sessions with a pitch of their own; further ones share.
const SESSION_PITCHES: usize = 300;

/// A pitch counts as the right one within this share of what is between two.
const TOLERANCE: f32 = 0.4;

/// The pitches of the callers of a codec, from 300 to 1,800 Hz. [`CALLER_LOOP_PACKETS`] packets hold whole waves of each.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    step_hz: f32,
    /// The most callers with a pitch of their own.
    pub callers: usize,
}

/// Sound that one measurement of a pitch takes.
const WINDOW_MS: usize = 1_600;

impl Scale {
    const FINE: Self = Self {
        step_hz: 1.25,
        callers: 1_200,
    };

    /// Opus loses a wave now and then behind a loud packet.
    const COARSE: Self = Self {
        step_hz: 10.0,
        callers: 150,
    };

    /// The scale for callers of this codec.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::Opus => Self::COARSE,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => Self::FINE,
        }
    }

    /// The pitch of a caller.
    pub fn pitch(self, caller: usize) -> f32 {
        CALLER_LOW_HZ + self.step_hz * caller as f32
    }

    /// The caller whose pitch this is.
    pub fn caller(self, hz: f32) -> Option<usize> {
        let number = ((hz - CALLER_LOW_HZ) / self.step_hz).round();
        let is_one = (0.0..self.callers as f32).contains(&number);
        let caller = number.max(0.0) as usize;
        (is_one && (self.pitch(caller) - hz).abs() <= self.step_hz * TOLERANCE).then_some(caller)
    }
}

/// The pitch of a session.
pub fn of_session(number: usize) -> f32 {
    SESSION_LOW_HZ + SESSION_STEP_HZ * (number % SESSION_PITCHES) as f32
}

/// Whether this is the pitch of that session.
pub fn is_of_session(hz: f32, speaks_hz: f32) -> bool {
    (hz - speaks_hz).abs() <= SESSION_STEP_HZ * TOLERANCE
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

/// A crossing counts once the wave has been this far below zero: beyond most of the noise of a lossy codec, and short of
/// what such a codec makes of a voice right behind a loud packet.
const HYSTERESIS: i16 = 500;

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

    const FINE: Scale = Scale::FINE;

    #[test]
    fn the_pitch_of_every_caller_is_told_from_its_neighbours_at_every_rate() {
        for rate in [8_000, 16_000, 24_000] {
            for number in [0, 1, 2, 500, 1_198, 1_199] {
                let heard = measured(&pcm(FINE.pitch(number), rate, 4_000.0, rate as usize * 2), rate);
                assert_eq!(heard.and_then(|hz| FINE.caller(hz)), Some(number), "{rate}: {heard:?}");
            }
        }
    }

    #[test]
    fn companding_does_not_hide_a_pitch() {
        for number in [3, 700, 1_199] {
            let mut code = Vec::new();
            Law::Mu.encode(&pcm(FINE.pitch(number), 8_000, 4_000.0, 16_000), &mut code);
            let mut heard = Vec::new();
            Law::Mu.decode(&code, &mut heard);
            assert_eq!(measured(&heard, 8_000).and_then(|hz| FINE.caller(hz)), Some(number));
        }
    }

    #[test]
    fn sound_at_the_wrong_speed_is_no_callers() {
        // 16 kHz taken for 24 kHz.
        let sound = pcm(FINE.pitch(1_000), 16_000, 4_000.0, 48_000);
        assert_eq!(measured(&sound, 24_000).and_then(|hz| FINE.caller(hz)), None);
        assert_eq!(FINE.caller(FINE.pitch(5) + 0.6), None);
        assert_eq!(
            (FINE.caller(f32::NAN), FINE.caller(1e9), FINE.caller(-1e9)),
            (None, None, None)
        );
    }

    #[test]
    fn loops_hold_whole_waves() {
        let waves = |hz: f32, ms: f32| (hz * ms / 1_000.0).fract();
        let loop_ms = 20.0 * CALLER_LOOP_PACKETS as f32;
        for scale in [Scale::FINE, Scale::COARSE] {
            assert!((0..scale.callers).all(|number| waves(scale.pitch(number), loop_ms) == 0.0));
        }
        assert!((0..SESSION_PITCHES).all(|number| waves(of_session(number), 200.0) == 0.0));
    }

    #[test]
    fn silence_has_no_pitch_of_anybody() {
        assert_eq!(measured(&[0; 16_000], 8_000).and_then(|hz| FINE.caller(hz)), None);
    }

    fn measured(pcm: &[i16], rate: u32) -> Option<f32> {
        let mut meter = Meter::new(rate);
        pcm.chunks(160).find_map(|packet| meter.hear(packet))
    }
}
