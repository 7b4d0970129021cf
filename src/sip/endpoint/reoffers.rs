//! Re-INVITEs of ours: a new offer inside a call, its answer, and what happens when both sides offer at once.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::errands::Purpose;
use super::invitations::course_to;
use super::{Endpoint, Event};
use crate::sip::errand::{Draft, ErrandId, Outcome};
use crate::sip::flow::Flow;
use crate::sip::invitation::description;
use crate::sip::leg::{Acknowledged, LegId, Offered, Phase, Retry};
use crate::sip::message::Response;
use crate::sip::method::Method;
use crate::sip::reply::ACCEPT;
use crate::sip::transaction::timers::GIVE_UP;

/// How long the peer may leave our re-INVITE without a final answer; then the call is taken for dead.
pub const REOFFER_ANSWER_MAX: Duration = GIVE_UP;
/// How long a BYE waits for the answer to our re-INVITE.
const HANG_UP_WAIT_MAX: Duration = Duration::from_secs(4);
/// How often an offer that crossed one of the peer's is made; then the application hears of the 491.
const TRIES_MAX: u8 = 3;

impl Endpoint {
    /// The application offers something else inside the call. While another offer is open in either direction this one
    /// is refused as the peer would refuse it.
    pub(super) fn offer_again(&mut self, now: Instant, id: LegId, sdp: Vec<u8>) {
        let Some(leg) = self.legs.get(&id) else { return };
        match &leg.phase {
            Phase::Talking if leg.retry.is_none() => self.send_reinvite(now, id, sdp, 1),
            Phase::Asked(asked) if asked.first => {}
            Phase::Leaving => {}
            _ => self.tell(id, Event::Reanswered { answer: Err(491) }),
        }
    }

    pub(super) fn send_reinvite(&mut self, now: Instant, id: LegId, sdp: Vec<u8>, tries: u8) {
        let draft = Draft::new(Method::Invite);
        let draft = self
            .usages(id)
            .map_or(draft.clone(), |usages| usages.write_timer(draft));
        let draft = draft.with_body(ACCEPT, sdp.clone()).with_contact();
        let offered = Offered {
            sdp,
            tries,
            hang_up: None,
            give_up_at: now + REOFFER_ANSWER_MAX,
            errand: None,
        };
        self.enter(id, Phase::Offered(offered));
        let errand = self.send_in_dialog(now, id, draft, Purpose::Reinvite(id));
        if let Some(Phase::Offered(offered)) = self.legs.get_mut(&id).map(|leg| &mut leg.phase) {
            offered.errand = Some(errand);
        }
    }

    /// An offer that crossed one of the peer's is made again (RFC 3261 section 14.1).
    pub(super) fn retry_reinvite(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(retry) = leg.retry.take() else { return };
        match leg.phase {
            Phase::Talking => self.send_reinvite(now, id, retry.sdp, retry.tries + 1),
            Phase::Leaving => {}
            _ => self.tell(id, Event::Reanswered { answer: Err(491) }),
        }
        self.arm(id);
    }

    pub(super) fn reinvite_done(&mut self, now: Instant, errand: ErrandId, id: LegId, outcome: Outcome) {
        match outcome {
            Outcome::Response(response) if response.status < 300 => self.reanswered(now, errand, id, &response),
            Outcome::Response(response) => self.reinvite_refused(now, id, response.status),
            Outcome::TimedOut => self.reinvite_refused(now, id, 408),
            Outcome::Unreachable(_) => self.reinvite_refused(now, id, 503),
        }
    }

    fn reanswered(&mut self, now: Instant, errand: ErrandId, id: LegId, response: &Response) {
        let Some(sent) = self.errands.get(errand).and_then(|errand| errand.sent.clone()) else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let sequence = sent.request.headers.cseq().map_or(0, |cseq| cseq.number);
        if let Some(known) = leg.acknowledged.as_ref().filter(|known| known.sequence == sequence) {
            let again = known.ack.clone();
            return again.into_iter().for_each(|(flow, ack)| self.send(flow, ack));
        }
        leg.acknowledged = Some(Acknowledged { sequence, ack: None });
        leg.dialog.refresh_target(&response.headers);
        let course = leg
            .course()
            .unwrap_or_else(|| course_to(&sent.flow, leg.dialog.next_hop()));
        let ack = leg.dialog.ack(&sent.request);
        self.send_request(now, ack, None, course, None, Purpose::Reack(id));
        self.refreshed(now, id, response);
        let answer = description(response).ok_or(488);
        self.end_reinvite(now, id, answer);
    }

