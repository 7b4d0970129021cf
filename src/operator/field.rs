//! Reading a client event member by member: each value knows its path, so that every refusal names it.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::error::Refusal;

/// One value somewhere inside a client event.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// A value at the top; its path is its name.
    pub fn new(path: impl Into<String>, value: &'a Value) -> Self {
        Self {
            path: path.into(),
            value,
        }
    }

    /// The path as error messages spell it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value as it came.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The value unless it is null.
    pub fn present(self) -> Option<Self> {
        (!self.value.is_null()).then_some(self)
    }

    /// A member of an object; an object without it, or anything but an object, has none.
    pub fn get(&self, name: &str) -> Option<Field<'a>> {
        self.value.get(name).map(|value| self.member(name, value))
    }

    /// A member that must be there.
    pub fn require(&self, name: &str) -> Result<Field<'a>, Refusal> {
        self.map()?;
        self.get(name).ok_or_else(|| missing(&self.join(name)))
    }

    /// Every member of an object with its name.
    pub fn members(&self) -> Result<impl Iterator<Item = (&'a str, Field<'a>)> + use<'a, '_>, Refusal> {
        Ok(self
            .map()?
            .iter()
            .map(|(name, value)| (name.as_str(), self.member(name, value))))
    }

    /// Every element of an array.
    pub fn elements(&self) -> Result<impl Iterator<Item = Field<'a>> + use<'a, '_>, Refusal> {
        let elements = self.value.as_array().ok_or_else(|| self.mistyped("an array"))?;
        Ok(elements
            .iter()
            .enumerate()
            .map(|(at, value)| Field::new(format!("{}[{at}]", self.path), value)))
    }

    /// Refuses any member not named.
    pub fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        self.members()?
            .find(|(name, _)| !names.contains(name))
            .map_or(Ok(()), |(_, field)| Err(field.unknown()))
    }

    /// A string.
    pub fn string(&self) -> Result<&'a str, Refusal> {
        self.value.as_str().ok_or_else(|| self.mistyped("a string"))
    }

    /// A boolean.
    pub fn boolean(&self) -> Result<bool, Refusal> {
        self.value.as_bool().ok_or_else(|| self.mistyped("a boolean"))
    }

    /// A whole number in a range.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, Refusal> {
        let number = self.value.as_i64().ok_or_else(|| self.mistyped("an integer"))?;
        let inside = u64::try_from(number).ok().filter(|number| range.contains(number));
        inside.ok_or_else(|| self.outside(&number, range.start(), range.end()))
    }

    /// A number in a range.
    pub fn number(&self, range: RangeInclusive<f64>) -> Result<f64, Refusal> {
        let number = self.value.as_f64().ok_or_else(|| self.mistyped("a number"))?;
        range
            .contains(&number)
            .then_some(number)
            .ok_or_else(|| self.outside(&number, range.start(), range.end()))
    }

    /// One of a few words.
    pub fn one_of(&self, words: &[&'static str]) -> Result<&'static str, Refusal> {
        let word = self.string()?;
        words
            .iter()
            .copied()
            .find(|known| *known == word)
            .ok_or_else(|| self.unsupported(words))
    }

    /// An object.
    pub fn map(&self) -> Result<&'a Map<String, Value>, Refusal> {
        self.value.as_object().ok_or_else(|| self.mistyped("an object"))
    }

    /// The refusal of a member that does not exist.
    pub fn unknown(&self) -> Refusal {
        Refusal::at(
            &self.path,
            "unknown_parameter",
            format!("Unknown parameter: '{}'.", self.path),
        )
    }

    /// The refusal of a value of the wrong JSON type.
    pub fn mistyped(&self, expected: &str) -> Refusal {
        let (path, found) = (&self.path, type_name(self.value));
        let message = format!("Invalid type for '{path}': expected {expected}, but got {found} instead.");
        Refusal::at(path, "invalid_type", message)
    }

    /// The refusal of a value of the right type and the wrong content.
    pub fn invalid(&self, message: impl Into<String>) -> Refusal {
        Refusal::at(&self.path, "invalid_value", message)
    }

    fn unsupported(&self, words: &[&str]) -> Refusal {
        let supported = words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(", ");
        self.invalid(format!(
            "Invalid value: {}. Supported values are: {supported}.",
            self.value
        ))
    }

    fn outside(
        &self,
        number: &dyn std::fmt::Display,
        low: &dyn std::fmt::Display,
        high: &dyn std::fmt::Display,
    ) -> Refusal {
        self.invalid(format!(
            "Invalid '{}': {number} is not between {low} and {high}.",
            self.path
        ))
    }

    fn member(&self, name: &str, value: &'a Value) -> Field<'a> {
        Field::new(self.join(name), value)
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// The refusal of an absent member.
pub fn missing(path: &str) -> Refusal {
    Refusal::at(
        path,
        "missing_required_parameter",
        format!("Missing required parameter: '{path}'."),
    )
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_name_the_path_and_what_was_expected() {
        let value = json!({"audio": {"rate": "fast", "count": -1, "word": "no"}});
        let root = Field::new("session", &value);
        let audio = root.require("audio").unwrap();
        let refused = audio.require("rate").unwrap().integer(0..=5).unwrap_err();
        assert_eq!(
            (refused.code.as_ref(), refused.param.as_deref()),
            ("invalid_type", Some("session.audio.rate"))
        );
        let refused = audio.require("count").unwrap().integer(0..=5).unwrap_err();
        assert_eq!(refused.code, "invalid_value");
        let refused = audio.require("word").unwrap().one_of(&["yes"]).unwrap_err();
        assert!(refused.message.contains("'yes'"), "{}", refused.message);
        let refused = audio.require("other").unwrap_err();
        assert_eq!(refused.message, "Missing required parameter: 'session.audio.other'.");
        assert_eq!(root.only(&["type"]).unwrap_err().code, "unknown_parameter");
    }

    #[test]
    fn elements_are_numbered_in_the_path() {
        let value = json!([true, 1]);
        let field = Field::new("session.tools", &value);
        let refused = field
            .elements()
            .unwrap()
            .map(|element| element.boolean())
            .collect::<Result<Vec<_>, _>>();
        assert_eq!(refused.unwrap_err().param.as_deref(), Some("session.tools[1]"));
    }
}
