//! Faults on their way to one connection, and what each comes to when it strikes.

use std::time::{Duration, Instant};

use super::{
    Output,
    error::Refusal,
    fault::{Fault, Strike},
};

/// The faults of one connection that have not struck yet, and how slow it has become.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    pending: Vec<(Instant, Fault)>,
    slow: Duration,
}

/// What is to be done to the connection.
#[derive(Debug)]
pub(super) enum Blow {
    /// End it.
    End(Output),
    /// Say nothing more.
    Mute,
    /// Tell this error.
    Refuse(Refusal),
    /// Say what means nothing.
    Garbage,
}

impl Strikes {
    pub fn arm(&mut self, now: Instant, strikes: Vec<Strike>) {
        for Strike { fault, after_ms } in strikes {
            match fault {
                // The driver refuses before there is a session.
                Fault::Refuse(_) => {}
                Fault::Slow { ms } if after_ms == 0 => self.slow = millis(ms),
                fault => self.pending.push((now + millis(after_ms), fault)),
            }
        }
    }

    /// How many have not struck yet.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// How much later a response is heard.
    pub fn slow(&self) -> Duration {
        self.slow
    }

    /// When the next one strikes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|(at, _)| *at).min()
    }

    /// What has struck by now, one after the other as they were armed.
    pub fn poll(&mut self, now: Instant) -> Option<Blow> {
        while let Some(due) = self.pending.iter().position(|(at, _)| *at <= now) {
            match self.pending.remove(due).1 {
                Fault::Drop => return Some(Blow::End(Output::Drop)),
                Fault::Close(code) => {
                    let reason = "told to close".to_owned();
                    return Some(Blow::End(Output::Close { code, reason }));
                }
                Fault::Stall => return Some(Blow::Mute),
                Fault::Error(code) => return Some(Blow::Refuse(Refusal::on_demand(&code))),
                Fault::Garbage => return Some(Blow::Garbage),
                Fault::Slow { ms } => self.slow = millis(ms),
                Fault::Refuse(_) => {}
            }
        }
        None
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
