//! Members of events that nobody here knows: they are ignored, and counted, so that it shows when a server has moved on.
//!
//! Only the members of the event itself are looked at, and only of events that are no part of a stream of audio or words:
//! those come too often.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Every member that an event of any dialect has.
const KNOWN: &[&str] = &[
    "arguments",
    "audio",
    "audio_end_ms",
    "audio_start_ms",
    "call_id",
    "client_event_id",
    "code",
    "content_index",
    "context_window",
    "conversation",
    "delegation",
    "delegation_id",
    "delta",
    "end",
    "end_ms",
    "error",
    "event",
    "event_id",
    "id",
    "item",
    "item_id",
    "languages",
    "logprobs",
    "message",
    "name",
    "obfuscation",
    "offset_ms",
    "output_index",
    "param",
    "part",
    "previous_item_id",
    "rate_limits",
    "reason",
    "received_at",
    "response",
    "response_id",
    "session",
    "session_id",
    "source_event_id",
    "source_event_type",
    "speaker",
    "start",
    "start_ms",
    "text",
    "timestamp",
    "transcript",
    "trigger_id",
    "type",
    "usage",
];

/// How many members of this event are not known; none when it is no object.
pub(super) fn unknown(text: &str) -> u32 {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Members).unwrap_or(0)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u32, A::Error> {
        let mut unknown = 0;
        while let Some(member) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            map.next_value::<IgnoredAny>()?;
            unknown += u32::from(KNOWN.binary_search(&&*member).is_err());
        }
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_members_is_sorted_as_its_search_needs() {
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn only_what_is_not_known_counts() {
        assert_eq!(
            unknown(r#"{"type":"x","event_id":"e","phase":{"type":1,"deep":2},"mood":null}"#),
            2
        );
        assert_eq!(unknown(r#"{"type":"x"}"#), 0);
        assert_eq!(unknown("[1]"), 0);
        assert_eq!(unknown("{\"phase\""), 0);
    }
}
