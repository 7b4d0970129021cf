//! `[defence]`: what sources that no trunk lists may do, and when a source is shut out.

use std::time::Duration;

use super::{effective::Writer, section::Section};

const DAY_S: u64 = 24 * 60 * 60;

/// Settings of `[defence]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defence {
    /// Requests a second from one source that no trunk lists; what comes faster is dropped unread. 0: no limit.
    pub requests_per_s: u32,
    /// Whether such sources get no answer at all, unless some trunk lets anyone log in.
    pub silent: bool,
    /// Failed logins after which a source is locked out; 0: never.
    pub lockout_failures: u32,
    /// How far back failed logins count.
    pub lockout_window: Duration,
    /// How long a source stays locked out.
    pub lockout: Duration,
    /// Whether refused INVITEs of sources that no trunk lists leave a record.
    pub record_strangers: bool,
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            requests_per_s: 10,
            silent: false,
            lockout_failures: 10,
            lockout_window: Duration::from_secs(300),
            lockout: Duration::from_secs(900),
            record_strangers: false,
        }
    }
}

impl Defence {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let per_s = u64::from(default.requests_per_s);
        let failures = u64::from(default.lockout_failures);
        let defence = Self {
            requests_per_s: section.whole("requests_per_s", per_s, 0..=100_000, "requests") as u32,
            silent: section.optional_truth("silent").unwrap_or(default.silent),
            lockout_failures: section.whole("lockout_failures", failures, 0..=1000, "logins") as u32,
            lockout_window: section.seconds("lockout_window_s", default.lockout_window, 1..=DAY_S),
            lockout: section.seconds("lockout_s", default.lockout, 1..=7 * DAY_S),
            record_strangers: section
                .optional_truth("record_strangers")
                .unwrap_or(default.record_strangers),
        };
        section.finish();
        defence
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[defence]");
        out.whole("requests_per_s", self.requests_per_s);
        out.whole("silent", self.silent);
        out.whole("lockout_failures", self.lockout_failures);
        out.whole("lockout_window_s", self.lockout_window.as_secs());
        out.whole("lockout_s", self.lockout.as_secs());
        out.whole("record_strangers", self.record_strangers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn settings_are_read() {
        let text = "[defence]\nrequests_per_s = 0\nsilent = true\nlockout_failures = 3\nlockout_window_s = 60\n\
                    lockout_s = 120\nrecord_strangers = true";
        let defence = Defence {
            requests_per_s: 0,
            silent: true,
            lockout_failures: 3,
            lockout_window: Duration::from_secs(60),
            lockout: Duration::from_secs(120),
            record_strangers: true,
        };
        assert_eq!(read(text).defence, defence);
        assert_eq!(read("").defence, Defence::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(
            problems("[defence]\nlockout_window_s = 0\nsilent = \"yes\""),
            [
                "f.toml:2:20: defence.lockout_window_s = 0 is out of range: 1 to 86400 s",
                "f.toml:3:10: defence.silent = \"yes\" is not true or false",
            ]
        );
    }
}
