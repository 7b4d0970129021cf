//! `[agents.NAME]`: what answers a call.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::Value;

use super::{
    agent_recording::AgentRecording, agent_survival::AgentSurvival, agent_tools::Tool, agent_transfer::AgentTransfer,
    agent_turns::AgentTurns, bounds::PROSE_BYTES_MAX, effective::Writer, section::Section, turn_detection,
};

const ANSWERS: &[(&str, Answer)] = &[("when_ready", Answer::WhenReady), ("at_once", Answer::AtOnce)];

const TOOL_RECORDS: &[(&str, ToolRecord)] = &[("result", ToolRecord::Result), ("arguments", ToolRecord::Arguments)];

const DTMF_RECORDS: &[(&str, DtmfRecord)] = &[
    ("masked", DtmfRecord::Masked),
    ("full", DtmfRecord::Full),
    ("off", DtmfRecord::Off),
];

const DTMF: &[(&str, bool)] = &[("text", true), ("off", false)];

/// Most names one agent may transfer to; the model has to choose among them.
const TARGETS_MAX: usize = 64;

/// What answers: how it speaks, what it may do, and where its sessions run.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// The backends its sessions run on; a later one is tried when those before it fail. At least one.
    pub backends: Vec<String>,
    /// How many sessions on the first of them may wait for its calls.
    pub warm_sessions_max: usize,
    /// What it says first; none lets the caller speak first.
    pub greeting: Option<String>,
    /// What it is and how it should behave, in words for the model.
    pub instructions: String,
    /// Its voice, by the backend's name for it; empty leaves the choice to the backend.
    pub voice: String,
    /// When a call is answered.
    pub answer: Answer,
    /// Who decides that the caller has finished speaking: an object of the protocol, passed on as it is.
    pub turn_detection: Value,
    /// The model that writes down what the caller says; none leaves it unwritten.
    pub transcription_model: Option<String>,
    /// What it may do besides speaking.
    pub tools: Vec<Tool>,
    /// Whether a caller is greeted before the answer.
    pub early_media: bool,
    /// How long a callee may go on with what it says first before it is taken for a machine; none never does.
    pub voicemail_after: Option<Duration>,
    /// Whom it may transfer to, by name.
    pub transfer_targets: BTreeMap<String, String>,
    /// Whether it may transfer to numbers of the caller's choice.
    pub transfer_any: bool,
    /// How it hands calls on.
    pub transfer: AgentTransfer,
    /// Whether its calls are recorded.
    pub recording: AgentRecording,
    /// How it takes turns.
    pub turns: AgentTurns,
    /// Whether it is told of keys the caller presses.
    pub hears_keys: bool,
    /// What the record says of them.
    pub dtmf_record: DtmfRecord,
    /// What its callers hear while its session is away, and when none can be had.
    pub survival: AgentSurvival,
    /// What the record says of tool calls.
    pub tool_record: ToolRecord,
}

/// What a call's record says of the keys that were pressed, besides how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtmfRecord {
    /// A `*` for each: they may be a PIN.
    #[default]
    Masked,
    /// Which.
    Full,
    /// Nothing.
    Off,
}

/// What a call's record and its events say of tool calls, besides which there were and how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolRecord {
    /// Nothing: arguments may hold what the caller confided.
    #[default]
    Result,
    /// Their arguments.
    Arguments,
}

/// When a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Once the session is ready; the caller hears ringing until then.
    #[default]
    WhenReady,
    /// At once; the caller hears comfort tone until the session is ready.
    AtOnce,
}

impl fmt::Display for DtmfRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = DTMF_RECORDS.iter().find(|(_, record)| record == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

/// The most sessions that may wait for one agent's calls.
const WARM_SESSIONS_MAX: u64 = 64;

impl Agent {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        let mut agent = Self {
            name: name.to_owned(),
            backends: read_backends(&mut section),
            warm_sessions_max: section
                .optional_whole("warm_sessions_max", 0..=WARM_SESSIONS_MAX, "sessions")
                .map_or(0, |most| most as usize),
            greeting: some(section.prose("greeting", PROSE_BYTES_MAX)),
            instructions: section.prose("instructions", PROSE_BYTES_MAX),
            voice: section.text("voice", ""),
            answer: section.choice("answer", ANSWERS, Answer::default()),
            transcription_model: some(section.text("transcription_model", "")),
            tools: section.list("tools", vec![Tool::HangUp], Tool::read),
            early_media: section.optional_truth("early_media").unwrap_or_default(),
            voicemail_after: section
                .optional_whole("voicemail_after_ms", 0..=60_000, "ms")
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
            transfer_any: section.optional_truth("transfer_any").unwrap_or_default(),
            transfer_targets: section.texts("transfer_targets", TARGETS_MAX),
            transfer: AgentTransfer::read(&mut section),
            recording: AgentRecording::read(&mut section),
            turns: AgentTurns::read(&mut section),
            hears_keys: section.choice("dtmf", DTMF, true),
            dtmf_record: section.choice("dtmf_record", DTMF_RECORDS, DtmfRecord::default()),
            survival: AgentSurvival::read(&mut section),
            tool_record: section.choice("tool_record", TOOL_RECORDS, ToolRecord::default()),
            turn_detection: turn_detection::read(section.inner("turn_detection")),
        };
        if agent.early_media && agent.answer == Answer::AtOnce {
            section.wrong(
                "early_media",
                "has no use with answer = \"at_once\": nothing comes before that answer",
            );
        }
        agent.recording.check(agent.early_media, &mut section);
        let transcribes = agent.transcription_model.is_some();
        agent.turns.check(&mut agent.turn_detection, transcribes, &mut section);
        let transfers = agent.tools.contains(&Tool::Transfer);
        if transfers && agent.transfer_targets.is_empty() && !agent.transfer_any {
            section.wrong(
                "tools",
                "names \"transfer\", but neither \"transfer_targets\" nor \"transfer_any\" says to whom",
            );
        }
        if let Some(twice) = repeated(&agent.backends) {
            section.wrong("backends", &format!("names \"{}\" twice", twice.escape_debug()));
        }
        if repeated(&agent.tools).is_some() {
            section.wrong("tools", "names a tool twice");
        }
        section.finish();
        agent
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[agents.{}]", self.name));
        out.list("backends", &self.backends);
        out.whole("warm_sessions_max", self.warm_sessions_max);
        out.text("greeting", self.greeting.as_deref().unwrap_or_default());
        out.text("instructions", &self.instructions);
        out.text("voice", &self.voice);
        out.text("answer", self.answer_word());
        out.text(
            "transcription_model",
            self.transcription_model.as_deref().unwrap_or_default(),
        );
        out.list("tools", &self.tools);
        out.whole("early_media", self.early_media);
        out.whole(
            "voicemail_after_ms",
            self.voicemail_after.map_or(0, |after| after.as_millis()),
        );
        out.whole("transfer_any", self.transfer_any);
        out.texts("transfer_targets", &self.transfer_targets);
        self.transfer.write(out);
        self.recording.write(out);
        self.turns.write(out);
        out.text("dtmf", if self.hears_keys { "text" } else { "off" });
        out.text("dtmf_record", self.dtmf_record);
        self.survival.write(out);
        let arguments = self.tool_record == ToolRecord::Arguments;
        out.text("tool_record", if arguments { "arguments" } else { "result" });
        out.object(
            format_args!("[agents.{}.turn_detection]", self.name),
            &self.turn_detection,
        );
    }

    fn answer_word(&self) -> &'static str {
        match self.answer {
            Answer::WhenReady => "when_ready",
            Answer::AtOnce => "at_once",
        }
    }
}

