//! Who decides that the caller began and finished speaking, and what follows from it.

use serde_json::{Value, json};

use super::error::Refusal;
use super::field::Field;

/// Server-side turn taking. `semantic_vad` is taken and runs by energy too; only its patience depends on the eagerness.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnDetection {
    /// A finished turn asks for a response.
    pub create_response: bool,
    /// Beginning to speak cancels the response under way.
    pub interrupt_response: bool,
    mode: Mode,
}

#[derive(Clone, Debug, PartialEq)]
enum Mode {
    Server {
        threshold: f64,
        prefix_padding_ms: u32,
        silence_duration_ms: u32,
        idle_timeout_ms: Option<u32>,
    },
    Semantic {
        eagerness: &'static str,
    },
}

const DEFAULT_SERVER: Mode = Mode::Server {
    threshold: 0.5,
    prefix_padding_ms: 300,
    silence_duration_ms: 500,
    idle_timeout_ms: None,
};

/// Longest padding and silence window that are accepted, and so the most audio kept of a quiet caller.
const WINDOW_MS_MAX: u64 = 10_000;
const IDLE_TIMEOUT_MS_MAX: u64 = 600_000;

impl TurnDetection {
    /// The settings after an update: null is off; the same mode is updated member by member, another starts afresh.
    pub fn updated(before: Option<&Self>, field: &Field<'_>) -> Result<Option<Self>, Refusal> {
        let Some(field) = field.clone().present() else {
            return Ok(None);
        };
        let word = field.require("type")?.one_of(&["server_vad", "semantic_vad"])?;
        let kept = before.filter(|before| before.mode.word() == word).cloned();
        let mut next = kept.unwrap_or_else(|| Self::fresh(word));
        for (name, member) in field.members()? {
            next.apply(name, &member)?;
        }
        Ok(Some(next))
    }

    /// How readily sound counts as voice, 0 to 1.
    pub fn threshold(&self) -> f32 {
        match self.mode {
            Mode::Server { threshold, .. } => threshold as f32,
            Mode::Semantic { .. } => 0.5,
        }
    }

    /// Audio kept from before the first voice.
    pub fn prefix_padding_ms(&self) -> u32 {
        match self.mode {
            Mode::Server { prefix_padding_ms, .. } => prefix_padding_ms,
            Mode::Semantic { .. } => 300,
        }
    }

    /// Silence that ends a turn.
    pub fn silence_duration_ms(&self) -> u32 {
        match self.mode {
            Mode::Server {
                silence_duration_ms, ..
            } => silence_duration_ms,
            Mode::Semantic { eagerness: "low" } => 1_000,
            Mode::Semantic { eagerness: "high" } => 300,
            Mode::Semantic { .. } => 600,
        }
    }

    /// How long a caller may keep silent after a response before being prompted.
    pub fn idle_timeout_ms(&self) -> Option<u32> {
        match self.mode {
            Mode::Server { idle_timeout_ms, .. } => idle_timeout_ms,
            Mode::Semantic { .. } => None,
        }
    }

    /// The effective object; both switches are always spelled out, because SDKs act on what they read here.
    pub fn to_json(&self) -> Value {
        let (create, interrupt) = (self.create_response, self.interrupt_response);
        match self.mode {
            Mode::Server {
                threshold,
                prefix_padding_ms,
                silence_duration_ms,
                idle_timeout_ms,
            } => json!({
                "type": "server_vad",
                "threshold": threshold,
                "prefix_padding_ms": prefix_padding_ms,
                "silence_duration_ms": silence_duration_ms,
                "idle_timeout_ms": idle_timeout_ms,
                "create_response": create,
                "interrupt_response": interrupt,
            }),
            Mode::Semantic { eagerness } => json!({
                "type": "semantic_vad",
                "eagerness": eagerness,
                "create_response": create,
                "interrupt_response": interrupt,
            }),
        }
    }

    fn fresh(word: &str) -> Self {
        let mode = if word == "server_vad" {
            DEFAULT_SERVER
        } else {
            Mode::Semantic { eagerness: "auto" }
        };
        Self {
            create_response: true,
            interrupt_response: true,
            mode,
        }
    }

    fn apply(&mut self, name: &str, field: &Field<'_>) -> Result<(), Refusal> {
        match name {
            "type" => Ok(()),
            "create_response" => field.boolean().map(|on| self.create_response = on),
            "interrupt_response" => field.boolean().map(|on| self.interrupt_response = on),
            _ => self.mode.apply(name, field),
        }
    }
}

impl Default for TurnDetection {
    fn default() -> Self {
        Self {
            create_response: true,
            interrupt_response: true,
            mode: DEFAULT_SERVER,
        }
    }
}

impl Mode {
    fn word(&self) -> &'static str {
        match self {
            Self::Server { .. } => "server_vad",
            Self::Semantic { .. } => "semantic_vad",
        }
    }

    fn apply(&mut self, name: &str, field: &Field<'_>) -> Result<(), Refusal> {
        match (self, name) {
            (Self::Server { threshold, .. }, "threshold") => *threshold = field.number(0.0..=1.0)?,
            (Self::Server { prefix_padding_ms, .. }, "prefix_padding_ms") => *prefix_padding_ms = window(field)?,
            (
                Self::Server {
                    silence_duration_ms, ..
                },
                "silence_duration_ms",
            ) => *silence_duration_ms = window(field)?,
            (Self::Server { idle_timeout_ms, .. }, "idle_timeout_ms") => *idle_timeout_ms = idle_timeout(field)?,
            (Self::Semantic { eagerness }, "eagerness") => {
                *eagerness = field.one_of(&["low", "medium", "high", "auto"])?;
            }
            _ => return Err(field.unknown()),
        }
        Ok(())
    }
}

fn window(field: &Field<'_>) -> Result<u32, Refusal> {
    field.integer(0..=WINDOW_MS_MAX).map(|ms| ms as u32)
}

fn idle_timeout(field: &Field<'_>) -> Result<Option<u32>, Refusal> {
    let present = field.clone().present();
    present
        .map(|field| field.integer(1..=IDLE_TIMEOUT_MS_MAX).map(|ms| ms as u32))
        .transpose()
}
