//! Keys we press, as telephone-events in place of audio (RFC 4733): one packet per packet time while a key is held, then
//! its end three times, all with the timestamp of the press, and a pause before the next key.
//!
//! What the agent says waits meanwhile; nothing of it is lost.

use std::collections::VecDeque;

use crate::rtp::telephone_event::{self, Event};

/// Keys that may wait; more are dropped, because nobody dials longer numbers than this into a menu.
pub const DIGITS_MAX: usize = 64;

/// How long a key is held; the shortest that every receiver takes is 40 ms, most want 70.
const HELD_MS: u32 = 160;
/// The pause between two keys.
const PAUSE_MS: u32 = 100;

/// The keys still to be pressed.
#[derive(Clone, Debug, Default)]
pub(super) struct Keypad {
    waiting: VecDeque<char>,
    packets: VecDeque<Event>,
    pause_ms: u32,
}

impl Keypad {
    /// Presses these keys after those that wait. What is no key is left out.
    pub(super) fn press(&mut self, digits: &str) {
        let keys = digits.chars().filter(|digit| telephone_event::is_key(*digit));
        let room = DIGITS_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(keys.take(room));
    }

    /// Whether nothing is being pressed and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.packets.is_empty()
    }

    /// The packet of the packet time that begins at `timestamp`, by a clock of so many Hz; none leaves it to audio.
    pub(super) fn next(&mut self, timestamp: u32, packet_time_ms: u32, clock_hz: u32) -> Option<Event> {
        if self.packets.is_empty() && self.pause_ms == 0 {
            self.begin(timestamp, packet_time_ms, clock_hz / 1_000);
        }
        let event = self.packets.pop_front();
        self.pause_ms = match (&event, self.packets.is_empty()) {
            (Some(_), true) => PAUSE_MS,
            _ => self.pause_ms.saturating_sub(packet_time_ms),
        };
        event
    }

    /// Nothing can be pressed: the far end knows no telephone-events, or the line is held.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A press of this length fits the duration field at any clock.
    fn begin(&mut self, timestamp: u32, packet_time_ms: u32, ticks_per_ms: u32) {
        let Some(key) = self.waiting.pop_front() else { return };
        let packet_ticks = (packet_time_ms * ticks_per_ms) as u16;
        let held = HELD_MS.next_multiple_of(packet_time_ms.max(1)) * ticks_per_ms;
        self.packets.extend(
            telephone_event::press(key, timestamp, held as u16, packet_ticks)
                .into_iter()
                .flatten(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_ended_three_times_and_kept_apart() {
        for clock_hz in [8_000, 16_000, 48_000] {
            let mut keypad = Keypad::default();
            keypad.press("1x#");
            let mut reader = telephone_event::Reader::default();
            let (mut told, mut packets, mut pauses, mut longest) = (String::new(), 0, 0, 0);
            for tick in 0..40_u32 {
                match keypad.next(tick * clock_hz / 50, 20, clock_hz) {
                    Some(event) => {
                        packets += 1;
                        longest = longest.max(u16::from_be_bytes([event.payload[2], event.payload[3]]));
                        told.extend(reader.read(event.timestamp, event.marker, &event.payload));
                    }
                    None if !keypad.is_idle() => pauses += 1,
                    None => {}
                }
            }
            assert_eq!((told.as_str(), packets, pauses), ("1#", 2 * (8 + 3), 5));
            assert_eq!(u32::from(longest), HELD_MS * clock_hz / 1_000);
        }
    }

    #[test]
    fn no_more_keys_wait_than_there_is_room_for() {
        let mut keypad = Keypad::default();
        keypad.press(&"1".repeat(DIGITS_MAX + 9));
        assert_eq!(keypad.waiting.len(), DIGITS_MAX);
    }
}
