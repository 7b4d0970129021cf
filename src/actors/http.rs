//! The HttpServer actor: binds the HTTP socket and keeps the server running.

use std::{net::SocketAddr, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{
    bind,
    service::Shared,
    watch::{Stop, Watched, watch},
};
use crate::{http, net::tcp};

/// The actor.
pub struct HttpServer;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// Where it listens.
    Address(RpcReplyPort<SocketAddr>),
    /// The server has ended, which it never should.
    Ended,
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What the actor knows.
pub struct State {
    address: SocketAddr,
    _server: Watched,
}

impl Actor for HttpServer {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<Msg>, shared: Arc<Shared>) -> Result<State, ActorProcessingErr> {
        let listener = bind::patiently(|| tcp::listen(shared.config.http.listen)).await?;
        let address = listener.local_addr()?;
        let state = shared.http.clone();
        let serve = |stop: Stop| async move { http::serve(listener, state, stop.asked()).await };
        // An ending that finds the actor gone needs no telling.
        let server = watch(serve, move || drop(myself.cast(Msg::Ended)));
        Ok(State {
            address,
            _server: server,
        })
    }

    async fn handle(&self, _myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            // Whoever asked may have stopped waiting.
            Msg::Address(reply) => drop(reply.send(state.address)),
            Msg::Ended => return Err("the HTTP server ended".into()),
            Msg::Break => panic!("the HttpServer was told to break"),
        }
        Ok(())
    }
}
