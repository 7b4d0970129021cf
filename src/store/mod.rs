//! What outlives a call: its record, one JSON line in a file, its [recordings](recording), the journal of the tool calls it
//! made, what the day has cost, and [messages](webhook) to whoever wants to be told.

mod claim;
mod file;
mod journal;
mod purse;
mod quality;
mod record;
pub mod recording;
mod spend;
pub mod webhook;
mod writer;

pub use claim::Claim;
pub use journal::{Begun, Journal, Key as JournalKey, NotBegun};
pub use purse::PurseBook;
pub use quality::{DiagnosisRecord, QualityRecord, SoundRecord};
pub use record::{
    CallRecord, MediaAddresses, OutcomeRecord, RecordingRecord, RtpRecord, ToolCallRecord, TransferRecord,
};
pub use spend::{CostRecord, SpendRecord, TokensRecord};
pub use writer::{RecordSlot, RecordWriter};