    /// The ACK of our re-INVITE is out; it is kept for the next 2xx.
    pub(super) fn keep_reack(&mut self, id: LegId, flow: Flow, ack: Vec<u8>) {
        let leg = self.legs.get_mut(&id);
        if let Some(known) = leg.and_then(|leg| leg.acknowledged.as_mut()) {
            known.ack = Some((flow, ack));
        }
    }

    /// There was no way for the ACK; the next 2xx tries again.
    pub(super) fn reack_failed(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.acknowledged = None;
        }
    }

    /// A refusal leaves the call as it was, but for the two that say that there is no call (section 12.2.1.2).
    fn reinvite_refused(&mut self, now: Instant, id: LegId, status: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Offered(offered) = &mut leg.phase else {
            return;
        };
        let (tries, hanging_up) = (offered.tries, offered.hang_up.is_some());
        match status {
            481 if !hanging_up => self.fail(id, "flow_lost"),
            408 if !hanging_up => self.lose_peer(now, id),
            491 if tries < TRIES_MAX && !hanging_up => self.retry_later(now, id),
            _ => self.end_reinvite(now, id, Err(status)),
        }
    }

    /// The peer is not there any more.
    fn lose_peer(&mut self, now: Instant, id: LegId) {
        self.tell(id, Event::Failed { reason: "flow_lost" });
        self.enter(id, Phase::Talking);
        self.send_bye(now, id, "flow_lost");
    }

    /// Whoever made the Call-ID waits longer, so that not both try again together.
    fn retry_later(&mut self, now: Instant, id: LegId) {
        let placed = self.legs.get(&id).is_some_and(|leg| leg.placed);
        let wait_ms = match placed {
            true => 2_100 + 10 * self.mint.number(190),
            false => 10 * self.mint.number(200),
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Phase::Offered(offered) = std::mem::replace(&mut leg.phase, Phase::Talking) {
            leg.retry = Some(Retry {
                at: now + Duration::from_millis(wait_ms),
                sdp: offered.sdp,
                tries: offered.tries,
            });
        }
        self.arm(id);
    }

    fn end_reinvite(&mut self, now: Instant, id: LegId, answer: Result<Vec<u8>, u16>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Offered(offered) = &mut leg.phase else {
            return;
        };
        let (hang_up, sdp) = (offered.hang_up.take(), std::mem::take(&mut offered.sdp));
        if answer.is_ok() {
            leg.usages.local_sdp = Some(sdp);
        }
        let refreshing = std::mem::take(&mut leg.usages.refreshing);
        self.enter(id, Phase::Talking);
        match hang_up {
            Some(reason) => self.send_bye(now, id, &reason),
            None if refreshing => self.refresh_reanswered(now, id, answer.err()),
            None => self.tell(id, Event::Reanswered { answer }),
        }
    }

    /// A BYE waits for the answer to our re-INVITE, but not long.
    pub(super) fn hang_up_after_reinvite(&mut self, now: Instant, id: LegId, reason: Cow<'static, str>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Phase::Offered(offered) = &mut leg.phase {
            offered.hang_up = Some(reason);
            offered.give_up_at = offered.give_up_at.min(now + HANG_UP_WAIT_MAX);
        }
        self.arm(id);
    }

    /// The re-INVITE got no final answer for too long.
    pub(super) fn give_up_reinvite(&mut self, now: Instant, id: LegId) {
        let Some(Phase::Offered(offered)) = self.legs.get(&id).map(|leg| &leg.phase) else {
            return;
        };
        let errand = offered.errand;
        let provisional = |errand: &ErrandId| self.errands.get(*errand).is_some_and(|errand| errand.provisional);
        if let Some(errand) = errand.filter(provisional) {
            self.send_cancel(now, errand);
        }
        self.reinvite_refused(now, id, 408);
    }
}
