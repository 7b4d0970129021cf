//! Keys the far end presses, each heard once although it may come in several ways at a time: as an event in RTP, by INFO,
//! and as tones in the sound.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::KeyWay;

/// How keys travel in one call, and whether the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The ways keys are heard, and pressed by: by the first that the far end takes.
    pub ways: Vec<KeyWay>,
    /// Whether the agent is told of keys.
    pub told: bool,
}

/// Tells presses apart from echoes of them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    recent: VecDeque<Press>,
}

#[derive(Debug)]
struct Press {
    key: char,
    at: Instant,
    /// The ways it has come in.
    ways: Vec<KeyWay>,
}

/// The same key by another way within this is the same press: an INFO travels with the signalling, and a tone is heard
/// only after a while.
const ECHO_MAX: Duration = Duration::from_millis(1_500);
/// Presses remembered; nobody presses more in that time.
const PRESSES_MAX: usize = 16;

impl Default for Settings {
    fn default() -> Self {
        Self {
            ways: vec![KeyWay::Event, KeyWay::Info],
            told: true,
        }
    }
}

impl Keys {
    /// Whether this is a press not heard before.
    pub(super) fn is_new(&mut self, now: Instant, key: char, way: KeyWay) -> bool {
        let recent = |press: &Press| now.saturating_duration_since(press.at) < ECHO_MAX;
        self.recent.retain(recent);
        let echo = self
            .recent
            .iter_mut()
            .find(|press| press.key == key && !press.ways.contains(&way));
        if let Some(press) = echo {
            press.ways.push(way);
            return false;
        }
        if self.recent.len() == PRESSES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Press {
            key,
            at: now,
            ways: vec![way],
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_in_three_ways_is_one() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let heard = [(0, KeyWay::Event), (60, KeyWay::Tone), (900, KeyWay::Info)];
        let new = heard.map(|(ms, way)| keys.is_new(now + Duration::from_millis(ms), '5', way));
        assert_eq!(new, [true, false, false]);
    }

    #[test]
    fn a_key_pressed_twice_in_two_ways_is_two() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let heard = [
            (0, KeyWay::Event),
            (50, KeyWay::Info),
            (200, KeyWay::Event),
            (260, KeyWay::Info),
        ];
        let new = heard.map(|(ms, way)| keys.is_new(now + Duration::from_millis(ms), '5', way));
        assert_eq!(new, [true, false, true, false]);
        // Both events come before both of their echoes.
        let heard = [
            (5_000, KeyWay::Event),
            (5_200, KeyWay::Event),
            (5_300, KeyWay::Tone),
            (5_400, KeyWay::Tone),
        ];
        let new = heard.map(|(ms, way)| keys.is_new(now + Duration::from_millis(ms), '5', way));
        assert_eq!(new, [true, true, false, false]);
    }

    #[test]
    fn another_key_or_a_later_one_is_a_press_of_its_own() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        assert!(keys.is_new(now, '5', KeyWay::Event));
        assert!(keys.is_new(now, '6', KeyWay::Tone));
        assert!(keys.is_new(now + ECHO_MAX, '5', KeyWay::Tone));
    }
}
