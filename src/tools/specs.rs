//! What the model is told of each tool.

use serde_json::{Value, json};

use super::vault::LENGTH_MAX;
use crate::{config::Tool, realtime::ToolSpec};

pub(super) fn hang_up() -> ToolSpec {
    spec(
        Tool::HangUp,
        "Ends the telephone call. Say goodbye first; call this when the caller has said goodbye or asks to end the call.",
        json!({ "reason": { "type": "string", "description": "Why the call ends, in a few words." } }),
        &[],
    )
}

/// `names` are those that may be transferred to; `any` allows numbers too.
pub(super) fn transfer<'n>(names: impl Iterator<Item = &'n String>, any: bool) -> ToolSpec {
    let names: Vec<&String> = names.collect();
    let target = match any {
        true => json!({
            "type": "string",
            "description": format!("A telephone number, a SIP URI, or one of these names: {names:?}."),
        }),
        false => json!({ "type": "string", "enum": names, "description": "Who takes the call over." }),
    };
    spec(
        Tool::Transfer,
        "Hands the call on to somebody else and leaves it. Tell the caller first. When it fails you are told why, and the \
         call goes on.",
        json!({ "target": target }),
        &["target"],
    )
}

pub(super) fn send_dtmf() -> ToolSpec {
    spec(
        Tool::SendDtmf,
        "Presses keys of the telephone, for instance to get through the menu of an answering system.",
        json!({ "digits": { "type": "string", "description": "1 to 32 of 0-9, *, # and A-D, such as \"12#\"." } }),
        &["digits"],
    )
}

pub(super) fn collect_digits() -> ToolSpec {
    spec(
        Tool::CollectDigits,
        "Takes digits that the caller types on the telephone and that you are not told, such as a card number or a PIN. \
         Ask the caller to type them first. You get a reference to give to the tool that needs them.",
        json!({
            "length": { "type": "integer", "minimum": 1, "maximum": LENGTH_MAX, "description": "How many digits." },
            "end_key": { "type": "string", "description": "The key that ends it before; \"#\" when left out." },
        }),
        &[],
    )
}

pub(super) fn hold() -> ToolSpec {
    spec(
        Tool::Hold,
        "Has the caller wait, hearing a soft tone, until a tool that is under way answers or the time is over. Tell the \
         caller first.",
        json!({ "seconds": { "type": "integer", "minimum": 1, "maximum": 300, "description": "30 when left out." } }),
        &[],
    )
}

fn spec(tool: Tool, description: &str, properties: Value, required: &[&str]) -> ToolSpec {
    ToolSpec {
        name: tool.name().to_owned(),
        description: description.to_owned(),
        parameters: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
    }
}
