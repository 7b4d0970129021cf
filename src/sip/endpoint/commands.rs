//! What the application decides about a leg, and the ways a leg ends.

use std::borrow::Cow;
use std::time::Instant;

use super::errands::Purpose;
use super::update::timed;
use super::{Endpoint, Event};
use crate::sip::errand::Draft;
use crate::sip::leg::{Answered, Asked, Leg, LegId, Phase};
use crate::sip::message::Response;
use crate::sip::method::Method;
use crate::sip::reason::Reason;
use crate::sip::transaction::servers::ServerId;

/// What the application's decision becomes on the wire.
impl Endpoint {
    pub(super) fn answer(&mut self, now: Instant, id: LegId, sdp: Vec<u8>) {
        if self.answer_reoffer(now, id, &sdp) {
            return;
        }
        if let Some(sdp) = self.usages(id).and_then(|usages| usages.provisionals.answer(sdp)) {
            self.answer_invite(now, id, sdp);
        }
    }

    /// Sends the 2xx to the waiting INVITE.
    pub(super) fn answer_invite(&mut self, now: Instant, id: LegId, sdp: Vec<u8>) {
        let Some(asked) = self.take_asked(id) else { return };
        let contact = self.contact(&asked.reply.flow());
        let ok = asked.reply.dialog_response(200, &self.local_tag(id), &contact);
        let timer = self.usages(id).and_then(|usages| usages.timer_offered.take());
        let ok = self.with_answer(id, asked.first, timed(ok, timer), sdp);
        let bytes = self.respond(now, asked.transaction, ok);
        self.enter(id, Phase::Answered(Answered::sent(now, &asked, bytes)));
        self.start_timer(now, id, timer);
    }

    pub(super) fn refuse(&mut self, now: Instant, id: LegId, status: u16, reason: &str) {
        let status = if (300..=699).contains(&status) { status } else { 500 };
        if self.refuse_reoffer(now, id, status, reason) {
            return;
        }
        let Some(asked) = self.take_asked(id) else { return };
        self.refuse_asked(now, id, &asked, status, reason);
        if asked.first {
            self.finish(id);
        }
    }

    pub(super) fn hang_up(&mut self, now: Instant, id: LegId, reason: Cow<'static, str>) {
        self.refuse_reoffer(now, id, 487, &reason);
        let Some(leg) = self.legs.get_mut(&id) else {
            return self.give_up_placing(now, id, &reason);
        };
        match &mut leg.phase {
            Phase::Asked(asked) if asked.first => self.refuse(now, id, 503, &reason),
            Phase::Asked(_) => {
                self.refuse(now, id, 487, &reason);
                self.send_bye(now, id, &reason);
            }
            Phase::Answered(answered) => answered.hang_up = Some(reason),
            Phase::Offered(_) => self.hang_up_after_reinvite(now, id, reason),
            Phase::Talking => self.send_bye(now, id, &reason),
            Phase::Leaving => {}
        }
    }
}

/// The steps that requests, commands and deadlines share.
impl Endpoint {
    /// Sends a response to an INVITE, unless it has its final answer; the bytes, for whoever repeats them.
    pub(super) fn respond(&mut self, now: Instant, transaction: ServerId, response: Response) -> Vec<u8> {
        let status = response.status;
        let bytes = response.with_header("Server", &self.settings.user_agent).to_bytes();
        let flow = self.servers.respond(now, transaction, status, &bytes);
        flow.into_iter().for_each(|flow| self.send(flow, bytes.clone()));
        bytes
    }

    pub(super) fn refuse_asked(&mut self, now: Instant, id: LegId, asked: &Asked, status: u16, reason: &str) {
        if asked.first {
            self.close_usages(now, id);
        }
        let response = asked.reply.response(status, &self.local_tag(id));
        let mut response = response.with_header("Reason", Reason::sip(status, reason).to_string());
        if status == 503 {
            response = response.with_header("Retry-After", self.retry_after());
        }
        self.respond(now, asked.transaction, response);
    }

    /// Says goodbye; when that is impossible the leg ends here.
    pub(super) fn send_bye(&mut self, now: Instant, id: LegId, reason: &str) {
        self.close_usages(now, id);
        if self.legs.get(&id).and_then(Leg::course).is_none() {
            return self.fail(id, "flow_lost");
        }
        self.enter(id, Phase::Leaving);
        let bye = Draft::new(Method::Bye).with_header("Reason", Reason::sip(200, reason).to_string());
        self.send_in_dialog(now, id, bye, Purpose::Bye(id));
    }

    /// The leg ends by itself.
    pub(super) fn fail(&mut self, id: LegId, reason: &'static str) {
        if self.legs.contains_key(&id) {
            self.tell(id, Event::Failed { reason });
            self.finish(id);
        }
    }

    /// The connection of this leg has closed.
    pub(super) fn lose_flow(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.flow_lost = true;
        match &leg.phase {
            Phase::Asked(asked) if asked.first => self.fail(id, "flow_lost"),
            Phase::Asked(_) => self.enter(id, Phase::Talking),
            Phase::Answered(_) | Phase::Offered(_) | Phase::Talking | Phase::Leaving => {}
        }
    }

    pub(super) fn enter(&mut self, id: LegId, phase: Phase) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.phase = phase;
            self.arm(id);
        }
    }

    pub(super) fn arm(&mut self, id: LegId) {
        self.deadlines.set(id, self.legs.get(&id).and_then(Leg::poll_timeout));
    }

    /// The leg is over. What its transactions still absorb needs no leg.
    pub(super) fn finish(&mut self, id: LegId) {
        let Some(leg) = self.legs.remove(&id) else { return };
        self.dialogs.remove(leg.dialog.id());
        self.deadlines.clear(id);
        self.tell(id, Event::Gone);
    }

    fn local_tag(&self, id: LegId) -> String {
        self.legs
            .get(&id)
            .map(|leg| leg.dialog.local_tag().to_owned())
            .unwrap_or_default()
    }
}
