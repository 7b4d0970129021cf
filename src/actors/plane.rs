//! The CallPlane supervisor: media engine, SIP endpoint, call manager and keeper of warm sessions, rest for one.
//!
//! They depend on each other in this order, so when one fails, it and those after it are started anew. Calls end with
//! the manager; their dialogs live in the SIP driver, which then still says BYE.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, call};
use tokio::sync::oneshot;

use super::{
    call as call_actor,
    calls::{self, CallManager},
    children::Restarts,
    endpoint::{self, SipEndpoint},
    engine::{self, MediaEngine},
    refusals,
    service::{Service, Shared},
    warm::{self, WarmKeeper},
};
use crate::{drivers::leg::SipOrder, sip::Transport};

/// The actor.
pub struct CallPlane;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// Take no new calls.
    Drain,
    /// Have every call finish its sentence and end.
    FinishAll,
    /// Answer once no call is left.
    WhenEmpty(RpcReplyPort<()>),
    /// Take registrations back, and answer when that is done or takes too long.
    Leave(RpcReplyPort<()>),
    /// Where SIP is spoken.
    Addresses(RpcReplyPort<Addresses>),
    /// The calls there are.
    Calls(RpcReplyPort<Vec<ActorRef<call_actor::Msg>>>),
    /// Have one part break on purpose: how the tests show what survives.
    Break(Part),
}

/// A supervised part, in starting order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The media worker threads.
    MediaEngine,
    /// The SIP sockets and the SIP driver.
    SipEndpoint,
    /// The table of calls.
    CallManager,
    /// The sessions that wait for calls.
    WarmKeeper,
}

/// Where SIP is spoken.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Bound UDP addresses.
    pub udp: Vec<SocketAddr>,
    /// Bound TCP addresses.
    pub tcp: Vec<SocketAddr>,
    /// Bound TLS addresses.
    pub tls: Vec<SocketAddr>,
    /// Bound WebSocket addresses.
    pub ws: Vec<SocketAddr>,
    /// Bound secure WebSocket addresses.
    pub wss: Vec<SocketAddr>,
}

/// What the actor knows.
pub struct State {
    shared: Arc<Shared>,
    engine: ActorRef<engine::Msg>,
    endpoint: ActorRef<endpoint::Msg>,
    access: endpoint::Access,
    calls: ActorRef<calls::Msg>,
    warm: ActorRef<warm::Msg>,
    restarts: Restarts,
}

impl Actor for CallPlane {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<Msg>, shared: Arc<Shared>) -> Result<State, ActorProcessingErr> {
        let supervisor = myself.get_cell();
        shared.http.readiness.not_ready("starting");
        let engine = start_engine(&shared, &supervisor).await?;
        let (endpoint, access) = start_endpoint(&shared, &supervisor).await?;
        let service = service(&shared, &engine).await?;
        let calls = start_calls(&service, &access, &supervisor).await?;
        let warm = start_warm(service, &supervisor).await?;
        let mut state = State {
            shared,
            engine,
            endpoint,
            access,
            calls,
            warm,
            restarts: Restarts::default(),
        };
        state.resume().await;
        Ok(state)
    }

    async fn handle(&self, _myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Drain => state.drain().await,
            Msg::FinishAll => drop(state.calls.cast(calls::Msg::FinishAll)),
            Msg::WhenEmpty(reply) => drop(state.calls.cast(calls::Msg::WhenEmpty(reply))),
            Msg::Leave(reply) => state.leave(reply),
            Msg::Addresses(reply) => drop(reply.send(state.addresses())),
            Msg::Calls(reply) => drop(state.calls.cast(calls::Msg::Calls(reply))),
            Msg::Break(part) => state.break_part(part),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((actor, why)) = ended(event) else {
            return Ok(());
        };
        let Some(part) = state.part(actor) else { return Ok(()) };
        tracing::error!(
            ?part,
            why,
            "a part of the call plane failed; it and those after it start anew"
        );
        if !state.restarts.allow(Instant::now()) {
            return Err("the call plane fails too often".into());
        }
        state.restart(part, &myself.get_cell()).await
    }
}

/// Which actor ended, and why; nothing for the other events.
pub fn ended(event: SupervisionEvent) -> Option<(ActorId, String)> {
    match event {
        SupervisionEvent::ActorTerminated(actor, _, why) => {
            Some((actor.get_id(), why.unwrap_or_else(|| "it stopped".to_owned())))
        }
        SupervisionEvent::ActorFailed(actor, error) => Some((actor.get_id(), error.to_string())),
        SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
    }
}

impl State {
    fn part(&self, actor: ActorId) -> Option<Part> {
        let parts = [
            (self.engine.get_id(), Part::MediaEngine),
            (self.endpoint.get_id(), Part::SipEndpoint),
            (self.calls.get_id(), Part::CallManager),
            (self.warm.get_id(), Part::WarmKeeper),
        ];
        parts.into_iter().find(|(id, _)| *id == actor).map(|(_, part)| part)
    }

