//! What an agent may do besides speaking: the tools it is told of, and what a call of one means.
//!
//! A tool call is words from a model, so it is read with suspicion and a mistake is explained to the model in its own
//! terms. Nothing is done here: whoever owns the call performs the [`Action`].

use serde::Deserialize;
use serde_json::json;

use crate::realtime::ToolSpec;

/// The longest reason kept, in bytes; the rest is cut off.
const REASON_BYTES_MAX: usize = 200;

const HANG_UP: &str = "hang_up";

/// A tool call as the session reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// Its arguments as JSON text.
    pub arguments: &'a str,
}

/// What a tool call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End the call once the agent has finished speaking.
    HangUp {
        /// Why, in the model's words; may be empty.
        reason: String,
    },
}

/// A tool call that cannot be done. Its text is the answer to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// There is no such tool.
    #[error("There is no tool named \"{name}\". The tools are: {HANG_UP}.")]
    NoSuchTool {
        /// The name, shortened.
        name: String,
    },
    /// The arguments do not fit the tool's parameters.
    #[error("The arguments of {tool} are wrong: {problem}. Call it again with arguments that fit its parameters.")]
    BadArguments {
        /// The tool.
        tool: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// The tools every agent is told of.
pub fn specs() -> Vec<ToolSpec> {
    vec![hang_up_spec()]
}

impl Invocation<'_> {
    /// What this call asks for.
    pub fn read(&self) -> Result<Action, Misuse> {
        match self.name {
            HANG_UP => self.hang_up(),
            name => Err(Misuse::NoSuchTool { name: shortened(name) }),
        }
    }

    fn hang_up(&self) -> Result<Action, Misuse> {
        let arguments: HangUp = self.arguments(HANG_UP)?;
        Ok(Action::HangUp {
            reason: shortened(arguments.reason.unwrap_or_default().trim()),
        })
    }

    /// Models leave the arguments of a call without any empty as often as they write `{}`.
    fn arguments<'de, T: Deserialize<'de>>(&'de self, tool: &'static str) -> Result<T, Misuse> {
        let text = if self.arguments.trim().is_empty() {
            "{}"
        } else {
            self.arguments
        };
        serde_json::from_str(text).map_err(|error| Misuse::BadArguments {
            tool,
            problem: shortened(&error.to_string()),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HangUp {
    reason: Option<String>,
}

fn hang_up_spec() -> ToolSpec {
    ToolSpec {
        name: HANG_UP.to_owned(),
        description: "Ends the telephone call. Say goodbye first; call this when the caller has said goodbye or asks \
                      to end the call."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "reason": { "type": "string", "description": "Why the call ends, in a few words." },
            },
            "additionalProperties": false,
        }),
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hang_up_is_understood_with_and_without_a_reason() {
        assert_eq!(read("hang_up", r#"{"reason":" done "}"#), Ok(hang_up("done")));
        for arguments in ["", "{}", r#"{"reason":null}"#] {
            assert_eq!(read("hang_up", arguments), Ok(hang_up("")), "{arguments}");
        }
    }

    #[test]
    fn a_mistake_tells_the_model_what_is_wrong() {
        let text = read("order_pizza", "{}").unwrap_err().to_string();
        assert_eq!(text, "There is no tool named \"order_pizza\". The tools are: hang_up.");
        let text = read("hang_up", r#"{"cause":1}"#).unwrap_err().to_string();
        assert!(
            text.contains("unknown field `cause`") && text.contains("`reason`"),
            "{text}"
        );
        assert!(read("hang_up", "[1").is_err());
    }

    #[test]
    fn what_a_model_writes_is_kept_within_bounds() {
        let long = "é".repeat(5_000);
        let Ok(Action::HangUp { reason }) = read("hang_up", &format!(r#"{{"reason":"{long}"}}"#)) else {
            panic!("not understood")
        };
        assert!(reason.len() <= REASON_BYTES_MAX);
        assert!(read(&long, "{}").unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn every_tool_offered_is_understood() {
        for spec in specs() {
            assert!(read(&spec.name, "{}").is_ok(), "{}", spec.name);
        }
    }

    fn read(name: &str, arguments: &str) -> Result<Action, Misuse> {
        Invocation { name, arguments }.read()
    }

    fn hang_up(reason: &str) -> Action {
        Action::HangUp {
            reason: reason.to_owned(),
        }
    }
}
