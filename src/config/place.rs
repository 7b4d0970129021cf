//! Where a setting stands: its path in the tree, and the position or the variable it came from.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use super::value::shown_name;

/// The way from the root of the tree to a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Key(String),
    Index(usize),
}

/// Where a person finds a setting. Places in the file come before variables, in the order they are read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File {
        /// The file's name.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// A variable of the environment, by name.
    Variable(String),
}

/// The places of all settings that were given.
#[derive(Debug, Default)]
pub(super) struct Places {
    file_name: String,
    text: String,
    line_starts: Vec<usize>,
    keys: HashMap<Path, usize>,
    values: HashMap<Path, usize>,
    variables: BTreeMap<Path, String>,
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }

    /// How many steps it is from the root.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// This, then what is around it, up to the root.
    fn outwards(&self) -> impl Iterator<Item = Self> {
        (0..=self.0.len())
            .rev()
            .map(|length| Self(self.0.iter().take(length).cloned().collect()))
    }

    /// The table as its header is written.
    pub(super) fn header(&self) -> String {
        match self.0.as_slice() {
            [Segment::Key(list), Segment::Index(_)] => format!("[[{list}]]"),
            _ => format!("[{self}]"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(depth, segment)| match segment {
                Segment::Index(index) => write!(out, "[{index}]"),
                Segment::Key(key) if depth == 0 => out.write_str(&shown_name(key)),
                Segment::Key(key) => write!(out, ".{}", shown_name(key)),
            })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(out, "{name}:{line}:{column}"),
            Self::Variable(name) => write!(out, "{}", name.escape_debug()),
        }
    }
}

impl Places {
    pub(super) fn new(file_name: &str, text: &str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file_name: file_name.to_owned(),
            text: text.to_owned(),
            line_starts: [0].into_iter().chain(after_breaks).collect(),
            ..Self::default()
        }
    }

    pub(super) fn note_key(&mut self, path: Path, offset: usize) {
        self.keys.insert(path, offset);
    }

    pub(super) fn note_value(&mut self, path: Path, offset: usize) {
        self.values.insert(path, offset);
    }

    /// Remembers a variable; gives back the name of an earlier one for the same setting.
    pub(super) fn note_variable(&mut self, path: Path, name: &str) -> Option<String> {
        self.variables.insert(path, name.to_owned())
    }

    /// The variable that sets exactly this.
    pub(super) fn variable(&self, path: &Path) -> Option<&str> {
        self.variables.get(path).map(String::as_str)
    }

    /// Where the value stands; of a table, its header.
    pub(super) fn of_value(&self, path: &Path) -> Place {
        self.nearest(path, |path| {
            self.values.get(path).or_else(|| self.keys.get(path)).copied()
        })
    }

    /// Where the key stands.
    pub(super) fn of_key(&self, path: &Path) -> Place {
        self.nearest(path, |path| {
            self.keys.get(path).or_else(|| self.values.get(path)).copied()
        })
    }

    /// What a variable sets is not in the file, even when the file has something in its place. What was not given stands
    /// where the table around it does.
    fn nearest(&self, path: &Path, offset_of: impl Fn(&Path) -> Option<usize>) -> Place {
        let variable = path.outwards().find_map(|path| self.variables.get(&path));
        let in_file = |path: Path| {
            let place = offset_of(&path).map(|offset| self.at(offset));
            place.or_else(|| Some(Place::Variable(self.variable_inside(&path)?.to_owned())))
        };
        match variable {
            Some(name) => Place::Variable(name.clone()),
            None => path.outwards().find_map(in_file).unwrap_or_else(|| self.at(0)),
        }
    }

    /// A variable that sets something inside this table; the root is everybody's.
    fn variable_inside(&self, table: &Path) -> Option<&str> {
        if table.0.is_empty() {
            return None;
        }
        let mut after = self.variables.range(table.clone()..);
        after
            .next()
            .filter(|(path, _)| path.0.starts_with(&table.0))
            .map(|(_, name)| name.as_str())
    }

    /// The line and column of a byte of the file.
    pub(super) fn at(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self
            .text
            .get(start..self.text.floor_char_boundary(offset))
            .unwrap_or_default();
        Place::File {
            name: self.file_name.clone(),
            line,
            column: before.chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters() {
        let places = Places::new("f", "a = \"é\"\nüü = 1\n");
        assert_eq!(places.at(0).to_string(), "f:1:1");
        assert_eq!(places.at(9).to_string(), "f:2:1");
        assert_eq!(places.at(14).to_string(), "f:2:4");
        assert_eq!(places.at(9999).to_string(), "f:3:1");
    }

    #[test]
    fn what_is_missing_stands_where_its_table_does() {
        let mut places = Places::new("f", "\n[a]\n");
        places.note_value(Path::default().key("a"), 1);
        assert_eq!(places.of_value(&Path::default().key("a").key("b")).to_string(), "f:2:1");
        assert_eq!(places.of_value(&Path::default().key("c")).to_string(), "f:1:1");
    }

    #[test]
    fn a_table_made_by_the_environment_is_found_by_its_variable() {
        let mut places = Places::new("f", "");
        let table = Path::default().key("agents").key("x");
        places.note_variable(table.key("voice"), "PATCHCORD__AGENTS__X__VOICE");
        assert_eq!(
            places.of_value(&table.key("backends")).to_string(),
            "PATCHCORD__AGENTS__X__VOICE"
        );
        assert_eq!(places.of_value(&Path::default().key("sip")).to_string(), "f:1:1");
    }

    #[test]
    fn paths_read_like_the_file() {
        let route = Path::default().key("route").index(2);
        assert_eq!(route.key("agent").to_string(), "route[2].agent");
        assert_eq!(route.header(), "[[route]]");
        assert_eq!(Path::default().key("agents").key("x").header(), "[agents.x]");
    }
}
