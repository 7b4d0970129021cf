//! The `ga` dialect: the generally available Realtime API in JSON.

mod object;
mod reader;
mod writer;

pub use reader::read;
pub use writer::{format_object, write, write_append};

/// In front of the number in every `event_id` we give, to know our own in the server's errors.
const EVENT_ID_PREFIX: &str = "patchcord_";

/// Event types that exist in this dialect and ask nothing of us.
const NOTED: &[&str] = &[
    "conversation.created",
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.failed",
    "conversation.item.input_audio_transcription.segment",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "input_audio_buffer.cleared",
    "input_audio_buffer.committed",
    "input_audio_buffer.dtmf_event_received",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "mcp_list_tools.completed",
    "mcp_list_tools.failed",
    "mcp_list_tools.in_progress",
    "output_audio_buffer.cleared",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "rate_limits.updated",
    "response.content_part.added",
    "response.content_part.done",
    "response.function_call_arguments.delta",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "response.mcp_call.in_progress",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.output_item.added",
    "response.output_text.delta",
    "response.output_text.done",
    "session.created",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_noted_types_is_sorted_as_its_search_needs() {
        assert!(NOTED.is_sorted());
    }
}
