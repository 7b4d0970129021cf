//! Keys pressed on the telephone, as named events (RFC 4733): four bytes, repeated while the key is held and three
//! times when it is released, all with the timestamp of the press.
//!
//! The reader tells a key the moment it sees it, so that lost packets, the last ones included, cost nothing. The
//! writer presses keys at the far end.

/// Tells each press once.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    current: Option<Press>,
    /// Timestamps of presses told before the current one, for packets that come late.
    past: [Option<u32>; PAST_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Press {
    event: u8,
    began: u32,
    duration: u16,
    ended: bool,
}

/// Presses remembered; a packet later than this many presses would be taken for a new one.
const PAST_MAX: usize = 4;
const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];
const END: u8 = 0x80;
const VOLUME: u8 = 0x3F;

impl Reader {
    /// Takes in one packet of the negotiated payload type; answers the key if it is news. Payloads too short to be an
    /// event, and events that are no keys (flash, tones), are nothing.
    pub fn read(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Option<char> {
        let &[event, flags, high, low, ..] = payload else {
            return None;
        };
        let key = KEYS.get(usize::from(event)).copied()?;
        let seen = Press {
            event,
            began: timestamp,
            duration: u16::from_be_bytes([high, low]),
            ended: flags & END != 0,
        };
        if self.is_past(timestamp)
            || self
                .current
                .as_mut()
                .is_some_and(|press| press.continues(&seen, marker))
        {
            return None;
        }
        self.begin(seen);
        Some(key)
    }

    fn is_past(&self, timestamp: u32) -> bool {
        self.past.contains(&Some(timestamp))
    }

    fn begin(&mut self, press: Press) {
        if let Some(ended) = self.current.replace(press) {
            self.past.rotate_right(1);
            self.past[0] = Some(ended.began);
        }
    }
}

impl Press {
    /// Whether the packet belongs to this press. One that lasts longer than the duration field can say goes on with a
    /// new timestamp and no marker (section 2.5.1.3), right where the last one left off.
    fn continues(&mut self, seen: &Self, marker: bool) -> bool {
        let moved = seen.began.wrapping_sub(self.began);
        // Packets of the first part may be lost; the second begins where the first could go no further.
        let behind = moved <= u32::from(self.duration) || moved == u32::from(u16::MAX);
        let goes_on = !marker && !self.ended && seen.event == self.event && behind;
        if moved != 0 && !goes_on {
            return false;
        }
        let duration = if moved == 0 {
            seen.duration.max(self.duration)
        } else {
            seen.duration
        };
        *self = Self {
            ended: self.ended || seen.ended,
            duration,
            ..*seen
        };
        true
    }
}

/// Whether there is such a key.
pub fn is_key(key: char) -> bool {
    KEYS.contains(&key.to_ascii_uppercase())
}

/// One packet of a press, to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Set on the first packet only.
    pub marker: bool,
    /// The same on all packets of the press.
    pub timestamp: u32,
    /// What goes behind the header.
    pub payload: [u8; 4],
}

/// All packets of one press of `key`, to be sent one per packet time: first one per packet time while it is held,
/// then three with the end bit. None when there is no such key.
pub fn press(key: char, timestamp: u32, duration: u16, packet_samples: u16) -> Option<impl Iterator<Item = Event>> {
    const LEVEL: u8 = 10;
    let key = KEYS.iter().position(|&each| each == key.to_ascii_uppercase())? as u8;
    let step = packet_samples.max(1);
    let held = (1..=duration / step).map(move |count| (count * step, 0));
    let ended = std::iter::repeat_n((duration, END), 3);
    Some(held.chain(ended).enumerate().map(move |(index, (duration, end))| {
        let [high, low] = duration.to_be_bytes();
        Event {
            marker: index == 0,
            timestamp,
            payload: [key, LEVEL & VOLUME | end, high, low],
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_told_once() {
        let mut reader = Reader::default();
        for (index, key) in KEYS.into_iter().enumerate() {
            let events: Vec<Event> = press(key, index as u32 * 4_000, 1_600, 160).unwrap().collect();
            assert_eq!(events.len(), 13);
            let told: Vec<char> = events.iter().filter_map(|event| feed(&mut reader, event)).collect();
            assert_eq!(told, [key]);
        }
    }

    #[test]
    fn the_same_key_pressed_again_is_told_again() {
        let mut reader = Reader::default();
        let told: String = [0, 3_000, 6_000]
            .iter()
            .flat_map(|&at| tell(&mut reader, '5', at))
            .collect();
        assert_eq!(told, "555");
    }

    #[test]
    fn any_one_packet_is_enough() {
        for kept in 0..13 {
            let mut reader = Reader::default();
            let event = press('#', 77, 1_600, 160).unwrap().nth(kept).unwrap();
            assert_eq!(feed(&mut reader, &event), Some('#'));
        }
    }

    #[test]
    fn a_lost_end_does_not_swallow_the_next_press() {
        let mut reader = Reader::default();
        for (index, key) in "1123".chars().enumerate() {
            let at = index as u32 * 2_000;
            let told: Vec<char> = press(key, at, 800, 160)
                .unwrap()
                .take(5)
                .filter_map(|event| feed(&mut reader, &event))
                .collect();
            assert_eq!(told, [key]);
        }
    }

    #[test]
    fn packets_of_earlier_presses_that_come_late_are_not_told_again() {
        let mut reader = Reader::default();
        tell(&mut reader, '1', 0);
        tell(&mut reader, '2', 2_000);
        assert!(tell(&mut reader, '1', 0).is_empty());
        assert!(tell(&mut reader, '2', 2_000).is_empty());
    }

    #[test]
    fn a_press_longer_than_the_field_goes_on_in_a_new_segment() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(0, true, &[9, 10, 0xFF, 0xFF]), Some('9'));
        assert_eq!(reader.read(0xFFFF, false, &[9, 10, 0, 160]), None);
        assert_eq!(reader.read(0xFFFF, false, &[9, 10 | END, 1, 0]), None);
        assert_eq!(reader.read(0xFFFF + 160, false, &[9, 10, 0, 160]), Some('9'));
    }

    #[test]
    fn a_long_press_is_one_although_packets_around_its_segments_are_lost() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(0, true, &[9, 10, 0xE0, 0]), Some('9'));
        assert_eq!(reader.read(0xFFFF, false, &[9, 10, 3, 0xC0]), None);
        assert_eq!(reader.read(0xFFFF, false, &[9, 10 | END, 9, 0]), None);
        assert_eq!(reader.read(0x3_0000, true, &[9, 10, 3, 0xC0]), Some('9'));
    }

    #[test]
    fn a_wrapping_timestamp_is_one_like_any_other() {
        let mut reader = Reader::default();
        assert_eq!(tell(&mut reader, '7', u32::MAX - 10), ['7']);
        assert_eq!(tell(&mut reader, '7', 3_000), ['7']);
    }

    #[test]
    fn flash_tones_and_short_payloads_are_nothing() {
        let mut reader = Reader::default();
        for payload in [&[][..], &[1], &[1, 2, 3], &[16, 10, 0, 160], &[255, 255, 255, 255]] {
            assert_eq!(reader.read(0, true, payload), None);
        }
        assert!(press('x', 0, 800, 160).is_none());
    }

    fn tell(reader: &mut Reader, key: char, at: u32) -> Vec<char> {
        press(key, at, 800, 160)
            .unwrap()
            .filter_map(|event| feed(reader, &event))
            .collect()
    }

    fn feed(reader: &mut Reader, event: &Event) -> Option<char> {
        reader.read(event.timestamp, event.marker, &event.payload)
    }
}
