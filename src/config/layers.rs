//! The file and the environment, merged into one tree.
//!
//! The crate `config` merges. Its two sources are made here, because they must lose nothing: the file is read by
//! `toml_edit`, which knows where everything stands, and variables are admitted only when they name a place that a
//! variable can set. What cannot be merged becomes a problem instead of getting lost.

use std::collections::BTreeMap;

use ::config::{ConfigError, Environment, Map, Source, Value, ValueKind};

use super::{
    environment,
    file::FileLayer,
    names,
    place::{Path, Places},
    problem::{Problems, Report},
    section::Section,
};

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
        let Some(file) = FileLayer::read(text, &mut report) else {
            return Err(report.into_problems());
        };
        let variables = environment::layer(env, &mut report);
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
        // What comes after something that is no table would be counted wrongly.
        let tables = items
            .into_iter()
            .take(items_max)
            .take_while(is_table)
            .map(into_table)
            .enumerate();
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
        let items = self.tree.remove(name).map(into_table).unwrap_or_default();
        let tables: BTreeMap<String, Value> = items.into_iter().filter(|(_, item)| is_table(item)).collect();
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

fn layered(file: FileLayer, variables: Environment) -> Result<Map<String, Value>, ConfigError> {
    ::config::Config::builder()
        .add_source(file)
        .add_source(variables)
        .build()?
        .collect()
}

fn is_table(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Table(_))
}

fn into_table(value: Value) -> Map<String, Value> {
    match value.kind {
        ValueKind::Table(table) => table,
        _ => Map::new(),
    }
}
