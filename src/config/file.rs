//! The file: its text as a tree, and where everything in it stands.

use std::ops::Range;

use ::config::{ConfigError, Map, Source, Value, ValueKind};
use toml_edit::{Document, Item, TableLike};

use super::{
    bounds::{FILE_BYTES_MAX, ROUTES_MAX},
    parts::{PARTS, Shape, suggest_part},
    place::{Path, Places},
    problem::Report,
};

/// How deep settings lie at most. What lies deeper is ignored, because what is around it is wrong already.
const DEPTH_MAX: usize = 24;

/// Items of a list whose positions are kept; what is wrong with later ones is told at the list's own position.
const ITEMS_NOTED_MAX: usize = ROUTES_MAX + 1;

/// The file as the crate `config` wants it.
#[derive(Debug, Clone)]
pub(super) struct FileLayer {
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
    /// The layer of this text; none when it is not TOML at all.
    pub(super) fn read(text: &str, report: &mut Report) -> Option<Self> {
        parse(text, report).map(|document| Self::new(&document, report))
    }

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
            let value = into_value(item, 0);
            check_items(&path, *shape, &value, report);
            match has_shape(*shape, &value) {
                true => drop(tree.insert(name.to_owned(), value)),
                false => report.key(&path, format!("{path} must be {}", shape.described(name))),
            }
        }
        Self { tree }
    }
}

impl Shape {
    fn described(self, name: &str) -> String {
        match self {
            Self::Table => format!("a table: write [{name}]"),
            Self::List => format!("a list of tables: write [[{name}]]"),
            Self::Named => format!("tables by name: write [{name}.NAME]"),
        }
    }
}

fn has_shape(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Table | Shape::Named => is_table(value),
        Shape::List => matches!(value.kind, ValueKind::Array(_)),
    }
}

/// What should be tables inside a part; others are left out when the part is read.
fn check_items(part: &Path, shape: Shape, value: &Value, report: &mut Report) {
    let wrong: Vec<Path> = match (shape, &value.kind) {
        (Shape::List, ValueKind::Array(items)) => {
            let wrong = items.iter().enumerate().filter(|(_, item)| !is_table(item));
            wrong.map(|(index, _)| part.index(index)).collect()
        }
        (Shape::Named, ValueKind::Table(tables)) => {
            let wrong = tables.iter().filter(|(_, item)| !is_table(item));
            wrong.map(|(name, _)| part.key(name)).collect()
        }
        _ => Vec::new(),
    };
    for path in wrong {
        report.key(&path, format!("{path} must be a table: write {}", path.header()));
    }
}

fn is_table(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Table(_))
}

/// What lies deeper is no setting.
fn note(item: &Item, path: Path, places: &mut Places) {
    if path.depth() > DEPTH_MAX {
        return;
    }
    if let Some(table) = item.as_table_like() {
        note_table(table, &path, places);
    }
    for (index, table) in item.as_array_of_tables().into_iter().flatten().enumerate() {
        note_item(path.index(index), table.span(), places);
        note_table(table, &path.index(index), places);
    }
    for (index, value) in item.as_array().into_iter().flatten().take(ITEMS_NOTED_MAX).enumerate() {
        note(&Item::Value(value.clone()), path.index(index), places);
    }
    note_item(path, item.span(), places);
}

fn note_item(path: Path, span: Option<Range<usize>>, places: &mut Places) {
    if let Some(span) = span {
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

/// Dates, and what lies too deep, have no place in a configuration and become nothing, which no setting is read from.
fn into_value(item: &Item, depth: usize) -> Value {
    let kind = match item {
        _ if depth > DEPTH_MAX => ValueKind::Nil,
        Item::None => ValueKind::Nil,
        Item::Value(value) => into_kind(value, depth),
        Item::Table(table) => into_map(table, depth),
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter().map(|table| Value::new(None, into_map(table, depth + 1)));
            ValueKind::Array(tables.collect())
        }
    };
    Value::new(None, kind)
}

fn into_kind(value: &toml_edit::Value, depth: usize) -> ValueKind {
    match value {
        toml_edit::Value::String(text) => ValueKind::String(text.value().clone()),
        toml_edit::Value::Integer(number) => ValueKind::I64(*number.value()),
        toml_edit::Value::Float(number) => ValueKind::Float(*number.value()),
        toml_edit::Value::Boolean(truth) => ValueKind::Boolean(*truth.value()),
        toml_edit::Value::Array(values) if depth < DEPTH_MAX => {
            let values = values.iter().map(|value| Value::new(None, into_kind(value, depth + 1)));
            ValueKind::Array(values.collect())
        }
        toml_edit::Value::InlineTable(table) => into_map(table, depth),
        toml_edit::Value::Datetime(_) | toml_edit::Value::Array(_) => ValueKind::Nil,
    }
}

fn into_map(table: &dyn TableLike, depth: usize) -> ValueKind {
    let items = table
        .iter()
        .map(|(name, item)| (name.to_owned(), into_value(item, depth + 1)));
    ValueKind::Table(items.collect())
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
