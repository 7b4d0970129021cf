//! Why the server refuses a client event: the `error` object of the protocol, with the official codes and wording.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The body of an `error` event.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: Cow<'static, str>,
    /// `error.message`.
    pub message: String,
    /// `error.param`: the path of the offending member.
    pub param: Option<String>,
}

impl Refusal {
    /// A request the client should not have made.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: "invalid_request_error",
            code: Cow::Borrowed(code),
            message: message.into(),
            param: None,
        }
    }

    /// The same, about one member of the event.
    pub fn at(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(code, message)
        }
    }

    /// An error that a fault was told to send; account trouble has a type of its own, the rest is the server's.
    pub fn on_demand(code: &str) -> Self {
        let kind = match code {
            "insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached" => "insufficient_quota",
            "invalid_api_key" | "account_deactivated" => "authentication_error",
            "rate_limit_exceeded" => "rate_limit_error",
            "session_expired" => "invalid_request_error",
            _ => "server_error",
        };
        let message = format!("The operator was told to fail with {code}.");
        Self {
            kind,
            code: Cow::Owned(code.to_owned()),
            message,
            param: None,
        }
    }

    /// The `error` member; `event_id` is that of the client event at fault.
    pub fn to_json(&self, event_id: Option<&str>) -> Value {
        json!({
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id,
        })
    }
}
