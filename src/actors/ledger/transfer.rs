//! Transfers in a call's record, its events and the metrics.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::{Ledger, millis};
use crate::{
    call::{Cause, transfer::Way},
    store::TransferRecord,
};

/// Since when the caller speaks with somebody we called.
#[derive(Debug, Default)]
pub(super) struct Joined(Option<Instant>);

impl Ledger {
    /// A transfer goes on, or has ended.
    pub(super) fn transferring(&mut self, to: String, way: Way, status: u16) {
        let word = way.word();
        tracing::info!(to, way = word, status, "a transfer");
        self.tell(|_| {}, "transfer", json!({ "to": to, "way": word, "status": status }));
        if status >= 200 {
            self.metrics.transfer(word, result(status));
        }
        let joined = way == Way::Bridge && (200..300).contains(&status);
        if joined {
            self.joined = Joined(Some(Instant::now()));
        }
        self.record.transfer = Some(TransferRecord {
            to,
            status,
            way: word.to_owned(),
            joined_at: joined.then(Timestamp::now),
            talk_ms: None,
        });
    }

    /// The call is over, and so is what was joined; the first to say so knows when.
    pub(super) fn parted(&mut self) {
        if let (Joined(Some(joined)), Some(transfer)) = (&self.joined, &mut self.record.transfer) {
            transfer.talk_ms.get_or_insert(millis(joined.elapsed()));
        }
    }
}

/// What a final status means, in one word.
fn result(status: u16) -> &'static str {
    match status {
        200..=299 => "ok",
        status => Cause::of_rejection(status, true).word(),
    }
}
