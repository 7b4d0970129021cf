//! What outlives a call: its record, one JSON line in a file, and its [recordings](recording).
//!
//! Webhooks are not kept here.

mod file;
mod quality;
mod record;
pub mod recording;
mod writer;

pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{CallRecord, MediaAddresses, OutcomeRecord, RecordingRecord, RtpRecord, TokensRecord, TransferRecord};
pub use writer::{RecordSlot, RecordWriter};
