//! Offers outside an INVITE: UPDATE (RFC 3311), and PRACK where it carries one. They wait for the application like a
//! re-INVITE, but are answered by one response that nobody acknowledges.

use std::time::{Duration, Instant};

use super::requests::{check_body, offer_of};
use super::{Endpoint, Event, Refusal};
use crate::sip::flow::Flow;
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::provisional::Early;
use crate::sip::reason::Reason;
use crate::sip::reply::{ACCEPT, Reply};
use crate::sip::session_timer::Agreed;
use crate::sip::transaction::Key;
use crate::sip::usages::{Usages, Waiting};

/// How long the application may leave an UPDATE or PRACK with an offer; the peer then keeps what it had.
const REOFFER_WAIT_MAX: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Without a body an UPDATE moves the peer or refreshes the session, which needs no decision.
    pub(super) fn handle_update(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        let checked = self
            .check_update(id, request)
            .and_then(|()| self.timer_for(id, request));
        let agreed = match checked {
            Ok(agreed) => agreed,
            Err(refusal) => return self.refuse_in_dialog(now, flow, key, request, &refusal),
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.dialog.refresh_target(&request.headers);
        leg.usages.learn(&request.headers);
        // Before the answer to the INVITE there is no session to time.
        let agreed = agreed.filter(|_| !matches!(&leg.phase, Phase::Asked(asked) if asked.first));
        match offer_of(request) {
            Some(_) => self.begin_update(now, id, flow, key, request, agreed),
            None => self.refresh_by_update(now, id, flow, key, request, agreed),
        }
    }

    fn refresh_by_update(
        &mut self,
        now: Instant,
        id: LegId,
        flow: &Flow,
        key: Key,
        request: &Request,
        agreed: Option<Agreed>,
    ) {
        let contact = self.contact(&Reply::to(request, flow).flow());
        self.reply_in_dialog(now, flow, key, request, 200, |response| {
            timed(update_response(response, &contact), agreed)
        });
        self.start_timer(now, id, agreed);
    }

    /// An offer that waits for the application.
    pub(super) fn begin_update(
        &mut self,
        now: Instant,
        id: LegId,
        flow: &Flow,
        key: Key,
        request: &Request,
        timer: Option<Agreed>,
    ) {
        if self.servers.len() >= self.settings.transactions_max {
            let refusal = self.overloaded("as many transactions as allowed are live");
            return self.refuse_stateless(flow, request, &refusal);
        }
        let reply = Reply::to(request, flow);
        let waiting = Waiting {
            transaction: self.servers.open_request(now, key, reply.flow()),
            reply,
            timer,
            give_up_at: now + REOFFER_WAIT_MAX,
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.usages.reoffer = Some(waiting);
        }
        self.arm(id);
        let offer = offer_of(request);
        self.tell(id, Event::Reoffered { offer });
    }

    /// Where an offer may not come (RFC 3311 section 5.2): ours or another of theirs is unanswered.
    fn check_update(&mut self, id: LegId, request: &Request) -> Result<(), Refusal> {
        if request.body.is_empty() {
            return Ok(());
        }
        check_body(request)?;
        let Some(leg) = self.legs.get(&id) else {
            return Err(Refusal::no_dialog());
        };
        let theirs_waits = match &leg.phase {
            Phase::Asked(asked) if asked.first => leg.usages.provisionals.early != Early::Agreed,
            Phase::Asked(_) => true,
            _ => false,
        };
        if theirs_waits || leg.usages.reoffer.is_some() {
            return Err(self.offer_waits());
        }
        let ours_waits = match &leg.phase {
            Phase::Answered(answered) => !answered.offered,
            Phase::Offered(_) => true,
            _ => false,
        };
        match ours_waits {
            true => Err(Refusal::new(
                491,
                "bad_request",
                "an offer of ours in this call is unanswered",
            )),
            false => Ok(()),
        }
    }

    /// Another offer of the peer waits for the application: 500, to be tried again.
    pub(super) fn offer_waits(&mut self) -> Refusal {
        let retry_after = self.mint.number(super::in_dialog::REOFFER_RETRY_S_MAX).to_string();
        Refusal::new(500, "bad_request", "another offer of this call is unanswered")
            .with_header("Retry-After", retry_after)
    }

    /// The application's answer to such an offer; false when none waits.
    pub(super) fn answer_reoffer(&mut self, now: Instant, id: LegId, sdp: &[u8]) -> bool {
        let Some(waiting) = self.take_reoffer(id) else {
            return false;
        };
        let contact = self.contact(&waiting.reply.flow());
        let ok = update_response(waiting.reply.response(200, ""), &contact);
        let ok = timed(ok, waiting.timer).with_body(ACCEPT, sdp.to_vec());
        self.respond(now, waiting.transaction, ok);
        if let Some(usages) = self.usages(id) {
            usages.local_sdp = Some(sdp.to_vec());
        }
        self.start_timer(now, id, waiting.timer);
        self.release_answer(now, id);
        true
    }

    /// The application does not want such an offer; false when none waits.
    pub(super) fn refuse_reoffer(&mut self, now: Instant, id: LegId, status: u16, reason: &str) -> bool {
        let Some(waiting) = self.take_reoffer(id) else {
            return false;
        };
        self.refuse_waiting(now, &waiting, status, reason);
        self.release_answer(now, id);
        true
    }

    pub(super) fn refuse_waiting(&mut self, now: Instant, waiting: &Waiting, status: u16, reason: &str) {
        let response = waiting.reply.response(status, "");
        let response = response.with_header("Reason", Reason::sip(status, reason).to_string());
        self.respond(now, waiting.transaction, response);
    }

    /// The dialog is about to end: nothing of the peer's stays without an answer (RFC 3261 section 15.1.2).
    pub(super) fn close_usages(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let usages = std::mem::take(&mut leg.usages);
        self.arm(id);
        let mut usages = usages;
        for waiting in usages.take_waiting() {
            self.refuse_waiting(now, &waiting, 487, "cancelled");
        }
    }

    pub(super) fn usages(&mut self, id: LegId) -> Option<&mut Usages> {
        self.legs.get_mut(&id).map(|leg| &mut leg.usages)
    }

    fn take_reoffer(&mut self, id: LegId) -> Option<Waiting> {
        let waiting = self.usages(id)?.reoffer.take();
        self.arm(id);
        waiting
    }
}

fn update_response(response: Response, contact: &str) -> Response {
    response
        .with_header("Contact", contact)
        .with_header("Allow", crate::sip::reply::ALLOW)
        .with_header("Supported", crate::sip::reply::SUPPORTED)
}

/// A 2xx with what was agreed of the session timer. It requires the extension of a peer that has to refresh
/// (RFC 4028 section 9).
pub(super) fn timed(response: Response, agreed: Option<Agreed>) -> Response {
    match agreed {
        Some(agreed) if agreed.mutual => response
            .with_header("Session-Expires", agreed.to_string())
            .with_header("Require", "timer"),
        Some(agreed) => response.with_header("Session-Expires", agreed.to_string()),
        None => response,
    }
}
