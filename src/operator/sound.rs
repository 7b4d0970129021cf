//! What the operator can say: the recorded clips, and stretches of what the caller said.

use std::ops::Range;
use std::sync::Arc;

use crate::audio::{Law, Resampler, SampleRate};
use crate::realtime::AudioFormat;

/// A finished piece of audio, cheap to clone.
#[derive(Clone, Debug)]
pub enum Sound {
    /// One of the clips: 8 kHz mu-law.
    Clip(&'static [u8]),
    /// A stretch of recorded samples.
    Recorded {
        /// Rate of the samples.
        rate: SampleRate,
        /// The whole recording, shared by all its stretches.
        pcm: Arc<[i16]>,
        /// Which samples of it.
        range: Range<usize>,
    },
}

impl Sound {
    /// All of a recording.
    pub fn recorded(rate: SampleRate, pcm: &[i16]) -> Self {
        Self::Recorded {
            rate,
            pcm: Arc::from(pcm),
            range: 0..pcm.len(),
        }
    }

    /// Nothing.
    pub fn silence() -> Self {
        Self::recorded(SampleRate::Hz8000, &[])
    }

    /// A stretch of a recording, clamped to what there is.
    pub fn stretch(&self, from: usize, to: usize) -> Self {
        match self {
            Self::Clip(code) => Self::Clip(&code[from.min(code.len())..to.clamp(from.min(code.len()), code.len())]),
            Self::Recorded { rate, pcm, range } => {
                let end = range.start.saturating_add(to).min(range.end);
                let start = range.start.saturating_add(from).min(end);
                Self::Recorded {
                    rate: *rate,
                    pcm: Arc::clone(pcm),
                    range: start..end,
                }
            }
        }
    }

    /// Its length, rounded down.
    pub fn ms(&self) -> u32 {
        u32::try_from(self.len() / self.rate().per_ms()).unwrap_or(u32::MAX)
    }

    /// Memory it holds, counted once per holder.
    pub fn bytes_held(&self) -> usize {
        match self {
            Self::Clip(_) => 0,
            Self::Recorded { pcm, .. } => pcm.len() * 2,
        }
    }

    /// The first `ms` of it as base64 in a format.
    pub fn to_base64(&self, format: AudioFormat, ms: u32) -> String {
        let mut bytes = Vec::new();
        Player::new(self.clone(), format).read(ms, &mut bytes);
        base64_simd::STANDARD.encode_to_string(&bytes)
    }

    fn rate(&self) -> SampleRate {
        match self {
            Self::Clip(_) => SampleRate::Hz8000,
            Self::Recorded { rate, .. } => *rate,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Clip(code) => code.len(),
            Self::Recorded { range, .. } => range.len(),
        }
    }

    fn samples(&self, range: Range<usize>, out: &mut Vec<i16>) {
        match self {
            Self::Clip(code) => Law::Mu.decode(&code[range], out),
            Self::Recorded { pcm, range: whole, .. } => out.extend_from_slice(&pcm[whole.clone()][range]),
        }
    }
}

/// Reads a sound portion by portion in the session's output format.
#[derive(Clone, Debug)]
pub struct Player {
    sound: Sound,
    position: usize,
    format: AudioFormat,
    converter: Resampler,
    source: Vec<i16>,
    converted: Vec<i16>,
}

impl Player {
    /// Starts at the beginning.
    pub fn new(sound: Sound, format: AudioFormat) -> Self {
        let converter = Resampler::new(sound.rate(), format.rate());
        Self {
            sound,
            position: 0,
            format,
            converter,
            source: Vec::new(),
            converted: Vec::new(),
        }
    }

    /// Appends the bytes of the next `ms`, less at the end of the sound.
    pub fn read(&mut self, ms: u32, bytes: &mut Vec<u8>) {
        let wanted = self.sound.rate().per_ms().saturating_mul(ms as usize);
        let end = self.position.saturating_add(wanted).min(self.sound.len());
        self.source.clear();
        self.sound.samples(self.position..end, &mut self.source);
        self.position = end;
        self.converted.clear();
        self.converter.process(&self.source, &mut self.converted);
        self.format.encode(&self.converted, bytes);
    }

    /// How much has been read.
    pub fn read_ms(&self) -> u32 {
        u32::try_from(self.position / self.sound.rate().per_ms()).unwrap_or(u32::MAX)
    }

