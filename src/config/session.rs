//! `[session]`: how sessions are dialled, and dialled again after a loss.

use std::time::Duration;

use super::{effective::Writer, section::Section};

/// Settings of `[session]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// How long one dial may take, up to the open WebSocket.
    pub connect_timeout: Duration,
    /// The most that is waited before the first dial after a loss; each further one doubles it.
    pub reconnect_first: Duration,
    /// The most that is ever waited before a dial.
    pub reconnect_max: Duration,
    /// How long a loss may last altogether; then the next backend is tried, and after the last one the call ends.
    pub reconnect_budget: Duration,
    /// How much of what a caller says while no session hears it is kept for the next; zero keeps nothing.
    pub replay_max: Duration,
    /// How long a backend that owes a response may say nothing at all; none is for ever.
    pub stall_max: Option<Duration>,
    /// So many failed dials without a success between them and nobody dials the backend for a while; zero never.
    pub breaker_failures: u32,
    /// They count for so long.
    pub breaker_window: Duration,
    /// How long nobody dials it then.
    pub breaker_open: Duration,
    /// How old a session may get before the next one is made behind it; none is as old as it likes.
    pub renew_after: Option<Duration>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(5_000),
            reconnect_first: Duration::from_millis(250),
            reconnect_max: Duration::from_millis(5_000),
            reconnect_budget: Duration::from_millis(30_000),
            replay_max: Duration::from_millis(10_000),
            stall_max: Some(Duration::from_millis(10_000)),
            breaker_failures: 5,
            breaker_window: Duration::from_secs(30),
            breaker_open: Duration::from_secs(5),
            renew_after: Some(Duration::from_secs(3_000)),
        }
    }
}

impl Session {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let to_blame = section.first_given(&["reconnect_first_ms", "reconnect_ms_max"]);
        let session = Self {
            connect_timeout: section.millis("connect_timeout_ms", default.connect_timeout, 100..=60_000),
            reconnect_first: section.millis("reconnect_first_ms", default.reconnect_first, 10..=60_000),
            reconnect_max: section.millis("reconnect_ms_max", default.reconnect_max, 10..=60_000),
            reconnect_budget: section.millis("reconnect_budget_ms", default.reconnect_budget, 0..=600_000),
            replay_max: section.millis("replay_ms_max", default.replay_max, 0..=60_000),
            stall_max: Some(section.millis("stall_ms_max", default.stall_max.unwrap_or_default(), 0..=600_000))
                .filter(|max| !max.is_zero()),
            breaker_failures: u32::try_from(section.whole(
                "breaker_failures",
                default.breaker_failures.into(),
                0..=1_000,
                "failures",
            ))
            .unwrap_or(u32::MAX),
            breaker_window: section.seconds("breaker_window_s", default.breaker_window, 1..=3_600),
            breaker_open: section.seconds("breaker_open_s", default.breaker_open, 1..=3_600),
            renew_after: Some(section.seconds("renew_after_s", default.renew_after.unwrap_or_default(), 0..=86_400))
                .filter(|after| !after.is_zero()),
        };
        if let Some(key) = to_blame.filter(|_| session.reconnect_first > session.reconnect_max) {
            let (first, most) = (session.reconnect_first.as_millis(), session.reconnect_max.as_millis());
            section.wrong(
                key,
                &format!("makes the first wait ({first} ms) longer than the longest ({most} ms)"),
            );
        }
        section.finish();
        session
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[session]");
        out.whole("connect_timeout_ms", self.connect_timeout.as_millis());
        out.whole("reconnect_first_ms", self.reconnect_first.as_millis());
        out.whole("reconnect_ms_max", self.reconnect_max.as_millis());
        out.whole("reconnect_budget_ms", self.reconnect_budget.as_millis());
        out.whole("replay_ms_max", self.replay_max.as_millis());
        out.whole("stall_ms_max", self.stall_max.unwrap_or_default().as_millis());
        out.whole("breaker_failures", self.breaker_failures);
        out.whole("breaker_window_s", self.breaker_window.as_secs());
        out.whole("breaker_open_s", self.breaker_open.as_secs());
        out.whole("renew_after_s", self.renew_after.unwrap_or_default().as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn settings_are_read() {
        let text = "[session]\nconnect_timeout_ms = 100\nreconnect_first_ms = 10\nreconnect_ms_max = 10\n\
                    reconnect_budget_ms = 0\nreplay_ms_max = 0\nstall_ms_max = 0\nbreaker_failures = 0\n\
                    breaker_window_s = 1\nbreaker_open_s = 1\nrenew_after_s = 0";
        let session = Session {
            connect_timeout: Duration::from_millis(100),
            reconnect_first: Duration::from_millis(10),
            reconnect_max: Duration::from_millis(10),
            reconnect_budget: Duration::ZERO,
            replay_max: Duration::ZERO,
            stall_max: None,
            breaker_failures: 0,
            breaker_window: Duration::from_secs(1),
            breaker_open: Duration::from_secs(1),
            renew_after: None,
        };
        assert_eq!(read(text).session, session);
    }

    #[test]
    fn the_first_wait_cannot_be_longer_than_the_longest() {
        assert_eq!(
            problems("[session]\nreconnect_ms_max = 100"),
            ["f.toml:2:20: session.reconnect_ms_max makes the first wait (250 ms) longer than the longest (100 ms)"]
        );
        assert_eq!(
            problems("[session]\nreconnect_ms_max = 100\nreconnect_first_ms = 101"),
            ["f.toml:3:22: session.reconnect_first_ms makes the first wait (101 ms) longer than the longest (100 ms)"]
        );
    }
}
