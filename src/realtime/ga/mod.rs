//! The `ga` dialect: the generally available Realtime API in JSON.
//!
//! The reader also takes the names and shapes of the `beta` dialect, where a backend is known for them: the two differ in
//! little else, and servers mix them.

pub(super) mod object;
mod reader;
pub(super) mod writer;

pub(super) use reader::read;
pub use writer::format_object;
pub(super) use writer::{write, write_append};

/// In front of the number in every `event_id` we give, to know our own in the server's errors.
pub(super) const EVENT_ID_PREFIX: &str = "patchcord_";

/// Event types that exist in this dialect and ask nothing of us.
const NOTED: &[&str] = &[
    "conversation.created",
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.segment",
    "conversation.item.retrieved",
    "input_audio_buffer.cleared",
    "input_audio_buffer.timeout_triggered",
    "output_audio_buffer.cleared",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "response.content_part.added",
    "response.content_part.done",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.output_item.added",
    "session.created",
    "transcription_session.created",
    "transcription_session.updated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_noted_types_is_sorted_as_its_search_needs() {
        assert!(NOTED.is_sorted());
    }
}
