//! `[agents.NAME]`: whose turn it is, as far as the gateway decides it.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use super::{bounds::PROSE_BYTES_MAX, effective::Writer, section::Section};

const EARS: &[(&str, Ear)] = &[("backend", Ear::Backend), ("gateway", Ear::Gateway)];

/// Most questions into the silence.
const ASKS_MAX: u64 = 10;

/// Who hears that the caller cuts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ear {
    /// The backend's detector.
    #[default]
    Backend,
    /// Ours.
    Gateway,
}

/// How an agent takes turns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentTurns {
    /// Who hears that the caller cuts in.
    pub interruption: Ear,
    /// How long a voice goes on before it cuts the agent off, where our ear decides.
    pub interrupt_after: Duration,
    /// What a caller says to an agent that is to go on; none leaves every turn to the backend.
    pub back_channel: Vec<String>,
    /// How long neither side says anything before the agent asks; none never asks.
    pub quiet: Option<Duration>,
    /// How often it asks before the call ends.
    pub quiet_asks: u32,
    /// What it asks.
    pub quiet_prompt: String,
    /// How long a caller may speak in one go; none for ever.
    pub caller_turn_max: Option<Duration>,
    /// How long the agent may speak in one go; none for ever.
    pub agent_turn_max: Option<Duration>,
    /// How long before the longest a call may last its end is announced.
    pub warning_before: Duration,
    /// How; none is no announcement.
    pub warning: Option<String>,
    /// A WAV file that every caller hears to its end before anything else.
    pub disclosure_file: Option<PathBuf>,
    /// What the agent says instead.
    pub disclosure_text: Option<String>,
}

impl AgentTurns {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let seconds = |seconds: Option<u64>| seconds.filter(|s| *s > 0).map(Duration::from_secs);
        Self {
            interruption: section.choice("interruption", EARS, Ear::default()),
            interrupt_after: Duration::from_millis(section.whole("interrupt_after_ms", 300, 100..=2_000, "ms")),
            back_channel: section.list("back_channel", Vec::new(), read_words),
            quiet: seconds(section.optional_whole("quiet_s", 0..=600, "s")),
            quiet_asks: section.whole("quiet_asks", 2, 0..=ASKS_MAX, "questions") as u32,
            quiet_prompt: some(section.prose("quiet_prompt", PROSE_BYTES_MAX))
                .unwrap_or_else(|| "Are you still there?".to_owned()),
            caller_turn_max: seconds(section.optional_whole("caller_turn_s_max", 0..=3_600, "s")),
            agent_turn_max: seconds(section.optional_whole("agent_turn_s_max", 0..=3_600, "s")),
            warning_before: Duration::from_secs(section.whole("warning_before_s", 60, 1..=3_600, "s")),
            warning: some(section.prose("warning", PROSE_BYTES_MAX)),
            disclosure_file: some(section.text("disclosure_file", "")).map(PathBuf::from),
            disclosure_text: some(section.prose("disclosure_text", PROSE_BYTES_MAX)),
        }
    }

    /// Where our ear decides the backend must not: then nothing is cut off that cannot be taken back.
    pub(super) fn check(&self, turn_detection: &mut Value, transcribes: bool, section: &mut Section<'_>) {
        if self.disclosure_file.is_some() && self.disclosure_text.is_some() {
            section.wrong(
                "disclosure_text",
                "does not go with \"disclosure_file\": one of them is what every caller hears",
            );
        }
        if !self.back_channel.is_empty() {
            self.check_back_channel(turn_detection, transcribes, section);
        }
        if self.interruption != Ear::Gateway || turn_detection.is_null() {
            return;
        }
        if turn_detection["interrupt_response"] == Value::Bool(true) {
            section.wrong(
                "interruption",
                "= \"gateway\" does not go with turn_detection.interrupt_response = true: one of them cuts the agent off",
            );
        }
        turn_detection["interrupt_response"] = Value::Bool(false);
    }

    /// Who is to leave a turn unanswered has to answer all of them, and to know the words.
    fn check_back_channel(&self, turn_detection: &mut Value, transcribes: bool, section: &mut Section<'_>) {
        let wrong = if self.interruption != Ear::Gateway {
            "needs interruption = \"gateway\": a backend that interrupts by itself has done so before the words are known"
        } else if !transcribes {
            "needs \"transcription_model\": without it nobody knows what the caller says"
        } else if turn_detection["create_response"] == Value::Bool(true) {
            "does not go with turn_detection.create_response = true: the backend would answer an \"mm-hm\""
        } else {
            turn_detection["create_response"] = Value::Bool(false);
            return;
        };
        section.wrong("back_channel", wrong);
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let ear = EARS.iter().find(|(_, ear)| *ear == self.interruption);
        out.text("interruption", ear.map_or("", |(word, _)| word));
        out.whole("interrupt_after_ms", self.interrupt_after.as_millis());
        out.list("back_channel", self.back_channel.iter());
        out.whole("quiet_s", self.quiet.unwrap_or_default().as_secs());
        out.whole("quiet_asks", self.quiet_asks);
        out.text("quiet_prompt", &self.quiet_prompt);
        out.whole("caller_turn_s_max", self.caller_turn_max.unwrap_or_default().as_secs());
        out.whole("agent_turn_s_max", self.agent_turn_max.unwrap_or_default().as_secs());
        out.whole("warning_before_s", self.warning_before.as_secs());
        out.text("warning", self.warning.as_deref().unwrap_or_default());
        let file = self.disclosure_file.as_deref().unwrap_or("".as_ref());
        out.text("disclosure_file", file.display());
        out.text("disclosure_text", self.disclosure_text.as_deref().unwrap_or_default());
    }
}

