//! What outlives a call: its record, one JSON line in a file, its [recordings](recording), and the journal of the tool
//! calls it made.
//!
//! Webhooks are not kept here.

mod file;
mod journal;
mod quality;
mod record;
pub mod recording;
mod writer;

pub use journal::{Begun, Journal, Key as JournalKey, NotBegun};
pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{
    CallRecord, MediaAddresses, OutcomeRecord, RecordingRecord, RtpRecord, TokensRecord, ToolCallRecord, TransferRecord,
};
pub use writer::{RecordSlot, RecordWriter};
