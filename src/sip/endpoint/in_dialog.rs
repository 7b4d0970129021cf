//! Requests inside a dialog, and the two that are about another request: ACK and CANCEL.

use std::time::Instant;

use super::requests::{Arrival, capabilities, check_body, check_extensions, offer_of, sequence};
use super::{Endpoint, Event, Refusal};
use crate::sip::dialog::DialogId;
use crate::sip::flow::Flow;
use crate::sip::leg::{Asked, LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::reply::{ALLOW, Reply};
use crate::sip::session_timer::Agreed;
use crate::sip::transaction::Key;

/// Longest wait in seconds asked of a caller whose re-INVITE came too early (RFC 3261 section 14.2).
pub(super) const REOFFER_RETRY_S_MAX: u64 = 10;

impl Endpoint {
    pub(super) fn handle_in_dialog(&mut self, now: Instant, flow: Flow, key: Key, request: Request, dialog: &DialogId) {
        let Some(leg) = self.leg_of(dialog, &flow) else {
            return self.refuse_without_dialog(&flow, &request);
        };
        if let Err(refusal) = self.take_sequence(leg, &flow, &request) {
            return self.refuse_in_dialog(now, &flow, key, &request, &refusal);
        }
        if let Err(refusal) = self.check_usage(leg, &request) {
            return self.refuse_in_dialog(now, &flow, key, &request, &refusal);
        }
        match request.method {
            Method::Invite => self.handle_reinvite(now, leg, flow, key, request),
            Method::Bye => self.handle_bye(now, leg, &flow, key, &request),
            Method::Options => self.reply_in_dialog(now, &flow, key, &request, 200, capabilities),
            Method::Update => self.handle_update(now, leg, &flow, key, &request),
            Method::Prack => self.handle_prack(now, leg, &flow, key, &request),
            Method::Info => self.handle_info(now, leg, &flow, key, &request),
            Method::Message => self.handle_message_inside(now, leg, &flow, key, &request),
            Method::Refer => self.handle_refer(now, leg, &flow, key, &request),
            Method::Notify => self.handle_notify(now, leg, &flow, key, &request),
            _ => self.refuse_in_dialog(now, &flow, key, &request, &Refusal::of_method(&request.method, ALLOW)),
        }
    }

    /// What holds for every request that uses the dialog. INVITE has checks of its own, and a BYE is welcome whatever
    /// it requires.
    fn check_usage(&self, id: LegId, request: &Request) -> Result<(), Refusal> {
        if matches!(request.method, Method::Invite | Method::Bye) {
            return Ok(());
        }
        let leaving = self
            .legs
            .get(&id)
            .is_some_and(|leg| matches!(leg.phase, Phase::Leaving));
        match leaving && request.method != Method::Options {
            true => Err(Refusal::new(481, "bad_request", "the call is over")),
            false => check_extensions(request),
        }
    }

    /// An ACK is never answered. With the branch of a refused INVITE it ends that transaction; inside a dialog it
    /// confirms our 2xx. Both are tried because old user agents send the latter with the INVITE's branch.
    pub(super) fn handle_ack(&mut self, now: Instant, flow: Flow, key: Key, ack: &Request) {
        if let Some(transaction) = self.servers.find(&key.of_invite()) {
            self.servers.handle_ack(now, transaction);
        }
        let Some(dialog) = DialogId::of_request(&ack.headers) else {
            return;
        };
        if let Some(leg) = self.leg_of(&dialog, &flow) {
            self.confirm(now, leg, &flow, ack);
        }
    }

    /// CANCEL is answered without a transaction of its own: the answer depends only on whether the INVITE is still
    /// remembered, and a second 200 does no harm (section 9.2).
    pub(super) fn handle_cancel(&mut self, now: Instant, flow: Flow, key: Key, cancel: &Request) {
        let Some(transaction) = self.servers.find(&key.of_invite()) else {
            return self.refuse_without_dialog(&flow, cancel);
        };
        let reply = Reply::to(cancel, &flow);
        let tag = self.servers.tag(transaction).unwrap_or_default();
        let ok = reply.response(200, tag).to_bytes();
        self.send(reply.flow(), ok);
        if let Some(leg) = self.servers.pending_owner(transaction) {
            self.cancel(now, leg);
        }
    }

    /// The leg of this dialog, if its peer may send from there. A peer without networks may send from anywhere: callers
    /// move, and the tags, which nobody can guess, tell that it is the caller.
    fn leg_of(&self, dialog: &DialogId, flow: &Flow) -> Option<LegId> {
        let id = *self.dialogs.get(dialog)?;
        let leg = self.legs.get(&id)?;
        let may_come_by = flow.transport == leg.flow.transport || self.admission.allows(leg.peer, flow.transport);
        let may_come_from = flow.source_ip() == leg.flow.source_ip()
            || self.admission.may_send(leg.peer, flow.origin())
            || self.registrations.is_way_of(leg.peer, flow);
        let welcome = may_come_by && may_come_from;
        welcome.then_some(id)
    }

    fn refuse_without_dialog(&mut self, flow: &Flow, request: &Request) {
        match self.admission.knows(flow.origin()) {
            true => self.refuse_stateless(flow, request, &Refusal::no_dialog()),
            false => self.refuse_stranger(flow, request),
        }
    }

    /// Checks the order of requests (section 12.2.2) and learns where the caller listens now.
    fn take_sequence(&mut self, leg: LegId, flow: &Flow, request: &Request) -> Result<(), Refusal> {
        let Some(leg) = self.legs.get_mut(&leg) else {
            return Err(Refusal::no_dialog());
        };
        let order = leg.dialog.advance(sequence(request));
        order.map_err(|error| Refusal::new(500, "bad_request", error.to_string()))?;
        leg.follow(request, flow);
        Ok(())
    }

    fn handle_reinvite(&mut self, now: Instant, id: LegId, flow: Flow, key: Key, request: Request) {
        if self.servers.len() >= self.settings.transactions_max {
            let refusal = self.overloaded("as many transactions as allowed are live");
            return self.refuse_stateless(&flow, &request, &refusal);
        }
        let reply = Reply::to(&request, &flow);
        let transaction = self.servers.open_invite(key, None, reply.flow(), String::new());
        let arrival = Arrival {
            flow,
            request,
            reply,
            transaction,
        };
        let checked = self
            .check_reinvite(id, &arrival.request)
            .and_then(|()| self.timer_for(id, &arrival.request));
        match checked {
            Ok(timer) => self.begin_reoffer(now, id, arrival, timer),
            Err(refusal) => self.refuse_arrival(now, &arrival, "", &refusal),
        }
    }

    /// Before our final answer a second INVITE is too early and gets 500 (RFC 3261 section 14.2); before the ACK of our
    /// 2xx it crosses that ACK and gets 491 (RFC 5407 section 3.1).
    fn check_reinvite(&mut self, id: LegId, request: &Request) -> Result<(), Refusal> {
        let retry_after = self.mint.number(REOFFER_RETRY_S_MAX).to_string();
        match self.legs.get(&id).map(|leg| &leg.phase) {
            Some(Phase::Asked(_)) => Err(
                Refusal::new(500, "bad_request", "another INVITE of this call is unanswered")
                    .with_header("Retry-After", retry_after),
            ),
            Some(Phase::Answered(_)) => Err(Refusal::new(
                491,
                "bad_request",
                "another INVITE of this call is not acknowledged",
            )),
            Some(Phase::Talking) if self.legs.get(&id).is_some_and(|leg| leg.usages.reoffer.is_some()) => {
                Err(self.offer_waits())
            }
            Some(Phase::Offered(_)) => Err(Refusal::new(491, "bad_request", "an INVITE of ours is unanswered")),
            Some(Phase::Talking) => check_extensions(request).and_then(|()| check_body(request)),
            Some(Phase::Leaving) | None => Err(Refusal::no_dialog()),
        }
    }

    fn begin_reoffer(&mut self, now: Instant, id: LegId, arrival: Arrival, timer: Option<Agreed>) {
        let offer = offer_of(&arrival.request);
        self.servers.set_owner(arrival.transaction, id);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dialog.refresh_target(&arrival.request.headers);
            leg.usages.learn(&arrival.request.headers);
            leg.usages.timer_offered = timer;
        }
        let asked = self.asked(now, arrival, false);
        self.enter(id, Phase::Asked(asked));
        self.tell(id, Event::Reoffered { offer });
    }

    /// The caller hangs up. An INVITE still waiting gets 487 (section 15.1.2).
    fn handle_bye(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, bye: &Request) {
        self.reply_in_dialog(now, flow, key, bye, 200, |response| response);
        self.close_usages(now, id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let phase = std::mem::replace(&mut leg.phase, Phase::Leaving);
        let reason = bye.headers.first("Reason").map(str::to_owned);
        match phase {
            Phase::Asked(asked) => {
                let first = asked.first;
                self.refuse_asked(now, id, &asked, 487, "cancelled");
                self.tell(
                    id,
                    if first {
                        Event::Cancelled
                    } else {
                        Event::ByeReceived { reason }
                    },
                );
            }
            Phase::Answered(answered) if answered.hang_up.is_some() => {}
            Phase::Offered(offered) if offered.hang_up.is_some() => {}
            Phase::Answered(_) | Phase::Offered(_) | Phase::Talking => self.tell(id, Event::ByeReceived { reason }),
            Phase::Leaving => {}
        }
        self.finish(id);
    }

    fn confirm(&mut self, now: Instant, id: LegId, flow: &Flow, ack: &Request) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Answered(answered) = &mut leg.phase else {
            return;
        };
        if answered.sequence != sequence(ack) {
            return;
        }
        let (hang_up, offered) = (answered.hang_up.take(), answered.offered);
        leg.follow(ack, flow);
        let answer = offer_of(ack).filter(|_| !offered && check_body(ack).is_ok());
        self.enter(id, Phase::Talking);
        match hang_up {
            Some(reason) => self.send_bye(now, id, &reason),
            None => self.tell(id, Event::Confirmed { answer }),
        }
    }

    fn cancel(&mut self, now: Instant, id: LegId) {
        let Some(asked) = self.take_asked(id) else { return };
        self.refuse_asked(now, id, &asked, 487, "cancelled");
        if asked.first {
            self.tell(id, Event::Cancelled);
            self.finish(id);
        }
    }

    /// The INVITE waiting for the application; the leg goes on without it.
    pub(super) fn take_asked(&mut self, id: LegId) -> Option<Asked> {
        let leg = self.legs.get_mut(&id)?;
        if !matches!(leg.phase, Phase::Asked(_)) {
            return None;
        }
        let Phase::Asked(asked) = std::mem::replace(&mut leg.phase, Phase::Talking) else {
            return None;
        };
        self.arm(id);
        Some(asked)
    }

    pub(super) fn reply_in_dialog(
        &mut self,
        now: Instant,
        flow: &Flow,
        key: Key,
        request: &Request,
        status: u16,
        write: impl FnOnce(Response) -> Response,
    ) {
        let reply = Reply::to(request, flow);
        let bytes = write(reply.response(status, "")).to_bytes();
        if self.servers.len() < self.settings.transactions_max {
            self.servers.remember(now, key, reply.flow(), bytes.clone());
        }
        self.send(reply.flow(), bytes);
    }

    pub(super) fn refuse_in_dialog(
        &mut self,
        now: Instant,
        flow: &Flow,
        key: Key,
        request: &Request,
        refusal: &Refusal,
    ) {
        if request.method == Method::Invite {
            return self.refuse_stateless(flow, request, refusal);
        }
        self.report(flow, refusal.status, refusal.reason, refusal.detail.clone());
        self.reply_in_dialog(now, flow, key, request, refusal.status, |response| {
            refusal.write_into(response)
        });
    }
}
