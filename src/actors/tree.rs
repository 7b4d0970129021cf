//! The wiring: what is started, in which order, with what.
//!
//! ```text
//! Gateway            one for one, 5 restarts in 10 s, then the process ends with a failure
//! ├─ HttpServer
//! └─ CallPlane       rest for one, 5 restarts in 10 s, in this order
//!    ├─ MediaEngine
//!    ├─ SipEndpoint
//!    ├─ CallManager
//!    │  └─ Call      never restarted
//!    │     └─ Session  dials again after a loss, within its budget
//!    └─ WarmKeeper
//! ```

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ractor::{Actor, ActorRef, RpcReplyPort, concurrency::JoinHandle, rpc::CallResult};
use tokio::sync::Mutex;

use super::{
    call,
    gateway::{self, Gateway as GatewayActor},
    plane::{self, Addresses, Part},
    service::Shared,
};
use crate::{config::Config, telemetry::Metrics};

/// How long a stopping gateway waits for the SIP side to take its registrations back; the driver itself waits a second
/// less.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// How long the first call waits for what MCP servers have to say; one that is later is there for the calls after that.
const LIST_MAX: Duration = Duration::from_secs(5);
/// How long writing down what was spent may take at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A running gateway.
pub struct Gateway {
    /// Where SIP is spoken.
    pub addresses: Addresses,
    /// Where HTTP is spoken.
    pub http_address: SocketAddr,
    root: ActorRef<gateway::Msg>,
    running: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

/// Starts the gateway; returns once every socket is bound.
pub async fn start(config: Config) -> anyhow::Result<Gateway> {
    let shared = Arc::new(Shared::open(config)?);
    shared.tools.listed_within(LIST_MAX).await;
    let (root, running) = Actor::spawn(None, GatewayActor, shared.clone()).await?;
    let addresses = ask(&root, |reply| gateway::Msg::Plane(plane::Msg::Addresses(reply))).await?;
    let http_address = ask(&root, gateway::Msg::HttpAddress).await?;
    Ok(Gateway {
        addresses,
        http_address,
        root,
        running: Mutex::new(Some(running)),
        shared,
    })
}

impl Gateway {
    /// The one list of metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Takes no new calls from now on, and says so on `/readyz`.
    pub fn drain(&self) {
        self.shared.http.readiness.drain();
        self.tell(plane::Msg::Drain);
    }

    /// Has every call finish its sentence and end.
    pub fn finish_calls(&self) {
        self.tell(plane::Msg::FinishAll);
    }

    /// Waits until no call is left; false when that takes longer than `max`.
    pub async fn empty_within(&self, max: Duration) -> bool {
        let asked = self
            .root
            .call(|reply| gateway::Msg::Plane(plane::Msg::WhenEmpty(reply)), Some(max))
            .await;
        matches!(asked, Ok(CallResult::Success(())))
    }

    /// The calls there are, oldest first.
    pub async fn calls(&self) -> Vec<ActorRef<call::Msg>> {
        ask(&self.root, |reply| gateway::Msg::Plane(plane::Msg::Calls(reply)))
            .await
            .unwrap_or_default()
    }

    /// Has one part break on purpose: how the tests show what survives.
    pub fn break_part(&self, part: Part) {
        self.tell(plane::Msg::Break(part));
    }

    /// Has the call plane's supervisor break on purpose.
    pub fn break_plane(&self) {
        // A gateway that is gone is as broken as it gets.
        let _ = self.root.cast(gateway::Msg::BreakPlane);
    }

    /// Has the HTTP server break on purpose.
    pub fn break_http(&self) {
        // A gateway that is gone is as broken as it gets.
        let _ = self.root.cast(gateway::Msg::BreakHttp);
    }

    /// Returns when the gateway has given up.
    pub async fn failed(&self) -> String {
        let mut running = self.running.lock().await;
        if let Some(task) = running.as_mut() {
            // A panic of the root actor is caught inside the task; what matters is that it is over.
            let _ = task.await;
            *running = None;
        }
        "a part failed too often".to_owned()
    }

    /// Stops everything and flushes the records.
    pub async fn stop(&self) {
        // A gateway that is gone has nothing to take back.
        let leave = |reply| gateway::Msg::Plane(plane::Msg::Leave(reply));
        let _ = self.root.call(leave, Some(LEAVE_MAX)).await;
        // One that is gone already has stopped.
        let _ = self.root.stop_and_wait(None, None).await;
        self.shared.tools.close().await;
        self.shared.recorder.close().await;
        self.shared.records.close().await;
        self.shared.webhooks.close().await;
        let purses = self.shared.purses.clone();
        // One that hangs has said so.
        let _ = tokio::task::spawn_blocking(move || purses.close(CLOSE_MAX)).await;
        self.shared.give_up();
    }

    fn tell(&self, message: plane::Msg) {
        // A gateway that is gone needs no telling.
        let _ = self.root.cast(gateway::Msg::Plane(message));
    }
}

async fn ask<T: Send + 'static>(
    root: &ActorRef<gateway::Msg>,
    message: impl FnOnce(RpcReplyPort<T>) -> gateway::Msg,
) -> anyhow::Result<T> {
    match root.call(message, None).await? {
        CallResult::Success(answer) => Ok(answer),
        CallResult::Timeout | CallResult::SenderError => anyhow::bail!("the gateway ended while it was starting"),
    }
}
