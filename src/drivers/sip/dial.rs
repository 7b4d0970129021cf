//! Opening connections the endpoint asks for.

use std::sync::Arc;

use super::{connections::Place, line::Line};
use crate::net::sip_tls::SipTls;

/// Opens a connection and carries its messages until it ends. One that does not come about is told like a closed one.
pub(super) async fn dial(mut place: Place, name: String, tls: Arc<SipTls>) {
    match Line::open(&place.flow, &name, &tls).await {
        Ok(line) => {
            place.set_ready();
            line.carry(&mut place).await;
        }
        Err(fault) => {
            let (transport, remote, reason) = (place.flow.transport, place.flow.remote, fault.word());
            place.connections.metrics().sip_refused(reason);
            tracing::info!(%remote, name, %transport, reason, %fault, "a SIP connection could not be opened");
        }
    }
    place.end().await;
}
