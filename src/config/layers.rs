//! The file and the environment, merged into one tree.
//!
//! The crate `config` merges. Its two sources are made here, because they must lose nothing: the file is read by
//! `toml_edit`, which knows where everything stands, and variables are admitted only when they name a place that a
//! variable can set. What cannot be merged becomes a problem instead of getting lost.

use std::collections::BTreeMap;

use ::config::{ConfigError, Environment, Map, Source, Value, ValueKind};
use toml_edit::{Document, Item, TableLike};

use super::{
    bounds::FILE_BYTES_MAX,
    names,
    nearest::suggestion,
    place::{Path, Places},
    problem::{Problems, Report},
    section::Section,
};

/// What a variable's name begins with, up to its first separator.
const PREFIX: &str = "PATCHCORD";

/// What stands between the parts of a variable's name.
const SEPARATOR: &str = "__";

/// The parts of a configuration.
const PARTS: &[(&str, Shape)] = &[
    ("sip", Shape::Table),
    ("media", Shape::Table),
    ("http", Shape::Table),
    ("limits", Shape::Table),
    ("session", Shape::Table),
    ("records", Shape::Table),
    ("log", Shape::Table),
    ("trunk", Shape::List),
    ("route", Shape::List),
    ("agents", Shape::Named),
    ("backends", Shape::Named),
];

/// Tables inside a named table.
const INNER_TABLES: &[&str] = &["turn_detection"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One table.
    Table,
    /// A list of tables.
    List,
    /// Tables by name.
    Named,
}

/// The merged tree, and what has been found wrong so far.
#[derive(Debug)]
pub(super) struct Layers {
    tree: Map<String, Value>,
    pub(super) report: Report,
}

impl Layers {
    /// Merges; fails alone on a file that is not TOML, because then nothing else can be said.
    pub(super) fn merge(file_name: &str, text: &str, env: &BTreeMap<String, String>) -> Result<Self, Problems> {
        let mut report = Report::new(Places::new(file_name, text));
        let Some(document) = parse(text, &mut report) else {
            return Err(report.into_problems());
        };
        let file = FileLayer::new(&document, &mut report);
        let variables = admitted(env, &mut report);
        match layered(file, variables) {
            Ok(tree) => Ok(Self { tree, report }),
            Err(error) => {
                report.at(report.places.at(0), format!("the settings cannot be merged: {error}"));
                Err(report.into_problems())
            }
        }
    }

    /// One table of settings; an empty one when it was not given.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        let table = self.tree.remove(name).map(into_table).unwrap_or_default();
        Section::new(&mut self.report, Path::default().key(name), table)
    }

    /// Every table of a list.
    pub(super) fn list<T>(&mut self, name: &'static str, items_max: usize, read: fn(Section<'_>) -> T) -> Vec<T> {
        let path = Path::default().key(name);
        let items = match self.tree.remove(name).map(|value| value.kind) {
            Some(ValueKind::Array(items)) => items,
            _ => Vec::new(),
        };
        if items.len() > items_max {
            let text = format!("there are {} [[{name}]]: at most {items_max} are possible", items.len());
            self.report.key(&path.index(items_max), text);
        }
        let tables = items.into_iter().take(items_max).map(into_table).enumerate();
        tables
            .map(|(index, table)| read(Section::new(&mut self.report, path.index(index), table)))
            .collect()
    }

    /// Every table of a table of tables.
    pub(super) fn named<T>(
        &mut self,
        name: &'static str,
        items_max: usize,
        read: fn(Section<'_>, &str) -> T,
    ) -> BTreeMap<String, T> {
        let path = Path::default().key(name);
        let tables: BTreeMap<String, Value> = self
            .tree
            .remove(name)
            .map(into_table)
            .unwrap_or_default()
            .into_iter()
            .collect();
        if tables.len() > items_max {
            let text = format!("there are {} {name}: at most {items_max} are possible", tables.len());
            self.report.key(&path, text);
        }
        let mut read_one = |(key, value): (String, Value)| {
            let path = path.key(&key);
            if let Some(fault) = names::fault(&key) {
                self.report.key(&path, format!("{path} {fault}"));
            }
            let item = read(Section::new(&mut self.report, path, into_table(value)), &key);
            (key, item)
        };
        tables.into_iter().take(items_max).map(&mut read_one).collect()
    }
}

fn parse<'t>(text: &'t str, report: &mut Report) -> Option<Document<&'t str>> {
    if text.len() > FILE_BYTES_MAX {
        let text = format!("the file is longer than {FILE_BYTES_MAX} bytes: that is not a configuration");
        report.at(report.places.at(0), text);
        return None;
    }
    match Document::parse(text) {
        Ok(document) => Some(document),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().trim().replace('\n', ", ");
            report.at(report.places.at(offset), format!("this is not TOML: {message}"));
            None
        }
    }
}

fn layered(file: FileLayer, variables: Map<String, String>) -> Result<Map<String, Value>, ConfigError> {
    let environment = Environment::with_prefix(PREFIX)
        .separator(SEPARATOR)
        .source(Some(variables));
    ::config::Config::builder()
        .add_source(file)
        .add_source(environment)
        .build()?
        .collect()
}

