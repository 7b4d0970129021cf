//! Records of calls that the SIP side refused by itself, before they were calls.
//!
//! They take what room the records of real calls leave: a flood of refusals costs no call its record. Strangers leave
//! none unless told, because anybody could then fill the disk.

use std::sync::Arc;

use jiff::Timestamp;

use super::service::{CALL_SLOTS_PER_CALL, Shared};
use crate::{
    call::Fault,
    config::Config,
    drivers::sip::Recorder,
    routing::Question,
    sip::{Attempt, Refused, Uri},
    store::{CallRecord, OutcomeRecord},
    telemetry::Queue,
};

/// Records of refusals that may wait for the disk; past it they are not written, and counted.
pub const REFUSAL_SLOTS: usize = 256;

/// What the SIP driver hands refusals to.
pub fn recorder(shared: Arc<Shared>) -> Recorder {
    Box::new(move |refused| {
        let is_wanted = refused.trunk.is_some() || shared.config.defence.record_strangers;
        if let Some(attempt) = refused.call.as_deref().filter(|_| is_wanted) {
            record(&shared, refused, attempt);
        }
    })
}

/// Slots for the records of calls.
pub fn call_slots(config: &Config) -> usize {
    config.limits.calls_max.saturating_mul(CALL_SLOTS_PER_CALL)
}

fn record(shared: &Shared, refused: &Refused, attempt: &Attempt) {
    let Some(slot) = shared.records.reserve_leaving(call_slots(&shared.config)) else {
        return shared.metrics.queue_drop(Queue::RefusalRecords);
    };
    let trunk = refused.trunk.clone().unwrap_or_default();
    let (from, to) = (attempt.from.clone(), attempt.to.to_string());
    let begun = CallRecord::begun(super::service::call_id(), attempt.call_id.clone(), trunk, from, to);
    slot.write(CallRecord {
        ended_at: Timestamp::now(),
        explanation: explanation(shared, refused, attempt),
        outcome: OutcomeRecord {
            cause: refused.reason.to_owned(),
            fault: fault(refused.status).word().to_owned(),
            sip_code: refused.status,
        },
        ..begun
    });
}

/// What the gateway has no room for is its own fault, everything else is the caller's.
fn fault(status: u16) -> Fault {
    match status {
        500..=599 => Fault::Gateway,
        _ => Fault::Caller,
    }
}

fn explanation(shared: &Shared, refused: &Refused, attempt: &Attempt) -> Vec<String> {
    let question = Question {
        from: Uri::read(&attempt.from).unwrap_or_else(|_| attempt.to.clone()),
        to: attempt.to.clone(),
        origin: refused.flow.origin(),
        transport: refused.flow.transport,
        user: None,
    };
    let Refused {
        status, reason, detail, ..
    } = refused;
    shared.explainer.explain_refusal(&question, *status, reason, detail)
}
