//! What outlives a call: its record, one JSON line in a file, and its [recordings](recording).
//!
//! Webhooks are not kept here.

mod file;
mod purse;
mod quality;
mod record;
pub mod recording;
mod spend;
mod writer;

pub use purse::PurseBook;
pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{CallRecord, MediaAddresses, OutcomeRecord, RecordingRecord, RtpRecord, TransferRecord};
pub use spend::{CostRecord, SpendRecord, TokensRecord};
pub use writer::{RecordSlot, RecordWriter};
