//! Transfers (RFC 3515): the REFER we are asked by and the NOTIFYs about it, and the REFER we send and the NOTIFYs that
//! come.
//!
//! One transfer in each direction at a time. The call itself goes on until somebody hangs up, and a transfer whose call
//! has ended is over without a word.

use std::time::{Duration, Instant};

use super::{Endpoint, Event, Refusal};
use crate::sip::flow::Flow;
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::Request;
use crate::sip::reply::{EVENTS, Reply};
use crate::sip::transaction::Key;
use crate::sip::transfer::{Following, ReferTo, fragment_status, is_last};
use crate::sip::usages::{TransferAsked, Waiting};

/// How long the application may leave a REFER without a decision; then it is declined.
const TRANSFER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Transfers we are asked for.
impl Endpoint {
    pub(super) fn handle_refer(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        let asked = self
            .check_refer(id)
            .and_then(|()| ReferTo::read(&request.headers).map_err(|detail| Refusal::new(400, "bad_request", detail)));
        let refer_to = match asked {
            Ok(refer_to) => refer_to,
            Err(refusal) => return self.refuse_in_dialog(now, flow, key, request, &refusal),
        };
        if self.servers.len() >= self.settings.transactions_max {
            let refusal = self.overloaded("as many transactions as allowed are live");
            return self.refuse_stateless(flow, request, &refusal);
        }
        let reply = Reply::to(request, flow);
        let waiting = Waiting {
            transaction: self.servers.open_request(now, key, reply.flow()),
            reply,
            timer: None,
            give_up_at: now + TRANSFER_WAIT_MAX,
        };
        self.begin_transfer(id, waiting, request, refer_to);
    }

    fn begin_transfer(&mut self, id: LegId, waiting: Waiting, request: &Request, refer_to: ReferTo) {
        let Some(usages) = self.usages(id) else { return };
        let number = request.headers.cseq().ok().map(|cseq| cseq.number);
        let is_later = std::mem::replace(&mut usages.was_referred, true);
        let declined = |value: &str| value.trim().eq_ignore_ascii_case("false");
        usages.transfer_asked = Some(TransferAsked {
            waiting,
            id: number.filter(|_| is_later),
            silent: request.headers.first("Refer-Sub").is_some_and(declined),
        });
        self.arm(id);
        let event = Event::TransferAsked {
            to: Box::new(refer_to.uri),
            replaces: refer_to.replaces,
            referred_by: request.headers.first("Referred-By").map(str::to_owned),
        };
        self.tell(id, event);
    }

    fn check_refer(&mut self, id: LegId) -> Result<(), Refusal> {
        let Some(leg) = self.legs.get(&id) else {
            return Err(Refusal::no_dialog());
        };
        let busy = match &leg.phase {
            Phase::Asked(asked) if asked.first => Some("the call is not answered yet"),
            _ if leg.usages.transfer_asked.is_some() || leg.usages.following.is_some() => {
                Some("another transfer of this call is under way")
            }
            _ => None,
        };
        busy.map_or(Ok(()), |detail| Err(Refusal::new(491, "bad_request", detail)))
    }

    /// The application's decision. The first NOTIFY follows at once (RFC 3515 section 2.4.4).
    pub(super) fn answer_transfer(&mut self, now: Instant, id: LegId, accept: bool) {
        let Some(asked) = self.usages(id).and_then(|usages| usages.transfer_asked.take()) else {
            return;
        };
        self.arm(id);
        if !accept {
            return self.refuse_waiting(now, &asked.waiting, 603, "transfer_refused");
        }
        let contact = self.contact(&asked.waiting.reply.flow());
        let mut accepted = asked.waiting.reply.response(202, "").with_header("Contact", contact);
        if asked.silent {
            accepted = accepted.with_header("Refer-Sub", "false");
        }
        self.respond(now, asked.waiting.transaction, accepted);
        if let Some(usages) = self.usages(id) {
            usages.following = Some(Following::accepted(now, asked.id, asked.silent));
        }
        self.notify_transfer(now, id, 100);
    }
}

/// Transfers we ask for.
impl Endpoint {
    pub(super) fn handle_notify(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        match self.check_notify(id, request) {
            Ok(status) => {
                self.reply_in_dialog(now, flow, key, request, 200, |response| response);
                if let Some(status) = status {
                    self.tell(id, Event::TransferProgress { status });
                }
            }
            Err(refusal) => self.refuse_in_dialog(now, flow, key, request, &refusal),
        }
        self.arm(id);
    }

    /// What a NOTIFY says about our transfer. One whose body is no fragment still says whether it is the last.
    fn check_notify(&mut self, id: LegId, request: &Request) -> Result<Option<u16>, Refusal> {
        let event = request.headers.first("Event").unwrap_or_default();
        let package = event.split(';').next().unwrap_or_default().trim();
        if !package.eq_ignore_ascii_case(EVENTS) {
            let detail = format!("the event package {package:?} is not served");
            return Err(Refusal::new(489, "bad_request", detail).with_header("Allow-Events", EVENTS));
        }
        let last = is_last(&request.headers);
        let unknown = || Refusal::new(481, "bad_request", "no transfer of ours is under way in this call");
        let usages = self.usages(id).ok_or_else(unknown)?;
        let transferring = usages
            .transferring
            .as_mut()
            .filter(|one| one.is_named(event))
            .ok_or_else(unknown)?;
        let said = transferring.handle_notify(fragment_status(&request.body), last);
        if last {
            usages.transferring = None;
        }
        Ok(said)
    }
}
impl Endpoint {
    pub(super) fn notify_transfer(&mut self, _now: Instant, _id: LegId, _status: u16) {}
    pub(super) fn forget_transfer(&mut self, _now: Instant, _id: LegId, _following: &Following) {}
}
