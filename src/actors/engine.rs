//! The MediaEngine actor: owns the media worker threads.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::{config::Config, drivers::worker::Workers, telemetry::Metrics};

/// The actor.
pub struct MediaEngine;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// The workers, please.
    Workers(RpcReplyPort<Workers>),
    /// A worker thread has ended, which none should while this actor lives.
    WorkerEnded,
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What the actor starts with.
pub struct Args {
    /// The configuration.
    pub config: Arc<Config>,
    /// The one list of metrics.
    pub metrics: Metrics,
}

impl Actor for MediaEngine {
    type Msg = Msg;
    type State = Workers;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Workers, ActorProcessingErr> {
        // An ending that finds the actor gone needs no telling.
        let ended = move || drop(myself.cast(Msg::WorkerEnded));
        Ok(Workers::start(args.config.media.workers, &args.metrics, ended)?)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Msg>,
        message: Msg,
        workers: &mut Workers,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Whoever asked may have stopped waiting.
            Msg::Workers(reply) => drop(reply.send(workers.clone())),
            Msg::WorkerEnded => return Err("a media worker thread ended".into()),
            Msg::Break => panic!("the MediaEngine was told to break"),
        }
        Ok(())
    }
}
