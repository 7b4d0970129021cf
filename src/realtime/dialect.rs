//! The one place that knows which dialects there are.

use super::{
    audio::AudioFormat,
    event::{ClientEvent, Malformed, ServerEvent},
    ga,
};

/// How a backend spells the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The generally available Realtime API.
    #[default]
    Ga,
}

impl Dialect {
    /// Reads one text frame of the server.
    pub fn read(self, text: &str) -> Result<ServerEvent<'_>, Malformed> {
        match self {
            Self::Ga => ga::read(text),
        }
    }

    /// Writes one client event. `event_id` comes back in the server's error when this event fails.
    pub fn write(self, event_id: u64, event: &ClientEvent<'_>) -> String {
        match self {
            Self::Ga => ga::write(event_id, event),
        }
    }

    /// Writes one frame of caller audio over what was in `text`.
    pub fn write_append(self, format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
        match self {
            Self::Ga => ga::write_append(format, pcm, scratch, text),
        }
    }
}
