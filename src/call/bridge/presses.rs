//! Keys: heard in the ways the trunk names, each once, and pressed as tones where nothing else is taken.

use std::time::Instant;

use super::{Bridge, PRESSES};
use crate::{
    audio::{DtmfDetector, SampleRate, Tone},
    call::keys,
    config::KeyWay,
};

/// How long a key is pressed, and the pause behind it; both twice the shortest that ITU-T Q.24 has everybody take.
const PRESSED_MS: usize = 100;
const PAUSE_MS: usize = 100;
/// Each of the two tones; together they stay 3 dB below this plus 6.
const LEVEL_DBFS: f32 = -12.0;

/// The tones of a keypad's rows and columns (ITU-T Q.23).
const ROWS: [(&str, f32); 4] = [("123A", 697.0), ("456B", 770.0), ("789C", 852.0), ("*0#D", 941.0)];
const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

impl Bridge {
    pub(super) fn set_keys(&mut self, settings: keys::Settings) {
        self.key_settings = settings;
        self.listen_for_tones();
    }

    /// Nobody listens for tones in the sound unless that was asked for: it costs, and a voice may come near a key.
    pub(super) fn listen_for_tones(&mut self) {
        let wanted = self.key_settings.ways.contains(&KeyWay::Tone);
        self.tones = wanted.then(|| Box::new(DtmfDetector::new(self.rate)));
    }

    pub(super) fn hear_key(&mut self, now: Instant, key: char, way: KeyWay) {
        if self.key_settings.ways.contains(&way) && self.keys.is_new(now, key, way) {
            self.digit(now, key);
        }
    }

    pub(super) fn play_digits(&mut self, now: Instant, digits: &str) {
        let pcm = pressed(self.rate, digits);
        self.media.play(now, PRESSES, &pcm);
        self.media.finish(PRESSES);
    }
}

/// How these keys sound, one after the other.
pub(super) fn pressed(rate: SampleRate, digits: &str) -> Vec<i16> {
    let mut pcm = Vec::new();
    digits.chars().for_each(|digit| press(rate, digit, &mut pcm));
    pcm
}

/// Appends one press. What is no key is left out.
fn press(rate: SampleRate, key: char, pcm: &mut Vec<i16>) {
    let key = key.to_ascii_uppercase();
    let tones = ROWS
        .iter()
        .find_map(|(keys, row)| Some((*row, COLUMNS[keys.find(key)?])));
    let Some((row, column)) = tones else { return };
    let mut high = vec![0; PRESSED_MS * rate.per_ms()];
    let mut low = high.clone();
    Tone::new(rate, row, LEVEL_DBFS).fill(&mut low);
    Tone::new(rate, column, LEVEL_DBFS).fill(&mut high);
    pcm.extend(low.iter().zip(&high).map(|(low, high)| low.saturating_add(*high)));
    pcm.resize(pcm.len() + PAUSE_MS * rate.per_ms(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pressed_as_tones_is_heard_as_the_same_keys() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000] {
            let mut pcm = Vec::new();
            "123A456B789C*0#Dx".chars().for_each(|key| press(rate, key, &mut pcm));
            let mut detector = DtmfDetector::new(rate);
            let heard: String = pcm
                .chunks(20 * rate.per_ms())
                .filter_map(|frame| detector.push(frame))
                .collect();
            assert_eq!(heard, "123A456B789C*0#D");
        }
    }
}
