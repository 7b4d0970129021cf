//! The handle a call holds on its SIP leg.
//!
//! Commands go to the SIP driver through its bounded queue. One slot of that queue is reserved for as long as the
//! handle lives, so that the farewell of a call, crashed or not, always gets through: dropping the handle hangs up.

use tokio::sync::{mpsc, oneshot};

use super::post::{Post, PostBox};
use crate::sip::{Command, Event, Invite, LegId, NotPlaced, Outgoing};

/// Events of one leg that may wait for its call; past it a leg's re-offers are refused, nothing else comes in numbers.
pub const LEG_EVENTS_MAX: usize = 16;

/// An order to the SIP driver.
#[derive(Debug)]
pub enum SipOrder {
    /// For one leg.
    Leg(LegId, Command),
    /// Where to post new calls from now on.
    Serve(Post<IncomingLeg>),
    /// Refuse new calls from now on.
    Drain,
    /// Take every registration back, and say when that is done, or has been waited for long enough.
    Leave(oneshot::Sender<()>),
    /// Place a call. Who asked may have stopped waiting; the call is then ended.
    Place(Box<Outgoing>, oneshot::Sender<Result<OutgoingLeg, NotPlaced>>),
}

/// A call being placed.
#[derive(Debug)]
pub struct OutgoingLeg {
    /// The handle on the leg.
    pub leg: LegHandle,
    /// What happens to the leg from now on; closed when nothing more will.
    pub events: PostBox<Event>,
    /// The Call-ID of its INVITE.
    pub call_id: String,
}

/// A call that just came in, with nobody to serve it yet.
#[derive(Debug)]
pub struct IncomingLeg {
    /// What the INVITE says.
    pub invite: Box<Invite>,
    /// The handle on the leg.
    pub leg: LegHandle,
    /// What happens to the leg from now on; closed when nothing more will.
    pub events: PostBox<Event>,
}

/// One SIP leg; hangs up when dropped.
#[derive(Debug)]
pub struct LegHandle {
    id: LegId,
    orders: mpsc::Sender<SipOrder>,
    farewell: Option<mpsc::OwnedPermit<SipOrder>>,
    last_words: Command,
}

impl LegHandle {
    /// A handle on this leg. `farewell` is the reserved slot.
    pub fn new(id: LegId, orders: mpsc::Sender<SipOrder>, farewell: mpsc::OwnedPermit<SipOrder>) -> Self {
        let last_words = Command::HangUp {
            reason: "crashed".into(),
        };
        Self {
            id,
            orders,
            farewell: Some(farewell),
            last_words,
        }
    }

    /// The leg's number.
    pub fn id(&self) -> LegId {
        self.id
    }

    /// Gives the leg a command; false when the driver's queue is full or the driver is gone.
    pub fn command(&self, command: Command) -> bool {
        self.orders.try_send(SipOrder::Leg(self.id, command)).is_ok()
    }

    /// Ends the leg with this command, through the reserved slot.
    pub fn end(mut self, command: Command) {
        self.last_words = command;
    }
}

impl Drop for LegHandle {
    fn drop(&mut self) {
        if let Some(farewell) = self.farewell.take() {
            let last_words = std::mem::replace(&mut self.last_words, Command::Ring);
            farewell.send(SipOrder::Leg(self.id, last_words));
        }
    }
}
