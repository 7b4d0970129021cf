//! The `live` dialect: the Live API, in which audio goes both ways without turns and work is delegated.
//!
//! There are no responses, items or truncations on the wire. [`Stream`] finds utterances in the agent's audio and gives
//! them the events of a response, so that everything behind it hears of turns as ever. Tools are called by a second
//! model behind the one that speaks; [`delegation`] knows what that one waits for. An interruption happens in our own
//! playout, and the agent is told of it in words.

mod delegation;
mod reader;
mod stream;
mod writer;

pub(super) use stream::Stream;
pub(super) use writer::write_append;

/// Event types that exist in this dialect and ask nothing of us.
const NOTED: &[&str] = &[
    "decision.event",
    "decision.item.created",
    "decision.item.deleted",
    "info",
    "session.commentary.appended",
    "session.delegation.created",
    "session.input_audio.append",
    "session.input_audio.muted",
    "session.input_audio.unmuted",
    "session.instructions.appended",
    "session.output_audio.fixture.played",
    "session.output_audio.fixture.playing",
    "session.thinking.appended",
    "transport.answered",
    "transport.dtmf.send",
    "transport.dtmf.sent",
    "transport.failed",
    "transport.ringing",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_noted_types_is_sorted_as_its_search_needs() {
        assert!(NOTED.is_sorted());
    }
}
