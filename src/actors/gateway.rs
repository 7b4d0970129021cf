//! The Gateway supervisor: HTTP server and call plane, one for one.
//!
//! A part that fails too often takes the gateway down with it; the process then ends with a failure, for whatever runs
//! it to start it anew.

use std::{future::Future, sync::Arc, time::Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent};

use super::{
    children::Restarts,
    http::{self, HttpServer},
    plane::{self, CallPlane, ended},
    service::Shared,
};

/// The actor.
pub struct Gateway;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// For the call plane.
    Plane(plane::Msg),
    /// Where HTTP is spoken.
    HttpAddress(RpcReplyPort<std::net::SocketAddr>),
    /// Have the HTTP server break on purpose: how the tests show what survives.
    BreakHttp,
    /// Have the call plane's supervisor break on purpose.
    BreakPlane,
}

/// What the actor knows.
pub struct State {
    shared: Arc<Shared>,
    http: ActorRef<http::Msg>,
    plane: ActorRef<plane::Msg>,
    restarts: Restarts,
}

impl Actor for Gateway {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<Msg>, shared: Arc<Shared>) -> Result<State, ActorProcessingErr> {
        let http = spawn(HttpServer, shared.clone(), &myself.get_cell()).await?;
        let plane = spawn(CallPlane, shared.clone(), &myself.get_cell()).await?;
        Ok(State {
            shared,
            http,
            plane,
            restarts: Restarts::default(),
        })
    }

    async fn handle(&self, _myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Plane(message) => drop(state.plane.cast(message)),
            Msg::HttpAddress(reply) => drop(state.http.cast(http::Msg::Address(reply))),
            Msg::BreakHttp => drop(state.http.cast(http::Msg::Break)),
            Msg::BreakPlane => state.plane.kill(),
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
        let supervisor = myself.get_cell();
        if actor == state.http.get_id() {
            tracing::error!(why, "the HTTP server failed and starts anew");
            state.http = state
                .start_again(|shared| spawn(HttpServer, shared, &supervisor))
                .await?;
        } else if actor == state.plane.get_id() {
            tracing::error!(why, "the call plane failed and starts anew");
            state.plane = state
                .start_again(|shared| spawn(CallPlane, shared, &supervisor))
                .await?;
        }
        Ok(())
    }
}

impl State {
    /// Starts a part again, and again when that fails, within the budget of restarts.
    async fn start_again<M, F>(&mut self, start: impl Fn(Arc<Shared>) -> F) -> Result<ActorRef<M>, ActorProcessingErr>
    where
        F: Future<Output = Result<ActorRef<M>, SpawnErr>>,
    {
        let mut error = None;
        while self.restarts.allow(Instant::now()) {
            match start(self.shared.clone()).await {
                Ok(actor) => return Ok(actor),
                Err(failed) => error = Some(failed),
            }
        }
        let why = error.map_or_else(String::new, |error| format!(": {error}"));
        tracing::error!(why, "a part of the gateway fails too often; giving up");
        Err("a part of the gateway fails too often".into())
    }
}

async fn spawn<A>(part: A, shared: Arc<Shared>, supervisor: &ActorCell) -> Result<ActorRef<A::Msg>, SpawnErr>
where
    A: Actor<Arguments = Arc<Shared>>,
{
    Ok(Actor::spawn_linked(None, part, shared, supervisor.clone()).await?.0)
}
