//! How the call comes by a session and loses it: what it is told when it begins, what it leaves when it ends.

use std::time::Instant;

use super::Bridge;
use crate::realtime;

impl Bridge {
    pub(super) fn serve_with(&mut self, session: realtime::Machine) {
        self.sessions = self.sessions.wrapping_add(1);
        self.session = Some(session);
    }

    /// The WebSocket of a new session is open.
    pub fn session_opened(&mut self, now: Instant, mut settings: realtime::Settings) {
        self.complete(&mut settings);
        let mut session = realtime::Machine::new(settings);
        session.inherit(now, std::mem::take(&mut self.legacy));
        session.handle_open(now);
        self.serve_with(session);
        self.carry(now);
    }

    /// A session that was configured before the call was there takes it on.
    pub fn session_taken(&mut self, now: Instant, mut session: realtime::Machine, settings: realtime::Settings) {
        session.adopt(now, settings);
        session.inherit(now, std::mem::take(&mut self.legacy));
        self.serve_with(session);
        self.carry(now);
    }

    /// Adds what only the call knows of a session that is to begin now.
    pub fn complete(&self, settings: &mut realtime::Settings) {
        // A call that is not answered yet knows only what its descriptions say.
        settings.leg_law = self.leg_law.or(settings.leg_law);
        settings.history = self.legacy.items();
        settings.disclosure.take_if(|_| self.disclosed);
        if let Some(tools) = &self.tools {
            settings.tools.clone_from(tools);
        }
    }

    /// The session is over; the agent's unheard words go with it.
    pub fn session_lost(&mut self, now: Instant) {
        if self.session.is_some() {
            let heard = self.media.flush(now);
            // What was heard to its end before that is told before the session goes.
            self.hear_all_media(now);
            if let Some(session) = self.session.take() {
                self.summary.usage += session.usage();
                self.legacy = session.into_legacy(&heard);
            }
            self.disclose_again(now);
            // Whoever ordered it hears of the next session, and orders it again.
            self.prompt = None;
            self.session_left(now);
        }
        self.carry(now);
    }
}
