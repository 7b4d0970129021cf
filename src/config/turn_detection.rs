//! `[agents.NAME.turn_detection]`: who decides that the caller has finished speaking.
//!
//! The object goes to the backend as it is written, so that what is left out stays the backend's choice. Its members are
//! those of the Realtime protocol. To have none is refused: the gateway commits no audio of its own, so nobody would ever
//! end the caller's turn.

use serde_json::{Map, Value};

use super::{effective::Writer, section::Section};

const MODES: &[(&str, Mode)] =
    &[("server_vad", Mode::Server), ("semantic_vad", Mode::Semantic), ("none", Mode::None)];

const EAGERNESS: &[(&str, &str)] = &[("low", "low"), ("medium", "medium"), ("high", "high"), ("auto", "auto")];

/// Longer windows would only keep the caller waiting.
const WINDOW_MS_MAX: u64 = 10_000;

const IDLE_TIMEOUT_MS_MAX: u64 = 600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Server,
    Semantic,
    None,
}

pub(super) fn read(mut section: Section<'_>) -> Value {
    let mode = section.choice("type", MODES, Mode::Server);
    let mut object = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    set("type", Some(mode.word().into()));
    set("create_response", section.optional_truth("create_response").map(Value::from));
    set("interrupt_response", section.optional_truth("interrupt_response").map(Value::from));
    match mode {
        Mode::Server => read_server(&mut section, set),
        Mode::Semantic => set("eagerness", read_eagerness(&mut section)),
        Mode::None => section.wrong("type", "= \"none\" is not possible: nobody would end the caller's turns; use \"server_vad\" or \"semantic_vad\""),
    }
    section.finish();
    Value::Object(object)
}
