//! One table of settings, read key by key.
//!
//! A section asks for every key it knows and gets a good value or the default; what is wrong goes to the report. What
//! nobody asked for is unknown. Values from variables are texts and are parsed by what is asked for.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use ::config::{Map, Value, ValueKind};

use super::{
    bounds::{LINE_BYTES_MAX, LIST_ITEMS_MAX, PROSE_BYTES_MAX},
    nearest::suggestion,
    place::Path,
    problem::Report,
    secret::{Secret, SecretSource},
    value::{bounded_text, json, line, shown, shown_text, split},
};

/// A table being read. It has to be [`finish`](Self::finish)ed, which finds the unknown keys.
pub(super) struct Section<'r> {
    report: &'r mut Report,
    path: Path,
    table: Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'r> Section<'r> {
    pub(super) fn new(report: &'r mut Report, path: Path, table: Map<String, Value>) -> Self {
        Self {
            report,
            path,
            table,
            known: Vec::new(),
        }
    }

    /// Whether a key is given, by the file or by a variable.
    pub(super) fn gives(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a key is given a value that is not the empty text, which stands for none.
    pub(super) fn gives_text(&self, key: &str) -> bool {
        let value = self.table.get(key);
        value.is_some_and(|value| !matches!(&value.kind, ValueKind::String(text) if text.is_empty()))
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

    /// Says that something about the whole table is wrong. The text goes on after its header.
    pub(super) fn wrong_table(&mut self, text: &str) {
        let text = format!("{} {text}", self.path.header());
        self.report.value(&self.path, text);
    }

    /// A line of text.
    pub(super) fn text(&mut self, key: &'static str, default: &str) -> String {
        self.parsed(key, default.to_owned(), |text| Ok(text.to_owned()))
    }

    /// Says that a key is missing, unless it is given.
    pub(super) fn require(&mut self, key: &str) {
        if !self.gives(key) {
            self.wrong_table(&format!("needs the key \"{key}\""));
        }
    }

    /// A line of text that has to be given.
    pub(super) fn required(&mut self, key: &'static str) -> String {
        self.require(key);
        self.text(key, "")
    }

    /// A text of several lines.
    pub(super) fn prose(&mut self, key: &'static str, bytes_max: usize) -> String {
        self.bounded(key, bytes_max, String::new(), |text| Ok(text.to_owned()))
    }

    /// A line of text that means something; `read` says what is wrong with it.
    pub(super) fn parsed<T>(&mut self, key: &'static str, default: T, read: impl Fn(&str) -> Result<T, String>) -> T {
        self.bounded(key, LINE_BYTES_MAX, default, |text| {
            line(text)
                .and_then(&read)
                .map_err(|fault| format!("= {} {fault}", shown_text(text)))
        })
    }

    /// The same, of a value that may hold a secret: no message shows it.
    pub(super) fn private<T>(&mut self, key: &'static str, default: T, read: impl Fn(&str) -> Result<T, String>) -> T {
        self.bounded(key, LINE_BYTES_MAX, default, |text| line(text).and_then(&read))
    }

    fn bounded<T>(
        &mut self,
        key: &'static str,
        bytes_max: usize,
        default: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.take(key) else { return default };
        let read = bounded_text(&value, bytes_max).and_then(read);
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

    /// A time written in seconds.
    pub(super) fn seconds(&mut self, key: &'static str, default: Duration, range: RangeInclusive<u64>) -> Duration {
        self.optional_whole(key, range, "s")
            .map_or(default, Duration::from_secs)
    }

    /// A time written in milliseconds.
    pub(super) fn millis(&mut self, key: &'static str, default: Duration, range: RangeInclusive<u64>) -> Duration {
        self.optional_whole(key, range, "ms")
            .map_or(default, Duration::from_millis)
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
        let read = truth
            .map(Some)
            .ok_or_else(|| format!("= {} is not true or false", shown(&value)));
        self.settled(key, read, None)
    }

    /// Says that a list is wrong when it is given without any item.
    pub(super) fn refuse_empty(&mut self, key: &str, text: &str) {
        let is_empty = self.table.get(key).is_some_and(|value| match &value.kind {
            ValueKind::Array(items) => items.is_empty(),
            ValueKind::String(text) => self.is_variable(key) && split(text).is_empty(),
            _ => false,
        });
        if is_empty {
            self.wrong(key, text);
        }
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
        items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| self.item(key, index, &item, &read))
            .collect()
    }

    /// Lines by name: `{ name = "text" }`.
    pub(super) fn texts(&mut self, key: &'static str, items_max: usize) -> BTreeMap<String, String> {
        let Some(value) = self.take(key) else {
            return BTreeMap::new();
        };
        let ValueKind::Table(table) = value.kind else {
            self.wrong(
                key,
                &format!("= {} is not a table: write {{ name = \"…\" }}", shown(&value)),
            );
            return BTreeMap::new();
        };
        if table.len() > items_max {
            self.wrong(key, &format!("has more than {items_max} names"));
        }
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            let path = self.path.key(key).key(&name);
            match bounded_text(&value, LINE_BYTES_MAX).and_then(|text| line(text).map(str::to_owned)) {
                Ok(text) => drop(texts.insert(name, text)),
                Err(fault) => self.report.value(&path, format!("{path} {fault}")),
            }
        }
        texts
    }

    fn item<T>(
        &mut self,
        key: &str,
        index: usize,
        item: &Value,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = bounded_text(item, LINE_BYTES_MAX)
            .and_then(|text| read(text).map_err(|fault| format!("= {} {fault}", shown_text(text))));
        let path = self.path.key(key).index(index);
        read.map_err(|fault| self.report.value(&path, format!("{path} {fault}")))
            .ok()
    }

    /// A JSON value, written as a table or as a text of JSON; `check` says what is wrong with it.
    pub(super) fn json(
        &mut self,
        key: &'static str,
        default: serde_json::Value,
        check: fn(&serde_json::Value) -> Result<(), String>,
    ) -> serde_json::Value {
        let Some(value) = self.take(key) else { return default };
        let read = match &value.kind {
            ValueKind::Table(_) => json(&value),
            ValueKind::String(text) if text.len() > PROSE_BYTES_MAX => {
                Err(format!("is longer than {PROSE_BYTES_MAX} bytes"))
            }
            ValueKind::String(text) => serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}")),
            _ => Err("is neither a table nor a text of JSON".to_owned()),
        };
        let read = read.and_then(|json| check(&json).map(|()| json));
        self.settled(key, read, default)
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

    /// Says that a key must not be given here.
    pub(super) fn forbid(&mut self, key: &str, text: &str) {
        if self.table.remove(key).is_some() {
            self.wrong(key, text);
        }
    }

    /// A table inside this one, which may be missing.
    pub(super) fn inner(&mut self, key: &'static str) -> Section<'_> {
        let fault = self.take(key).map(|value| match value.kind {
            ValueKind::Table(table) => Ok(table),
            _ => Err(format!(
                "= {} is not a table: write {}",
                shown(&value),
                self.path.key(key).header()
            )),
        });
        let table = self.settled(key, fault.unwrap_or_else(|| Ok(Map::new())), Map::new());
        Section::new(self.report, self.path.key(key), table)
    }

    /// The tables of a table of tables inside this one; those beyond the bound are left out.
    pub(super) fn inner_named<T>(
        &mut self,
        key: &'static str,
        items_max: usize,
        fault: fn(&str) -> Option<String>,
        read: fn(Section<'_>) -> T,
    ) -> BTreeMap<String, T> {
        let tables = self.inner(key);
        let Section {
            report, path, table, ..
        } = tables;
        if table.len() > items_max {
            let text = format!("there are {} {path}: at most {items_max} are possible", table.len());
            report.key(&path, text);
        }
        let tables: BTreeMap<String, Value> = table.into_iter().collect();
        let mut read_one = |(name, value): (String, Value)| {
            let path = path.key(&name);
            if let Some(fault) = fault(&name) {
                report.key(&path, format!("{path} {fault}"));
            }
            let ValueKind::Table(table) = value.kind else {
                report.key(&path, format!("{path} must be a table: write {}", path.header()));
                return None;
            };
            Some((name, read(Section::new(report, path, table))))
        };
        tables.into_iter().take(items_max).filter_map(&mut read_one).collect()
    }

    /// Says which keys nobody knows.
    pub(super) fn finish(self) {
        let mut unknown: Vec<&String> = self.table.keys().collect();
        unknown.sort();
        for key in unknown {
            let (shown, header) = (shown_text(key), self.path.header());
            let nearest = suggestion(key, self.known.iter().copied());
            let text = format!("unknown key {shown} in {header}: {nearest}");
            self.report.key(&self.path.key(key), text);
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
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        format!(
            "is not known: {}",
            suggestion(text, words.iter().map(|(word, _)| *word))
        )
    })
}
