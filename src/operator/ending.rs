//! How responses end, and how the protocol spells it.

use serde_json::{Value, json};

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All was said.
    Completed,
    /// The caller spoke.
    TurnDetected,
    /// The client said so.
    ClientCancelled,
    /// Its token limit was reached.
    TokensMax,
}

impl Ending {
    /// The ending that audio or text came to: all of it is out, or a token limit was reached, or neither yet.
    pub fn reached(finished: bool, limited: bool) -> Option<Self> {
        if finished {
            Some(Self::Completed)
        } else {
            limited.then_some(Self::TokensMax)
        }
    }

    /// `status` of the response object.
    pub fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::TurnDetected | Self::ClientCancelled => "cancelled",
            Self::TokensMax => "incomplete",
        }
    }

    /// `status_details` of the response object.
    pub fn details(self) -> Value {
        match self {
            Self::Completed => Value::Null,
            Self::TurnDetected => json!({"type": "cancelled", "reason": "turn_detected"}),
            Self::ClientCancelled => json!({"type": "cancelled", "reason": "client_cancelled"}),
            Self::TokensMax => json!({"type": "incomplete", "reason": "max_output_tokens"}),
        }
    }
}
