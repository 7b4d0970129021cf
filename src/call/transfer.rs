//! A transfer of ours: the other side has been asked to call somebody else, and tells how that goes; or we call somebody
//! else ourselves, see [`SecondLeg`](super::SecondLeg).

use std::time::{Duration, Instant};

use crate::config::{KeyWay, TransferWays};

/// How long a transfer may go on without a word; then it has failed with 408 and the call goes on.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// The agent; the session's id of its tool call.
    Agent(String),
    /// The control API.
    Api,
    /// The call itself, whose agent has gone for good.
    Failover,
}

/// How the call is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The other side is asked to call somebody else (REFER).
    Refer,
    /// We call somebody else and join the two.
    Bridge,
}

impl Way {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refer => "refer",
            Self::Bridge => "bridge",
        }
    }
}

/// What the configuration says about the transfers of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The ways that may be gone.
    pub ways: TransferWays,
    /// How long the phone of somebody we call may ring.
    pub ring_max: Duration,
    /// How keys travel to them.
    pub keys: Vec<KeyWay>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ways: TransferWays::default(),
            ring_max: Duration::from_secs(60),
            keys: vec![KeyWay::Event, KeyWay::Info],
        }
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who is to be told.
    pub asker: Asker,
    /// Whom the other side was to call.
    pub to: String,
    /// How it was tried last.
    pub way: Way,
    /// The status it ended with.
    pub status: u16,
}

/// A transfer under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    asker: Asker,
    to: String,
    way: Way,
    /// The new call is to take the place of a leg of ours, which only the other side can ask for.
    replaces: bool,
    deadline: Option<Instant>,
}

impl Transfer {
    /// The other side is being asked now.
    pub fn new(now: Instant, asker: Asker, to: String, replaces: bool) -> Self {
        Self {
            asker,
            to,
            way: Way::Refer,
            replaces,
            deadline: now.checked_add(SILENCE_MAX),
        }
    }

    /// Whom the other side is to call.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// How it is tried now.
    pub fn way(&self) -> Way {
        self.way
    }

    /// From here on we call ourselves, and whoever does that knows how long it may take.
    pub fn bridge(&mut self) {
        self.way = Way::Bridge;
        self.deadline = None;
    }

    /// Whether we may call ourselves, when the other side could not be handed on.
    pub fn falls_back(&self, ways: TransferWays) -> bool {
        self.way == Way::Refer && ways != TransferWays::Refer && !self.replaces
    }

    /// The other side tells this status. What comes of it, when it is final.
    pub fn progress(&mut self, now: Instant, status: u16) -> Option<Ended> {
        self.deadline = now.checked_add(SILENCE_MAX);
        (status >= 200).then(|| self.ended(status))
    }

    /// What comes of it when nothing was heard for too long.
    pub fn handle_timeout(&self, now: Instant) -> Option<Ended> {
        self.deadline
            .is_some_and(|deadline| now >= deadline)
            .then(|| self.ended(408))
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// It ended with this status.
    pub fn ended(&self, status: u16) -> Ended {
        Ended {
            asker: self.asker.clone(),
            to: self.to.clone(),
            way: self.way,
            status,
        }
    }
}

impl Ended {
    /// Whether the other side has been handed on.
    pub fn succeeded(&self) -> bool {
        self.status < 300
    }

    /// What the agent is told.
    pub fn explained(&self) -> String {
        match self.status {
            200..=299 => "The call was transferred.".to_owned(),
            408 | 480 | 487 => "The transfer failed: nobody answered. The call goes on.".to_owned(),
            404 | 410 | 484 | 604 => {
                "The transfer failed: nobody has that number or name. The call goes on.".to_owned()
            }
            486 | 600 => "The transfer failed: the line is busy. The call goes on.".to_owned(),
            603 => "The transfer was declined. The call goes on.".to_owned(),
            status => format!("The transfer failed with SIP status {status}. The call goes on."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_final_status_ends_it() {
        let now = Instant::now();
        let mut transfer = Transfer::new(now, Asker::Api, "200".to_owned(), false);
        assert_eq!(transfer.progress(now, 100), None);
        assert!(transfer.progress(now, 200).unwrap().succeeded());
        let busy = transfer.progress(now, 486).unwrap();
        assert!(!busy.succeeded() && busy.explained().contains("busy"));
    }

    #[test]
    fn a_word_from_the_other_side_extends_the_wait() {
        let now = Instant::now();
        let mut transfer = Transfer::new(now, Asker::Api, "200".to_owned(), false);
        transfer.progress(now + SILENCE_MAX / 2, 180);
        assert_eq!(transfer.handle_timeout(now + SILENCE_MAX), None);
        let ended = transfer.handle_timeout(now + SILENCE_MAX * 2).unwrap();
        assert_eq!((ended.status, ended.succeeded()), (408, false));
    }

    #[test]
    fn we_call_ourselves_once_and_only_where_that_is_allowed_and_possible() {
        let now = Instant::now();
        let mut transfer = Transfer::new(now, Asker::Api, "200".to_owned(), false);
        assert!(!transfer.falls_back(TransferWays::Refer));
        assert!(transfer.falls_back(TransferWays::ReferOrBridge));
        transfer.bridge();
        assert!(!transfer.falls_back(TransferWays::ReferOrBridge));
        assert_eq!((transfer.poll_timeout(), transfer.ended(486).way), (None, Way::Bridge));
        let attended = Transfer::new(now, Asker::Api, "200".to_owned(), true);
        assert!(!attended.falls_back(TransferWays::ReferOrBridge));
    }
}
