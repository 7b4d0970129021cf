//! The connections requests of ours may use: those we asked for, by where they lead and to whom, and those that came to
//! us. It holds no sockets; the driver opens, closes and tells.
//!
//! A connection that came to us is used for a hop only when nobody had to prove a name for it (RFC 5923 section 6): who
//! opened a TLS connection to us has shown no certificate for the name we are looking for. Requests inside a dialog
//! that came by such a connection stay on it without asking here.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::flow::{Flow, OPENED_BY_US, Transport};
use super::target::Hop;

/// Most connections known of each kind. Beyond it no further one is opened, so that the request it was for fails as
/// unreachable, and one that came to us is used for its own dialogs only.
pub const CONNECTIONS_MAX: usize = 4096;

/// The connections there are.
#[derive(Debug, Default)]
pub struct Connections {
    ours: HashMap<Place, Flow>,
    theirs: HashMap<(Transport, SocketAddr), Flow>,
    opened: u64,
}

/// Where a connection of ours leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    transport: Transport,
    remote: SocketAddr,
    name: String,
}

impl Place {
    fn of(hop: &Hop) -> Self {
        Self {
            transport: hop.transport,
            remote: hop.remote,
            name: hop.name.to_ascii_lowercase(),
        }
    }
}

impl Connections {
    /// The connection that leads to this hop already.
    pub fn find(&self, hop: &Hop) -> Option<Flow> {
        let theirs = || self.theirs.get(&(hop.transport, hop.remote));
        let ours = self.ours.get(&Place::of(hop));
        ours.or_else(|| theirs().filter(|_| !hop.transport.is_secure()))
            .copied()
    }

    /// A new connection to this hop, for the driver to open; `None` when there are as many as allowed.
    pub fn open(&mut self, hop: &Hop) -> Option<Flow> {
        if self.ours.len() >= CONNECTIONS_MAX {
            return None;
        }
        let flow = Flow {
            transport: hop.transport,
            local: hop.local,
            remote: hop.remote,
            connection: OPENED_BY_US + self.opened,
        };
        self.opened = (self.opened + 1) % OPENED_BY_US;
        self.ours.insert(Place::of(hop), flow);
        Some(flow)
    }

    /// Something came by this flow.
    pub fn heard(&mut self, flow: &Flow) {
        let theirs = flow.transport.is_reliable() && !flow.is_ours();
        if theirs && self.theirs.len() < CONNECTIONS_MAX {
            self.theirs.insert((flow.transport, flow.remote), *flow);
        }
    }

    /// A connection has closed.
    pub fn closed(&mut self, flow: &Flow) {
        self.ours.retain(|_, known| !known.shares_connection(flow));
        self.theirs.retain(|_, known| !known.shares_connection(flow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_opened_once_for_each_place_and_name() {
        let mut connections = Connections::default();
        let first = connections.open(&hop(Transport::Tls, "a.example")).unwrap();
        assert!(first.is_ours());
        assert_eq!(connections.find(&hop(Transport::Tls, "A.example")), Some(first));
        assert_eq!(connections.find(&hop(Transport::Tls, "b.example")), None);
        let second = connections.open(&hop(Transport::Tls, "b.example")).unwrap();
        assert_ne!(first.connection, second.connection);
        connections.closed(&first);
        assert_eq!(connections.find(&hop(Transport::Tls, "a.example")), None);
        assert_eq!(connections.find(&hop(Transport::Tls, "b.example")), Some(second));
    }

    #[test]
    fn a_connection_that_came_to_us_is_used_only_when_it_had_no_name_to_prove() {
        let mut connections = Connections::default();
        for (transport, connection) in [(Transport::Tcp, 7), (Transport::Tls, 8)] {
            let hop = hop(transport, "a.example");
            let flow = Flow {
                transport,
                local: hop.local,
                remote: hop.remote,
                connection,
            };
            connections.heard(&flow);
            let found = connections.find(&hop).map(|flow| flow.connection);
            assert_eq!(found, (transport == Transport::Tcp).then_some(7));
            connections.closed(&flow);
            assert_eq!(connections.find(&hop), None);
        }
    }

    #[test]
    fn there_is_an_end_to_opening() {
        let mut connections = Connections::default();
        let opened = (0..=CONNECTIONS_MAX).filter(|n| {
            connections
                .open(&hop(Transport::Tcp, &format!("{n}.example")))
                .is_some()
        });
        assert_eq!(opened.count(), CONNECTIONS_MAX);
    }

    fn hop(transport: Transport, name: &str) -> Hop {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:5060"].map(|address| address.parse().unwrap());
        Hop {
            transport,
            local,
            remote,
            name: name.to_owned(),
        }
    }
}
