//! The SipEndpoint actor: binds the SIP sockets and keeps the SIP driver running.

use std::{net::SocketAddr, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::mpsc;

use super::{
    bind, sip_settings,
    watch::{Watched, watch},
};
use crate::{
    config::Config,
    drivers::{
        leg::SipOrder,
        sip::{self, Means, SipDriver, Sockets},
    },
    net::{resolve::Resolver, sip_tls::SipTls},
    sip::{Origin, Transport},
    telemetry::Metrics,
};

/// The actor.
pub struct SipEndpoint;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// Where the driver takes orders and where it listens.
    Access(RpcReplyPort<Access>),
    /// The driver has ended, which it never should.
    DriverEnded,
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What others need of the SIP side.
#[derive(Debug, Clone)]
pub struct Access {
    /// The driver's queue.
    pub orders: mpsc::Sender<SipOrder>,
    /// Where each transport is spoken.
    pub listening: Vec<(Transport, SocketAddr)>,
}

/// What the actor starts with.
pub struct Args {
    /// The configuration.
    pub config: Arc<Config>,
    /// The one list of metrics.
    pub metrics: Metrics,
    /// Takes what was refused.
    pub recorder: sip::Recorder,
}

/// What the actor knows.
pub struct State {
    access: Access,
    driver: Watched,
}

impl Actor for SipEndpoint {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let sockets = bind::patiently(|| Sockets::bind(&args.config.sip)).await?;
        let (orders, inbox) = sip::orders(sip_settings::legs_max(&args.config));
        let access = Access {
            orders: orders.clone(),
            listening: sockets.listeners.iter().map(|one| (one.transport, one.bound)).collect(),
        };
        let endpoint = sip_settings::sip_endpoint(&args.config, sockets.listeners.clone());
        let peers = sip_settings::peers(&args.config);
        let registrar = args.config.registrar.clone();
        let admits = move |origin: Origin| {
            peers.iter().any(|peer| peer.may_connect(origin))
                || origin.addresses().any(|address| registrar.admits(address))
        };
        let means = Means {
            sockets,
            tls: SipTls::new(args.config.sip.tls.clone())?,
            resolver: Resolver::new(args.config.sip.resolver)?,
            recorder: args.recorder,
        };
        let driver = SipDriver::new(means, endpoint, admits, (orders, inbox), args.metrics)?;
        // An ending that finds the actor gone needs no telling.
        let driver = watch(
            |stop| driver.run(stop.asked()),
            move || drop(myself.cast(Msg::DriverEnded)),
        );
        Ok(State { access, driver })
    }

    async fn post_stop(&self, _myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.driver.end().await;
        Ok(())
    }

    async fn handle(&self, _myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            // Whoever asked may have stopped waiting.
            Msg::Access(reply) => drop(reply.send(state.access.clone())),
            Msg::DriverEnded => return Err("the SIP driver ended".into()),
            Msg::Break => panic!("the SipEndpoint was told to break"),
        }
        Ok(())
    }
}
