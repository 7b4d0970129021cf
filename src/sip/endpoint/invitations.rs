//! INVITEs of ours on the wire: who rings, who answers, whom to acknowledge, whom to hang up on, and CANCEL.
//!
//! Of all who answer the first becomes the leg. Every 2xx gets its ACK, however often and from whomever it comes, also
//! when nobody wants the call any more; whoever is not the leg gets a BYE behind it (RFC 3261 section 13.2.2.4).

use std::time::Instant;

use super::deadlines::Alarm;
use super::errands::Purpose;
use super::{Endpoint, Event};
use crate::sip::errand::{Course, Errand, ErrandId, Outcome, Sent};
use crate::sip::flow::Flow;
use crate::sip::invitation::description;
use crate::sip::leg::{Leg, LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::reason::Reason;
use crate::sip::transaction::clients::ClientKey;
use crate::sip::transaction::timers::GIVE_UP;
use crate::sip::vocabulary::reason_phrase;
use crate::sip::whereabouts::Whereabouts;

/// Answers.
impl Endpoint {
    pub(super) fn invite_progress(&mut self, now: Instant, errand: ErrandId, id: LegId, response: &Response) {
        let Some(sent) = self.sent(errand) else { return };
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        if invitation.cancelled {
            return self.send_cancel(now, errand);
        }
        if response.status == 100 || !self.placings.contains_key(&id) {
            return;
        }
        let fork = invitation.fork(&sent.request, response).ok().flatten();
        if let Some(index) = fork
            && !self.acknowledge_provisional(now, id, index, &sent, response)
        {
            return;
        }
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        let fork = fork.and_then(|index| invitation.forks.get_mut(index));
        let early = description(response).filter(|_| fork.as_ref().is_some_and(|fork| fork.early.is_none()));
        let rings = response.status == 180 && !invitation.rang;
        invitation.rang |= rings;
        if let (Some(fork), Some(answer)) = (fork, &early) {
            fork.early = Some(answer.clone());
            invitation.told = Some(answer.clone());
        }
        if rings {
            self.tell(id, Event::Ringing);
        }
        if let Some(answer) = early {
            self.tell(id, Event::Progressed { answer });
        }
    }

    pub(super) fn invite_done(&mut self, now: Instant, errand: ErrandId, id: LegId, outcome: Outcome) {
        let response = match outcome {
            Outcome::Response(response) if response.status < 300 => return self.accepted(now, errand, id, &response),
            other => other,
        };
        self.invitations.remove(&id);
        match response {
            Outcome::Response(response) => {
                let sequence = response.headers.cseq().map_or(0, |cseq| cseq.number);
                self.turned_down(now, id, &response, sequence);
            }
            Outcome::TimedOut => self.unanswered(now, id, 408, reason_phrase(408)),
            Outcome::Unreachable(why) => self.unanswered(now, id, 503, why),
        }
    }

    /// A 2xx: from a phone that has not answered before, or the same again because our ACK was lost.
    fn accepted(&mut self, now: Instant, errand: ErrandId, id: LegId, response: &Response) {
        let Some(sent) = self.sent(errand) else { return };
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        let Ok(Some(index)) = invitation.fork(&sent.request, response) else {
            return;
        };
        let Some(fork) = invitation.forks.get_mut(index) else {
            return;
        };
        if let Some((flow, ack)) = fork.ack.clone() {
            return self.send(flow, ack);
        }
        if std::mem::replace(&mut fork.acknowledging, true) {
            return;
        }
        let first = !std::mem::replace(&mut fork.settled, true);
        let early = fork.early.clone();
        self.acknowledge(now, id, index, &sent);
        let answer = description(response).or(early);
        match answer.filter(|_| first) {
            Some(answer) if self.placings.contains_key(&id) => {
                self.take_answer(id, index, &sent, answer);
                self.begin_session(now, id, &sent.request, response);
            }
            _ if first => self.decline_answer(now, id, index, &sent),
            _ => {}
        }
    }

    /// This phone becomes the leg.
    fn take_answer(&mut self, id: LegId, index: usize, sent: &Sent, answer: Vec<u8>) {
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        let Some(fork) = invitation.forks.get(index) else {
            return;
        };
        let known = invitation.told.as_ref() == Some(&answer);
        let (dialog, keyring) = (fork.dialog.clone(), std::mem::take(&mut invitation.keyring));
        self.placings.remove(&id);
        self.alarms.clear(Alarm::Ring(id));
        self.dialogs.insert(dialog.id().clone(), id);
        let leg = Leg {
            keyring,
            placed: true,
            ..Leg::new(invitation.peer, dialog, sent.flow, Phase::Talking)
        };
        self.legs.insert(id, leg);
        let answer = (!known).then_some(answer);
        self.tell(id, Event::Answered { answer });
    }

    /// An answer nobody wants, or none that can be used: it is hung up on.
    fn decline_answer(&mut self, now: Instant, id: LegId, index: usize, sent: &Sent) {
        self.reject(id, 488, "the answer has no session description".to_owned(), None);
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        let peer = invitation.peer;
        let Some(fork) = invitation.forks.get_mut(index) else {
            return;
        };
        let bye = fork.dialog.draft(Method::Bye);
        let bye = bye.with_header("Reason", Reason::sip(200, "answered_elsewhere").to_string());
        let course = course_to(&sent.flow, fork.dialog.next_hop());
        let login = self.login(peer);
        self.send_request(now, bye, None, course, login, Purpose::Farewell(id));
    }

    fn acknowledge(&mut self, now: Instant, id: LegId, index: usize, sent: &Sent) {
        let fork = self.invitations.get(&id).and_then(|known| known.forks.get(index));
        let Some(fork) = fork else { return };
        let (ack, course) = (
            fork.dialog.ack(&sent.request),
            course_to(&sent.flow, fork.dialog.next_hop()),
        );
        self.send_request(now, ack, None, course, None, Purpose::Ack(id, index));
    }

    /// The ACK is out; it is kept for the next 2xx of this phone.
    pub(super) fn keep_ack(&mut self, id: LegId, index: usize, flow: Flow, ack: Vec<u8>) {
        let invitation = self.invitations.get_mut(&id);
        if let Some(fork) = invitation.and_then(|invitation| invitation.forks.get_mut(index)) {
            fork.ack = Some((flow, ack));
        }
    }

    /// There was no way for the ACK; the next 2xx tries again.
    pub(super) fn ack_failed(&mut self, id: LegId, index: usize) {
        let invitation = self.invitations.get_mut(&id);
        if let Some(fork) = invitation.and_then(|invitation| invitation.forks.get_mut(index)) {
            fork.acknowledging = false;
        }
    }

    fn sent(&self, errand: ErrandId) -> Option<Sent> {
        self.errands.get(errand)?.sent.clone()
    }
}

/// Giving up.
impl Endpoint {
    /// Nobody wants the call any more. CANCEL may leave only after a provisional answer (section 9.1); before it the
    /// first one is waited for.
    pub(super) fn cancel_invitation(&mut self, now: Instant, id: LegId, reason: &str) {
        let Some(invitation) = self.invitations.get_mut(&id) else {
            return;
        };
        let answered = invitation.forks.iter().any(|fork| fork.answered);
        if std::mem::replace(&mut invitation.cancelled, true) || answered {
            return;
        }
        invitation.reason = Some(reason.to_owned());
        let errand = invitation.errand;
        if self.errands.get(errand).is_some_and(|errand| errand.provisional) {
            self.send_cancel(now, errand);
        }
    }

    /// Sends the CANCEL of an INVITE, once. An INVITE that has no final answer 64 * T1 later is forgotten.
    pub(super) fn send_cancel(&mut self, now: Instant, invite: ErrandId) {
        let Some(errand) = self.errands.get_mut(invite) else {
            return;
        };
        let purpose = errand.purpose;
        let Some(sent) = errand.sent.clone() else { return };
        if std::mem::replace(&mut errand.cancelling, true) {
            return;
        }
        self.alarms.set(Alarm::Abandon(invite), Some(now + GIVE_UP));
        let cancel = self.cancel_of(&sent.request, purpose);
        let key = ClientKey {
            method: Method::Cancel,
            ..sent.key
        };
        let bytes = cancel.to_bytes();
        let errand = self.errands.insert(Errand::new(Purpose::Cancel, cancel));
        self.clients.open(now, key, sent.flow, errand, bytes.clone());
        self.send(sent.flow, bytes);
    }

    fn cancel_of(&self, invite: &Request, purpose: Purpose) -> Request {
        let reason = match purpose {
            Purpose::Invite(id) => self.invitations.get(&id).and_then(|known| known.reason.clone()),
            _ => None,
        };
        let mut cancel = invite.beside(Method::Cancel);
        if let Some(reason) = reason {
            cancel.headers.push("Reason", Reason::sip(487, &reason).to_string());
        }
        cancel
    }
}

/// How an ACK or BYE to a phone that answered by this flow goes.
pub(super) fn course_to(flow: &Flow, next: &crate::sip::uri::Uri) -> Course {
    Whereabouts::default()
        .course(flow, Some(*flow), next)
        .unwrap_or(Course::Flow(*flow))
}