fn read_backends(section: &mut Section<'_>) -> Vec<String> {
    section.require("backends");
    section.refuse_empty("backends", "names none: without a backend the agent cannot speak");
    section.list("backends", Vec::new(), |name| Ok(name.to_owned()))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    items
        .iter()
        .enumerate()
        .find(|(index, item)| items[..*index].contains(item))
        .map(|(_, item)| item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn an_agent_needs_only_a_backend() {
        let config = read("[agents.a]\nbackends = [\"operator\"]");
        let agent = &config.agents["a"];
        assert_eq!(
            (agent.name.as_str(), agent.greeting.as_ref(), agent.voice.as_str()),
            ("a", None, "")
        );
        assert_eq!(
            (agent.answer, agent.tools.as_slice()),
            (Answer::WhenReady, &[Tool::HangUp][..])
        );
        assert_eq!(agent.turn_detection, serde_json::json!({ "type": "server_vad" }));
        assert_eq!((agent.hears_keys, agent.dtmf_record), (true, DtmfRecord::Masked));
    }

    #[test]
    fn everything_can_be_set() {
        let config = read(
            "[agents.a]\nbackends = [\"operator\"]\ngreeting = \"Hi\"\ninstructions = \"\"\"\nBe\nbrief.\"\"\"\n\
             voice = \"cedar\"\ndtmf = \"off\"\ndtmf_record = \"full\"\nanswer = \"at_once\"\ntools = []\ntranscription_model = \"gpt-transcribe\"",
        );
        let agent = &config.agents["a"];
        assert_eq!(
            (agent.greeting.as_deref(), agent.instructions.as_str()),
            (Some("Hi"), "Be\nbrief.")
        );
        assert_eq!(
            (agent.voice.as_str(), agent.answer, agent.tools.len()),
            ("cedar", Answer::AtOnce, 0)
        );
        assert_eq!(agent.transcription_model.as_deref(), Some("gpt-transcribe"));
        assert_eq!((agent.hears_keys, agent.dtmf_record), (false, DtmfRecord::Full));
    }

    #[test]
    fn an_agent_without_a_backend_cannot_speak() {
        assert_eq!(
            problems("[agents.a]\nvoice = \"x\""),
            ["f.toml:1:1: [agents.a] needs the key \"backends\""]
        );
        assert_eq!(
            problems("[agents.a]\nbackends = []"),
            ["f.toml:2:12: agents.a.backends names none: without a backend the agent cannot speak"]
        );
        assert_eq!(
            problems("[agents.a]\nbackends = [\"operator\", \"operator\"]"),
            ["f.toml:2:12: agents.a.backends names \"operator\" twice"]
        );
    }

    #[test]
    fn unknown_words_get_the_nearest_known_one() {
        assert_eq!(
            problems("[agents.a]\nbackends = [\"operator\"]\nanswer = \"at_onse\"\ntools = [\"hangup\", \"hang_up\"]"),
            [
                "f.toml:3:10: agents.a.answer = \"at_onse\" is not known: did you mean \"at_once\"?",
                "f.toml:4:10: agents.a.tools[0] = \"hangup\" is not known: did you mean \"hang_up\"?",
            ]
        );
    }

    #[test]
    fn a_text_too_long_for_a_backend_is_refused() {
        let text = format!(
            "[agents.a]\nbackends = [\"operator\"]\ninstructions = \"{}\"",
            "x".repeat(70_000)
        );
        assert_eq!(
            problems(&text),
            ["f.toml:3:16: agents.a.instructions is longer than 65536 bytes"]
        );
    }
}
