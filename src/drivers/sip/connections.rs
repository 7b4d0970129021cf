//! All open connections, with a bounded queue to each peer.
//!
//! A connection has its place from before it is secured or even open, so that half-open ones are bounded too. What is
//! sent meanwhile waits in its queue.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::Inbound;
use crate::{
    sip::{Flow, Transport},
    telemetry::{Metrics, Queue},
};

/// Connections that came to us and are served at once; one more is closed right after it was accepted.
const ACCEPTED_MAX: usize = 1024;

/// Of these, connections from one address. One more is closed: no single peer takes the room of all. Phones behind one
/// NAT or one proxy share this room.
const ACCEPTED_PER_SOURCE_MAX: usize = 256;

/// Connections that came to us and are still to be secured or upgraded; one more is closed.
const HANDSHAKES_MAX: usize = 256;

/// Of these, connections from one address. One more is closed: half-open connections of one peer keep nobody else out.
const HANDSHAKES_PER_SOURCE_MAX: usize = 32;

/// Connections we are opening; one more is not opened, and what was to be sent on it fails.
const DIALS_MAX: usize = 64;

/// Connections we opened; one more is not opened, and what was to be sent on it fails.
const OPENED_MAX: usize = 1024;

/// Messages that may wait for one slow peer; past it the connection is closed.
const OUTBOX_MAX: usize = 64;

/// The table; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    table: Arc<Mutex<Table>>,
    inbound: mpsc::Sender<Inbound>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Entry>,
    last_accepted: u64,
}

#[derive(Debug)]
struct Entry {
    outbox: mpsc::Sender<Vec<u8>>,
    remote: IpAddr,
    is_accepted: bool,
    is_ready: bool,
}

/// One connection's place in the table; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The connection.
    pub(super) flow: Flow,
    /// What is to be written; closed when the connection is to end.
    pub(super) outbox: mpsc::Receiver<Vec<u8>>,
    /// Where it stands.
    pub(super) connections: Connections,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// For anyone.
    All,
    /// For this peer.
    Source,
}

impl Connections {
    /// No connections yet; what they read goes to `inbound`.
    pub(super) fn new(inbound: mpsc::Sender<Inbound>, metrics: Metrics) -> Self {
        Self {
            table: Arc::default(),
            inbound,
            metrics,
        }
    }

    /// Sends on a connection; one that does not drain is closed.
    pub(super) fn send(&self, connection: u64, bytes: Vec<u8>) {
        let mut table = self.table();
        if let Some(entry) = table.open.get(&connection)
            && entry.outbox.try_send(bytes).is_err()
        {
            self.metrics.queue_drop(Queue::SipConnection);
            table.open.remove(&connection);
        }
    }

