//! One connection's machine, in whichever dialect the client asked for.

use std::time::Instant;

use super::{Machine, Output, Settings, live};
use crate::realtime::Dialect;

/// The machine of one connection.
#[derive(Debug)]
pub enum Server {
    /// In the GA dialect, or the beta one at its edge.
    Realtime(Box<Machine>),
    /// In the live one.
    Live(Box<live::Machine>),
}

impl Server {
    /// Opens a session.
    pub fn new(now: Instant, settings: Settings) -> Self {
        match settings.dialect {
            Dialect::Ga | Dialect::Beta => Self::Realtime(Box::new(Machine::new(now, settings))),
            Dialect::Live => Self::Live(Box::new(live::Machine::new(now, settings))),
        }
    }

    /// Takes one text frame of the client.
    pub fn handle_text(&mut self, now: Instant, text: &str) {
        match self {
            Self::Realtime(machine) => machine.handle_text(now, text),
            Self::Live(machine) => machine.handle_text(now, text),
        }
    }

    /// Does whatever is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Realtime(machine) => machine.handle_timeout(now),
            Self::Live(machine) => machine.handle_timeout(now),
        }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Realtime(machine) => machine.poll_timeout(),
            Self::Live(machine) => machine.poll_timeout(),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Realtime(machine) => machine.poll_output(),
            Self::Live(machine) => machine.poll_output(),
        }
    }
}
