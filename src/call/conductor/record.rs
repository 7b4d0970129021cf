//! When the call is recorded: the conductor's side of [`Recording`](crate::call::Recording).

use super::{Act, Conductor, NotNow};
use crate::call::recording::{Ask, Misfit, rate};

impl Conductor {
    /// The control API has the call recorded, or not any more.
    pub fn record(&mut self, ask: Ask) -> Result<(), NotNow> {
        if !self.talking {
            return Err(NotNow::NotTalking);
        }
        let step = self.recording.ask(ask).map_err(NotNow::from)?;
        self.acts.extend(step.map(Act::Record));
        self.record_if_wanted();
        Ok(())
    }

    /// The recording of this number is over without anybody wanting it. The call goes on.
    pub fn recording_failed(&mut self, number: u32) {
        self.recording.failed(number);
    }

    /// Begins what is wanted, as soon as the call is answered and it is clear what is spoken.
    pub(super) fn record_if_wanted(&mut self) {
        let agreed = self.terms.as_ref().and_then(|terms| terms.agreed());
        let Some(agreed) = agreed.filter(|_| self.talking) else {
            return;
        };
        // Whatever the session speaks, a leg that is not G.711 is wideband.
        let line = agreed.send.codec.line_rate(crate::audio::SampleRate::Hz24000);
        let step = self.recording.agreed(rate(line));
        self.acts.extend(step.map(Act::Record));
    }
}

impl From<Misfit> for NotNow {
    fn from(misfit: Misfit) -> Self {
        Self::Recording(misfit)
    }
}