    async fn restart(&mut self, failed: Part, supervisor: &ActorCell) -> Result<(), ActorProcessingErr> {
        stop(&self.warm.get_cell()).await;
        if failed == Part::WarmKeeper {
            // No call depends on it.
            let service = service(&self.shared, &self.engine).await?;
            self.warm = start_warm(service, supervisor).await?;
            return Ok(());
        }
        self.shared.http.readiness.not_ready("restarting");
        stop(&self.calls.get_cell()).await;
        if failed <= Part::SipEndpoint {
            stop(&self.endpoint.get_cell()).await;
        }
        if failed == Part::MediaEngine {
            self.engine = start_engine(&self.shared, supervisor).await?;
        }
        if failed <= Part::SipEndpoint {
            (self.endpoint, self.access) = start_endpoint(&self.shared, supervisor).await?;
        }
        let service = service(&self.shared, &self.engine).await?;
        self.calls = start_calls(&service, &self.access, supervisor).await?;
        self.warm = start_warm(service, supervisor).await?;
        self.resume().await;
        Ok(())
    }

    /// Everything runs: new calls are taken, unless the gateway is about to stop.
    async fn resume(&mut self) {
        match self.shared.draining() {
            true => self.drain().await,
            false => self.shared.http.readiness.ready(),
        }
    }

    async fn drain(&mut self) {
        // A part that is gone will be told when it has been started anew.
        let _ = self.access.orders.send(SipOrder::Drain).await;
        let _ = self.calls.cast(calls::Msg::Drain);
        let _ = self.warm.cast(warm::Msg::Drain);
    }

    /// The driver answers in bounded time; nothing else waits for it.
    fn leave(&self, reply: RpcReplyPort<()>) {
        let orders = self.access.orders.clone();
        let (left, hear) = oneshot::channel();
        tokio::spawn(async move {
            if orders.send(SipOrder::Leave(left)).await.is_ok() {
                let _ = hear.await;
            }
            drop(reply.send(()));
        });
    }

    fn addresses(&self) -> Addresses {
        let of = |kind: Transport| {
            let listening = self.access.listening.iter();
            listening
                .filter(|(transport, _)| *transport == kind)
                .map(|(_, bound)| *bound)
                .collect()
        };
        Addresses {
            udp: of(Transport::Udp),
            tcp: of(Transport::Tcp),
            tls: of(Transport::Tls),
            ws: of(Transport::Ws),
            wss: of(Transport::Wss),
        }
    }

    fn break_part(&self, part: Part) {
        // A part that is gone already is as broken as it gets.
        match part {
            Part::MediaEngine => drop(self.engine.cast(engine::Msg::Break)),
            Part::SipEndpoint => drop(self.endpoint.cast(endpoint::Msg::Break)),
            Part::CallManager => drop(self.calls.cast(calls::Msg::Break)),
            Part::WarmKeeper => drop(self.warm.cast(warm::Msg::Break)),
        }
    }
}

async fn start_engine(shared: &Shared, supervisor: &ActorCell) -> Result<ActorRef<engine::Msg>, ActorProcessingErr> {
    let args = engine::Args {
        config: shared.config.clone(),
        metrics: shared.metrics.clone(),
    };
    Ok(Actor::spawn_linked(None, MediaEngine, args, supervisor.clone())
        .await?
        .0)
}

async fn start_endpoint(
    shared: &Arc<Shared>,
    supervisor: &ActorCell,
) -> Result<(ActorRef<endpoint::Msg>, endpoint::Access), ActorProcessingErr> {
    let args = endpoint::Args {
        config: shared.config.clone(),
        metrics: shared.metrics.clone(),
        recorder: refusals::recorder(shared.clone()),
    };
    let (endpoint, _) = Actor::spawn_linked(None, SipEndpoint, args, supervisor.clone()).await?;
    let access = call!(endpoint, endpoint::Msg::Access)?;
    Ok((endpoint, access))
}

/// What calls are served with by the workers there are now.
async fn service(shared: &Arc<Shared>, engine: &ActorRef<engine::Msg>) -> Result<Arc<Service>, ActorProcessingErr> {
    let workers = call!(engine, engine::Msg::Workers)?;
    Ok(Arc::new(Service::new(shared.clone(), workers)))
}

async fn start_calls(
    service: &Arc<Service>,
    access: &endpoint::Access,
    supervisor: &ActorCell,
) -> Result<ActorRef<calls::Msg>, ActorProcessingErr> {
    let args = calls::Args {
        service: service.clone(),
        sip: access.orders.clone(),
    };
    let (calls, _) = Actor::spawn_linked(None, CallManager, args, supervisor.clone()).await?;
    service.manager.set(calls.clone());
    Ok(calls)
}

async fn start_warm(service: Arc<Service>, supervisor: &ActorCell) -> Result<ActorRef<warm::Msg>, ActorProcessingErr> {
    let (warm, _) = Actor::spawn_linked(None, WarmKeeper, service, supervisor.clone()).await?;
    Ok(warm)
}

async fn stop(actor: &ActorCell) {
    // One that is gone already has stopped.
    let _ = actor.stop_and_wait(Some("restarting".to_owned()), None).await;
}
