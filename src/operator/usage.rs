//! Plausible token counts: the official tokenisers are not ours, their rates are known.

use std::iter::Sum;
use std::ops::Add;

use serde_json::{Value, json};

use super::item::{Body, Content, Item};

/// Tokens of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    text: u64,
    audio: u64,
}

/// One token of caller audio per 100 ms, one of agent audio per 50 ms.
const HEARD_MS: u32 = 100;
const SPOKEN_MS: u32 = 50;
/// Bytes of text per token.
const TEXT_LEN: usize = 4;

impl Tokens {
    /// A function call with short arguments.
    pub const CALL: Self = Self { text: 16, audio: 0 };

    /// Of text.
    pub fn text(text: &str) -> Self {
        Self {
            text: text.len().div_ceil(TEXT_LEN) as u64,
            audio: 0,
        }
    }

    /// Of agent speech.
    pub fn spoken(ms: u32) -> Self {
        Self {
            text: 0,
            audio: u64::from(ms.div_ceil(SPOKEN_MS)),
        }
    }

    /// Of an item as context.
    pub fn item(item: &Item) -> Self {
        match &item.body {
            Body::Message { content, .. } => content.iter().map(Self::content).sum(),
            Body::Call { .. } => Self::CALL,
            Body::CallOutput { output, .. } => Self::text(output),
        }
    }

    fn content(content: &Content) -> Self {
        match content {
            Content::InputText(text) | Content::OutputText(text) => Self::text(text),
            Content::InputAudio { sound, .. } => Self {
                text: 0,
                audio: u64::from(sound.ms().div_ceil(HEARD_MS)),
            },
            Content::OutputAudio { ms, .. } => Self::spoken(*ms),
            Content::InputImage(_) => Self::default(),
        }
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            audio: self.audio + other.audio,
        }
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(tokens: I) -> Self {
        tokens.fold(Self::default(), Add::add)
    }
}

/// How much speech a token limit allows.
pub fn spoken_ms(tokens: u32) -> u32 {
    tokens.saturating_mul(SPOKEN_MS)
}

/// The `usage` of a finished response.
pub fn to_json(input: Tokens, output: Tokens) -> Value {
    let (input_tokens, output_tokens) = (input.text + input.audio, output.text + output.audio);
    json!({
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "input_token_details": {
            "text_tokens": input.text,
            "audio_tokens": input.audio,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    })
}

/// Limits that are never reached, for clients that display them.
pub fn rate_limits() -> Value {
    json!({"rate_limits": [
        {"name": "requests", "limit": 10_000, "remaining": 9_999, "reset_seconds": 0.006},
        {"name": "tokens", "limit": 1_000_000, "remaining": 999_000, "reset_seconds": 0.06},
    ]})
}
