//! `[agents.NAME.turn_detection]`: who decides that the caller has finished speaking.
//!
//! The object goes to the backend as it is written, so that what is left out stays the backend's choice. Its members are
//! those of the Realtime protocol. To have none is refused: the gateway commits no audio of its own, so nobody would ever
//! end the caller's turn.

use serde_json::Value;

use super::section::{Section, one_of};

const MODES: &[(&str, Mode)] = &[("server_vad", Mode::Server), ("semantic_vad", Mode::Semantic)];

const EAGERNESS: &[(&str, &str)] = &[("low", "low"), ("medium", "medium"), ("high", "high"), ("auto", "auto")];

/// Longer windows would only keep the caller waiting.
const WINDOW_MS_MAX: u64 = 10_000;

const IDLE_TIMEOUT_MS_MAX: u64 = 600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By energy.
    Server,
    /// By what is said.
    Semantic,
}

pub(super) fn read(mut section: Section<'_>) -> Value {
    let mode = section.parsed("type", Mode::Server, read_mode);
    let mut members = vec![
        ("type", Some(Value::from(mode.word()))),
        (
            "create_response",
            section.optional_truth("create_response").map(Value::from),
        ),
        (
            "interrupt_response",
            section.optional_truth("interrupt_response").map(Value::from),
        ),
    ];
    members.extend(match mode {
        Mode::Server => read_server(&mut section),
        Mode::Semantic => vec![("eagerness", read_eagerness(&mut section))],
    });
    section.finish();
    let given = members
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(given.collect())
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server_vad",
            Self::Semantic => "semantic_vad",
        }
    }
}

fn read_mode(text: &str) -> Result<Mode, String> {
    match text {
        "none" => Err(
            "is not possible, because nobody would end the caller's turns: use \"server_vad\" or \
                       \"semantic_vad\""
                .to_owned(),
        ),
        word => one_of(word, MODES),
    }
}

fn read_server(section: &mut Section<'_>) -> Vec<(&'static str, Option<Value>)> {
    let threshold = section.optional_number("threshold", 0.0..=1.0);
    let padding_ms = section.optional_whole("prefix_padding_ms", 0..=WINDOW_MS_MAX, "ms");
    let silence_ms = section.optional_whole("silence_duration_ms", 0..=WINDOW_MS_MAX, "ms");
    let idle_ms = section.optional_whole("idle_timeout_ms", 1..=IDLE_TIMEOUT_MS_MAX, "ms");
    vec![
        ("threshold", threshold.map(Value::from)),
        ("prefix_padding_ms", padding_ms.map(Value::from)),
        ("silence_duration_ms", silence_ms.map(Value::from)),
        ("idle_timeout_ms", idle_ms.map(Value::from)),
    ]
}

fn read_eagerness(section: &mut Section<'_>) -> Option<Value> {
    section.parsed("eagerness", None, |word| {
        one_of(word, EAGERNESS).map(|word| Some(word.into()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::{problems, read as load};

    #[test]
    fn only_what_is_given_is_passed_on() {
        assert_eq!(turn_detection(""), json!({ "type": "server_vad" }));
        assert_eq!(
            turn_detection(
                "type = \"server_vad\"\nthreshold = 0.6\nprefix_padding_ms = 200\nsilence_duration_ms = 0\n\
                            idle_timeout_ms = 6000\ncreate_response = true\ninterrupt_response = false"
            ),
            json!({
                "type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 200, "silence_duration_ms": 0,
                "idle_timeout_ms": 6000, "create_response": true, "interrupt_response": false,
            })
        );
        assert_eq!(
            turn_detection("type = \"semantic_vad\"\neagerness = \"low\""),
            json!({ "type": "semantic_vad", "eagerness": "low" })
        );
    }

    #[test]
    fn members_belong_to_their_type() {
        let at = "[agents.a.turn_detection]";
        assert_eq!(
            faults("type = \"semantic_vad\"\nthreshold = 0.5"),
            [format!(
                "f.toml:5:1: unknown key \"threshold\" in {at}: there are \"type\", \"create_response\", \
                      \"interrupt_response\" and \"eagerness\""
            )]
        );
        assert_eq!(
            faults("silence_duration = 500"),
            [format!(
                "f.toml:4:1: unknown key \"silence_duration\" in {at}: did you mean \"silence_duration_ms\"?"
            )]
        );
    }

    #[test]
    fn members_out_of_range_are_refused() {
        assert_eq!(
            faults("threshold = 2\nidle_timeout_ms = 0\ncreate_response = \"yes\""),
            [
                "f.toml:4:13: agents.a.turn_detection.threshold = 2 is out of range: 0 to 1",
                "f.toml:5:19: agents.a.turn_detection.idle_timeout_ms = 0 is out of range: 1 to 600000 ms",
                "f.toml:6:19: agents.a.turn_detection.create_response = \"yes\" is not true or false",
            ]
        );
    }

    #[test]
    fn no_turn_detection_at_all_is_refused() {
        assert_eq!(
            faults("type = \"none\""),
            [
                "f.toml:4:8: agents.a.turn_detection.type = \"none\" is not possible, because nobody would end the \
              caller's turns: use \"server_vad\" or \"semantic_vad\""
            ]
        );
        assert_eq!(
            problems("[agents.a]\nbackends = [\"operator\"]\nturn_detection = false"),
            ["f.toml:3:18: agents.a.turn_detection = false is not a table: write [agents.a.turn_detection]"]
        );
    }

    fn turn_detection(members: &str) -> Value {
        load(&agent(members)).agents["a"].turn_detection.clone()
    }

    fn faults(members: &str) -> Vec<String> {
        problems(&agent(members))
    }

    fn agent(members: &str) -> String {
        format!("[agents.a]\nbackends = [\"operator\"]\n[agents.a.turn_detection]\n{members}")
    }
}
