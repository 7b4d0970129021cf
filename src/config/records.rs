//! `[records]`: where call records go.

use std::path::PathBuf;

use super::{effective::Writer, section::Section};

const DEFAULT: &str = "records.jsonl";

/// Settings of `[records]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The file, one line of JSON per call; none keeps no records.
    pub path: Option<PathBuf>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            path: Some(PathBuf::from(DEFAULT)),
        }
    }
}

impl Records {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let path = section.text("path", DEFAULT);
        section.finish();
        Self {
            path: (!path.is_empty()).then(|| PathBuf::from(path)),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[records]");
        out.text("path", self.path.as_deref().unwrap_or("".as_ref()).display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn an_empty_path_keeps_no_records() {
        assert_eq!(read("[records]\npath = \"\"").records.path, None);
        assert_eq!(
            read("[records]\npath = \"/var/x\"").records.path,
            Some(PathBuf::from("/var/x"))
        );
    }

    #[test]
    fn a_path_holds_no_control_characters() {
        assert_eq!(
            problems("[records]\npath = \"a\\u0000b\""),
            ["f.toml:2:8: records.path = \"a\\0b\" holds control characters"]
        );
    }
}
