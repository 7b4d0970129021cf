//! Usages: what lives in a leg's dialog beside the call itself (RFC 5057): provisionals that wait for PRACK, a session
//! timer, offers by UPDATE, transfers in both directions.
//!
//! Each is a machine of its own; here they share one clock. Which message belongs to which, and what is sent, is the
//! endpoint's business.

use std::time::Instant;

use super::errand::Draft;
use super::flow::Flow;
use super::headers::Headers;
use super::provisional::{ProvisionalStep, Provisionals};
use super::reply::{ALLOW, Reply, SUPPORTED_INSIDE};
use super::session_timer::{Agreed, SessionTimer, TimerStep};
use super::transaction::servers::ServerId;
use super::transfer::{Following, Transferring};

/// What else a leg's dialog holds.
#[derive(Debug, Default)]
pub struct Usages {
    /// Whether the peer takes UPDATE (its last Allow).
    pub peer_updates: bool,
    /// Whether the peer says that it takes no REFER (its last Allow); one that says nothing is asked.
    pub no_refer: bool,
    /// Our session description as the peer knows it; what a refresh repeats.
    pub local_sdp: Option<Vec<u8>>,
    /// What we say to the INVITE before its final answer.
    pub provisionals: Provisionals,
    /// An offer outside an INVITE that waits for the application.
    pub reoffer: Option<Waiting>,
    /// What the 2xx to the INVITE in hand agrees to.
    pub timer_offered: Option<Agreed>,
    /// The session timer.
    pub timer: Option<SessionTimer>,
    /// The re-INVITE under way is no new offer, but refreshes the session.
    pub refreshing: bool,
    /// A transfer we asked for.
    pub transferring: Option<Transferring>,
    /// A transfer we were asked for that waits for the application.
    pub transfer_asked: Option<TransferAsked>,
    /// A transfer we were asked for and do.
    pub following: Option<Following>,
    /// A REFER has come in this dialog before.
    pub was_referred: bool,
}

/// A request other than INVITE that waits for the application.
#[derive(Debug)]
pub struct Waiting {
    /// Its transaction.
    pub transaction: ServerId,
    /// What its response repeats.
    pub reply: Reply,
    /// What a 2xx to it agrees to.
    pub timer: Option<Agreed>,
    /// When the application has taken too long.
    pub give_up_at: Instant,
}

/// A REFER that waits for the application.
#[derive(Debug)]
pub struct TransferAsked {
    /// The request.
    pub waiting: Waiting,
    /// The `id` of the NOTIFYs about it.
    pub id: Option<u32>,
    /// No NOTIFY is wanted.
    pub silent: bool,
}

/// What became due.
#[derive(Debug)]
pub enum UsageStep {
    /// Send these bytes again.
    Send(Flow, Vec<u8>),
    /// The PRACK for a provisional never came.
    NotAcknowledged,
    /// The application did not answer this offer.
    ReofferForgotten(Waiting),
    /// The application did not answer this transfer.
    TransferForgotten(TransferAsked),
    /// A transfer we asked for is over; what the application is told.
    TransferOver(Option<u16>),
    /// The application never said how a transfer ended.
    FollowingForgotten(Following),
    /// The session is to be refreshed.
    Refresh,
    /// The session was not refreshed.
    Expired,
}

impl Usages {
    /// What the peer's message says of what it can do; one without Allow says nothing.
    pub fn learn(&mut self, headers: &Headers) {
        if headers.contains("Allow") {
            self.peer_updates = headers.tokens("Allow").any(|method| method == "UPDATE");
            self.no_refer = !headers.tokens("Allow").any(|method| method == "REFER");
        }
    }

    /// What a refresh of ours says of the session timer: the interval that runs, and that we go on refreshing.
    pub fn write_timer(&self, draft: Draft) -> Draft {
        let draft = draft
            .with_header("Supported", SUPPORTED_INSIDE)
            .with_header("Allow", ALLOW);
        match &self.timer {
            Some(timer) => draft
                .with_header(
                    "Session-Expires",
                    format!("{};refresher=uac", timer.interval().as_secs()),
                )
                .with_header("Min-SE", timer.min().as_secs().to_string()),
            None => draft,
        }
    }

    /// The requests that wait for the application, which are to be answered before the dialog ends.
    pub fn take_waiting(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        let asked = self.transfer_asked.take().map(|asked| asked.waiting);
        self.reoffer.take().into_iter().chain(asked)
    }

    /// The next thing that is due; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<UsageStep> {
        self.provisionals_due(now)
            .or_else(|| self.waiting_due(now))
            .or_else(|| self.transfers_due(now))
            .or_else(|| self.timer_due(now))
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let all = [
            self.provisionals.poll_timeout(),
            self.reoffer.as_ref().map(|waiting| waiting.give_up_at),
            self.transfer_asked.as_ref().map(|asked| asked.waiting.give_up_at),
            self.transferring.as_ref().map(Transferring::poll_timeout),
            self.following.as_ref().map(Following::poll_timeout),
            self.timer.as_ref().map(SessionTimer::poll_timeout),
        ];
        all.into_iter().flatten().min()
    }

    fn provisionals_due(&mut self, now: Instant) -> Option<UsageStep> {
        match self.provisionals.handle_timeout(now) {
            ProvisionalStep::Nothing => None,
            ProvisionalStep::Send(flow, bytes) => Some(UsageStep::Send(flow, bytes)),
            ProvisionalStep::GaveUp => Some(UsageStep::NotAcknowledged),
        }
    }

    fn waiting_due(&mut self, now: Instant) -> Option<UsageStep> {
        if let Some(waiting) = self.reoffer.take_if(|waiting| now >= waiting.give_up_at) {
            return Some(UsageStep::ReofferForgotten(waiting));
        }
        let asked = self.transfer_asked.take_if(|asked| now >= asked.waiting.give_up_at);
        asked.map(UsageStep::TransferForgotten)
    }

    fn transfers_due(&mut self, now: Instant) -> Option<UsageStep> {
        if let Some(said) = self.transferring.as_mut().and_then(|one| one.handle_timeout(now)) {
            self.transferring = None;
            return Some(UsageStep::TransferOver(said));
        }
        let following = self.following.take_if(|following| now >= following.poll_timeout());
        following.map(UsageStep::FollowingForgotten)
    }

    fn timer_due(&mut self, now: Instant) -> Option<UsageStep> {
        match self.timer.as_mut()?.handle_timeout(now) {
            TimerStep::Nothing => None,
            TimerStep::Refresh => Some(UsageStep::Refresh),
            TimerStep::Expired => {
                self.timer = None;
                Some(UsageStep::Expired)
            }
        }
    }
}