/// Longer ones are no sign to go on.
const WORDS_BYTES_MAX: usize = 32;

fn read_words(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_alphanumeric) && text.len() <= WORDS_BYTES_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!("is no word or two of at most {WORDS_BYTES_MAX} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const AGENT: &str = "[agents.a]\nbackends = [\"operator\"]\n";

    #[test]
    fn turns_are_the_backends_affair_unless_told() {
        let turns = read(AGENT).agents["a"].turns.clone();
        assert_eq!(
            (
                turns.interruption,
                turns.quiet,
                turns.caller_turn_max,
                turns.agent_turn_max
            ),
            (Ear::Backend, None, None, None)
        );
        assert_eq!((turns.warning, turns.disclosure_file), (None, None));
    }

    #[test]
    fn where_the_gateway_listens_the_backend_does_not_interrupt() {
        let config = read(&format!("{AGENT}interruption = \"gateway\"\ninterrupt_after_ms = 250"));
        let agent = &config.agents["a"];
        assert_eq!(agent.turns.interrupt_after, Duration::from_millis(250));
        assert_eq!(agent.turn_detection["interrupt_response"], Value::Bool(false));
        let both = format!("{AGENT}interruption = \"gateway\"\n[agents.a.turn_detection]\ninterrupt_response = true");
        assert_eq!(
            problems(&both),
            [
                "f.toml:3:16: agents.a.interruption = \"gateway\" does not go with turn_detection.interrupt_response = \
                 true: one of them cuts the agent off"
            ]
        );
    }

    #[test]
    fn who_leaves_a_turn_unanswered_answers_all_of_them() {
        let agent = format!("{AGENT}interruption = \"gateway\"\nback_channel = [\"mm-hm\", \"ja\"]\n");
        let config = read(&format!("{agent}transcription_model = \"whisper-1\""));
        assert_eq!(config.agents["a"].turn_detection["create_response"], Value::Bool(false));
        assert_eq!(config.agents["a"].turns.back_channel, ["mm-hm", "ja"]);
        let both = format!("{agent}transcription_model = \"x\"\n[agents.a.turn_detection]\ncreate_response = true");
        for (text, said) in [
            (agent.as_str(), "needs \"transcription_model\""),
            (both.as_str(), "does not go with turn_detection.create_response"),
            (
                &format!("{AGENT}back_channel = [\"ja\"]"),
                "needs interruption = \"gateway\"",
            ),
            (&format!("{AGENT}back_channel = [\"…\"]"), "is no word or two"),
        ] {
            let told = problems(text);
            assert!(told[0].contains(said), "{told:?}");
        }
    }

    #[test]
    fn what_every_caller_hears_is_one_thing() {
        let both = format!("{AGENT}disclosure_file = \"/a.wav\"\ndisclosure_text = \"Hear.\"");
        let told = problems(&both);
        assert!(
            told.iter()
                .any(|told| told.contains("agents.a.disclosure_text does not go with")),
            "{told:?}"
        );
    }
}
