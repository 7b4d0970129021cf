//! One value of the merged tree: what it is as a text, and how it is shown in a problem.

use ::config::{Value, ValueKind};

/// Characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// The items of a list that a variable holds.
pub(super) fn split(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| Value::new(None, ValueKind::String(item.to_owned())))
        .collect()
}

/// The text a value is, unless it is something else or too long.
pub(super) fn bounded_text(value: &Value, bytes_max: usize) -> Result<&str, String> {
    match &value.kind {
        ValueKind::String(text) if text.len() > bytes_max => Err(format!("is longer than {bytes_max} bytes")),
        ValueKind::String(text) => Ok(text),
        _ => Err(format!("= {} is not a text: put it in quotes", shown(value))),
    }
}

/// A text that is one line.
pub(super) fn line(text: &str) -> Result<&str, String> {
    match text.contains(char::is_control) {
        true => Err("holds control characters".to_owned()),
        false => Ok(text),
    }
}

/// A value as JSON.
pub(super) fn json(value: &Value) -> Result<serde_json::Value, String> {
    Ok(match &value.kind {
        ValueKind::String(text) => text.as_str().into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::Boolean(truth) => (*truth).into(),
        ValueKind::Array(items) => items.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        ValueKind::Table(table) => {
            let members = table.iter().map(|(key, value)| Ok((key.clone(), json(value)?)));
            serde_json::Value::Object(members.collect::<Result<_, String>>()?)
        }
        _ => return Err("holds a date, or lies too deep: write it as a text of JSON".to_owned()),
    })
}

/// A value as it stands in the file.
pub(super) fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => shown_text(text),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        ValueKind::Boolean(truth) => truth.to_string(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        _ => "a date".to_owned(),
    }
}

/// A text in quotes, cut when it is long.
pub(super) fn shown_text(text: &str) -> String {
    format!("\"{}\"", shown_name(text))
}

/// The same without the quotes.
pub(super) fn shown_name(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{}{more}", head.escape_debug())
}
