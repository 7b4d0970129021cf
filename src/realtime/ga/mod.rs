//! The `ga` dialect: the generally available Realtime API in JSON.

mod object;
mod reader;
mod writer;

pub use reader::read;
pub use writer::{write, write_append};

/// In front of the number in every `event_id` we give, to know our own in the server's errors.
const EVENT_ID_PREFIX: &str = "patchcord_";
