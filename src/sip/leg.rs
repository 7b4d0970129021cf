//! Leg: the caller's side of one call as SIP sees it, from its INVITE to its last BYE.
//!
//! A leg knows which INVITE waits for the application, repeats its own 2xx until the ACK (RFC 3261 section 13.3.1.4)
//! and knows whether a BYE may leave already. The endpoint builds the messages and moves them; transactions outlive the
//! leg on their own.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::challenge::Keyring;
use super::dialog::Dialog;
use super::errand::{Course, ErrandId};
use super::flow::Flow;
use super::message::Request;
use super::reply::Reply;
use super::transaction::servers::ServerId;
use super::transaction::timers::{GIVE_UP, T1, doubled};
use super::usages::Usages;
use super::whereabouts::Whereabouts;

/// Names one leg for as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// One leg.
#[derive(Debug)]
pub struct Leg {
    /// Index of the peer it came from.
    pub peer: usize,
    /// The dialog of the INVITE.
    pub dialog: Dialog,
    /// Where the peer listened last.
    pub flow: Flow,
    /// The connection of `flow` has closed, so nothing can be sent.
    pub flow_lost: bool,
    /// What its last request told about where it is.
    pub whereabouts: Whereabouts,
    /// Where the leg stands.
    pub phase: Phase,
    /// What its dialog holds beside the call.
    pub usages: Usages,
    /// Whom we have proved who we are to in this call.
    pub keyring: Keyring,
    /// We placed the call, and so made its Call-ID.
    pub placed: bool,
    /// An offer of ours that crossed one of the peer's and is to be made again.
    pub retry: Option<Retry>,
    /// The last re-INVITE of ours that was accepted.
    pub acknowledged: Option<Acknowledged>,
}

/// A re-INVITE of ours that was accepted.
#[derive(Debug)]
pub struct Acknowledged {
    /// Its number.
    pub sequence: u32,
    /// Its ACK, once that is out.
    pub ack: Option<(Flow, Vec<u8>)>,
}

/// An offer of ours that waits for another try.
#[derive(Debug)]
pub struct Retry {
    /// When.
    pub at: Instant,
    /// The offer.
    pub sdp: Vec<u8>,
    /// How often it has been made.
    pub tries: u8,
}

/// Where a leg stands.
#[derive(Debug)]
pub enum Phase {
    /// An INVITE waits for the application.
    Asked(Asked),
    /// Our 2xx is out and its ACK is not here yet.
    Answered(Answered),
    /// A re-INVITE of ours waits for its answer.
    Offered(Offered),
    /// Nothing is open.
    Talking,
    /// Our BYE is out.
    Leaving,
}

/// An INVITE or re-INVITE that waits for the application.
#[derive(Debug)]
pub struct Asked {
    /// Its transaction.
    pub transaction: ServerId,
    /// What its responses repeat.
    pub reply: Reply,
    /// Its sequence number, which the ACK repeats.
    pub sequence: u32,
    /// Whether it began the call.
    pub first: bool,
    /// Whether it brought an offer; if not, ours goes into the 2xx and the answer comes in the ACK.
    pub offered: bool,
    /// When the application has taken too long.
    pub give_up_at: Instant,
}

/// A re-INVITE of ours that has no final answer.
#[derive(Debug)]
pub struct Offered {
    /// The offer.
    pub sdp: Vec<u8>,
    /// How often it has been made, this time included.
    pub tries: u8,
    /// The application wants to end the call, with this reason, once there is an answer.
    pub hang_up: Option<Cow<'static, str>>,
    /// When the peer has taken too long.
    pub give_up_at: Instant,
    /// The errand that carries it.
    pub errand: Option<ErrandId>,
}

/// A 2xx that is repeated until its ACK comes.
#[derive(Debug)]
pub struct Answered {
    /// The sequence number the ACK repeats.
    pub sequence: u32,
    /// Whether the INVITE brought the offer.
    pub offered: bool,
    /// The application wants to end the call, with this reason, which has to wait for the ACK (section 15).
    pub hang_up: Option<Cow<'static, str>>,
    flow: Flow,
    response: Vec<u8>,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

impl Answered {
    /// The 2xx `response` to `asked` is being sent now.
    pub fn sent(now: Instant, asked: &Asked, response: Vec<u8>) -> Self {
        Self {
            sequence: asked.sequence,
            offered: asked.offered,
            hang_up: None,
            flow: asked.reply.flow(),
            response,
            interval: T1,
            resend_at: now + T1,
            give_up_at: now + GIVE_UP,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> LegStep {
        if now >= self.give_up_at {
            return LegStep::NotAcknowledged;
        }
        if now < self.resend_at {
            return LegStep::Nothing;
        }
        self.interval = doubled(self.interval);
        self.resend_at += self.interval;
        LegStep::Send(self.flow, self.response.clone())
    }
}

/// What a leg wants done after a deadline.
#[derive(Debug, PartialEq, Eq)]
pub enum LegStep {
    /// Nothing.
    Nothing,
    /// Send the 2xx again, whatever the transport: a later hop may be UDP.
    Send(Flow, Vec<u8>),
    /// The application did not answer an INVITE in time.
    NotAnswered,
    /// The ACK never came.
    NotAcknowledged,
    /// The peer did not answer our re-INVITE in time.
    NotReanswered,
    /// An offer of ours is to be made again.
    OfferAgain,
}

impl Leg {
    /// A leg that has just come to be.
    pub fn new(peer: usize, dialog: Dialog, flow: Flow, phase: Phase) -> Self {
        Self {
            peer,
            dialog,
            flow,
            flow_lost: false,
            whereabouts: Whereabouts::default(),
            phase,
            usages: Usages::default(),
            keyring: Keyring::default(),
            placed: false,
            retry: None,
            acknowledged: None,
        }
    }

    /// A fresh request came by `flow`: from now on that is the flow to the peer.
    pub fn follow(&mut self, request: &Request, flow: &Flow) {
        let reply_flow = Reply::to(request, flow).flow();
        let same_flow = self.flow.remote == reply_flow.remote;
        self.whereabouts = self.whereabouts.after(request, flow, same_flow);
        self.flow = reply_flow;
        self.flow_lost = false;
    }

    /// How our requests inside the dialog go; `None` when there is no way any more.
    pub fn course(&self) -> Option<Course> {
        let near = (!self.flow_lost).then_some(self.flow);
        self.whereabouts.course(&self.flow, near, self.dialog.next_hop())
    }

    /// Runs the deadlines of the phase.
    pub fn handle_timeout(&mut self, now: Instant) -> LegStep {
        match &mut self.phase {
            Phase::Asked(asked) if now >= asked.give_up_at => LegStep::NotAnswered,
            Phase::Answered(answered) => answered.handle_timeout(now),
            Phase::Offered(offered) if now >= offered.give_up_at => LegStep::NotReanswered,
            _ if self.retry.as_ref().is_some_and(|retry| now >= retry.at) => LegStep::OfferAgain,
            Phase::Asked(_) | Phase::Offered(_) | Phase::Talking | Phase::Leaving => LegStep::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] or that of the usages is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Asked(asked) => Some(asked.give_up_at),
            Phase::Answered(answered) => Some(answered.resend_at.min(answered.give_up_at)),
            Phase::Offered(offered) => Some(offered.give_up_at),
            Phase::Talking | Phase::Leaving => None,
        };
        let retry = self.retry.as_ref().map(|retry| retry.at);
        phase.into_iter().chain(retry).chain(self.usages.poll_timeout()).min()
    }
}
