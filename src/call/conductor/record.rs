//! When the call is recorded: the conductor's side of [`Recording`](crate::call::Recording).

use std::time::Instant;

use super::{Act, Conductor, NotNow, Note, Order};
use crate::{
    audio::SampleRate,
    call::recording::{Ask, Consent, Misfit, Policy, Prompted, Step, Wanted, rate},
};

impl Conductor {
    /// The control API has the call recorded, or not any more. Where callers are to be told first, they are.
    pub fn record(&mut self, now: Instant, ask: Ask) -> Result<(), NotNow> {
        if !self.talking {
            return Err(NotNow::NotTalking);
        }
        if self.vault.is_open() && matches!(ask, Ask::Start | Ask::Resume) {
            return Err(NotNow::Collecting);
        }
        let step = self.recording.ask(ask)?;
        if ask == Ask::Pause {
            // It outlasts a pause of the vault's.
            self.unpause = false;
        }
        self.acts.extend(step.map(Act::Record));
        let told = matches!(self.recording.consent(), Consent::Heard | Consent::Asking { .. });
        if ask == Ask::Start && !told {
            self.prompt(now);
        }
        self.record_if_wanted();
        Ok(())
    }

    /// The recording of this number is over without anybody wanting it. The call goes on.
    pub fn recording_failed(&mut self, number: u32) {
        // The media goes on filling it until it is told.
        if self.recording.is_current(number) {
            self.recording.failed(number);
            self.acts.push_back(Act::Record(Step::End));
        }
    }

    /// Begins what is wanted, as soon as the call is answered, it is clear what is spoken, and the caller has been told
    /// what the caller is to be told.
    pub(super) fn record_if_wanted(&mut self) {
        if self.vault.is_open() {
            return;
        }
        let agreed = self.terms.as_ref().and_then(|terms| terms.agreed());
        let Some(agreed) = agreed.filter(|_| self.talking) else {
            return;
        };
        if matches!(self.settings.recording, Policy::Consent(_)) && self.recording.consent() != Consent::Heard {
            return;
        }
        // Whatever the session speaks, a leg that is not G.711 is wideband.
        let line = agreed.send.codec.line_rate(SampleRate::Hz24000);
        let step = self.recording.agreed(rate(line));
        self.acts.extend(step.map(Act::Record));
    }

    /// The other side has heard what it has to hear, or will not; the agent may speak.
    pub(super) fn disclosed(&mut self, now: Instant, note: Note) {
        self.note(note);
        self.greet_or_prompt(now);
    }

    /// The agent's first words; before them, the prompt; before everything, what has to be heard.
    pub(super) fn greet_or_prompt(&mut self, now: Instant) {
        if let Some(disclosure) = self.settings.disclosure.clone()
            && !std::mem::replace(&mut self.disclosing, true)
        {
            return self.order(Order::Disclose(disclosure));
        }
        if matches!(self.settings.recording, Policy::Consent(_)) && self.recording.consent() == Consent::NotAsked {
            self.greeting_held = true;
            self.recording.want(Wanted::Agent);
            return self.prompt(now);
        }
        self.order(Order::Greet);
    }

    /// A session that was lost took the prompt with it.
    pub(super) fn prompt_new_session(&mut self, now: Instant) {
        if matches!(self.recording.consent(), Consent::Asking { .. }) {
            self.prompted(now, false);
        }
    }

    pub(super) fn prompt_timeout(&mut self, now: Instant) {
        if self.recording.poll_timeout().is_some_and(|until| now >= until) {
            self.prompted(now, false);
        }
    }

    /// The prompt was heard to its end, or not.
    pub(super) fn prompted(&mut self, now: Instant, heard: bool) {
        match self.recording.prompted(heard) {
            Some(Prompted::Again) => return self.prompt(now),
            Some(Prompted::Heard) => self.record_if_wanted(),
            Some(Prompted::NotHeard) => {
                self.recording.give_up();
                self.note(Note::NoConsent);
            }
            None => return,
        }
        if std::mem::take(&mut self.greeting_held) {
            self.order(Order::Greet);
        }
    }

    fn prompt(&mut self, now: Instant) {
        if let Policy::Consent(prompt) = self.settings.recording.clone() {
            self.recording.prompting(now);
            self.order(Order::Prompt(prompt));
        }
    }
}

impl From<Misfit> for NotNow {
    fn from(misfit: Misfit) -> Self {
        Self::Recording(misfit)
    }
}
