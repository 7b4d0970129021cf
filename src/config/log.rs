//! `[log]`: what is logged, and how.

use tracing_subscriber::EnvFilter;

use super::{effective::Writer, section::Section};

const FORMATS: &[(&str, LogFormat)] = &[("human", LogFormat::Human), ("json", LogFormat::Json)];

/// Settings of `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines pass: a level, or levels by module as `tracing` filters are written.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: "info".to_owned(),
        }
    }
}

impl Log {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let log = Self {
            format: section.choice("format", FORMATS, default.format),
            level: section.parsed("level", default.level, read_level),
        };
        section.finish();
        log
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let format = match self.format {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        };
        out.table("[log]");
        out.text("format", format);
        out.text("level", &self.level);
    }
}

fn read_level(text: &str) -> Result<String, String> {
    let how = "write it like \"info\" or \"info,patchcord::sip=debug\"";
    if text.trim().is_empty() {
        return Err(format!("is empty: {how}"));
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("cannot be read ({error}): {how}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn settings_are_read() {
        let log = read("[log]\nformat = \"json\"\nlevel = \"info,patchcord::sip=debug\"").log;
        assert_eq!(
            log,
            Log {
                format: LogFormat::Json,
                level: "info,patchcord::sip=debug".to_owned()
            }
        );
    }

    #[test]
    fn bad_formats_and_levels_are_refused() {
        assert_eq!(
            problems("[log]\nformat = \"jsn\"\nlevel = \"patchcord=loudly\""),
            [
                "f.toml:2:10: log.format = \"jsn\" is not known: did you mean \"json\"?",
                "f.toml:3:9: log.level = \"patchcord=loudly\" cannot be read (error parsing level filter: expected \
                 one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5): write it like \"info\" or \"info,patchcord::sip=debug\"",
            ]
        );
    }
}
