//! Tools that change while a session goes on: it is told between two responses.

use super::{ClientEvent, Machine, State};
use crate::realtime::settings::ToolSpec;

impl Machine {
    /// What the agent may call from now on. The server learns of it when no response is asked for or runs.
    pub fn set_tools(&mut self, tools: &[ToolSpec]) {
        if self.settings.tools == tools {
            return;
        }
        self.settings.tools = tools.to_vec();
        // Before it is open, the configuration says so.
        self.retool = self.state != State::Closed;
        self.tell_tools();
    }

    pub(super) fn tell_tools(&mut self) {
        if !self.retool || !self.is_ready() || !self.responses.is_idle() {
            return;
        }
        self.retool = false;
        self.events_sent += 1;
        let event = ClientEvent::Update {
            instructions: None,
            tools: Some(&self.settings.tools),
            turn_detection: None,
        };
        let text = self.interpreter.write(self.events_sent, &event);
        self.outputs.extend(text.map(super::Output::Send));
    }
}
