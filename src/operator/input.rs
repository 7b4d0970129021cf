//! The input audio buffer and the turns found in it.
//!
//! Positions are whole milliseconds of all audio ever appended, as the protocol counts them. With turn detection only the
//! prefix padding of a quiet caller is kept; without it everything is, up to a bound.

use std::collections::VecDeque;

use super::error::Refusal;
use super::sound::Sound;
use super::turn_detection::TurnDetection;
use crate::audio::vad::FRAME_MS;
use crate::audio::{VoiceDetector, VoiceSettings};
use crate::realtime::AudioFormat;

/// Audio on its way to becoming an item.
#[derive(Debug)]
pub struct Input {
    format: AudioFormat,
    /// Decoded bytes; an odd byte of PCM waits here for its other half.
    bytes: Vec<u8>,
    pcm: Vec<i16>,
    /// Position of the first sample in `pcm`.
    start_ms: u64,
    turns: Option<Turns>,
    verdicts: Vec<bool>,
    changes: VecDeque<Change>,
}

/// What turn detection found.
#[derive(Debug)]
pub enum Change {
    /// The caller began to speak.
    Started {
        /// Position of the voice minus the prefix padding.
        audio_start_ms: u64,
    },
    /// The caller has been silent for long enough; the turn is cut out of the buffer.
    Stopped {
        /// Position, silence included.
        audio_end_ms: u64,
        /// The turn.
        recording: Recording,
    },
}

/// Committed audio.
#[derive(Clone, Debug)]
pub struct Recording {
    /// All of it.
    pub sound: Sound,
    /// The part worth repeating.
    pub spoken: Option<Sound>,
}

#[derive(Debug)]
struct Turns {
    settings: TurnDetection,
    detector: VoiceDetector,
    /// Position up to which frames have been judged.
    judged_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Quiet { voiced_run: u32 },
    Speaking { start_ms: u64, voice_end_ms: u64 },
}

/// Longest buffer; the oldest audio is dropped beyond it.
const INPUT_MS_MAX: u64 = 120_000;
/// How much is cut at once when the buffer is trimmed, so that trimming is rare.
const TRIM_MS: u64 = 1_000;
/// Least audio a commit needs.
const COMMIT_MS_MIN: u64 = 100;
/// Voiced frames in a row that make a start: shorter is a click.
const ONSET_FRAMES: u32 = 3;
/// What is repeated after the last voiced frame, for the fading end of a word.
const TAIL_MS: u64 = 100;
/// Largest append, of base64 text.
const APPEND_LEN_MAX: usize = 15 << 20;

impl Input {
    /// An empty buffer.
    pub fn new(format: AudioFormat, turn_detection: Option<&TurnDetection>) -> Self {
        let turns = turn_detection.map(|settings| Turns::new(settings, format, 0));
        Self {
            format,
            bytes: Vec::new(),
            pcm: Vec::new(),
            start_ms: 0,
            turns,
            verdicts: Vec::new(),
            changes: VecDeque::new(),
        }
    }

    /// Takes over changed settings. Another format empties the buffer; a turn under way survives other changes.
    pub fn configure(&mut self, format: AudioFormat, turn_detection: Option<&TurnDetection>) {
        if format != self.format {
            self.clear();
            (self.format, self.turns) = (format, None);
        }
        let now_ms = self.end_ms();
        match (turn_detection, &mut self.turns) {
            (Some(settings), Some(turns)) => turns.configure(settings, format),
            (settings, turns) => *turns = settings.map(|settings| Turns::new(settings, format, now_ms)),
        }
    }

    /// Appends base64 audio and looks for turns in it.
    pub fn append(&mut self, audio: &str) -> Result<(), Refusal> {
        if audio.len() > APPEND_LEN_MAX {
            return Err(Refusal::at(
                "audio",
                "invalid_value",
                "Invalid 'audio': more than 15 MiB in one event.",
            ));
        }
        let kept = self.bytes.len();
        if base64_simd::STANDARD.decode_append(audio, &mut self.bytes).is_err() {
            self.bytes.truncate(kept);
            let message = "Invalid 'audio'. Expected base64-encoded audio bytes, but they could not be decoded.";
            return Err(Refusal::at("audio", "invalid_value", message));
        }
        let before = self.pcm.len();
        let odd = self.format.decode(None, &self.bytes, &mut self.pcm);
        self.bytes.clear();
        self.bytes.extend(odd);
        self.detect(before);
        self.trim();
        Ok(())
    }

    /// The next thing turn detection found.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Takes everything in the buffer at the client's wish.
    pub fn commit(&mut self) -> Result<Recording, Refusal> {
        let buffered_ms = self.end_ms() - self.start_ms;
        if buffered_ms < COMMIT_MS_MIN {
            return Err(too_small(buffered_ms));
        }
        let sound = self.sound(self.start_ms, self.end_ms());
        self.clear();
        Ok(Recording {
            spoken: Some(sound.clone()),
            sound,
        })
    }

    /// Takes the silence of a caller who was expected to speak, with its position.
    pub fn commit_silence(&mut self) -> (Recording, u64, u64) {
        let (start_ms, end_ms) = (self.start_ms, self.end_ms());
        let sound = self.sound(start_ms, end_ms);
        self.clear();
        (Recording { sound, spoken: None }, start_ms, end_ms)
    }

    /// Empties the buffer and forgets a turn under way.
    pub fn clear(&mut self) {
        self.start_ms = self.end_ms();
        self.pcm.clear();
        self.bytes.clear();
        if let Some(turns) = &mut self.turns {
            turns.state = State::Quiet { voiced_run: 0 };
        }
    }

