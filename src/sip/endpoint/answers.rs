//! Answers to requests of ours, and silence: challenges are answered, refusals of INVITEs acknowledged, the next hop tried.

use std::time::Instant;

use super::Endpoint;
use super::deadlines::Alarm;
use crate::sip::errand::{ErrandId, Outcome};
use crate::sip::message::Response;
use crate::sip::method::Method;
use crate::sip::transaction::clients::{ClientKey, Heard, Lost};

impl Endpoint {
    /// Takes a response. One with a Via besides ours went astray (RFC 3261 section 8.1.3.3).
    pub(super) fn handle_response(&mut self, now: Instant, response: Response) {
        let (Ok(vias), Ok(cseq)) = (response.headers.vias(), response.headers.cseq()) else {
            return;
        };
        let [via] = &vias[..] else { return };
        let Some(branch) = via.branch().map(str::to_owned) else {
            return;
        };
        let key = ClientKey {
            branch,
            method: cseq.method,
        };
        match self.clients.handle_response(now, &key, response.status) {
            Heard::Nothing => {}
            Heard::Acknowledge(flow, ack) => self.send(flow, ack),
            Heard::Fresh(errand) => self.errand_heard(now, errand, &key, response),
        }
    }

    fn errand_heard(&mut self, now: Instant, id: ErrandId, key: &ClientKey, response: Response) {
        if key.method == Method::Invite && response.status >= 300 {
            self.acknowledge_refusal(id, key, &response);
        }
        let Some(errand) = self.errands.get(id) else {
            return;
        };
        let purpose = errand.purpose;
        if (200..=299).contains(&response.status)
            && let Some(keyring) = self.keyring(purpose)
        {
            keyring.accepted(&response);
        }
        match response.status {
            100..=199 => {
                self.note_provisional(id);
                self.errand_progress(now, id, purpose, &response);
            }
            200..=299 if key.method == Method::Invite => {
                // From here on timer M says when it is over.
                self.alarms.clear(Alarm::Abandon(id));
                self.errand_done(now, id, purpose, Outcome::Response(Box::new(response)));
            }
            401 | 407 if self.answer_challenges(now, id, &response) => {}
            503 => {
                self.note_failure(id, Outcome::Response(Box::new(response)));
                self.attempt(now, id);
            }
            _ => {
                self.remove_errand(id);
                self.errand_done(now, id, purpose, Outcome::Response(Box::new(response)));
            }
        }
    }

    fn note_provisional(&mut self, id: ErrandId) {
        if let Some(errand) = self.errands.get_mut(id) {
            errand.provisional = true;
        }
    }

    /// The ACK of a refusal belongs to the transaction: the same branch, the same routes (RFC 3261 section 17.1.1.3).
    fn acknowledge_refusal(&mut self, id: ErrandId, key: &ClientKey, refusal: &Response) {
        let sent = self.errands.get(id).and_then(|errand| errand.sent.as_ref());
        let Some(sent) = sent.filter(|sent| sent.key == *key) else {
            return;
        };
        let mut ack = sent.request.beside(Method::Ack);
        if let Some(to) = refusal.headers.first("To") {
            ack.headers.set("To", to);
        }
        let bytes = ack.to_bytes();
        if let Some(flow) = self.clients.acknowledge(key, bytes.clone()) {
            self.send(flow, bytes);
        }
    }

    /// Answers a challenge by the same request with a proof, on the way it came; whether there was anything to answer.
    fn answer_challenges(&mut self, now: Instant, id: ErrandId, response: &Response) -> bool {
        let errand = self.errands.get(id).filter(|errand| errand.login.is_some());
        let purpose = errand.map(|errand| errand.purpose);
        let Some(purpose) = purpose.filter(|purpose| self.is_wanted(*purpose)) else {
            return false;
        };
        let Some(asked) = self.keyring(purpose).map(|keyring| keyring.learn(response)) else {
            return false;
        };
        let Some(errand) = self.errands.get_mut(id) else {
            return false;
        };
        let Some(flow) = errand.sent.as_ref().map(|sent| sent.flow) else {
            return false;
        };
        if !errand.may_answer(asked) || !self.renumber(id) {
            return false;
        }
        self.send_attempt(now, id, flow);
        true
    }

    /// Gives the request of an errand the next sequence number of its dialog, or its own.
    fn renumber(&mut self, id: ErrandId) -> bool {
        let Some(errand) = self.errands.get_mut(id) else {
            return false;
        };
        let Ok(cseq) = errand.request.headers.cseq() else {
            return false;
        };
        let dialog = errand
            .purpose
            .leg()
            .and_then(|leg| self.legs.get_mut(&leg))
            .map(|leg| &mut leg.dialog);
        let number = dialog.map_or(cseq.number.wrapping_add(1), |dialog| dialog.next_sequence());
        errand.request.headers.set("CSeq", format!("{number} {}", cseq.method));
        true
    }

    /// Nobody answered an attempt.
    pub(super) fn errand_timed_out(&mut self, now: Instant, id: ErrandId) {
        self.note_failure(id, Outcome::TimedOut);
        self.attempt(now, id);
    }

    /// The transaction of an INVITE has ended. An earlier attempt that was challenged or refused ends while the last one
    /// goes on.
    pub(super) fn invite_over(&mut self, id: ErrandId, key: &ClientKey) {
        let sent = self.errands.get(id).and_then(|errand| errand.sent.as_ref());
        if sent.is_none_or(|sent| sent.key != *key) {
            return;
        }
        if let Some(errand) = self.remove_errand(id) {
            self.errand_over(errand.purpose);
        }
    }

    /// An INVITE is given up although its transaction still waits.
    pub(super) fn abandon(&mut self, id: ErrandId) {
        let sent = self.errands.get(id).and_then(|errand| errand.sent.as_ref());
        if let Some(key) = sent.map(|sent| sent.key.clone()) {
            self.clients.abandon(&key);
            self.invite_over(id, &key);
        }
    }

    /// A connection has closed: what was under way on it is tried elsewhere.
    pub(super) fn errands_lost(&mut self, now: Instant, lost: Vec<Lost<ErrandId>>) {
        for Lost { owner, key, pending } in lost {
            match pending {
                true => {
                    self.note_failure(owner, Outcome::Unreachable("the connection has closed".to_owned()));
                    self.attempt(now, owner);
                }
                false => self.invite_over(owner, &key),
            }
        }
    }
}
