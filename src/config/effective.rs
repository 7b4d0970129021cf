//! Writes settings as TOML.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

use serde_json::Value;

use super::secret::Secret;

/// TOML in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
}

impl Writer {
    /// Begins a table; `header` with its brackets.
    pub(super) fn table(&mut self, header: impl Display) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.line(format_args!("{gap}{header}"));
    }

    pub(super) fn text(&mut self, key: &str, text: impl Display) {
        self.line(format_args!("{key} = {}", quoted(&text.to_string())));
    }

    pub(super) fn whole(&mut self, key: &str, number: impl Display) {
        self.line(format_args!("{key} = {number}"));
    }

    pub(super) fn list<T: Display>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
        self.line(format_args!("{key} = [{}]", items.join(", ")));
    }

    /// Texts by name, as a table in one line.
    pub(super) fn texts(&mut self, key: &str, texts: &BTreeMap<String, String>) {
        let texts: Vec<String> = texts
            .iter()
            .map(|(name, text)| format!("{} = {}", quoted(name), quoted(text)))
            .collect();
        self.line(format_args!("{key} = {{{}}}", texts.join(", ")));
    }

    /// The source of a secret, and whether there is something.
    pub(super) fn secret(&mut self, key: &str, secret: Option<&Secret>) {
        let Some(secret) = secret else {
            return self.text(key, "");
        };
        let state = if secret.is_resolved() {
            "***"
        } else {
            "not fetched: nothing uses it"
        };
        self.line(format_args!(
            "{key} = {} # {state}",
            quoted(&secret.source().to_string())
        ));
    }

    /// A flat JSON object as a table.
    pub(super) fn object(&mut self, header: impl Display, object: &Value) {
        self.table(header);
        for (key, value) in object.as_object().into_iter().flatten() {
            match value {
                Value::String(text) => self.text(key, text),
                other => self.whole(key, other),
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back_as_it_was() {
        for text in [
            "",
            "plain",
            "\"quoted\" \\ back",
            "two\nlines\r\n\ttab",
            "\u{0}\u{7f}\u{85}",
            "é 😀",
        ] {
            let mut out = Writer::default();
            out.text("key", text);
            let document = toml_edit::Document::parse(out.into_text()).unwrap();
            assert_eq!(document.as_table()["key"].as_str(), Some(text));
        }
    }
}