    /// Nothing is left.
    pub fn finished(&self) -> bool {
        self.position == self.sound.len()
    }

    /// The sound being read.
    pub fn sound(&self) -> &Sound {
        &self.sound
    }
}

/// A clip and the words in it.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// 8 kHz mu-law, as `clips/make.sh` made it.
    pub code: &'static [u8],
    /// The transcript.
    pub text: &'static str,
}

macro_rules! clip {
    ($file:literal, $text:literal) => {
        Clip {
            code: include_bytes!(concat!("clips/", $file, ".ulaw")),
            text: $text,
        }
    };
}

/// What a caller hears first.
pub const GREETING: Clip = clip!(
    "greeting",
    "Hello. You have reached the Patchcord operator. Say something, and I will repeat it. \
     Press a digit, or star to hang up."
);
/// The end of a call that the operator cannot end itself.
pub const GOODBYE: Clip = clip!("goodbye", "Goodbye.");
/// The answer to everything it has no answer to.
pub const OKAY: Clip = clip!("okay", "Okay.");

/// The confirmation of a pressed key; star and the letters have none.
pub const fn pressed(key: char) -> Option<Clip> {
    Some(match key {
        '0' => clip!("pressed_0", "You pressed zero."),
        '1' => clip!("pressed_1", "You pressed one."),
        '2' => clip!("pressed_2", "You pressed two."),
        '3' => clip!("pressed_3", "You pressed three."),
        '4' => clip!("pressed_4", "You pressed four."),
        '5' => clip!("pressed_5", "You pressed five."),
        '6' => clip!("pressed_6", "You pressed six."),
        '7' => clip!("pressed_7", "You pressed seven."),
        '8' => clip!("pressed_8", "You pressed eight."),
        '9' => clip!("pressed_9", "You pressed nine."),
        '#' => clip!("pressed_hash", "You pressed hash."),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level;

    #[test]
    fn every_clip_is_speech_at_a_telephone_level() {
        let keys = "0123456789#".chars().filter_map(pressed);
        let clips: Vec<Clip> = [GREETING, GOODBYE, OKAY].into_iter().chain(keys).collect();
        assert_eq!(clips.len(), 14);
        assert!(clips.iter().map(|clip| clip.code.len()).sum::<usize>() < 150_000);
        for clip in clips {
            let mut pcm = Vec::new();
            Law::Mu.decode(clip.code, &mut pcm);
            let (dbfs, ms) = (level::dbfs(&pcm), Sound::Clip(clip.code).ms());
            assert!((-21.0..-19.0).contains(&dbfs), "{}: {dbfs} dBFS", clip.text);
            assert!((400..6_000).contains(&ms), "{}: {ms} ms", clip.text);
        }
    }

    #[test]
    fn portions_join_to_the_whole_in_every_format() {
        let recorded = Sound::recorded(SampleRate::Hz24000, &[1_000; 24_000]).stretch(2_400, 12_000);
        for sound in [Sound::Clip(GREETING.code), recorded] {
            for format in [
                AudioFormat::PCM_24K,
                AudioFormat::G711(Law::Mu),
                AudioFormat::G711(Law::A),
            ] {
                let (mut whole, mut parts) = (Vec::new(), Vec::new());
                Player::new(sound.clone(), format).read(u32::MAX, &mut whole);
                let mut player = Player::new(sound.clone(), format);
                while !player.finished() {
                    player.read(200, &mut parts);
                }
                assert_eq!(parts, whole);
                let bytes_per_ms = if format == AudioFormat::PCM_24K { 48 } else { 8 };
                assert_eq!(whole.len() / bytes_per_ms, sound.ms() as usize);
            }
        }
    }

    #[test]
    fn a_stretch_never_leaves_the_recording() {
        let sound = Sound::recorded(SampleRate::Hz8000, &[1; 800]);
        assert_eq!(sound.stretch(400, usize::MAX).ms(), 50);
        assert_eq!(sound.stretch(900, 1_000).ms(), 0);
        assert_eq!(sound.stretch(80, 160).stretch(0, 8_000).ms(), 10);
        assert_eq!(Sound::Clip(OKAY.code).stretch(usize::MAX, 0).ms(), 0);
    }
}
