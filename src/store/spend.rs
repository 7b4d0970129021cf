//! What a call used and what it cost, as its record has it.

use serde::{Deserialize, Serialize};

use crate::realtime::Usage;

/// Tokens as the backends counted them, by kind. Cached ones are part of the input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokensRecord {
    /// Text sent.
    pub input_text: u64,
    /// Audio sent.
    pub input_audio: u64,
    /// Images sent.
    #[serde(default)]
    pub input_image: u64,
    /// Of the above, those the backend had cached.
    pub cached: u64,
    /// Of these, text.
    #[serde(default)]
    pub cached_text: u64,
    /// Of these, audio.
    #[serde(default)]
    pub cached_audio: u64,
    /// Of these, images.
    #[serde(default)]
    pub cached_image: u64,
    /// Text received.
    pub output_text: u64,
    /// Audio received.
    pub output_audio: u64,
    /// Text that whoever wrote down the caller's words read.
    #[serde(default)]
    pub transcription_input_text: u64,
    /// Audio it heard.
    #[serde(default)]
    pub transcription_input_audio: u64,
    /// Text it wrote.
    #[serde(default)]
    pub transcription_output: u64,
    /// Audio it heard, in milliseconds, where the backend counts that instead.
    #[serde(default)]
    pub transcription_ms: u64,
}

/// What one backend counted in a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpendRecord {
    /// The backend.
    pub backend: String,
    /// What it counted.
    pub tokens: TokensRecord,
    /// What that cost; nothing where it has no prices.
    pub cost: Option<CostRecord>,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CostRecord {
    /// The currency.
    pub currency: String,
    /// Millionths of it, rounded to the nearest.
    pub micros: u64,
}

impl From<Usage> for TokensRecord {
    fn from(usage: Usage) -> Self {
        Self {
            input_text: usage.input_text_tokens,
            input_audio: usage.input_audio_tokens,
            input_image: usage.input_image_tokens,
            cached: usage.cached_tokens,
            cached_text: usage.cached_text_tokens,
            cached_audio: usage.cached_audio_tokens,
            cached_image: usage.cached_image_tokens,
            output_text: usage.output_text_tokens,
            output_audio: usage.output_audio_tokens,
            transcription_input_text: usage.transcription.input_text_tokens,
            transcription_input_audio: usage.transcription.input_audio_tokens,
            transcription_output: usage.transcription.output_tokens,
            transcription_ms: usage.transcription.heard_ms,
        }
    }
}
