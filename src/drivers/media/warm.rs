//! A session for the call: one that waits for it already, or one that is dialled now.

use std::time::Instant;

use super::{Dialling, Driver};
use crate::drivers::warm::{self, Warm};

impl Driver {
    /// Whatever session there was ends here, with its tokens counted and its words kept for the next.
    pub(super) fn dial(&mut self, dialling: Dialling) {
        let Dialling {
            dial,
            mut settings,
            agent,
        } = dialling;
        self.serving = None;
        self.drop_standby();
        self.bridge.session_lost(Instant::now());
        self.backend.clone_from(&settings.backend);
        self.bridge.complete(&mut settings);
        let warm = agent.and_then(|agent| warm::take(&agent, &settings));
        self.warm_since = warm.as_ref().map(|warm| warm.since);
        match warm {
            Some(Warm {
                mut socket, session, ..
            }) => {
                socket.hand_over();
                self.dialled = None;
                self.socket = socket;
                self.bridge.session_taken(Instant::now(), session, *settings);
            }
            None => {
                self.dialled = Some(settings);
                self.socket.dial(dial());
            }
        }
    }
}
