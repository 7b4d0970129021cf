//! A prompt the other side has to hear to its end: said by the session, or played.

use std::time::Instant;

use super::{Bridge, NOTICE, Report};
use crate::{
    audio::{Heard, Resampler, Utterance},
    call::recording::Prompt,
};

impl Bridge {
    pub(super) fn prompt(&mut self, now: Instant, prompt: Prompt) {
        match &prompt {
            Prompt::Words(words) => self.session_does(|session| session.recite(now, words)),
            Prompt::Sound(sound) => {
                let mut pcm = Vec::new();
                Resampler::new(sound.rate, self.rate).process(&sound.pcm, &mut pcm);
                self.media.play(now, NOTICE, &pcm);
                self.media.finish(NOTICE);
            }
        }
        self.prompt = Some(prompt);
    }

    /// The last packet of an utterance has left.
    pub(super) fn prompt_finished(&mut self, utterance: Utterance) {
        if self.is_prompt(utterance) {
            self.prompt = None;
            self.reports.push_back(Report::PromptHeard);
        }
    }

    /// These were cut off.
    pub(super) fn prompt_flushed(&mut self, heard: &[Heard]) {
        if heard.iter().any(|heard| self.is_prompt(heard.utterance)) {
            self.prompt_cut();
        }
    }

    /// What the other side did made the agent think of something else.
    pub(super) fn prompt_cut(&mut self) {
        if self.prompt.take().is_some() {
            self.reports.push_back(Report::PromptCut);
        }
    }

    fn is_prompt(&self, utterance: Utterance) -> bool {
        match (&self.prompt, &self.session) {
            (Some(Prompt::Words(_)), Some(session)) => session.is_prompt(utterance),
            (Some(Prompt::Sound(_)), _) => utterance == NOTICE,
            _ => false,
        }
    }
}
