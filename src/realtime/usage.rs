//! What a session used, as the backend bills it: tokens by kind, and minutes of transcription.

use std::ops::{AddAssign, Sub};

/// What was used. The kinds of cached input are part of the input of that kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Text the model read.
    pub input_text_tokens: u64,
    /// Audio the model heard.
    pub input_audio_tokens: u64,
    /// Input of any kind that came from the backend's cache. More than the three below together where the backend does
    /// not say of which kind it was.
    pub cached_tokens: u64,
    /// Text the model wrote.
    pub output_text_tokens: u64,
    /// Audio the model spoke.
    pub output_audio_tokens: u64,
    /// Images the model saw.
    pub input_image_tokens: u64,
    /// Text that came from the cache.
    pub cached_text_tokens: u64,
    /// Audio that came from the cache.
    pub cached_audio_tokens: u64,
    /// Images that came from the cache.
    pub cached_image_tokens: u64,
    /// What writing down the caller's words took, which another model does and another price buys.
    pub transcription: Transcription,
}

/// What a backend counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The backend's name in the configuration.
    pub backend: String,
    /// What it counted.
    pub usage: Usage,
}

/// What a transcription used: tokens, or a time, as the backend counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transcription {
    /// Text it read: a prompt.
    pub input_text_tokens: u64,
    /// Audio it heard.
    pub input_audio_tokens: u64,
    /// Text it wrote.
    pub output_tokens: u64,
    /// Audio it heard, in milliseconds.
    pub heard_ms: u64,
}

impl Usage {
    /// Whether nothing was used.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Every kind with the word for it and how many tokens; of the cache also what it does not say the kind of.
    pub fn kinds(&self) -> [(&'static str, u64); 12] {
        [
            ("input_text", self.input_text_tokens),
            ("input_audio", self.input_audio_tokens),
            ("input_image", self.input_image_tokens),
            ("cached", self.cached_tokens),
            ("cached_text", self.cached_text_tokens),
            ("cached_audio", self.cached_audio_tokens),
            ("cached_image", self.cached_image_tokens),
            ("output_text", self.output_text_tokens),
            ("output_audio", self.output_audio_tokens),
            ("transcription_input_text", self.transcription.input_text_tokens),
            ("transcription_input_audio", self.transcription.input_audio_tokens),
            ("transcription_output", self.transcription.output_tokens),
        ]
    }

    /// Both, every number by itself.
    fn each(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        let (mine, its) = (self.transcription, other.transcription);
        Self {
            input_text_tokens: join(self.input_text_tokens, other.input_text_tokens),
            input_audio_tokens: join(self.input_audio_tokens, other.input_audio_tokens),
            cached_tokens: join(self.cached_tokens, other.cached_tokens),
            output_text_tokens: join(self.output_text_tokens, other.output_text_tokens),
            output_audio_tokens: join(self.output_audio_tokens, other.output_audio_tokens),
            input_image_tokens: join(self.input_image_tokens, other.input_image_tokens),
            cached_text_tokens: join(self.cached_text_tokens, other.cached_text_tokens),
            cached_audio_tokens: join(self.cached_audio_tokens, other.cached_audio_tokens),
            cached_image_tokens: join(self.cached_image_tokens, other.cached_image_tokens),
            transcription: Transcription {
                input_text_tokens: join(mine.input_text_tokens, its.input_text_tokens),
                input_audio_tokens: join(mine.input_audio_tokens, its.input_audio_tokens),
                output_tokens: join(mine.output_tokens, its.output_tokens),
                heard_ms: join(mine.heard_ms, its.heard_ms),
            },
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = self.each(other, u64::saturating_add);
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What is in this one and not in the other; never below nothing.
    fn sub(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_are_of_every_kind() {
        let one = Usage {
            input_text_tokens: 1,
            input_audio_tokens: 2,
            cached_tokens: 3,
            output_text_tokens: 4,
            output_audio_tokens: 5,
            input_image_tokens: 6,
            cached_text_tokens: 7,
            cached_audio_tokens: 8,
            cached_image_tokens: 9,
            transcription: Transcription {
                input_text_tokens: 10,
                input_audio_tokens: 11,
                output_tokens: 12,
                heard_ms: 13,
            },
        };
        let mut two = one;
        two += one;
        for ((_, single), (word, double)) in one.kinds().into_iter().zip(two.kinds()) {
            assert_eq!(double, 2 * single, "{word}");
        }
        assert_eq!(two.transcription.heard_ms, 26);
        assert_eq!(two - one, one);
        assert!((one - two).is_nothing());
    }
}
