//! What the control API wants different about a call's session, for as long as the call lasts.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    config::{Agent, Backend, BackendKind},
    http::SessionChange,
};

/// All that was changed so far.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    voice: Option<String>,
    instructions: Option<String>,
    /// A model's name means something to one backend alone.
    models: BTreeMap<String, String>,
}

impl Changes {
    /// Takes in a further change; `backend` is the one that the call goes over to.
    pub fn add(&mut self, change: SessionChange, backend: &str) {
        self.voice = change.voice.or(self.voice.take());
        self.instructions = change.instructions.or(self.instructions.take());
        if let Some(model) = change.model {
            self.models.insert(backend.to_owned(), model);
        }
    }

    /// Whether this backend is to speak with another model.
    pub fn model_of(&self, backend: &str) -> bool {
        self.models.contains_key(backend)
    }

    /// The agent's voice.
    pub fn voice<'a>(&'a self, agent: &'a Agent) -> &'a str {
        self.voice.as_deref().unwrap_or(&agent.voice)
    }

    /// The agent's instructions.
    pub fn instructions<'a>(&'a self, agent: &'a Agent) -> &'a str {
        self.instructions.as_deref().unwrap_or(&agent.instructions)
    }

    /// The backend with the model of this call.
    pub fn backend<'a>(&self, backend: &'a Backend) -> Cow<'a, Backend> {
        let mut changed = Cow::Borrowed(backend);
        if let Some(model) = self.models.get(&backend.name)
            && let BackendKind::Realtime(realtime) = &mut changed.to_mut().kind
        {
            realtime.model.clone_from(model);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::read_with;

    #[test]
    fn what_was_changed_stays_and_a_model_stays_with_its_backend() {
        let text = "[backends.a]\nkind = \"realtime\"\nurl = \"ws://h/\"\nmodel = \"m\"\n\
                    [backends.b]\nkind = \"realtime\"\nurl = \"ws://h/\"\nmodel = \"m\"\n\
                    [agents.x]\nbackends = [\"a\"]\nvoice = \"marin\"\ninstructions = \"Be brief.\"";
        let config = read_with(text, &[]).unwrap();
        let (agent, mut changes) = (&config.agents["x"], Changes::default());
        assert_eq!(
            (changes.voice(agent), changes.instructions(agent)),
            ("marin", "Be brief.")
        );
        let change = |voice: Option<&str>, model: Option<&str>| SessionChange {
            voice: voice.map(str::to_owned),
            model: model.map(str::to_owned),
            ..SessionChange::default()
        };
        changes.add(change(None, Some("mini")), "a");
        changes.add(change(Some("cedar"), None), "b");
        let models = ["a", "b"].map(|name| {
            changes
                .backend(&config.backends[name])
                .realtime()
                .unwrap()
                .model
                .clone()
        });
        assert_eq!(models, ["mini", "m"]);
        assert_eq!(
            (changes.voice(agent), changes.instructions(agent)),
            ("cedar", "Be brief.")
        );
    }
}
