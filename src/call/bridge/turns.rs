//! The bridge's side of `Turns`, and what every caller has to hear to its end.

use std::time::{Duration, Instant};

use super::{Bridge, DISCLOSURE, Report};
use crate::{
    call::{
        order::Disclosure,
        turns::{Frame, Settings, Turns, Wish},
    },
    realtime,
};

impl Bridge {
    /// Turns are kept like this from now on; the call ends at `ends_at` at the latest.
    pub(super) fn keep_turns(&mut self, settings: Settings, ends_at: Option<Instant>) {
        self.turns = Turns::new(settings, ends_at);
        if self.turns.has_ear() {
            self.media.listen_for_echo();
        }
    }

    /// A frame of the caller has come.
    pub(super) fn hear_turn(&mut self, now: Instant, voiced: bool, length: Duration) {
        if self.disclosing.is_some() {
            // Nothing comes of what is said over it, but that somebody is there.
            return if voiced {
                self.turns.caller_was_heard()
            };
        }
        let frame = Frame {
            voiced: voiced && !self.hush.is_on(),
            length,
            agent_speaks: self.agent_speaks(),
        };
        let Self { turns, media, .. } = self;
        let wishes = turns.hear(frame, || media.is_echo());
        wishes.into_iter().flatten().for_each(|wish| self.grant(now, wish));
    }

    pub(super) fn turns_timeout(&mut self, now: Instant) {
        if let Some(wish) = self.turns.handle_timeout(now) {
            self.grant(now, wish);
        }
    }

    /// Whether neither side has anything to say.
    pub(super) fn observe_silence(&mut self, now: Instant) {
        let idle = self.session.as_ref().is_some_and(|session| session.is_at_rest());
        // Nobody asks a caller who waits on hold, or types, whether anybody is there.
        let quiet = idle && self.media.is_quiet() && !self.hush.is_on();
        self.turns.observe(now, quiet);
    }

    /// Whether the agent speaks, and for too long.
    pub(super) fn observe_agent(&mut self, now: Instant) {
        // What the caller is to hear to its end is not cut off by us.
        let speaks = self.agent_speaks() && self.prompt.is_none();
        let Self { turns, media, .. } = self;
        if let Some(wish) = turns.observe_agent(now, speaks, || media.pauses()) {
            self.grant(now, wish);
        }
    }

    /// Whether the agent is heard, with words that may be cut off.
    fn agent_speaks(&self) -> bool {
        let speaking = self.session.as_ref().is_some_and(|session| session.is_speaking());
        speaking && !self.media.is_quiet() && self.disclosing.is_none()
    }

    fn grant(&mut self, now: Instant, wish: Wish) {
        match wish {
            Wish::Duck(on) => self.media.duck(on),
            Wish::CutOff => self.session_does(|session| session.cut_in(now)),
            Wish::Stop => self.stop_agent(now),
            Wish::Say(words) => self.session_does(|session| session.say_words(now, &words)),
            Wish::Respond(instructions) => self.session_does(|session| session.step_in(now, instructions)),
            Wish::GiveUp => self.reports.push_back(Report::CallerIdle),
        }
    }

    /// The agent has spoken for too long. Its session learns what was heard, as when the caller cuts in.
    fn stop_agent(&mut self, now: Instant) {
        self.stopping = true;
        self.session_does(|session| session.cut_in(now));
        self.hear_all_session(now);
        self.stopping = false;
    }

    /// What was cut off, and by whom.
    pub(super) fn note_cut(&mut self, now: Instant) {
        if self.stopping {
            self.summary.agent_turns_cut += 1;
            return self.reports.push_back(Report::AgentStopped);
        }
        self.summary.barge_ins += 1;
        // The next packet carries the fading end, the last the caller hears of the interrupted words.
        let last = self.media.next_packet_at().unwrap_or(now);
        self.reports
            .push_back(Report::BargedIn(last.saturating_duration_since(now)));
    }

    /// Has the caller hear this to its end.
    pub(super) fn disclose(&mut self, now: Instant, disclosure: Disclosure) {
        match &disclosure {
            Disclosure::Sound(sound) => self.say(now, DISCLOSURE, sound.rate, &sound.pcm),
            Disclosure::Words => self.session_does(|session| session.disclose(now)),
        }
        self.disclosing = Some(disclosure);
    }

    /// Whatever was being said was dropped: what has to be heard begins anew.
    pub(super) fn disclose_again(&mut self, now: Instant) {
        if let Some(disclosure) = self.disclosing.take() {
            self.disclose(now, disclosure);
        }
    }

    /// A session that is new to the call learns whether it has to say what has to be heard.
    pub(super) fn tell_disclosure(&mut self, now: Instant) {
        match &self.disclosing {
            Some(Disclosure::Words) => self.session_does(|session| session.disclose(now)),
            _ if self.disclosed => self.session_does(realtime::Machine::lift_disclosure),
            _ => {}
        }
    }

    /// It has been heard, or will not be.
    pub(super) fn disclosed(&mut self, report: Report) {
        self.disclosed = true;
        if self.disclosing.take().is_some() {
            self.reports.push_back(report);
        }
    }
}
