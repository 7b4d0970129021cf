//! `[agents.NAME]`: whether its calls are recorded, and what callers are told first.

use std::path::PathBuf;

use super::{bounds::PROSE_BYTES_MAX, effective::Writer, section::Section};

const POLICIES: &[(&str, RecordingPolicy)] = &[
    ("off", RecordingPolicy::Off),
    ("on", RecordingPolicy::On),
    ("consent", RecordingPolicy::Consent),
];

/// Whether an agent's calls are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentRecording {
    /// When recording begins.
    pub policy: RecordingPolicy,
    /// What the agent says first, word for word, under `consent`.
    pub prompt: Option<String>,
    /// A WAV file that is played instead.
    pub prompt_file: Option<PathBuf>,
}

/// When recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordingPolicy {
    /// When the control API says so.
    #[default]
    Off,
    /// With the answer.
    On,
    /// Once the caller has heard the prompt to its end.
    Consent,
}

impl RecordingPolicy {
    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Consent => "consent",
        }
    }
}

impl AgentRecording {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            policy: section.choice("recording", POLICIES, RecordingPolicy::default()),
            prompt: Some(section.prose("recording_prompt", PROSE_BYTES_MAX)).filter(|text| !text.is_empty()),
            prompt_file: Some(section.text("recording_prompt_file", ""))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        }
    }

    /// Says what does not go together.
    pub(super) fn check(&self, early_media: bool, section: &mut Section<'_>) {
        match (self.policy, &self.prompt, &self.prompt_file) {
            (RecordingPolicy::Consent, None, None) => section.wrong(
                "recording",
                "= \"consent\" needs \"recording_prompt\" or \"recording_prompt_file\": callers are to be told something",
            ),
            (_, Some(_), Some(_)) => section.wrong(
                "recording_prompt_file",
                "and \"recording_prompt\" cannot both be given: only one of them is heard",
            ),
            (RecordingPolicy::Consent, ..) if early_media => section.wrong(
                "early_media",
                "does not go with recording = \"consent\": what is said before the answer is no consent to anything",
            ),
            _ => {}
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.text("recording", self.policy.word());
        out.text("recording_prompt", self.prompt.as_deref().unwrap_or_default());
        let file = self.prompt_file.as_deref().unwrap_or("".as_ref());
        out.text("recording_prompt_file", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const AGENT: &str = "[agents.a]\nbackends = [\"operator\"]\n";

    #[test]
    fn nothing_is_recorded_unless_told() {
        assert_eq!(read(AGENT).agents["a"].recording, AgentRecording::default());
        let recorded = read(&format!("{AGENT}recording = \"on\""));
        assert_eq!(recorded.agents["a"].recording.policy, RecordingPolicy::On);
    }

    #[test]
    fn consent_needs_something_to_be_heard_and_only_one_thing() {
        read(&format!(
            "{AGENT}recording = \"consent\"\nrecording_prompt = \"This call is recorded.\""
        ));
        assert_eq!(
            problems(&format!("{AGENT}recording = \"consent\"")),
            [
                "f.toml:3:13: agents.a.recording = \"consent\" needs \"recording_prompt\" or \"recording_prompt_file\": \
              callers are to be told something"
            ]
        );
        assert_eq!(
            problems(&format!(
                "{AGENT}recording_prompt = \"x\"\nrecording_prompt_file = \"x.wav\""
            )),
            [
                "f.toml:4:25: agents.a.recording_prompt_file and \"recording_prompt\" cannot both be given: only one of \
              them is heard"
            ]
        );
    }

    #[test]
    fn consent_is_not_asked_for_before_the_answer() {
        let text = format!("{AGENT}recording = \"consent\"\nrecording_prompt = \"x\"\nearly_media = true");
        assert_eq!(
            problems(&text),
            [
                "f.toml:5:15: agents.a.early_media does not go with recording = \"consent\": what is said before the answer \
              is no consent to anything"
            ]
        );
    }
}
