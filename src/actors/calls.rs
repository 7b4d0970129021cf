//! The CallManager actor: decides who is served, and keeps the table of calls.
//!
//! Each INVITE is admitted or refused here, with one reason word; an admitted one becomes a Call actor of its own.
//! Calls are never restarted. When the manager itself dies, its calls end with a BYE, because the SIP driver lives on.

use std::{collections::HashMap, sync::Arc};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;

use super::{
    call,
    ledger::Ledger,
    service::{Prepared, Service},
};
use crate::{
    call::{Cause, Outcome},
    config::Agent,
    drivers::{
        leg::{IncomingLeg, LegHandle, SipOrder},
        post::{PostBox, Posted, post},
    },
    routing::Room,
    sip::Invite,
};

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
    incoming: PostBox<IncomingLeg>,
    calls: HashMap<ActorId, ActorRef<call::Msg>>,
    draining: bool,
    waiting: Vec<RpcReplyPort<()>>,
}

impl Actor for CallManager {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let bell = myself.clone();
        // A bell that finds the actor gone has nobody to wake.
        let (post, incoming) = post(INCOMING_MAX, move || drop(bell.cast(Msg::Incoming)));
        args.sip.send(SipOrder::Serve(post)).await?;
        Ok(State {
            service: args.service,
            incoming,
            calls: HashMap::new(),
            draining: false,
            waiting: Vec::new(),
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Incoming => state.admit_waiting(&myself).await,
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
            SupervisionEvent::ActorFailed(actor, error) => {
                tracing::error!(actor = %actor.get_id(), %error, "a Call actor failed; its call is over");
                state.call_ended(actor.get_id());
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// A call that will be served.
struct Admitted {
    agent: Arc<Agent>,
    prepared: Prepared,
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
        let IncomingLeg { invite, leg } = call;
        let Some(slot) = self.service.records.reserve() else {
            return leg.end(call::refuse(Cause::Overloaded));
        };
        let mut ledger = Ledger::open(self.service.metrics.clone(), slot, self.service.call_id(), &invite);
        match self.decide(&invite, &mut ledger) {
            Ok(admitted) => self.start(myself, leg, admitted, ledger).await,
            Err(cause) => refuse_call(leg, ledger, cause),
        }
    }

    fn decide(&self, invite: &Invite, ledger: &mut Ledger) -> Result<Admitted, Cause> {
        let calls_max = self.service.config.limits.calls_max;
        let room = Room {
            calls_active: self.calls.len(),
            calls_max,
            draining: self.draining,
        };
        room.admit()
            .map_err(|full| Cause::from_word(full.reason()).unwrap_or(Cause::Overloaded))?;
        let (route, agent) = self.service.route(invite)?;
        ledger.routed(route, &agent);
        let prepared = self.service.prepare(invite)?;
        ledger.prepared(&prepared);
        Ok(Admitted { agent, prepared })
    }

    async fn start(&mut self, myself: &ActorRef<Msg>, leg: LegHandle, admitted: Admitted, ledger: Ledger) {
        let Admitted { agent, prepared } = admitted;
        let args = call::Args {
            service: self.service.clone(),
            agent,
            leg,
            prepared,
            span: ledger.span(),
            ledger,
        };
        // A call that cannot start has hung up and left its record by dropping what it was given.
        match Actor::spawn_linked(None, call::Call, args, myself.get_cell()).await {
            Ok((call, _)) => drop(self.calls.insert(call.get_id(), call)),
            Err(error) => tracing::error!(%error, "a Call actor could not be started"),
        }
    }

    fn finish_all(&self) {
        for call in self.calls.values() {
            // A call that ended meanwhile needs no telling.
            let _ = call.cast(call::Msg::Finish);
        }
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
        let mut calls: Vec<_> = self.calls.values().cloned().collect();
        calls.sort_by_key(|call| call.get_id());
        // Whoever asked may have stopped waiting.
        let _ = port.send(calls);
    }
}

fn refuse_call(leg: LegHandle, mut ledger: Ledger, cause: Cause) {
    leg.end(call::refuse(cause));
    ledger.ended(Outcome::refused(cause));
    ledger.finish();
}

fn reply(port: RpcReplyPort<()>) {
    // Whoever asked may have stopped waiting.
    let _ = port.send(());
}
