//! Tokens, as the backend bills them.

use std::ops::AddAssign;

/// Tokens used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Text the model read.
    pub input_text_tokens: u64,
    /// Audio the model heard.
    pub input_audio_tokens: u64,
    /// Input of either kind that came from the backend's cache; part of the two above.
    pub cached_tokens: u64,
    /// Text the model wrote.
    pub output_text_tokens: u64,
    /// Audio the model spoke.
    pub output_audio_tokens: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, tokens: u64| *sum = sum.saturating_add(tokens);
        add(&mut self.input_text_tokens, other.input_text_tokens);
        add(&mut self.input_audio_tokens, other.input_audio_tokens);
        add(&mut self.cached_tokens, other.cached_tokens);
        add(&mut self.output_text_tokens, other.output_text_tokens);
        add(&mut self.output_audio_tokens, other.output_audio_tokens);
    }
}
