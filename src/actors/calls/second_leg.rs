//! Placing second legs: whom a call is handed on to by calling them ourselves. They are calls out like any other to the
//! limits and the SIP side, and belong to the call that wants them.

use std::time::Instant;

use ractor::ActorRef;

use super::{State, call};
use crate::{actors::call::second_leg::Placed, call::Cause, routing::Direction, sip::Outgoing};

/// A second leg to be placed.
#[derive(Debug)]
pub struct PlaceLeg {
    /// Whom, and through which trunk.
    pub outgoing: Outgoing,
    /// The call that wants it, which is told what came of it.
    pub call: ActorRef<call::Msg>,
}

impl State {
    pub(super) async fn place_leg(&mut self, order: PlaceLeg) {
        let PlaceLeg { outgoing, call } = order;
        let placed = self.second_leg(outgoing).await;
        // A call that is over meanwhile drops the leg, which hangs it up.
        let _ = call.cast(call::Msg::SecondLeg(Box::new(placed)));
    }

    async fn second_leg(&mut self, outgoing: Outgoing) -> Result<Placed, Cause> {
        let place = self
            .admit_to_room(Direction::Outbound, &outgoing.trunk)
            .map_err(|full| {
                tracing::info!(%full, "no room for a second leg");
                Cause::from_word(full.reason()).unwrap_or(Cause::Overloaded)
            })?;
        let began = Instant::now();
        let leg = self.order(outgoing).await.map_err(|(cause, refused)| {
            let waited_ms = began.elapsed().as_millis();
            tracing::info!(
                reason = refused.reason,
                detail = refused.detail,
                waited_ms,
                "a second leg was not placed"
            );
            cause
        })?;
        Ok(Placed { leg, place })
    }
}
