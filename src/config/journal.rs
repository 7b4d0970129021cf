//! `[journal]`: where it is kept which tool calls were begun and how they ended.

use std::path::PathBuf;

use super::{effective::Writer, section::Section};

const DEFAULT: &str = "tool-calls.jsonl";
const BYTES: u64 = 64;

/// Settings of `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The file; none keeps nothing. Without tools of servers there is no file.
    pub path: Option<PathBuf>,
    /// How large it grows before it is put aside.
    pub bytes_max: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            path: Some(PathBuf::from(DEFAULT)),
            bytes_max: BYTES << 20,
        }
    }
}

impl Journal {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let path = section.text("path", DEFAULT);
        let bytes_max = section.whole("size_max_mib", BYTES, 1..=65_536, "MiB") << 20;
        section.finish();
        Self {
            path: (!path.is_empty()).then(|| PathBuf::from(path)),
            bytes_max,
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[journal]");
        out.text("path", self.path.as_deref().unwrap_or("".as_ref()).display());
        out.whole("size_max_mib", self.bytes_max >> 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::read;

    #[test]
    fn an_empty_path_keeps_no_journal() {
        assert_eq!(read("[journal]\npath = \"\"").journal.path, None);
        assert_eq!(read("").journal, Journal::default());
    }
}
