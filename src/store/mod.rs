//! What outlives a call: its record, one JSON line in a file, its [recordings](recording), what the day has cost, and
//! [messages](webhook) to whoever wants to be told.

mod file;
mod purse;
mod quality;
mod record;
pub mod recording;
mod spend;
pub mod webhook;
mod writer;

pub use purse::PurseBook;
pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{CallRecord, MediaAddresses, OutcomeRecord, RecordingRecord, RtpRecord, TransferRecord};
pub use spend::{CostRecord, SpendRecord, TokensRecord};
pub use writer::{RecordSlot, RecordWriter};
