//! Transfers (RFC 3515): the REFER we are asked by and the NOTIFYs about it, and the REFER we send and the NOTIFYs that
//! come.
//!
//! One transfer in each direction at a time. The call itself goes on until somebody hangs up, and a transfer whose call
//! has ended is over without a word.

use std::time::{Duration, Instant};

use super::errands::{LegErrand, Purpose};
use super::{Endpoint, Event, Refusal};
use crate::sip::calling;
use crate::sip::dialog::Dialog;
use crate::sip::errand::{Draft, Outcome};
use crate::sip::flow::Flow;
use crate::sip::leg::{Leg, LegId, Phase};
use crate::sip::message::Request;
use crate::sip::method::Method;
use crate::sip::reply::{EVENTS, Reply};
use crate::sip::transaction::Key;
use crate::sip::transfer::{Following, NO_END, ReferTo, Transferring, fragment_status, is_last};
use crate::sip::uri::{Scheme, Uri};
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

/// Sending.
impl Endpoint {
    /// Tells whoever asked for a transfer how far it is; a final status ends it.
    pub(super) fn notify_transfer(&mut self, now: Instant, id: LegId, status: u16) {
        let status = if (100..=699).contains(&status) { status } else { 500 };
        let Some(usages) = self.usages(id) else { return };
        let Some(following) = usages.following.take() else {
            return;
        };
        let notify = following.notify(now, status);
        if status < 200 {
            usages.following = Some(following);
        }
        self.arm(id);
        if let Some(notify) = notify {
            self.send_in_dialog(now, id, notify, Purpose::Leg(id, LegErrand::Notify));
        }
    }

    /// The application never said how the transfer ended.
    pub(super) fn forget_transfer(&mut self, now: Instant, id: LegId, following: &Following) {
        if let Some(notify) = following.notify(now, NO_END) {
            self.send_in_dialog(now, id, notify, Purpose::Leg(id, LegErrand::Notify));
        }
    }

    /// A peer that refuses a NOTIFY wants no further one.
    pub(super) fn notify_done(&mut self, id: LegId, outcome: &Outcome) {
        let heard = matches!(outcome, Outcome::Response(response) if response.status < 300);
        if !heard && let Some(usages) = self.usages(id) {
            usages.following = None;
            self.arm(id);
        }
    }

    /// Asks the peer to call somebody else. What cannot be asked counts as refused with 400, and with 405 what the peer says
    /// that it does not do; while another transfer is
    /// under way nothing is done.
    pub(super) fn transfer(&mut self, now: Instant, id: LegId, to: &str, replaces: Option<LegId>) {
        let Some(leg) = self.legs.get(&id) else { return };
        let busy = leg.usages.transferring.as_ref().is_some_and(|one| !one.has_ended());
        if busy || !matches!(leg.phase, Phase::Talking | Phase::Answered(_) | Phase::Offered(_)) {
            return;
        }
        if leg.usages.no_refer {
            return self.tell(id, Event::TransferProgress { status: 405 });
        }
        let Some(refer) = self.write_refer(id, to, replaces) else {
            return self.tell(id, Event::TransferProgress { status: 400 });
        };
        if let Some(usages) = self.usages(id) {
            usages.transferring = Some(Transferring::sent(now));
        }
        self.arm(id);
        self.send_in_dialog(now, id, refer, Purpose::Leg(id, LegErrand::Refer));
    }

    fn write_refer(&self, id: LegId, to: &str, replaces: Option<LegId>) -> Option<Draft> {
        let leg = self.legs.get(&id)?;
        let other = match replaces {
            Some(other) => Some(&self.legs.get(&other)?.dialog),
            None => None,
        };
        let uri = match other {
            Some(other) if to.is_empty() => other.target().clone(),
            _ => self.callee(leg, to)?,
        };
        let replaces = other.map(Dialog::replaces);
        let referred_by = format!("<{}>", leg.dialog.local().uri);
        let refer = Draft::new(Method::Refer)
            .with_header("Refer-To", ReferTo::write(&uri, replaces.as_ref()))
            .with_header("Referred-By", referred_by);
        Some(refer.with_contact())
    }

    /// Whom a number or user name means at the trunk of a leg: a user where the trunk is, or where its peer is. An
    /// address of another kind is nobody.
    fn callee(&self, leg: &Leg, to: &str) -> Option<Uri> {
        let foreign = |uri: &Uri| matches!(uri.scheme(), Scheme::Other(_));
        if Uri::read(to).is_ok_and(|uri| foreign(&uri)) {
            return None;
        }
        let near = match self.admission.uplink(leg.peer) {
            Some(uplink) => &uplink.address,
            None => leg.dialog.target(),
        };
        calling::address(to, near, to).ok()
    }

    /// The REFER was answered, or not.
    pub(super) fn refer_done(&mut self, id: LegId, outcome: Outcome) {
        let (status, silent, number) = match outcome {
            Outcome::Response(response) => {
                let refused = |value: &str| value.trim().eq_ignore_ascii_case("false");
                let silent = response.headers.first("Refer-Sub").is_some_and(refused);
                (
                    response.status,
                    silent,
                    response.headers.cseq().ok().map(|cseq| cseq.number),
                )
            }
            Outcome::TimedOut => (408, false, None),
            Outcome::Unreachable(_) => (503, false, None),
        };
        let Some(transferring) = self.usages(id).and_then(|usages| usages.transferring.as_mut()) else {
            return;
        };
        number.into_iter().for_each(|number| transferring.set_id(number));
        if let Some(status) = transferring.handle_response(status, silent) {
            self.tell(id, Event::TransferProgress { status });
        }
    }
}
