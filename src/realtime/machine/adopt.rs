//! A session that was configured before its call was known, and takes the call on.

use std::time::Instant;

use super::{Disclosure, Machine, Output, Settings};

impl Machine {
    /// Whether a session that is ready can become one with these settings. A server that is configured only once cannot
    /// be told anything else.
    pub fn can_adopt(&self, settings: &Settings) -> bool {
        let alike = self.settings.dialect == settings.dialect && self.settings.backend == settings.backend;
        // Turns that it was told to leave to us might stay ours.
        let alike = alike && self.settings.disclosure.is_some() == settings.disclosure.is_some();
        self.is_ready() && alike && (self.interpreter.can_reconfigure() || self.knows(settings.clone()))
    }

    /// Becomes one with these settings: at once when the server knows them already, else as soon as it confirms them.
    pub fn adopt(&mut self, now: Instant, mut settings: Settings) {
        self.disclosure = Disclosure::new(settings.disclosure.as_ref(), &mut settings.turn_detection);
        let same = self.settings.asks_the_same(&settings);
        let (format, second_choice) = settings.audio.formats(settings.leg_law);
        self.settings = settings;
        if same {
            return self.push(Output::Ready);
        }
        self.format = format;
        self.second_choice = second_choice;
        self.parts.set_format(format);
        self.configure(now);
    }

    fn knows(&self, mut settings: Settings) -> bool {
        Disclosure::new(settings.disclosure.as_ref(), &mut settings.turn_detection);
        self.settings.asks_the_same(&settings)
    }
}
