//! Admission: which source belongs to which peer, and what it has to prove.
//!
//! A source is known by its address, by its password, or both. It is decided before anything is remembered about a
//! request, so that strangers cost no memory. Credentials never leave this file and [`super::digest`].

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use ipnet::IpNet as Network;

use super::digest::{Authenticator, Outcome};
use super::flow::{Origin, Transport};
use super::message::Request;
use super::peers::{Door, Peers, first_seen};
use super::proof::Algorithm;
use super::uplink::Uplink;

/// A trunk as SIP sees it. With networks it is found by source address; with credentials its INVITEs are challenged;
/// with credentials and no networks anyone may try, and the user name tells the peer. With neither it can never call.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name in the configuration.
    pub name: String,
    /// Where it sends from.
    pub networks: Vec<Network>,
    /// What it logs in with.
    pub credentials: Option<Credentials>,
    /// How requests of ours reach it; `None`: it only calls us.
    pub uplink: Option<Uplink>,
    /// The session timer we ask for and agree to, at most (RFC 4028); `None`: we ask for none.
    pub session_expires: Option<Duration>,
    /// What its requests may come by; empty: any transport.
    pub transports: Vec<Transport>,
}

impl Peer {
    /// Whether somebody there may be this peer; what is asked before a connection is taken.
    pub fn may_connect(&self, origin: impl Into<Origin>) -> bool {
        self.is_open() || self.contains_any(origin.into())
    }

    fn contains_any(&self, origin: Origin) -> bool {
        origin.addresses().any(|address| self.contains(address))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    pub(super) fn is_open(&self) -> bool {
        self.networks.is_empty() && self.credentials.is_some()
    }

    pub(super) fn login_of(&self, user: &str) -> Option<&Credentials> {
        self.credentials.as_ref().filter(|own| own.username == user)
    }

    pub(super) fn algorithms(&self) -> &[Algorithm] {
        self.credentials.as_ref().map_or(&[], |own| &own.algorithms)
    }
}

/// A user name and a password, and how to prove it.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// What it is challenged with, in this order; without any it can never log in.
    pub algorithms: Vec<Algorithm>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credentials(hidden)")
    }
}

/// Who a source address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer of this index.
    Peer(usize),
    /// No peer's network, but some peer may log in from anywhere.
    Anyone,
    /// Nobody.
    Unknown,
}

/// Whether an INVITE is let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes from the peer of this index.
    Admitted(usize),
    /// It has to prove who sent it: the WWW-Authenticate values of the 401.
    Challenged(Vec<String>),
    /// The proof was wrong, in this way.
    Failed(String),
}

/// Whether one of several users is who it says.
#[derive(Debug, PartialEq, Eq)]
pub enum Proved {
    /// It is this user.
    User(String),
    /// It has to prove it: the WWW-Authenticate values of the 401.
    Challenged(Vec<String>),
    /// The proof was wrong, in this way.
    Failed(String),
}

/// The doorkeeper.
#[derive(Debug)]
pub struct Admission {
    peers: Peers,
    authenticator: Authenticator,
}

impl Admission {
    /// A doorkeeper for these peers.
    pub fn new(now: Instant, peers: Vec<Peer>, realm: &str, secret: [u8; 32]) -> Self {
        Self {
            peers: Peers::new(peers),
            authenticator: Authenticator::new(now, realm, secret),
        }
    }

    /// Who there is.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Who calls from there; the first peer whose networks contain it.
    pub fn source(&self, origin: Origin) -> Source {
        self.peers.source(origin)
    }

    /// Whether whoever is there gets answers at all.
    pub fn knows(&self, origin: Origin) -> bool {
        self.source(origin) != Source::Unknown
    }

    /// The name of a peer.
    pub fn name(&self, peer: usize) -> &str {
        self.peers.name(peer)
    }

    /// The longest a call with this peer is to live without a sign of life.
    pub fn session_expires(&self, peer: usize) -> Option<Duration> {
        self.peers.get(peer)?.session_expires
    }

    /// The peer of this name and how requests of ours reach it, if they do.
    pub fn uplink_named(&self, name: &str) -> Option<(usize, &Uplink)> {
        let peer = self.peers.named(name)?;
        Some((peer, self.uplink(peer)?))
    }

    /// How requests of ours reach a peer.
    pub fn uplink(&self, peer: usize) -> Option<&Uplink> {
        self.peers.get(peer)?.uplink.as_ref()
    }

