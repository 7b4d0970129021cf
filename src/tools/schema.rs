//! Whether arguments fit a tool's parameters: the part of JSON Schema that tools are described with.
//!
//! Types, members, items, bounds, choices and references inside the schema are checked. Patterns, formats and conditions
//! are not: who serves the tool checks those, and words its own refusal. What is wrong is said so that a model can mend it.

use serde_json::Value;

/// How deep a schema is followed; what lies deeper is taken as it comes. It ends references that lead in circles.
const DEPTH_MAX: usize = 32;

/// Names listed in one message.
const LISTED_MAX: usize = 32;

/// The first thing about `value` that does not fit `schema`, in words.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    Checker { root: schema }.check(schema, value, "", DEPTH_MAX)
}

struct Checker<'s> {
    root: &'s Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        if depth == 0 || schema == &Value::Bool(true) {
            return Ok(());
        }
        if schema == &Value::Bool(false) {
            return Err(format!("{} is not allowed", named(at)));
        }
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str) {
            let target = pointer.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Ok(()), |target| self.check(target, value, at, depth - 1));
        }
        has_type(schema, value, at)?;
        is_choice(schema, value, at)?;
        match value {
            Value::Object(_) => self.members(schema, value, at, depth)?,
            Value::Array(items) => self.items(schema, items, at, depth)?,
            Value::String(text) => within(schema, ["minLength", "maxLength"], text.chars().count(), "letters", at)?,
            Value::Number(_) => number(schema, value, at)?,
            Value::Bool(_) | Value::Null => {}
        }
        self.combined(schema, value, at, depth)
    }

    fn members(&self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        let members = value.as_object().into_iter().flatten();
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                return Err(format!("{} is missing", named(&inside(at, name))));
            }
        }
        let properties = schema.get("properties");
        for (name, member) in members {
            let at = inside(at, name);
            match (
                properties.and_then(|known| known.get(name)),
                schema.get("additionalProperties"),
            ) {
                (Some(known), _) => self.check(known, member, &at, depth - 1)?,
                (None, Some(Value::Bool(false))) => {
                    return Err(format!("{} is unknown: there are {}", named(&at), known(properties)));
                }
                (None, Some(other)) => self.check(other, member, &at, depth - 1)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn items(&self, schema: &Value, items: &[Value], at: &str, depth: usize) -> Result<(), String> {
        within(schema, ["minItems", "maxItems"], items.len(), "items", at)?;
        let Some(each) = schema.get("items") else { return Ok(()) };
        let mut places = items.iter().enumerate();
        places.try_for_each(|(index, item)| self.check(each, item, &format!("{at}[{index}]"), depth - 1))
    }

    fn combined(&self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        for part in list(schema, "allOf") {
            self.check(part, value, at, depth - 1)?;
        }
        for word in ["anyOf", "oneOf"] {
            let ways = list(schema, word);
            let tried: Vec<_> = ways.iter().map(|way| self.check(way, value, at, depth - 1)).collect();
            if !tried.is_empty() && tried.iter().all(Result::is_err) {
                return tried.into_iter().next().unwrap_or(Ok(()));
            }
        }
        Ok(())
    }
}

fn list<'s>(schema: &'s Value, word: &str) -> &'s [Value] {
    schema.get(word).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn has_type(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wanted: Vec<&str> = match schema.get("type") {
        Some(Value::String(word)) => vec![word.as_str()],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    match wanted.iter().any(|word| is_a(word, value)) {
        true => Ok(()),
        false => Err(format!("{} must be of type {}", named(at), wanted.join(" or "))),
    }
}

/// 2.0 is an integer (JSON Schema validation 6.1.1).
fn is_a(word: &str, value: &Value) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn is_choice(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        return Err(format!("{} must be {only}", named(at)));
    }
    let choices = list(schema, "enum");
    if choices.is_empty() || choices.contains(value) {
        return Ok(());
    }
    let words: Vec<String> = choices.iter().take(LISTED_MAX).map(Value::to_string).collect();
    Err(format!("{} must be one of {}", named(at), words.join(", ")))
}

fn number(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
    let Some(number) = value.as_f64() else { return Ok(()) };
    let broken = [
        bound("minimum")
            .filter(|least| number < *least)
            .map(|least| ("at least", least)),
        bound("maximum")
            .filter(|most| number > *most)
            .map(|most| ("at most", most)),
        bound("exclusiveMinimum")
            .filter(|least| number <= *least)
            .map(|least| ("more than", least)),
        bound("exclusiveMaximum")
            .filter(|most| number >= *most)
            .map(|most| ("less than", most)),
    ];
    match broken.into_iter().flatten().next() {
        Some((word, bound)) => Err(format!("{} must be {word} {bound}", named(at))),
        None => Ok(()),
    }
}

