//! While there is no session: what the caller hears, and what is kept of what the caller says.

use std::time::{Duration, Instant};

use super::{Bridge, FILLER, Report};
use crate::{
    audio::{Resampler, SampleRate},
    call::{filler, recording::Sound},
};

/// What the configuration says about absences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the caller hears.
    pub filler: filler::Settings,
    /// How much of what the caller says is kept for the next session; zero keeps nothing.
    pub replay_max: Duration,
}

/// Since when a caller who was served is not.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Absence {
    /// The caller has been served, so that an absence is to be filled at once.
    served: bool,
    /// The session was lost then; nothing was heard of the next one yet.
    lost_at: Option<Instant>,
    /// The caller has heard nothing but the tone since.
    only_tone: bool,
    /// The caller hears the tone because there is no session.
    waiting: bool,
    /// The caller hears it because the call has the caller wait.
    held: bool,
}

impl Bridge {
    pub(super) fn set_away(&mut self, settings: Settings) {
        self.replay.set_max(settings.replay_max);
        self.filler.set(settings.filler);
        if !self.is_served() {
            self.replay.away();
        }
    }

    /// What the call decided the caller should hear. A session that is back already knows better.
    pub(super) fn comfort(&mut self, now: Instant, on: bool) {
        if on && self.is_served() {
            return;
        }
        self.set_waiting(on);
        if on {
            self.filler.begin(now);
        } else {
            self.absence.served = true;
            self.end_filler(now);
        }
    }

    /// Has the caller wait, or no more: a tone behind the words, and silence for the session.
    pub(super) fn hold(&mut self, on: bool) {
        self.hush.hold(on);
        self.set_held(on);
    }

    pub(super) fn set_held(&mut self, on: bool) {
        self.absence.held = on;
        self.media.comfort(on || self.absence.waiting);
    }

    pub(super) fn set_waiting(&mut self, on: bool) {
        self.absence.waiting = on;
        self.media.comfort(on || self.absence.held);
    }

    /// The session has gone.
    pub(super) fn session_left(&mut self, now: Instant) {
        self.replay.away();
        if self.absence.served {
            self.absence.lost_at.get_or_insert(now);
            self.absence.only_tone = true;
            self.set_waiting(true);
            self.filler.begin(now);
        }
    }

    /// A session hears and speaks.
    pub(super) fn session_came(&mut self, now: Instant) {
        self.set_waiting(false);
        self.end_filler(now);
        self.replay.tell(now, self.rate);
    }

    /// The session's voice begins to be heard.
    pub(super) fn session_heard(&mut self, now: Instant) {
        self.replay.turns_answered();
        if let Some(lost_at) = self.absence.lost_at.take() {
            let after = now.saturating_duration_since(lost_at);
            self.reports.push_back(Report::Recovered(after));
        }
    }

    /// Says what is due to a caller who waits, and to a session what it has not heard.
    pub(super) fn carry_away(&mut self, now: Instant) {
        if let Some((rate, pcm)) = self.filler.take(now) {
            self.say(now, FILLER, rate, &pcm);
            if let Some(lost_at) = self.absence.lost_at.filter(|_| self.absence.only_tone) {
                self.absence.only_tone = false;
                let after = now.saturating_duration_since(lost_at);
                self.reports.push_back(Report::Filled(after));
            }
        }
        let Self {
            replay,
            session,
            messages,
            ..
        } = self;
        replay.burst(now, |pcm| {
            if let Some(session) = session {
                messages.push_audio(|text| session.append(pcm, text));
            }
        });
    }

    /// The words to a caller who waits end here.
    pub(super) fn end_filler(&mut self, now: Instant) {
        if self.filler.end() {
            self.media.flush(now);
            self.disclose_again(now);
        }
    }

    /// Has the caller hear a sound of our own.
    pub(super) fn play_sound(&mut self, now: Instant, sound: &Sound) {
        self.end_filler(now);
        self.say(now, super::PROMPT, sound.rate, &sound.pcm);
    }

    pub(super) fn say(&mut self, now: Instant, utterance: crate::audio::Utterance, rate: SampleRate, pcm: &[i16]) {
        let mut brought = Vec::new();
        Resampler::new(rate, self.rate).process(pcm, &mut brought);
        self.media.play(now, utterance, &brought);
        self.media.finish(utterance);
    }

    /// Whether there is a session that hears and speaks.
    pub fn is_served(&self) -> bool {
        self.session.as_ref().is_some_and(crate::realtime::Machine::is_ready)
    }
}
