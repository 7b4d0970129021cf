//! How a backend is reached: over the network, or, for the embedded operator, through memory.
//!
//! Both ways end in the same WebSocket, so that nothing behind it knows the difference.

use std::time::Duration;

use super::{operator, realtime::Dial};
use crate::{
    config::{Backend, BackendKind},
    net::{
        tls::Tls,
        websocket::{self, Connect, Secret},
    },
};

/// Bytes that may lie between the gateway and its embedded operator; past it the writer waits.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// The URL of the operator in memory; only its path is looked at.
const OPERATOR_URL: &str = "ws://operator/v1/realtime";

/// Dials backends.
#[derive(Debug, Clone)]
pub struct Dialler {
    tls: Tls,
    timeout: Duration,
}

impl Dialler {
    /// Dials with these roots of trust, each dial within `timeout`.
    pub fn new(tls: Tls, timeout: Duration) -> Self {
        Self { tls, timeout }
    }

    /// The dial of one backend, to be started on a media worker's thread.
    pub fn dial(&self, backend: &Backend) -> Box<dyn FnOnce() -> Dial + Send> {
        let connect = Connect {
            url: OPERATOR_URL.to_owned(),
            model: None,
            bearer: None,
            timeout: self.timeout,
        };
        match &backend.kind {
            BackendKind::Operator => Box::new(move || Box::pin(dial_memory(connect))),
            BackendKind::Realtime(realtime) => {
                let bearer = realtime.api_key.as_ref().map(|key| Secret::new(key.reveal()));
                let model = (!realtime.model.is_empty()).then(|| realtime.model.clone());
                let url = realtime.url.clone();
                let (connect, tls) = (
                    Connect {
                        url,
                        model,
                        bearer,
                        ..connect
                    },
                    self.tls.clone(),
                );
                Box::new(move || Box::pin(async move { websocket::connect(&connect, &tls).await }))
            }
        }
    }
}

/// The operator's end lives beside the call, on the same worker; it ends when our end is dropped.
async fn dial_memory(connect: Connect) -> Result<websocket::WebSocket, websocket::ConnectError> {
    let (ours, theirs) = tokio::io::duplex(MEMORY_BYTES_MAX);
    tokio::task::spawn_local(operator::serve_stream(theirs, operator::Settings::default()));
    websocket::connect_stream(&connect, ours).await
}