    /// The name of the peer that calls from there.
    pub fn name_at(&self, origin: Origin) -> Option<&str> {
        match self.source(origin) {
            Source::Peer(peer) => Some(self.name(peer)),
            Source::Anyone | Source::Unknown => None,
        }
    }

    /// Whether a request inside a dialog with this peer may come from there.
    pub fn may_send(&self, peer: usize, origin: Origin) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|peer| peer.networks.is_empty() || peer.contains_any(origin))
    }

    /// Whether this peer's requests may come by this transport.
    pub fn allows(&self, peer: usize, transport: Transport) -> bool {
        self.peers.allows(Source::Peer(peer), transport)
    }

    /// Checks an INVITE from this source. A retransmission must not get here: its nonce count is used up.
    pub fn check(&mut self, now: Instant, source: Source, request: &Request) -> Verdict {
        let candidates = match self.peers.door(source) {
            Door::Open(peer) => return Verdict::Admitted(peer),
            Door::Login(candidates) => candidates,
        };
        let find = |user: &str| self.peers.account(&candidates, user);
        let offered = self.peers.offered(&candidates);
        let password = |user: &str| find(user).map(|(_, login)| login.password.as_str());
        match self.authenticator.check(now, request, &offered, password) {
            Outcome::Accepted { username, algorithm } => match find(&username) {
                Some((index, login)) if login.algorithms.contains(&algorithm) => Verdict::Admitted(index),
                // The password is right and what was offered for another peer is not: stale keeps the phone from
                // asking its user for another password.
                Some((_, login)) => Verdict::Challenged(self.authenticator.challenge(now, true, &login.algorithms)),
                None => Verdict::Failed("no such user".to_owned()),
            },
            Outcome::Challenge { stale, .. } => Verdict::Challenged(self.authenticator.challenge(now, stale, &offered)),
            Outcome::Denied(denial) => Verdict::Failed(denial.to_string()),
        }
    }
}