fn into_table(value: Value) -> Map<String, Value> {
    match value.kind {
        ValueKind::Table(table) => table,
        _ => Map::new(),
    }
}

/// The file as the crate `config` wants it.
#[derive(Debug, Clone)]
struct FileLayer {
    tree: Map<String, Value>,
}

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.tree.clone())
    }
}

impl FileLayer {
    /// Takes over the parts that have their right shape; the others are problems.
    fn new(document: &Document<&str>, report: &mut Report) -> Self {
        let mut tree = Map::new();
        let root = Path::default();
        note_table(document.as_table(), &root, &mut report.places);
        for (name, item) in document.as_table().iter() {
            let path = root.key(name);
            let Some((_, shape)) = PARTS.iter().find(|(part, _)| *part == name) else {
                report.key(&path, format!("unknown section {path}: {}", suggest_part(name)));
                continue;
            };
            let value = into_value(item);
            match misshapen(&path, *shape, &value) {
                None => drop(tree.insert(name.to_owned(), value)),
                Some((path, text)) => report.key(&path, text),
            }
        }
        Self { tree }
    }
}

fn suggest_part(name: &str) -> String {
    suggestion(name, PARTS.iter().map(|(part, _)| *part))
}

/// What is in the place of a table, and how the table would be written.
fn misshapen(path: &Path, shape: Shape, value: &Value) -> Option<(Path, String)> {
    let table = |path: Path| {
        let text = format!("{path} must be a table: write {}", path.header());
        (path, text)
    };
    match (shape, &value.kind) {
        (Shape::Table, ValueKind::Table(_)) => None,
        (Shape::Table, _) => Some(table(path.clone())),
        (Shape::List, ValueKind::Array(items)) => {
            let wrong = items.iter().position(|item| !is_table(item));
            wrong.map(|index| table(path.index(index)))
        }
        (Shape::List, _) => Some((
            path.clone(),
            format!("{path} must be a list of tables: write [[{path}]]"),
        )),
        (Shape::Named, ValueKind::Table(tables)) => {
            let wrong = tables
                .iter()
                .filter(|(_, item)| !is_table(item))
                .map(|(name, _)| name)
                .min();
            wrong.map(|name| table(path.key(name)))
        }
        (Shape::Named, _) => Some((
            path.clone(),
            format!("{path} must be tables by name: write [{path}.NAME]"),
        )),
    }
}

fn is_table(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Table(_))
}

/// Depth is bounded by the parser.
fn note(item: &Item, path: Path, places: &mut Places) {
    if let Some(table) = item.as_table_like() {
        note_table(table, &path, places);
    }
    let tables = item
        .as_array_of_tables()
        .into_iter()
        .flatten()
        .map(|table| (table.span(), table))
        .enumerate();
    for (index, (span, table)) in tables {
        let path = path.index(index);
        note_table(table, &path, places);
        if let Some(span) = span {
            places.note_value(path, span.start);
        }
    }
    for (index, value) in item.as_array().into_iter().flatten().enumerate() {
        note(&Item::Value(value.clone()), path.index(index), places);
    }
    if let Some(span) = item.span() {
        places.note_value(path, span.start);
    }
}

fn note_table(table: &dyn TableLike, path: &Path, places: &mut Places) {
    for (name, item) in table.iter() {
        let path = path.key(name);
        if let Some(span) = table.key(name).and_then(toml_edit::Key::span) {
            places.note_key(path.clone(), span.start);
        }
        note(item, path, places);
    }
}

/// Dates have no place in a configuration and become nothing, which no setting is read from.
fn into_value(item: &Item) -> Value {
    let kind = match item {
        Item::None => ValueKind::Nil,
        Item::Value(value) => scalar(value),
        Item::Table(table) => ValueKind::Table(into_map(table)),
        Item::ArrayOfTables(tables) => {
            let tables = tables
                .iter()
                .map(|table| Value::new(None, ValueKind::Table(into_map(table))));
            ValueKind::Array(tables.collect())
        }
    };
    Value::new(None, kind)
}

fn scalar(value: &toml_edit::Value) -> ValueKind {
    match value {
        toml_edit::Value::String(text) => ValueKind::String(text.value().clone()),
        toml_edit::Value::Integer(number) => ValueKind::I64(*number.value()),
        toml_edit::Value::Float(number) => ValueKind::Float(*number.value()),
        toml_edit::Value::Boolean(truth) => ValueKind::Boolean(*truth.value()),
        toml_edit::Value::Datetime(_) => ValueKind::Nil,
        toml_edit::Value::Array(values) => {
            ValueKind::Array(values.iter().map(|value| Value::new(None, scalar(value))).collect())
        }
        toml_edit::Value::InlineTable(table) => ValueKind::Table(into_map(table)),
    }
}

fn into_map(table: &dyn TableLike) -> Map<String, Value> {
    table
        .iter()
        .map(|(name, item)| (name.to_owned(), into_value(item)))
        .collect()
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
            Err(text) => report.at(super::Place::Variable(variable.clone()), text),
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
            "there is no section \"{}\": {}",
            part.escape_debug(),
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
