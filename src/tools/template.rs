//! Templates of requests: `{{argument.order}}`, `{{caller}}`, each escaped for where it stands.
//!
//! What is filled in comes from a model or a caller. In a URL it stays one piece of a path or query, in a header one line,
//! in a JSON body one value or a part of one text; it can never become anything else.

use std::fmt::Write as _;

use serde_json::Value;

/// The longest thing made of a template, in bytes; a longer one is an error.
const BYTES_MAX: usize = 256 * 1024;

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a URL.
    Url,
    /// In the value of a header.
    Header,
    /// In a body of JSON.
    Json,
    /// In a body that is a form (`application/x-www-form-urlencoded`).
    Form,
    /// In a body of any other kind.
    Text,
}

/// Why a template could not be filled in; the text is for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// A value would climb out of its part of the path.
    #[error("the value of {0} cannot stand in an address")]
    Climbs(String),
    /// What came out is too long.
    #[error("the request would be too long")]
    TooLong,
}

impl Place {
    /// The place of a body of this content type.
    pub fn body(content_type: &str) -> Self {
        let kind = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            kind if kind == "application/json" || kind.ends_with("+json") => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Fills in what stands between `{{` and `}}`; what `value` does not know is `null` in JSON and empty elsewhere. Braces
/// that are never closed stay as they are.
pub fn fill(template: &str, place: Place, value: impl Fn(&str) -> Option<Value>) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(template.len());
    let mut quoted = false;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        quoted ^= ends_inside_text(before, quoted);
        let name = name.trim();
        let value = value(name).unwrap_or(Value::Null);
        put(&mut filled, place, quoted, name, &value)?;
        if filled.len() > BYTES_MAX {
            return Err(Unfilled::TooLong);
        }
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn put(out: &mut String, place: Place, quoted: bool, name: &str, value: &Value) -> Result<(), Unfilled> {
    match place {
        Place::Json if !quoted => out.push_str(&value.to_string()),
        Place::Json => {
            let text = Value::String(plain(value)).to_string();
            out.push_str(&text[1..text.len() - 1]);
        }
        Place::Url => {
            let text = plain(value);
            if matches!(text.as_str(), "." | "..") {
                return Err(Unfilled::Climbs(name.to_owned()));
            }
            percent_encode(out, &text);
        }
        Place::Form => percent_encode(out, &plain(value)),
        Place::Header => out.extend(plain(value).chars().filter(|letter| (' '..='~').contains(letter))),
        Place::Text => out.push_str(&plain(value)),
    }
    Ok(())
}

/// Whether an odd number of quotes that are not escaped stands in this piece of JSON.
fn ends_inside_text(piece: &str, mut inside: bool) -> bool {
    let began = inside;
    let mut escaped = false;
    for letter in piece.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    began != inside
}

/// A value as a person would write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Everything but what RFC 3986 section 2.3 calls unreserved.
fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_in_a_url_stays_one_piece() {
        assert_eq!(
            filled("https://h/o/{{ argument.id }}?c={{caller}}&n={{none}}", Place::Url),
            "https://h/o/a%2Fb%3F%26%C3%A9?c=%2B1555&n="
        );
        for climber in [".", ".."] {
            let value = |_: &str| Some(json!(climber));
            assert_eq!(
                fill("/a/{{x}}/b", Place::Url, value),
                Err(Unfilled::Climbs("x".to_owned()))
            );
        }
    }

    #[test]
    fn a_value_in_json_is_a_value_outside_of_texts_and_letters_inside() {
        let template = r#"{"a":{{argument.id}},"b":"x {{quote}} \" {{quote}}","n":{{number}},"none":{{none}}}"#;
        let text = filled(template, Place::Json);
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(json["a"], "a/b?&é");
        assert_eq!(json["b"], "x say \"hi\\\" \" say \"hi\\\"");
        assert_eq!((&json["n"], &json["none"]), (&json!(7), &Value::Null));
    }

    #[test]
    fn a_value_in_a_header_is_one_line() {
        let value = |_: &str| Some(json!("a\r\nX-Evil: 1\u{7f}é"));
        assert_eq!(fill("v {{x}}", Place::Header, value).unwrap(), "v aX-Evil: 1");
    }

    #[test]
    fn the_kind_of_a_body_says_how_it_is_escaped() {
        for (kind, place) in [
            ("application/json; charset=utf-8", Place::Json),
            ("application/vnd.api+json", Place::Json),
            ("application/x-www-form-urlencoded", Place::Form),
            ("text/plain", Place::Text),
        ] {
            assert_eq!(Place::body(kind), place, "{kind}");
        }
        assert_eq!(filled("a={{quote}}", Place::Form), "a=say%20%22hi%5C%22");
    }

    #[test]
    fn braces_without_an_end_stay_and_no_text_is_endless() {
        assert_eq!(filled("a {{caller", Place::Text), "a {{caller");
        let long = json!("x".repeat(BYTES_MAX));
        assert_eq!(
            fill("{{a}}{{a}}", Place::Text, |_| Some(long.clone())),
            Err(Unfilled::TooLong)
        );
    }

    fn filled(template: &str, place: Place) -> String {
        let value = |name: &str| match name {
            "argument.id" => Some(json!("a/b?&é")),
            "caller" => Some(json!("+1555")),
            "quote" => Some(json!("say \"hi\\\"")),
            "number" => Some(json!(7)),
            _ => None,
        };
        fill(template, place, value).unwrap()
    }
}
