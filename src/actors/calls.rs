//! The CallManager actor: decides who is served, and keeps the table of calls.
//!
//! Each INVITE is admitted or refused here, with one reason word; an admitted one becomes a Call actor of its own, and so
//! does each call that is placed (see [`place`]).
//! Calls are never restarted. When the manager itself dies, its calls end with a BYE, because the SIP driver lives on.

use std::{collections::HashMap, sync::Arc, time::Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;

use super::{
    board::Line,
    call::{self, Way},
    ledger::Ledger,
    service::{Prepared, Service},
};
use crate::{
    call::{Cause, Facts, Outcome, conductor},
    config::Agent,
    drivers::{
        leg::{IncomingLeg, LegHandle, SipOrder},
        post::{PostBox, Posted, post},
    },
    http::{PlaceCall, Refused},
    routing::{Direction, NoRoom, Place},
    sip::{Event, Invite},
};

mod place;
mod second_leg;
#[cfg(test)]
mod tests;

pub use self::second_leg::PlaceLeg;

/// Calls that may wait for admission; past it the SIP driver refuses with `overloaded`.
const INCOMING_MAX: usize = 1024;

/// Calls admitted in one go before other messages get their turn.
const ADMIT_BATCH_MAX: usize = 64;

/// The actor.
pub struct CallManager;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// The SIP driver posted new calls.
    Incoming,
    /// Place a call; answers its id.
    Place(Box<PlaceCall>, RpcReplyPort<Result<String, Refused>>),
    /// Place a second leg for a call of ours.
    PlaceLeg(Box<PlaceLeg>),
    /// Take no new calls.
    Drain,
    /// Have every call finish its sentence and end.
    FinishAll,
    /// Answer once no call is left.
    WhenEmpty(RpcReplyPort<()>),
    /// The calls there are, oldest first.
    Calls(RpcReplyPort<Vec<ActorRef<call::Msg>>>),
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What the actor starts with.
pub struct Args {
    /// What all calls are served with.
    pub service: Arc<Service>,
    /// The SIP driver.
    pub sip: mpsc::Sender<SipOrder>,
}

/// What the actor knows.
pub struct State {
    service: Arc<Service>,
    sip: mpsc::Sender<SipOrder>,
    incoming: PostBox<IncomingLeg>,
    calls: HashMap<ActorId, Entry>,
    draining: bool,
    waiting: Vec<RpcReplyPort<()>>,
}

impl Actor for CallManager {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let (post, incoming) = post(INCOMING_MAX);
        // A bell that finds the actor gone has nobody to wake.
        incoming.ring_with(move || drop(myself.cast(Msg::Incoming)));
        args.sip.send(SipOrder::Serve(post)).await?;
        let draining = args.service.draining();
        Ok(State {
            service: args.service,
            sip: args.sip,
            incoming,
            calls: HashMap::new(),
            draining,
            waiting: Vec::new(),
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Incoming => state.admit_waiting(&myself).await,
            // Whoever asked may have stopped waiting; the call goes on all the same, and the control API shows it.
            Msg::Place(call, reply) => drop(reply.send(state.place(&myself, *call).await)),
            Msg::PlaceLeg(order) => state.place_leg(*order).await,
            Msg::Drain => state.draining = true,
            Msg::FinishAll => state.finish_all(),
            Msg::WhenEmpty(reply) => state.when_empty(reply),
            Msg::Calls(reply) => state.list(reply),
            Msg::Break => panic!("the CallManager was told to break"),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, ..) => state.call_ended(actor.get_id()),
            SupervisionEvent::ActorFailed(actor, error) => state.call_failed(actor.get_id(), &error.to_string()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// A call in the table.
struct Entry {
    actor: ActorRef<call::Msg>,
    span: tracing::Span,
    _place: Place,
}

/// A call that will be served.
struct Admitted {
    agent: Arc<Agent>,
    prepared: Prepared,
    place: Place,
}

/// Everything a Call actor is started with.
struct Starting {
    agent: Arc<Agent>,
    facts: Arc<Facts>,
    leg: LegHandle,
    events: PostBox<Event>,
    way: Way,
    ledger: Ledger,
    place: Place,
}

impl State {
    async fn admit_waiting(&mut self, myself: &ActorRef<Msg>) {
        self.incoming.answer();
        for _ in 0..ADMIT_BATCH_MAX {
            match self.incoming.take() {
                Posted::Item(call) => self.admit(myself, call).await,
                // The driver's end closes when the driver dies; this actor is then started anew.
                Posted::Empty | Posted::Closed => return,
            }
        }
        // More may wait; ring our own bell. It cannot fail: we are running.
        let _ = myself.cast(Msg::Incoming);
    }

    async fn admit(&mut self, myself: &ActorRef<Msg>, call: IncomingLeg) {
        let IncomingLeg { invite, leg, events } = call;
        let Some(slot) = self.service.records.reserve() else {
            return self.refuse_unrecorded(leg);
        };
        let facts = Arc::new(Facts::of(&invite));
        let mut ledger = Ledger::open(&self.service, slot, self.service.call_id(), &invite, &facts);
        let decision = ledger.span().in_scope(|| self.decide(&invite, &mut ledger));
        let Admitted { agent, prepared, place } = match decision {
            Ok(admitted) => admitted,
            Err(cause) => return refuse(leg, ledger, cause),
        };
        let way = Way::In(Box::new(prepared));
        let starting = Starting {
            agent,
            facts,
            leg,
            events,
            way,
            ledger,
            place,
        };
        self.start(myself, starting).await;
    }

    /// Without room for its record a call is not served: what happens is to be known afterwards.
    fn refuse_unrecorded(&self, leg: LegHandle) {
        self.service.metrics.call_refused(Cause::Overloaded.word());
        tracing::error!(
            reason = Cause::Overloaded.word(),
            "a call was refused: there is no room for its record"
        );
        leg.end(conductor::refuse(Cause::Overloaded));
    }

    fn decide(&self, invite: &Invite, ledger: &mut Ledger) -> Result<Admitted, Cause> {
        let place = self.admit_to_room(Direction::Inbound, &invite.trunk).map_err(|full| {
            tracing::info!(%full, "no room for a call");
            ledger.explained(self.service.explain(invite, Some(&full)));
            Cause::from_word(full.reason()).unwrap_or(Cause::Overloaded)
        })?;
        ledger.explained(self.service.explain(invite, None));
        let (route, agent) = self.service.route(invite)?;
        ledger.routed(route, &agent);
        self.service.check_budgets(&agent.name)?;
        let prepared = self.service.prepare(invite)?;
        ledger.prepared(&prepared.terms);
        Ok(Admitted { agent, prepared, place })
    }

    /// Room for one more call, in either direction.
    fn admit_to_room(&self, direction: Direction, trunk: &str) -> Result<Place, NoRoom> {
        let mut room = self.service.room();
        room.set_draining(self.draining);
        room.set_lag(self.service.workers.lag());
        room.admit(direction, trunk, Instant::now())
    }

    async fn start(&mut self, myself: &ActorRef<Msg>, starting: Starting) {
        let Starting {
            agent,
            facts,
            leg,
            events,
            way,
            ledger,
            place,
        } = starting;
        let (service, span) = (self.service.clone(), ledger.span());
        let (id, leg_id) = (ledger.call_id().to_owned(), leg.id());
        let args = call::Args {
            service,
            agent,
            facts,
            leg,
            events,
            way,
            span: span.clone(),
            ledger,
        };
        // A call that cannot start has been refused and has left its record by dropping what it was given.
        match Actor::spawn_linked(None, call::Call, args, myself.get_cell()).await {
            Ok((actor, _)) => {
                let line = Line {
                    actor: actor.clone(),
                    leg: leg_id,
                };
                self.service.board.connect(&id, line);
                let entry = Entry {
                    actor: actor.clone(),
                    span,
                    _place: place,
                };
                drop(self.calls.insert(actor.get_id(), entry));
            }
            Err(error) => tracing::error!(parent: &span, %error, "the call could not be started"),
        }
    }

    fn finish_all(&self) {
        for Entry { actor, .. } in self.calls.values() {
            // A call that ended meanwhile needs no telling.
            let _ = actor.cast(call::Msg::Finish);
        }
    }

    fn call_failed(&mut self, call: ActorId, error: &str) {
        if let Some(Entry { span, .. }) = self.calls.get(&call) {
            tracing::error!(parent: span, error, "the Call actor failed; the call is over");
        }
        self.call_ended(call);
    }

    fn call_ended(&mut self, call: ActorId) {
        self.calls.remove(&call);
        if self.calls.is_empty() {
            self.waiting.drain(..).for_each(reply);
        }
    }

    fn when_empty(&mut self, port: RpcReplyPort<()>) {
        if self.calls.is_empty() {
            reply(port)
        } else {
            self.waiting.push(port)
        }
    }

    fn list(&self, port: RpcReplyPort<Vec<ActorRef<call::Msg>>>) {
        let mut calls: Vec<_> = self.calls.values().map(|entry| entry.actor.clone()).collect();
        calls.sort_by_key(|call| call.get_id());
        // Whoever asked may have stopped waiting.
        let _ = port.send(calls);
    }
}

fn refuse(leg: LegHandle, mut ledger: Ledger, cause: Cause) {
    leg.end(conductor::refuse(cause));
    ledger.ended(Outcome::refused(cause));
    ledger.finish();
}

fn reply(port: RpcReplyPort<()>) {
    // Whoever asked may have stopped waiting.
    let _ = port.send(());
}