/// Users of our own, whoever keeps them.
impl Admission {
    /// Checks a request that only one of the users `known` may send; `asked` is whose algorithms are offered.
    pub fn check_users(
        &mut self,
        now: Instant,
        request: &Request,
        known: &[&Credentials],
        asked: &[&Credentials],
    ) -> Proved {
        let offered = first_seen(asked.iter().flat_map(|user| &user.algorithms));
        let find = |name: &str| known.iter().find(|user| user.username == name);
        let password = |name: &str| find(name).map(|user| user.password.as_str());
        match self.authenticator.check(now, request, &offered, password) {
            Outcome::Accepted { username, algorithm } => match find(&username) {
                Some(user) if user.algorithms.contains(&algorithm) => Proved::User(username),
                Some(user) => Proved::Challenged(self.authenticator.challenge(now, true, &user.algorithms)),
                None => Proved::Failed("no such user".to_owned()),
            },
            Outcome::Challenge { stale, .. } => Proved::Challenged(self.authenticator.challenge(now, stale, &offered)),
            Outcome::Denied(denial) => Proved::Failed(denial.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::method::Method;
    use crate::sip::uri::Uri;

    #[test]
    fn the_first_peer_whose_networks_contain_the_source_is_taken() {
        let admission = admission(vec![
            peer("lan", &["10.0.0.0/8"], false),
            peer("all", &["0.0.0.0/0"], false),
        ]);
        assert_eq!(admission.source(ip("10.1.2.3")), Source::Peer(0));
        assert_eq!(admission.source(ip("192.0.2.1")), Source::Peer(1));
        assert_eq!(admission.source(ip("2001:db8::1")), Source::Unknown);
        assert_eq!(admission.name_at(ip("192.0.2.1")), Some("all"));
    }

    #[test]
    fn this_machine_is_known_by_its_loopback_address_wherever_it_calls_from() {
        let admission = admission(vec![
            peer("here", &["127.0.0.0/8"], false),
            peer("carrier", &["192.0.2.0/24"], false),
        ]);
        let here = |local: &str, remote: &str| Origin::of(local.parse().unwrap(), remote.parse().unwrap());
        assert_eq!(admission.name_at(here("198.51.100.1", "198.51.100.1")), Some("here"));
        assert_eq!(admission.name_at(here("127.0.0.1", "198.51.100.1")), Some("here"));
        assert_eq!(admission.name_at(here("192.0.2.1", "192.0.2.1")), Some("carrier"));
        assert_eq!(admission.name_at(here("198.51.100.1", "198.51.100.2")), None);
    }

    #[test]
    fn a_stranger_may_log_in_only_where_a_peer_has_a_password_and_no_networks() {
        let closed = admission(vec![peer("pbx", &["10.0.0.0/8"], true)]);
        assert_eq!(closed.source(ip("192.0.2.1")), Source::Unknown);
        let open = admission(vec![peer("pbx", &["10.0.0.0/8"], true), peer("phones", &[], true)]);
        assert_eq!(open.source(ip("192.0.2.1")), Source::Anyone);
        assert!(open.may_send(1, ip("198.51.100.1")) && !open.may_send(0, ip("198.51.100.1")));
    }

    #[test]
    fn an_address_is_enough_without_a_password_and_not_enough_with_one() {
        let mut admission = admission(vec![
            peer("lan", &["10.0.0.0/8"], false),
            peer("pbx", &["192.0.2.0/24"], true),
        ]);
        let now = Instant::now();
        let invite = Request::new(Method::Invite, Uri::read("sip:operator@h").unwrap());
        assert_eq!(admission.check(now, Source::Peer(0), &invite), Verdict::Admitted(0));
        let Verdict::Challenged(challenges) = admission.check(now, Source::Peer(1), &invite) else {
            panic!()
        };
        assert_eq!(algorithms(&challenges), [Algorithm::Sha256, Algorithm::Md5]);
    }

    #[test]
    fn a_peer_is_challenged_with_its_own_algorithms_in_their_order() {
        let own = |name, network: &str, algorithms| with_algorithms(peer(name, &[network], true), algorithms);
        let mut admission = admission(vec![
            own("old", "10.0.0.0/8", &[Algorithm::Md5]),
            own("new", "192.0.2.0/24", &[Algorithm::Sha256]),
            own("both", "198.51.100.0/24", &[Algorithm::Md5, Algorithm::Sha256]),
        ]);
        let invite = Request::new(Method::Invite, Uri::read("sip:operator@h").unwrap());
        for (index, algorithms) in [
            &[Algorithm::Md5][..],
            &[Algorithm::Sha256],
            &[Algorithm::Md5, Algorithm::Sha256],
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(challenge_of(&mut admission, Source::Peer(index), &invite), algorithms);
        }
    }

    #[test]
    fn strangers_are_challenged_with_what_the_open_peers_take_in_the_order_first_seen() {
        let mut admission = admission(vec![
            with_algorithms(peer("pbx", &["10.0.0.0/8"], true), &[Algorithm::Sha256]),
            with_algorithms(peer("old", &[], true), &[Algorithm::Md5]),
            peer("both", &[], true),
        ]);
        let invite = Request::new(Method::Invite, Uri::read("sip:operator@h").unwrap());
        assert_eq!(
            challenge_of(&mut admission, Source::Anyone, &invite),
            [Algorithm::Md5, Algorithm::Sha256]
        );
    }

    #[test]
    fn a_peer_never_shows_its_password() {
        assert!(!format!("{:?}", peer("pbx", &[], true)).contains("secret"));
    }

    fn admission(peers: Vec<Peer>) -> Admission {
        Admission::new(Instant::now(), peers, "patchcord", [1; 32])
    }

    fn peer(name: &str, networks: &[&str], login: bool) -> Peer {
        let credentials = login.then(|| Credentials {
            username: name.into(),
            password: "secret".into(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        });
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        Peer {
            name: name.into(),
            networks,
            credentials,
            uplink: None,
            session_expires: None,
            transports: Vec::new(),
        }
    }

    fn with_algorithms(mut peer: Peer, algorithms: &[Algorithm]) -> Peer {
        peer.credentials.as_mut().unwrap().algorithms = algorithms.to_vec();
        peer
    }

    fn challenge_of(admission: &mut Admission, source: Source, request: &Request) -> Vec<Algorithm> {
        let Verdict::Challenged(challenges) = admission.check(Instant::now(), source, request) else {
            panic!()
        };
        algorithms(&challenges)
    }

    fn algorithms(challenges: &[String]) -> Vec<Algorithm> {
        let read = |challenge: &String| Algorithm::read(challenge.split("algorithm=").nth(1)?);
        challenges.iter().map(|challenge| read(challenge).unwrap()).collect()
    }

    fn ip(text: &str) -> Origin {
        text.parse::<IpAddr>().unwrap().into()
    }
}
