//! The parts of a configuration: what may stand at the root of the tree, and in which shape.

use super::nearest::suggestion;

/// The parts of a configuration.
pub(super) const PARTS: &[(&str, Shape)] = &[
    ("sip", Shape::Table),
    ("media", Shape::Table),
    ("http", Shape::Table),
    ("limits", Shape::Table),
    ("defence", Shape::Table),
    ("session", Shape::Table),
    ("records", Shape::Table),
    ("recording", Shape::Table),
    ("journal", Shape::Table),
    ("log", Shape::Table),
    ("registrar", Shape::Table),
    ("trunk", Shape::List),
    ("route", Shape::List),
    ("agents", Shape::Named),
    ("backends", Shape::Named),
    ("tools", Shape::Named),
    ("mcp", Shape::Named),
    ("prices", Shape::Named),
    ("budgets", Shape::Named),
    ("webhook", Shape::List),
];

/// Tables inside a named table.
pub(super) const INNER_TABLES: &[&str] = &["turn_detection"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One table.
    Table,
    /// A list of tables.
    List,
    /// Tables by name.
    Named,
}

/// What to do about a part that is not one of these.
pub(super) fn suggest_part(name: &str) -> String {
    suggestion(name, PARTS.iter().map(|(part, _)| *part))
}
