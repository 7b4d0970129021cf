//! One table of settings, read key by key.
//!
//! A section asks for every key it knows and gets a good value or the default; what is wrong goes to the report. What
//! nobody asked for is unknown. Values from variables are texts and are parsed by what is asked for.

use std::ops::RangeInclusive;

use ::config::{Map, Value, ValueKind};

use super::{
    bounds::{LINE_BYTES_MAX, LIST_ITEMS_MAX},
    nearest::suggestion,
    place::Path,
    problem::Report,
    secret::{Secret, SecretSource},
};

/// Characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// A table being read. It has to be [`finish`](Self::finish)ed, which finds the unknown keys.
pub(super) struct Section<'r> {
    report: &'r mut Report,
    path: Path,
    table: Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'r> Section<'r> {
    pub(super) fn new(report: &'r mut Report, path: Path, table: Map<String, Value>) -> Self {
        Self { report, path, table, known: Vec::new() }
    }

    /// Whether a key is given, by the file or by a variable.
    pub(super) fn gives(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The first of these keys that is given; where to point when several together are wrong.
    pub(super) fn first_given(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.gives(key))
    }

    /// Says that a value is wrong. The text goes on after the key.
    pub(super) fn wrong(&mut self, key: &str, text: &str) {
        let path = self.path.key(key);
        self.report.value(&path, format!("{path} {text}"));
    }

    /// Says that something about the whole table is wrong.
    pub(super) fn wrong_table(&mut self, text: &str) {
        self.report.value(&self.path, text);
    }

    /// A line of text.
    pub(super) fn text(&mut self, key: &'static str, default: &str) -> String {
        self.parsed(key, default.to_owned(), |text| Ok(text.to_owned()))
    }

    /// A line of text that has to be given.
    pub(super) fn required(&mut self, key: &'static str) -> String {
        if !self.gives(key) {
            let text = format!("{} needs the key \"{key}\"", self.path.header());
            self.report.value(&self.path.clone(), text);
        }
        self.text(key, "")
    }

    /// A text of several lines.
    pub(super) fn prose(&mut self, key: &'static str, bytes_max: usize) -> String {
        self.bounded(key, bytes_max, String::new(), |text| Ok(text.to_owned()))
    }

    /// A line of text that means something; `read` says what is wrong with it.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let read_line = |text: &str| match text.contains(char::is_control) {
            true => Err("holds control characters".to_owned()),
            false => read(text),
        };
        self.bounded(key, LINE_BYTES_MAX, default, read_line)
    }

    fn bounded<T>(
        &mut self,
        key: &'static str,
        bytes_max: usize,
        default: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.take(key) else { return default };
        let read = match &value.kind {
            ValueKind::String(text) if text.len() > bytes_max => Err(format!("is longer than {bytes_max} bytes")),
            ValueKind::String(text) => read(text).map_err(|fault| format!("= {} {fault}", shown(&value))),
            _ => Err(format!("= {} is not a text: put it in quotes", shown(&value))),
        };
        self.settled(key, read, default)
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        self.parsed(key, default, |text| one_of(text, words))
    }

    /// A whole number in this range.
    pub(super) fn whole(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>, unit: &str) -> u64 {
        self.optional_whole(key, range, unit).unwrap_or(default)
    }

    /// A whole number in this range, when it is given.
    pub(super) fn optional_whole(&mut self, key: &'static str, range: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let value = self.take(key)?;
        let bounds = format!("{} to {} {unit}", range.start(), range.end());
        let read = match self.as_whole(key, &value) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(format!("= {} is out of range: {bounds}", shown(&value))),
            None => Err(format!("= {} is not a whole number: {bounds}", shown(&value))),
        };
        self.settled(key, read, None)
    }

    /// Numbers below zero count as the largest, which is out of every range.
    fn as_whole(&self, key: &str, value: &Value) -> Option<u64> {
        match &value.kind {
            ValueKind::I64(number) => Some(u64::try_from(*number).unwrap_or(u64::MAX)),
            ValueKind::String(text) if self.is_variable(key) => {
                let number: i64 = text.trim().parse().ok()?;
                Some(u64::try_from(number).unwrap_or(u64::MAX))
            }
            _ => None,
        }
    }

    /// A number in this range, when it is given.
    pub(super) fn optional_number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.take(key)?;
        let number = match &value.kind {
            ValueKind::Float(number) => Some(*number),
            ValueKind::I64(number) => Some(*number as f64),
            ValueKind::String(text) if self.is_variable(key) => text.trim().parse().ok(),
            _ => None,
        };
        let bounds = format!("{} to {}", range.start(), range.end());
        let read = match number {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(format!("= {} is out of range: {bounds}", shown(&value))),
            None => Err(format!("= {} is not a number: {bounds}", shown(&value))),
        };
        self.settled(key, read, None)
    }

    /// `true` or `false`, when it is given.
    pub(super) fn optional_truth(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let truth = match &value.kind {
            ValueKind::Boolean(truth) => Some(*truth),
            ValueKind::String(text) if self.is_variable(key) => text.trim().to_lowercase().parse().ok(),
            _ => None,
        };
        let read = truth.map(Some).ok_or_else(|| format!("= {} is not true or false", shown(&value)));
        self.settled(key, read, None)
    }

    /// A list of lines; from a variable, separated by commas. A wrong item is left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return default };
        let items = match value.kind {
            ValueKind::Array(items) if items.len() <= LIST_ITEMS_MAX => items,
            ValueKind::Array(_) => {
                self.wrong(key, &format!("has more than {LIST_ITEMS_MAX} items"));
                return default;
            }
            ValueKind::String(text) if self.is_variable(key) => split(&text),
            _ => {
                self.wrong(key, &format!("= {} is not a list: write [\"…\"]", shown(&value)));
                return default;
            }
        };
        items.into_iter().enumerate().filter_map(|(index, item)| self.item(key, index, &item, &read)).collect()
    }

    fn item<T>(
        &mut self,
        key: &str,
        index: usize,
        item: &Value,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = match &item.kind {
            ValueKind::String(text) if text.len() > LINE_BYTES_MAX => {
                Err(format!("is longer than {LINE_BYTES_MAX} bytes"))
            }
            ValueKind::String(text) => read(text).map_err(|fault| format!("= {} {fault}", shown(item))),
            _ => Err(format!("= {} is not a text: put it in quotes", shown(item))),
        };
        let path = self.path.key(key).index(index);
        read.map_err(|fault| self.report.value(&path, format!("{path} {fault}"))).ok()
    }

    /// Where a secret comes from. No message shows the value: it may be the secret itself.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let value = self.take(key)?;
        let variable = self.report.places.variable(&self.path.key(key)).map(str::to_owned);
        let source = match &value.kind {
            ValueKind::String(text) if text.is_empty() => return None,
            ValueKind::String(text) => SecretSource::read(text, variable.as_deref()),
            _ => Err("is not a text: write \"env:NAME\" or \"file:PATH\"".to_owned()),
        };
        self.settled(key, source.map(|source| Some(Secret::unresolved(source))), None)
    }

    /// A table inside this one, which may be missing.
    pub(super) fn inner(&mut self, key: &'static str) -> Section<'_> {
        let table = match self.take(key).map(|value| (value.kind.clone(), value)) {
            None => Map::new(),
            Some((ValueKind::Table(table), _)) => table,
            Some((_, value)) => {
                let header = self.path.key(key).header();
                self.wrong(key, &format!("= {} is not a table: write {header}", shown(&value)));
                Map::new()
            }
        };
        Section::new(self.report, self.path.key(key), table)
    }

    /// Says which keys nobody knows.
    pub(super) fn finish(self) {
        let mut unknown: Vec<&String> = self.table.keys().collect();
        unknown.sort();
        for key in unknown {
            let (shown, header) = (key.escape_debug(), self.path.header());
            let nearest = suggestion(key, self.known.iter().copied());
            self.report.key(&self.path.key(key), format!("unknown key \"{shown}\" in {header}: {nearest}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn is_variable(&self, key: &str) -> bool {
        self.report.places.variable(&self.path.key(key)).is_some()
    }

    fn settled<T>(&mut self, key: &str, read: Result<T, String>, default: T) -> T {
        read.unwrap_or_else(|fault| {
            self.wrong(key, &fault);
            default
        })
    }
}

/// The meaning of a word, or the nearest word that has one.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| format!("is not known: {}", suggestion(text, words.iter().map(|(word, _)| *word))))
}

fn split(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::new(None, ValueKind::String(item.to_owned()))).collect()
}

/// A value as it stands in the file, cut when it is long.
fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("\"{}…\"", head.escape_debug())
        }
        ValueKind::String(text) => format!("\"{}\"", text.escape_debug()),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        ValueKind::Boolean(truth) => truth.to_string(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        _ => "a date".to_owned(),
    }
}