    /// The caller is speaking, as far as turn detection knows.
    pub fn speaking(&self) -> bool {
        self.turns
            .as_ref()
            .is_some_and(|turns| matches!(turns.state, State::Speaking { .. }))
    }

    fn detect(&mut self, from: usize) {
        let Some(turns) = &mut self.turns else { return };
        let mut verdicts = std::mem::take(&mut self.verdicts);
        turns
            .detector
            .push_frames(&self.pcm[from..], |voiced| verdicts.push(voiced));
        for voiced in verdicts.drain(..) {
            self.judged(voiced);
        }
        self.verdicts = verdicts;
    }

    /// Takes one frame's verdict.
    fn judged(&mut self, voiced: bool) {
        let Some(turns) = &mut self.turns else { return };
        turns.judged_ms += u64::from(FRAME_MS);
        let now_ms = turns.judged_ms;
        match turns.state {
            State::Quiet { voiced_run } if voiced => self.begin(voiced_run + 1, now_ms),
            State::Quiet { .. } => turns.state = State::Quiet { voiced_run: 0 },
            State::Speaking { start_ms, .. } if voiced => {
                turns.state = State::Speaking {
                    start_ms,
                    voice_end_ms: now_ms,
                };
            }
            State::Speaking { start_ms, voice_end_ms } => {
                if now_ms - voice_end_ms >= u64::from(turns.settings.silence_duration_ms()) {
                    self.end(start_ms, voice_end_ms, now_ms);
                }
            }
        }
    }

    fn begin(&mut self, voiced_run: u32, now_ms: u64) {
        let Some(turns) = &mut self.turns else { return };
        if voiced_run < ONSET_FRAMES {
            turns.state = State::Quiet { voiced_run };
            return;
        }
        let onset_ms = now_ms.saturating_sub(u64::from(ONSET_FRAMES * FRAME_MS));
        let start_ms = onset_ms
            .saturating_sub(u64::from(turns.settings.prefix_padding_ms()))
            .max(self.start_ms);
        turns.state = State::Speaking {
            start_ms,
            voice_end_ms: now_ms,
        };
        self.changes.push_back(Change::Started {
            audio_start_ms: start_ms,
        });
    }

    fn end(&mut self, start_ms: u64, voice_end_ms: u64, now_ms: u64) {
        let sound = self.sound(start_ms, now_ms);
        let length_ms = (voice_end_ms + TAIL_MS).saturating_sub(start_ms.max(self.start_ms));
        let spoken = Some(sound.stretch(0, self.samples(length_ms)));
        self.drop_before(now_ms);
        if let Some(turns) = &mut self.turns {
            turns.state = State::Quiet { voiced_run: 0 };
        }
        self.changes.push_back(Change::Stopped {
            audio_end_ms: now_ms,
            recording: Recording { sound, spoken },
        });
    }

    fn trim(&mut self) {
        let padding_ms = self
            .turns
            .as_ref()
            .map(|turns| u64::from(turns.settings.prefix_padding_ms()));
        let keep_ms = match padding_ms {
            Some(padding_ms) if !self.speaking() => padding_ms.max(COMMIT_MS_MIN) + u64::from(ONSET_FRAMES * FRAME_MS),
            _ => INPUT_MS_MAX,
        };
        if self.end_ms() - self.start_ms > keep_ms + TRIM_MS {
            self.drop_before(self.end_ms() - keep_ms);
        }
    }

    fn drop_before(&mut self, ms: u64) {
        let ms = ms.clamp(self.start_ms, self.end_ms());
        let count = self.samples(ms - self.start_ms);
        self.pcm.drain(..count);
        self.start_ms = ms;
    }

    fn sound(&self, from_ms: u64, to_ms: u64) -> Sound {
        let to = self.samples(to_ms.saturating_sub(self.start_ms)).min(self.pcm.len());
        let from = self.samples(from_ms.saturating_sub(self.start_ms)).min(to);
        Sound::recorded(self.format.rate(), &self.pcm[from..to])
    }

    fn end_ms(&self) -> u64 {
        self.start_ms + (self.pcm.len() / self.format.rate().per_ms()) as u64
    }

    fn samples(&self, ms: u64) -> usize {
        usize::try_from(ms)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.format.rate().per_ms())
    }
}

impl Turns {
    fn new(settings: &TurnDetection, format: AudioFormat, now_ms: u64) -> Self {
        let state = State::Quiet { voiced_run: 0 };
        Self {
            settings: settings.clone(),
            detector: detector(settings, format),
            judged_ms: now_ms,
            state,
        }
    }

    fn configure(&mut self, settings: &TurnDetection, format: AudioFormat) {
        if settings.threshold() != self.settings.threshold() {
            self.detector = detector(settings, format);
        }
        self.settings = settings.clone();
    }
}

fn detector(settings: &TurnDetection, format: AudioFormat) -> VoiceDetector {
    VoiceDetector::new(
        format.rate(),
        VoiceSettings {
            threshold: settings.threshold(),
        },
    )
}

fn too_small(buffered_ms: u64) -> Refusal {
    Refusal::new(
        "input_audio_buffer_commit_empty",
        format!(
            "Error committing input audio buffer: buffer too small. Expected at least {COMMIT_MS_MIN}ms of audio, but \
             buffer only has {buffered_ms}.00ms of audio."
        ),
    )
}

#[cfg(test)]
mod tests;
