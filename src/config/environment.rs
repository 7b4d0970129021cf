//! The environment: which of its variables set something.

use std::collections::BTreeMap;

use ::config::{Environment, Map};

use super::{
    names,
    parts::{INNER_TABLES, PARTS, Shape, suggest_part},
    place::{Path, Place},
    problem::Report,
    value::shown_text,
};

/// What a variable's name begins with, up to its first separator.
const PREFIX: &str = "PATCHCORD";

/// What stands between the parts of a variable's name.
const SEPARATOR: &str = "__";

/// The layer of these variables.
pub(super) fn layer(env: &BTreeMap<String, String>, report: &mut Report) -> Environment {
    Environment::with_prefix(PREFIX)
        .separator(SEPARATOR)
        .source(Some(admitted(env, report)))
}

/// The variables that set something; the others with our prefix are problems.
fn admitted(env: &BTreeMap<String, String>, report: &mut Report) -> Map<String, String> {
    let mut admitted = Map::new();
    let prefix = format!("{PREFIX}{SEPARATOR}");
    for (variable, value) in env {
        let Some(rest) = variable.strip_prefix(&prefix) else {
            continue;
        };
        let name = rest.to_lowercase();
        let outcome = path_of(&name).and_then(|path| match report.places.note_variable(path, variable) {
            Some(other) => Err(format!("sets the same as {other}: remove one of them")),
            None => Ok(()),
        });
        match outcome {
            Ok(()) => drop(admitted.insert(variable.clone(), value.clone())),
            Err(text) => report.at(Place::Variable(variable.clone()), text),
        }
    }
    admitted
}

/// The place a variable sets, or why there is none.
fn path_of(name: &str) -> Result<Path, String> {
    let words: Vec<&str> = name.split(SEPARATOR).collect();
    let [part, keys @ ..] = words.as_slice() else {
        return Err(how_to_name());
    };
    let Some((part, shape)) = PARTS.iter().find(|(known, _)| known == part) else {
        return Err(format!(
            "there is no section {}: {}",
            shown_text(part),
            suggest_part(part)
        ));
    };
    let settable = match (shape, keys) {
        (Shape::List, _) => {
            return Err(format!(
                "[[{part}]] is a list, which variables cannot change: write it into the file"
            ));
        }
        (Shape::Table, [_]) => true,
        (Shape::Named, [_, key]) => !INNER_TABLES.contains(key),
        (Shape::Named, [_, table, _]) => INNER_TABLES.contains(table),
        _ => false,
    };
    let sayable = words.iter().all(|word| names::fault(word).is_none());
    match settable && sayable {
        true => Ok(words.iter().fold(Path::default(), |path, word| path.key(word))),
        false => Err(how_to_name()),
    }
}

fn how_to_name() -> String {
    format!(
        "does not name a setting: write {PREFIX}{SEPARATOR}SECTION{SEPARATOR}KEY or \
         {PREFIX}{SEPARATOR}AGENTS{SEPARATOR}NAME{SEPARATOR}KEY"
    )
}