    /// Makes room for a connection that came to us.
    pub(super) fn admit(&self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Result<Place, Full> {
        let mut table = self.table();
        table.check_room(remote.ip().to_canonical(), transport != Transport::Tcp)?;
        table.last_accepted += 1;
        let flow = Flow {
            transport,
            local,
            remote,
            connection: table.last_accepted,
        };
        Ok(self.enter(&mut table, flow, true))
    }

    /// Makes room for a connection that is about to be opened.
    pub(super) fn reserve(&self, flow: Flow) -> Result<Place, Full> {
        let mut table = self.table();
        let opened = || table.open.values().filter(|entry| !entry.is_accepted);
        let is_full = opened().count() >= OPENED_MAX || opened().filter(|entry| !entry.is_ready).count() >= DIALS_MAX;
        match is_full || table.open.contains_key(&flow.connection) {
            true => Err(Full::All),
            false => Ok(self.enter(&mut table, flow, false)),
        }
    }

    fn enter(&self, table: &mut Table, flow: Flow, is_accepted: bool) -> Place {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let entry = Entry {
            outbox: sender,
            remote: flow.remote.ip().to_canonical(),
            is_accepted,
            is_ready: false,
        };
        table.open.insert(flow.connection, entry);
        self.metrics.sip_connections(table.open.len());
        Place {
            flow,
            outbox,
            connections: self.clone(),
        }
    }

    /// Hands on what was read; false when the driver is gone.
    pub(super) async fn deliver(&self, inbound: Inbound) -> bool {
        self.inbound.send(inbound).await.is_ok()
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn check_room(&self, source: IpAddr, shakes_hands: bool) -> Result<(), Full> {
        let accepted = || self.open.values().filter(|entry| entry.is_accepted);
        let half_open = || accepted().filter(|entry| !entry.is_ready);
        let is_full = accepted().count() >= ACCEPTED_MAX || (shakes_hands && half_open().count() >= HANDSHAKES_MAX);
        let is_its = |entry: &&Entry| entry.remote == source;
        let is_greedy = accepted().filter(is_its).count() >= ACCEPTED_PER_SOURCE_MAX
            || (shakes_hands && half_open().filter(is_its).count() >= HANDSHAKES_PER_SOURCE_MAX);
        match (is_greedy, is_full) {
            (true, _) => Err(Full::Source),
            (false, true) => Err(Full::All),
            (false, false) => Ok(()),
        }
    }
}

impl Place {
    /// The connection carries messages from now on.
    pub(super) fn set_ready(&self) {
        if let Some(entry) = self.connections.table().open.get_mut(&self.flow.connection) {
            entry.is_ready = true;
        }
    }

    /// Gives the place back and tells the driver that the connection is gone.
    pub(super) async fn end(self) {
        let (flow, connections) = (self.flow, self.connections.clone());
        drop(self);
        // The driver is the only receiver; when it is gone there is nobody left to tell.
        connections.deliver(Inbound::Closed(flow)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.open.remove(&self.flow.connection);
        self.connections.metrics.sip_connections(table.open.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::OPENED_BY_US;

    #[test]
    fn one_source_cannot_take_the_room_of_all() {
        let connections = connections();
        let from = |octet| connections.admit(Transport::Tcp, at(1), at(octet));
        let held: Vec<_> = (0..ACCEPTED_PER_SOURCE_MAX).map(|_| from(7).unwrap()).collect();
        assert_eq!(from(7).err(), Some(Full::Source));
        let other = from(8).unwrap();
        assert!(other.flow.connection > held.last().unwrap().flow.connection);
        drop(held);
        from(7).unwrap();
    }

    #[test]
    fn half_open_connections_of_one_source_keep_nobody_else_out() {
        let connections = connections();
        let from = |octet| connections.admit(Transport::Tls, at(1), at(octet));
        let held: Vec<_> = (0..HANDSHAKES_PER_SOURCE_MAX).map(|_| from(7).unwrap()).collect();
        assert_eq!(from(7).err(), Some(Full::Source));
        let other = from(8).unwrap();
        held[0].set_ready();
        let again = from(7).unwrap();
        let rest: Vec<_> = (9..).map(from).take_while(Result::is_ok).collect();
        assert_eq!(rest.len(), HANDSHAKES_MAX - HANDSHAKES_PER_SOURCE_MAX - 1);
        drop((other, again));
    }

    #[test]
    fn only_so_many_connections_are_opened_at_once() {
        let connections = connections();
        let flow = |n| Flow {
            transport: Transport::Tcp,
            local: at(1),
            remote: at(2),
            connection: OPENED_BY_US + n,
        };
        let held: Vec<_> = (0..DIALS_MAX as u64)
            .map(|n| connections.reserve(flow(n)).unwrap())
            .collect();
        assert_eq!(connections.reserve(flow(999)).err(), Some(Full::All));
        held[0].set_ready();
        connections.reserve(flow(999)).unwrap();
    }

    #[test]
    fn there_is_an_end_to_connections_and_dropping_one_makes_room() {
        let connections = connections();
        let from = |n: usize| connections.admit(Transport::Tcp, at(1), at((n / ACCEPTED_PER_SOURCE_MAX) as u8));
        let mut held: Vec<_> = (0..ACCEPTED_MAX).map(|n| from(n).unwrap()).collect();
        assert_eq!(from(ACCEPTED_MAX).err(), Some(Full::All));
        held.pop();
        from(ACCEPTED_MAX).unwrap();
    }

    #[test]
    fn our_connections_keep_the_number_they_were_given_and_each_number_is_open_once() {
        let connections = connections();
        let flow = Flow {
            transport: Transport::Tcp,
            local: at(1),
            remote: at(2),
            connection: OPENED_BY_US + 4,
        };
        let mut place = connections.reserve(flow).unwrap();
        assert_eq!(connections.reserve(flow).err(), Some(Full::All));
        connections.send(flow.connection, b"early".to_vec());
        assert_eq!(place.outbox.try_recv().unwrap(), b"early");
        drop(place);
        connections.reserve(flow).unwrap();
    }

    #[test]
    fn a_peer_that_takes_nothing_is_cut_off_at_the_bound() {
        let connections = connections();
        let mut place = connections.admit(Transport::Tcp, at(1), at(2)).unwrap();
        (0..=OUTBOX_MAX).for_each(|_| connections.send(place.flow.connection, Vec::new()));
        for _ in 0..OUTBOX_MAX {
            place.outbox.try_recv().unwrap();
        }
        assert_eq!(place.outbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    fn connections() -> Connections {
        Connections::new(mpsc::channel(1).0, Metrics::new())
    }

    fn at(octet: u8) -> SocketAddr {
        ([192, 0, 2, octet], 5060).into()
    }
}
