//! What happens when time passes.

use std::time::Instant;

use super::{Endpoint, Event};
use crate::sip::errand::ErrandId;
use crate::sip::leg::{LegId, LegStep, Phase};
use crate::sip::registrar::Registrar;
use crate::sip::transaction::clients::Due;
use crate::sip::usages::UsageStep;

/// What wakes the endpoint besides transactions and legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Alarm {
    /// A call we place has rung for long enough.
    Ring(LegId),
    /// An INVITE of ours will not be answered any more, whatever its transaction thinks.
    Abandon(ErrandId),
}

impl Endpoint {
    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.report_repeats(now);
        while let Some((flow, bytes)) = self.servers.handle_timeout(now) {
            self.send(flow, bytes);
        }
        while let Some(due) = self.clients.handle_timeout(now) {
            match due {
                Due::Send(flow, bytes) => self.send(flow, bytes),
                Due::TimedOut(errand) => self.errand_timed_out(now, errand),
                Due::Over(errand, key) => self.invite_over(errand, &key),
            }
        }
        self.handle_registrations(now);
        if let Some(registrar) = &mut self.registrar {
            registrar.handle_timeout(now);
        }
        while let Some(leg) = self.deadlines.pop_due(now) {
            self.handle_leg_timeout(now, leg);
        }
        while let Some(alarm) = self.alarms.pop_due(now) {
            match alarm {
                Alarm::Ring(call) => self.ring_timeout(now, call),
                Alarm::Abandon(errand) => self.abandon(errand),
            }
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let all = [
            self.servers.poll_timeout(),
            self.clients.poll_timeout(),
            self.deadlines.next(),
            self.registrations.poll_timeout(),
            self.registrar.as_ref().and_then(Registrar::poll_timeout),
            self.repeats.poll_timeout(),
            self.alarms.next(),
        ];
        all.into_iter().flatten().min()
    }

    fn handle_leg_timeout(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let step = leg.handle_timeout(now);
        self.arm(id);
        match step {
            LegStep::Nothing => {}
            LegStep::Send(flow, bytes) => self.send(flow, bytes),
            LegStep::NotAnswered => self.give_up_asking(now, id),
            LegStep::NotAcknowledged => self.give_up_waiting(now, id),
            LegStep::NotReanswered => self.give_up_reinvite(now, id),
            LegStep::OfferAgain => self.retry_reinvite(now, id),
        }
        while let Some(step) = self.usages(id).and_then(|usages| usages.handle_timeout(now)) {
            self.arm(id);
            self.handle_usage(now, id, step);
        }
    }

    fn handle_usage(&mut self, now: Instant, id: LegId, step: UsageStep) {
        match step {
            UsageStep::Send(flow, bytes) => self.send(flow, bytes),
            UsageStep::NotAcknowledged => self.give_up_prack(now, id),
            UsageStep::ReofferForgotten(waiting) => {
                self.refuse_waiting(now, &waiting, 500, "session_unavailable");
                self.release_answer(now, id);
            }
            UsageStep::TransferForgotten(asked) => self.refuse_waiting(now, &asked.waiting, 603, "transfer_refused"),
            UsageStep::TransferOver(Some(status)) => self.tell(id, Event::TransferProgress { status }),
            UsageStep::TransferOver(None) => {}
            UsageStep::FollowingForgotten(following) => self.forget_transfer(now, id, &following),
            UsageStep::Refresh => self.refresh(now, id),
            UsageStep::Expired => self.expire(now, id),
        }
    }

    /// The application left an INVITE without an answer. A call that rings too long ends; a re-INVITE leaves the call
    /// as it was.
    fn give_up_asking(&mut self, now: Instant, id: LegId) {
        let Some(asked) = self.take_asked(id) else { return };
        let status = if asked.first { 503 } else { 500 };
        self.refuse_asked(now, id, &asked, status, "session_unavailable");
        if asked.first {
            self.fail(id, "session_unavailable");
        }
    }

    /// The caller never acknowledged our 2xx: the call is ended by BYE (RFC 3261 section 13.3.1.4), which also is the
    /// moment for one that has been waiting.
    fn give_up_waiting(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let lost = leg.course().is_none();
        let Phase::Answered(answered) = &mut leg.phase else {
            return;
        };
        match answered.hang_up.take() {
            Some(reason) => self.send_bye(now, id, &reason),
            None if lost => self.fail(id, "ack_timeout"),
            None => {
                self.tell(id, Event::Failed { reason: "ack_timeout" });
                self.send_bye(now, id, "ack_timeout");
            }
        }
    }
}
