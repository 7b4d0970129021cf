//! Accepting connections: who may connect at all, how many, and what a failed handshake is told.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    connections::{Connections, Full, Place},
    line::Line,
};
use crate::{
    drivers::refusals,
    net::{sip_tls::SipTls, tcp},
    sip::{Origin, Transport},
};

/// Sources whose trouble is remembered as told; past it all are forgotten, and told again.
const TOLD_MAX: usize = 1024;

/// What all listeners accept by.
#[derive(Debug, Clone)]
pub(super) struct Gate<A> {
    /// Where connections are kept.
    pub(super) connections: Connections,
    /// Whether a source may connect at all; asked before anything is read from it.
    pub(super) admits: A,
    /// How connections are secured.
    pub(super) tls: Arc<SipTls>,
    /// What has been told.
    pub(super) told: Arc<Told>,
}

/// Which sources' troubles are in the log already: whoever tries again and again fills no disk.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<(IpAddr, &'static str)>>);

/// Accepts connections. They end with this future.
pub(super) async fn accept<A>(listener: TcpListener, transport: Transport, gate: Gate<A>)
where
    A: Fn(Origin) -> bool,
{
    let mut serving = JoinSet::new();
    loop {
        let (stream, remote) = tokio::select! {
            accepted = tcp::accept(&listener) => accepted,
            Some(_) = serving.join_next() => continue,
        };
        // A connection that is gone already has no local end.
        let Ok(local) = stream.local_addr() else { continue };
        if let Some(place) = gate.admit(transport, local, remote) {
            serving.spawn(serve(stream, place, gate.tls.clone(), gate.told.clone()));
        }
    }
}

impl<A: Fn(Origin) -> bool> Gate<A> {
    fn admit(&self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Option<Place> {
        if !(self.admits)(Origin::of(local.ip(), remote.ip())) {
            self.connections.metrics().sip_refused("unknown_source");
            if self.told.is_new(remote, "unknown_source") {
                refusals::connection(remote, transport);
            }
            return None;
        }
        let admitted = self.connections.admit(transport, local, remote);
        admitted.map_err(|full| self.turn_away(transport, remote, full)).ok()
    }

    fn turn_away(&self, transport: Transport, remote: SocketAddr, full: Full) {
        let reason = match full {
            Full::All => "connections_max",
            Full::Source => "source_connections_max",
        };
        self.connections.metrics().sip_refused(reason);
        if self.told.is_new(remote, reason) {
            tracing::warn!(source = %remote, %transport, reason, "a SIP connection was closed: too many are open");
        }
    }
}

impl Told {
    /// Whether this has not been told of the source yet.
    fn is_new(&self, source: SocketAddr, reason: &'static str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert((source.ip(), reason))
    }
}

async fn serve(stream: TcpStream, mut place: Place, tls: Arc<SipTls>, told: Arc<Told>) {
    let (transport, remote) = (place.flow.transport, place.flow.remote);
    match Line::accept(transport, stream, &tls).await {
        Ok(line) => {
            place.set_ready();
            line.carry(&mut place).await;
        }
        Err(fault) => {
            let reason = fault.word();
            place.connections.metrics().sip_refused(reason);
            if told.is_new(remote, reason) {
                tracing::info!(source = %remote, %transport, reason, %fault, "a SIP connection came to nothing");
            }
        }
    }
    place.end().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trouble_of_a_source_is_told_once_whatever_its_port() {
        let told = Told::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(told.is_new(at(1), "tls_handshake"));
        assert!(!told.is_new(at(2), "tls_handshake"));
        assert!(told.is_new(at(2), "unknown_source"));
    }

    #[test]
    fn what_has_been_told_is_bounded() {
        let told = Told::default();
        for n in 0..3 * TOLD_MAX as u32 {
            told.is_new((std::net::Ipv4Addr::from_bits(n), 1).into(), "tls_handshake");
            assert!(told.0.lock().unwrap().len() <= TOLD_MAX);
        }
    }
}
