//! `[records]`: where call records go.

use std::path::PathBuf;

use super::{effective::Writer, section::Section};

const DEFAULT: &str = "records.jsonl";

const DEFAULT_STATE: &str = "state";

/// Settings of `[records]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The file, one line of JSON per call; none keeps no records.
    pub path: Option<PathBuf>,
    /// The folder of what has to survive a restart besides: what was spent today, webhooks on their way.
    pub state: PathBuf,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            path: Some(PathBuf::from(DEFAULT)),
            state: PathBuf::from(DEFAULT_STATE),
        }
    }
}

impl Records {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let path = section.text("path", DEFAULT);
        let state = section.text("state", DEFAULT_STATE);
        if state.is_empty() {
            section.wrong(
                "state",
                "is empty: name a folder; it is made when there is something to keep",
            );
        }
        section.finish();
        Self {
            path: (!path.is_empty()).then(|| PathBuf::from(path)),
            state: PathBuf::from(state),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[records]");
        out.text("path", self.path.as_deref().unwrap_or("".as_ref()).display());
        out.text("state", self.state.display());
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
