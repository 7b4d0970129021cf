//! What outlives a call: its record, one JSON line in a file.
//!
//! Recordings and webhooks are not kept here.

mod file;
mod quality;
mod record;
mod writer;

pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{CallRecord, MediaAddresses, OutcomeRecord, RtpRecord, TokensRecord, TransferRecord};
pub use writer::{RecordSlot, RecordWriter};
