//! Peers: everybody who may talk to us, and who somebody is as far as addresses and transports tell.
//!
//! Nothing here changes while the gateway runs, so what is decided here can be asked about at any time. What has to be
//! proved by a password is `admission`'s.

use super::admission::{Credentials, Peer, Source};
use super::flow::{Origin, Transport};
use super::proof::Algorithm;

/// All peers, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct Peers(Vec<Peer>);

/// What somebody has to show at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Nothing: the address is enough for this peer.
    Open(usize),
    /// The password of one of these peers. Without any nobody gets in.
    Login(Vec<usize>),
}

impl Peers {
    /// These peers.
    pub fn new(peers: Vec<Peer>) -> Self {
        Self(peers)
    }

    /// Who calls from there; the first peer whose networks contain it.
    pub fn source(&self, origin: Origin) -> Source {
        let known = |address| self.0.iter().position(|peer| peer.contains(address));
        match origin.addresses().find_map(known) {
            Some(peer) => Source::Peer(peer),
            None if self.0.iter().any(Peer::is_open) => Source::Anyone,
            None => Source::Unknown,
        }
    }

    /// A peer by its place.
    pub fn get(&self, peer: usize) -> Option<&Peer> {
        self.0.get(peer)
    }

    /// The place of the peer of this name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|peer| peer.name == name)
    }

    /// The name of a peer.
    pub fn name(&self, peer: usize) -> &str {
        self.get(peer).map_or("", |peer| &peer.name)
    }

    /// Whether anybody who may be there may send requests by this transport.
    pub fn allows(&self, source: Source, transport: Transport) -> bool {
        match source {
            Source::Peer(peer) => self.get(peer).is_some_and(|peer| peer.allows(transport)),
            Source::Anyone => self.0.iter().any(|peer| peer.is_open() && peer.allows(transport)),
            Source::Unknown => false,
        }
    }

    /// What whoever is there has to show.
    pub fn door(&self, source: Source) -> Door {
        let is_open = |(_, peer): &(usize, &Peer)| peer.is_open();
        match source {
            Source::Peer(known) if self.get(known).is_some_and(|peer| peer.credentials.is_none()) => Door::Open(known),
            Source::Peer(known) => Door::Login(vec![known]),
            Source::Anyone => Door::Login(
                self.0
                    .iter()
                    .enumerate()
                    .filter(is_open)
                    .map(|(index, _)| index)
                    .collect(),
            ),
            Source::Unknown => Door::Login(Vec::new()),
        }
    }

    /// Whose user this is, of those at the door.
    pub fn account(&self, candidates: &[usize], user: &str) -> Option<(usize, &Credentials)> {
        let login = |index: &usize| Some((*index, self.get(*index)?.login_of(user)?));
        candidates.iter().find_map(login)
    }

    /// What all of these are challenged with, in the order first seen.
    pub fn offered(&self, candidates: &[usize]) -> Vec<Algorithm> {
        let peers = candidates.iter().filter_map(|index| self.get(*index));
        first_seen(peers.flat_map(Peer::algorithms))
    }

    /// Which of them it is and which not, one line each, up to the one it is.
    pub fn explained(&self, origin: Origin) -> Vec<String> {
        let source = self.source(origin);
        let looked_at = match source {
            Source::Peer(found) => found + 1,
            Source::Anyone | Source::Unknown => self.0.len(),
        };
        self.0
            .iter()
            .take(looked_at)
            .map(|peer| peer.explained(origin))
            .collect()
    }
}

impl Peer {
    /// Whether its requests may come by this transport.
    pub fn allows(&self, transport: Transport) -> bool {
        self.transports.is_empty() || self.transports.contains(&transport)
    }

    fn explained(&self, origin: Origin) -> String {
        let name = &self.name;
        let found = |address| self.networks.iter().find(|network| network.contains(&address));
        if let Some((address, network)) = origin.addresses().find_map(|at| Some((at, found(at)?))) {
            return format!("trunk \"{name}\": {address} is in its network {network}");
        }
        let addresses: Vec<_> = origin.addresses().map(|address| address.to_string()).collect();
        let addresses = addresses.join(" and ");
        if self.is_open() {
            return format!("trunk \"{name}\": it has no networks, anyone may log in as its user");
        }
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        match networks.is_empty() {
            true => format!("trunk \"{name}\": it has neither networks nor a login, so it never calls"),
            false => format!("trunk \"{name}\": {addresses} is in none of {}", networks.join(", ")),
        }
    }
}
/// Each of them once, in the order first seen.
pub(super) fn first_seen<'a>(algorithms: impl Iterator<Item = &'a Algorithm>) -> Vec<Algorithm> {
    let mut seen = Vec::new();
    for algorithm in algorithms {
        if !seen.contains(algorithm) {
            seen.push(*algorithm);
        }
    }
    seen
}