fn within(schema: &Value, [least, most]: [&str; 2], size: usize, what: &str, at: &str) -> Result<(), String> {
    let bound = |word: &str| schema.get(word).and_then(Value::as_u64);
    let size = size as u64;
    match (bound(least), bound(most)) {
        (Some(least), _) if size < least => Err(format!("{} must have at least {least} {what}", named(at))),
        (_, Some(most)) if size > most => Err(format!("{} must have at most {most} {what}", named(at))),
        _ => Ok(()),
    }
}

fn known(properties: Option<&Value>) -> String {
    let names = properties.and_then(Value::as_object).into_iter().flatten();
    let names: Vec<&str> = names.take(LISTED_MAX).map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn inside(at: &str, name: &str) -> String {
    let dot = if at.is_empty() { "" } else { "." };
    format!("{at}{dot}{name}")
}

fn named(at: &str) -> &str {
    if at.is_empty() { "the arguments" } else { at }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_passes_and_what_does_not_is_named() {
        let schema = json!({
            "type": "object", "required": ["id"], "additionalProperties": false,
            "properties": {
                "id": { "type": "string", "minLength": 2, "maxLength": 4 },
                "count": { "type": "integer", "minimum": 1, "exclusiveMaximum": 10 },
                "kind": { "enum": ["a", "b"] },
                "tags": { "type": "array", "maxItems": 2, "items": { "type": ["string", "null"] } },
                "at": { "$ref": "#/$defs/place" },
            },
            "$defs": { "place": { "type": "object", "properties": { "city": { "const": "Bern" } } } },
        });
        for (value, fault) in [
            (
                json!({ "id": "ab", "count": 2.0, "kind": "b", "tags": ["x", null], "at": { "city": "Bern" } }),
                None,
            ),
            (json!([]), Some("the arguments must be of type object")),
            (json!({}), Some("id is missing")),
            (json!({ "id": "a" }), Some("id must have at least 2 letters")),
            (json!({ "id": "äöüßä" }), Some("id must have at most 4 letters")),
            (
                json!({ "id": "ab", "count": 1.5 }),
                Some("count must be of type integer"),
            ),
            (json!({ "id": "ab", "count": 0 }), Some("count must be at least 1")),
            (json!({ "id": "ab", "count": 10 }), Some("count must be less than 10")),
            (
                json!({ "id": "ab", "kind": "c" }),
                Some("kind must be one of \"a\", \"b\""),
            ),
            (
                json!({ "id": "ab", "tags": [1] }),
                Some("tags[0] must be of type string or null"),
            ),
            (
                json!({ "id": "ab", "tags": ["", "", ""] }),
                Some("tags must have at most 2 items"),
            ),
            (
                json!({ "id": "ab", "at": { "city": "Basel" } }),
                Some("at.city must be \"Bern\""),
            ),
            (
                json!({ "id": "ab", "x": 1 }),
                Some("x is unknown: there are at, count, id, kind, tags"),
            ),
        ] {
            assert_eq!(check(&schema, &value).err().as_deref(), fault, "{value}");
        }
    }

    #[test]
    fn ways_are_tried_and_circles_end() {
        let either = json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] });
        assert_eq!(check(&either, &json!(null)), Ok(()));
        assert_eq!(
            check(&either, &json!(1)),
            Err("the arguments must be of type string".to_owned())
        );
        let circle = json!({ "$ref": "#" });
        assert_eq!(check(&circle, &json!(1)), Ok(()));
        let tree = json!({ "properties": { "next": { "$ref": "#" }, "n": { "type": "number" } } });
        assert!(
            check(&tree, &json!({ "next": { "next": { "n": "x" } } }))
                .unwrap_err()
                .starts_with("next.next.n")
        );
        let mut deep = json!(1);
        (0..100).for_each(|_| deep = json!({ "next": deep }));
        assert_eq!(check(&tree, &deep), Ok(()));
    }

    #[test]
    fn a_schema_that_makes_no_sense_takes_everything() {
        for schema in [
            json!({ "type": 7 }),
            json!({ "required": 1, "enum": {} }),
            json!("x"),
            json!({ "$ref": "#/a" }),
        ] {
            assert_eq!(check(&schema, &json!({ "a": 1 })), Ok(()), "{schema}");
        }
        assert!(check(&json!({ "properties": { "a": false } }), &json!({ "a": 1 })).is_err());
    }
}
