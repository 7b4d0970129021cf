//! The `beta` dialect: the Realtime API as it was before general availability, which many servers still speak.
//!
//! Its events are those of `ga` under other names ([`ga_name`]), read by the same reader; its session is flat. Only what
//! it writes differently is written here.

mod writer;

pub(super) use writer::write;

/// The names that changed, with those of `ga`.
const NAMES: &[(&str, &str)] = &[
    ("conversation.item.created", "conversation.item.added"),
    ("response.audio.delta", "response.output_audio.delta"),
    ("response.audio.done", "response.output_audio.done"),
    (
        "response.audio_transcript.delta",
        "response.output_audio_transcript.delta",
    ),
    (
        "response.audio_transcript.done",
        "response.output_audio_transcript.done",
    ),
    ("response.text.delta", "response.output_text.delta"),
    ("response.text.done", "response.output_text.done"),
];

/// What `ga` calls an event; one that did not change keeps its name.
pub fn ga_name(kind: &str) -> &str {
    let row = NAMES.iter().find(|(beta, _)| *beta == kind);
    row.map_or(kind, |(_, ga)| ga)
}

/// What `beta` calls an event of `ga`.
pub fn beta_name(kind: &str) -> &str {
    let row = NAMES.iter().find(|(_, ga)| *ga == kind);
    row.map_or(kind, |(beta, _)| beta)
}
