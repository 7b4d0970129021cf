//! The handle a call holds on its SIP leg.
//!
//! Commands go to the SIP driver through its bounded queue. One slot of that queue is reserved for as long as the
//! handle lives, so that the farewell of a call, crashed or not, always gets through: dropping the handle hangs up.

use tokio::sync::{mpsc, oneshot};

use super::post::{Post, PostBox};
use crate::sip::{Command, Event, Invite, LegId, NotPlaced, Outgoing};

/// Events of one leg that may wait for its call. Past it a re-offer is refused; digits, texts and early media are lost
/// before, see [`post_event`].
pub const LEG_EVENTS_MAX: usize = 16;

/// Posts an event of a leg to its call; gives it back when there is no room. What a peer can send in any number leaves a
/// few places free, so that it never crowds out an answer or an end.
pub fn post_event(post: &Post<Event>, event: Event) -> Result<(), Event> {
    let informs = match &event {
        Event::Progressed { .. } | Event::Digit { .. } | Event::MessageReceived { .. } => true,
        Event::TransferProgress { status } => *status < 200,
        _ => false,
    };
    match informs {
        true => post.send_if_roomy(event),
        false => post.send(event),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::post::{Posted, post};

    #[test]
    fn a_flood_of_texts_leaves_room_for_the_end_of_the_call() {
        let (post, mut events) = post(LEG_EVENTS_MAX);
        let text = || Event::MessageReceived { text: String::new() };
        let taken = (0..100).filter(|_| post_event(&post, text()).is_ok()).count();
        assert!(taken > 0 && taken < LEG_EVENTS_MAX, "{taken}");
        assert!(post_event(&post, Event::ByeReceived { reason: None }).is_ok());
        let found: Vec<_> = std::iter::from_fn(|| match events.take() {
            Posted::Item(event) => Some(event),
            Posted::Empty | Posted::Closed => None,
        })
        .collect();
        assert!(matches!(found.last(), Some(Event::ByeReceived { .. })));
    }
}
