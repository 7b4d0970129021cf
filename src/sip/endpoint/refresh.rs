//! Session timers (RFC 4028) of legs: what requests of the peer agree to, and what is done when a timer is due.

use std::time::Instant;

use super::{Endpoint, Event, Refusal};
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::Request;
use crate::sip::session_timer::{Agreed, MIN_SE, Role, SessionTimer, Terms, answer};

impl Endpoint {
    /// What the 2xx to a request of this peer agrees to.
    pub(super) fn timer_offered(&self, peer: usize, request: &Request) -> Result<Option<Agreed>, Refusal> {
        let terms = Terms::read(&request.headers);
        let terms = terms.map_err(|error| Refusal::new(400, "bad_request", error.to_string()))?;
        answer(&terms, self.admission.session_expires(peer)).map_err(|error| {
            let refusal = Refusal::new(422, "bad_request", error.to_string());
            refusal.with_header("Min-SE", MIN_SE.as_secs().to_string())
        })
    }

    /// The same for a request inside the dialog of a leg.
    pub(super) fn timer_for(&self, id: LegId, request: &Request) -> Result<Option<Agreed>, Refusal> {
        match self.legs.get(&id) {
            Some(leg) => self.timer_offered(leg.peer, request),
            None => Err(Refusal::no_dialog()),
        }
    }

    /// A 2xx to a request of the peer leaves now, and with it the timer starts anew, or stops. Before the answer to the
    /// call there is no session to time.
    pub(super) fn start_timer(&mut self, now: Instant, id: LegId, agreed: Option<Agreed>) {
        self.run_timer(now, id, agreed, Role::Uas);
    }

    /// `ours`: which role we had in the request this was agreed with.
    pub(super) fn run_timer(&mut self, now: Instant, id: LegId, agreed: Option<Agreed>, ours: Role) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if matches!(&leg.phase, Phase::Asked(asked) if asked.first) {
            return;
        }
        leg.usages.timer = agreed.map(|agreed| SessionTimer::start(now, agreed.interval, agreed.refresher == ours));
        self.arm(id);
    }

    /// No refresh came, or none of ours succeeded.
    pub(super) fn expire(&mut self, now: Instant, id: LegId) {
        let reason = "session_expired";
        self.tell(id, Event::Failed { reason });
        self.hang_up(now, id, reason.into());
    }
}

/// Sending: the session is refreshed.
impl Endpoint {
    pub(super) fn refresh(&mut self, _now: Instant, _id: LegId) {}
}
