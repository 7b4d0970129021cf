//! Checking `tools` and `tool_choice`, and finding what an agent may call.

use serde_json::Value;

use super::error::Refusal;
use super::field::Field;

/// Most tools in a session; more are refused.
const TOOLS_MAX: usize = 128;

/// Reads a list of tools.
pub fn read(field: &Field<'_>) -> Result<Vec<Value>, Refusal> {
    let tools = field
        .elements()?
        .map(|tool| read_one(&tool))
        .collect::<Result<Vec<_>, _>>()?;
    if tools.len() > TOOLS_MAX {
        return Err(field.invalid(format!(
            "Invalid '{}': at most {TOOLS_MAX} tools are supported.",
            field.path()
        )));
    }
    Ok(tools)
}

/// Reads who decides about calling a tool.
pub fn read_choice(field: &Field<'_>) -> Result<Value, Refusal> {
    match field.value() {
        Value::Object(_) => read_named_choice(field)?,
        _ => field.one_of(&["none", "auto", "required"]).map(drop)?,
    }
    Ok(field.value().clone())
}

/// The function the choice forces, or the first one when any call is required.
pub fn forced<'a>(tools: &'a [Value], choice: &'a Value) -> Option<&'a str> {
    match choice {
        Value::String(word) if word == "required" => functions(tools).next(),
        Value::Object(choice) => choice
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| offers(tools, name)),
        _ => None,
    }
}

/// There is a function of this name and calling is allowed.
pub fn allowed(tools: &[Value], choice: &Value, name: &str) -> bool {
    choice != "none" && offers(tools, name)
}

fn offers(tools: &[Value], name: &str) -> bool {
    functions(tools).any(|known| known == name)
}

fn functions(tools: &[Value]) -> impl Iterator<Item = &str> {
    tools
        .iter()
        .filter(|tool| tool["type"] == "function")
        .filter_map(|tool| tool["name"].as_str())
}

fn read_one(tool: &Field<'_>) -> Result<Value, Refusal> {
    match tool.require("type")?.one_of(&["function", "mcp"])? {
        "function" => read_function(tool)?,
        _ => tool.require("server_label")?.string().map(drop)?,
    }
    Ok(tool.value().clone())
}

fn read_function(tool: &Field<'_>) -> Result<(), Refusal> {
    tool.only(&["type", "name", "description", "parameters"])?;
    tool.require("name")?.string()?;
    tool.get("description")
        .map_or(Ok(""), |description| description.string())?;
    tool.get("parameters")
        .map_or(Ok(()), |parameters| parameters.map().map(drop))
}

fn read_named_choice(choice: &Field<'_>) -> Result<(), Refusal> {
    match choice.require("type")?.one_of(&["function", "mcp"])? {
        "function" => choice.require("name")?.string().map(drop),
        _ => choice.require("server_label")?.string().map(drop),
    }
}
