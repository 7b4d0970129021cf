//! What is said to a caller before the final answer: ringing, media before the answer, and the PRACK for what is said
//! reliably (RFC 3262).
//!
//! We never make an offer before the final answer: a caller that sent none gets ours in the 2xx, and one that insists
//! on reliable provisionals without an offer hears nothing but 100 until then, because its first one would have to
//! carry the offer.

use std::time::Instant;

use super::errands::Purpose;
use super::invitations::course_to;
use super::requests::{check_body, sequence};
use super::{Endpoint, Refusal};
use crate::sip::errand::Sent;
use crate::sip::flow::Flow;
use crate::sip::leg::{Asked, Leg, LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::provisional::{Acknowledged, Early, Provisional, Provisionals, RAck, Reliability, rack, rseq};
use crate::sip::reply::ACCEPT;
use crate::sip::transaction::Key;

/// Largest number before the first RSeq of a call.
const RSEQ_START_MAX: u64 = 200;

impl Endpoint {
    pub(super) fn provisionals_for(&mut self, invite: &Request) -> Provisionals {
        let start = u32::try_from(self.mint.number(RSEQ_START_MAX)).unwrap_or_default();
        Provisionals::of(&invite.headers, sequence(invite), start)
    }

    pub(super) fn ring(&mut self, now: Instant, id: LegId) {
        let Some((asked, provisionals)) = self.first_asked(id) else {
            return;
        };
        match (provisionals.reliability, asked.offered) {
            (Reliability::Required, false) => {}
            _ => self.say(now, id, Provisional { status: 180, sdp: None }),
        }
    }

    pub(super) fn progress(&mut self, now: Instant, id: LegId, sdp: Vec<u8>) {
        let Some((asked, provisionals)) = self.first_asked(id) else {
            return;
        };
        if !asked.offered || provisionals.early != Early::Open {
            return;
        }
        let sdp = Some(sdp);
        self.say(now, id, Provisional { status: 183, sdp });
    }

    pub(super) fn handle_prack(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        let acknowledged = match self.check_prack(id, request) {
            Ok(acknowledged) => acknowledged,
            Err(refusal) => return self.refuse_in_dialog(now, flow, key, request, &refusal),
        };
        match (request.body.is_empty(), check_body(request)) {
            (true, _) => self.reply_in_dialog(now, flow, key, request, 200, |response| response),
            (false, Ok(())) => self.begin_update(now, id, flow, key, request, None),
            (false, Err(refusal)) => self.refuse_in_dialog(now, flow, key, request, &refusal),
        }
        match acknowledged {
            Acknowledged::Nothing | Acknowledged::Next(None) => {}
            Acknowledged::Next(Some(provisional)) => self.say(now, id, provisional),
        }
        self.arm(id);
        self.release_answer(now, id);
    }

    /// Sends the 2xx that waited, unless something is still under negotiation before it.
    pub(super) fn release_answer(&mut self, now: Instant, id: LegId) {
        let usages = self.usages(id).filter(|usages| usages.reoffer.is_none());
        if let Some(sdp) = usages.and_then(|usages| usages.provisionals.release()) {
            self.answer_invite(now, id, sdp);
        }
    }

    /// The PRACK never came: the call is refused (section 3).
    pub(super) fn give_up_prack(&mut self, now: Instant, id: LegId) {
        let Some(asked) = self.take_asked(id) else { return };
        self.refuse_asked(now, id, &asked, 504, "ack_timeout");
        self.fail(id, "ack_timeout");
    }

    /// The 2xx to an INVITE with its session description. To the `first` of a call it is the application's answer, the one
    /// given before unreliably, or none after a reliable one.
    pub(super) fn with_answer(&mut self, id: LegId, first: bool, ok: Response, sdp: Vec<u8>) -> Response {
        let Some(usages) = self.usages(id) else { return ok };
        usages.provisionals.close();
        let sdp = match std::mem::take(&mut usages.provisionals.early) {
            Early::Agreed if first => return ok,
            Early::Told(told) if first => told,
            _ => sdp,
        };
        usages.local_sdp = Some(sdp.clone());
        ok.with_body(ACCEPT, sdp)
    }

    /// A phone we call sent a provisional: whether it is to be heeded. A reliable one is acknowledged, in order and
    /// once; it is heeded when it is.
    pub(super) fn acknowledge_provisional(
        &mut self,
        now: Instant,
        id: LegId,
        fork: usize,
        sent: &Sent,
        response: &Response,
    ) -> bool {
        let reliable = response
            .headers
            .tokens("Require")
            .any(|token| token.eq_ignore_ascii_case("100rel"));
        let Some(number) = rseq(&response.headers).filter(|_| reliable) else {
            return true;
        };
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return false;
        };
        let peer = invitation.peer;
        let Some(fork) = invitation.forks.get_mut(fork) else {
            return false;
        };
        if !fork.provisionals.take(number) {
            return false;
        }
        let prack = fork.dialog.draft(Method::Prack);
        let prack = prack.with_header("RAck", rack(number, sequence(&sent.request)));
        let course = course_to(&sent.flow, fork.dialog.next_hop());
        let login = self.login(peer);
        self.send_request(now, prack, None, course, login, Purpose::Prack(id));
        true
    }

    fn check_prack(&mut self, id: LegId, request: &Request) -> Result<Acknowledged, Refusal> {
        let rack = request.headers.single("RAck").map_err(|error| error.to_string());
        let rack = rack.and_then(|rack| RAck::read(rack).map_err(|error| error.to_string()));
        let rack = rack.map_err(|error| Refusal::new(400, "bad_request", error))?;
        let nothing = Refusal::new(481, "bad_request", "RAck names no response that waits for it");
        let usages = self
            .usages(id)
            .filter(|usages| rack.cseq.method == Method::Invite && usages.provisionals.invite == rack.cseq.number);
        match usages.map(|usages| usages.provisionals.acknowledge(rack.number)) {
            None | Some(Acknowledged::Nothing) => Err(nothing),
            Some(acknowledged) => Ok(acknowledged),
        }
    }

    /// Sends a provisional now, or when the one before it has been acknowledged.
    fn say(&mut self, now: Instant, id: LegId, provisional: Provisional) {
        let Some(Leg { usages, .. }) = self.legs.get_mut(&id) else {
            return;
        };
        match usages.provisionals.is_reliable(provisional.sdp.is_some()) {
            false => self.say_once(now, id, provisional),
            true => {
                if let Some(provisional) = usages.provisionals.queue(provisional) {
                    self.say_reliably(now, id, provisional);
                }
            }
        }
    }

    fn say_once(&mut self, now: Instant, id: LegId, provisional: Provisional) {
        let Some((transaction, response)) = self.provisional_response(id, &provisional) else {
            return;
        };
        self.respond(now, transaction, response);
        if let (Some(sdp), Some(usages)) = (provisional.sdp, self.usages(id)) {
            usages.local_sdp = Some(sdp.clone());
            usages.provisionals.early = Early::Told(sdp);
        }
    }

    fn say_reliably(&mut self, now: Instant, id: LegId, provisional: Provisional) {
        let Some((transaction, response)) = self.provisional_response(id, &provisional) else {
            return;
        };
        let Some((asked, provisionals)) = self.first_asked(id) else {
            return;
        };
        let (flow, number) = (asked.reply.flow(), provisionals.next_number());
        let response = response
            .with_header("Require", "100rel")
            .with_header("RSeq", number.to_string());
        let bytes = self.respond(now, transaction, response);
        if let Some(usages) = self.usages(id) {
            usages.provisionals.sent(now, flow, bytes, provisional.sdp.is_some());
            usages.local_sdp = provisional.sdp.or(usages.local_sdp.take());
        }
        self.arm(id);
    }

    fn provisional_response(
        &self,
        id: LegId,
        provisional: &Provisional,
    ) -> Option<(crate::sip::transaction::servers::ServerId, Response)> {
        let leg = self.legs.get(&id)?;
        let (asked, _) = self.first_asked(id)?;
        let contact = self.contact(&asked.reply.flow());
        let response = asked
            .reply
            .dialog_response(provisional.status, leg.dialog.local_tag(), &contact);
        let response = match &provisional.sdp {
            Some(sdp) => response.with_body(ACCEPT, sdp.clone()),
            None => response,
        };
        Some((asked.transaction, response))
    }

    /// The first INVITE while it waits for the application.
    fn first_asked(&self, id: LegId) -> Option<(&Asked, &Provisionals)> {
        let leg = self.legs.get(&id)?;
        match &leg.phase {
            Phase::Asked(asked) if asked.first => Some((asked, &leg.usages.provisionals)),
            _ => None,
        }
    }
}
