//! The SIP socket over UDP, and the address a peer reaches us on.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::net::UdpSocket;

use super::socket::{self, Traffic};

/// Receive buffer asked for: some thousand requests that came while the driver was busy. Past it the kernel drops, and
/// the peers retransmit.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Send buffer asked for. Past it a response is dropped, and the peer's retransmission asks for it again.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Peers whose way is remembered; past it all are forgotten and looked up again, which costs three system calls each.
const REMEMBERED_MAX: usize = 4096;

/// How long a way is remembered: interfaces and routes may change under us.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// RFC 863 discard: a port to name when asking for a route. Nothing is sent to it.
const ANY_PORT: u16 = 9;

/// Binds the SIP socket. Needs a tokio runtime.
pub fn bind_sip(address: SocketAddr) -> io::Result<UdpSocket> {
    bind(address).map_err(|error| socket::unusable("UDP", address, &error))
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket::udp(address, Traffic::Signalling)?;
    // The kernel caps what it grants; less is no reason to refuse service.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Finds the local address that peers reach one socket on, which may be bound to all addresses.
#[derive(Debug)]
pub struct LocalAddresses {
    bound: SocketAddr,
    /// By the peer's address, and its link where the address means nothing without.
    ways: HashMap<(IpAddr, u32), Way>,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    local: IpAddr,
    found: Instant,
}

impl LocalAddresses {
    /// For a socket bound here.
    pub fn new(bound: SocketAddr) -> Self {
        Self {
            bound,
            ways: HashMap::new(),
        }
    }

    /// The address and port this remote reaches us on: the bound address when it is one, else the address the kernel
    /// would send from. When there is no way to the remote it is the bound address in any case.
    pub fn facing(&mut self, remote: SocketAddr) -> SocketAddr {
        if !self.bound.ip().is_unspecified() {
            return self.bound;
        }
        let now = Instant::now();
        let local = self
            .remembered(remote, now)
            .unwrap_or_else(|| self.look_up(remote, now));
        SocketAddr::new(local, self.bound.port())
    }

    fn remembered(&self, remote: SocketAddr, now: Instant) -> Option<IpAddr> {
        let way = self.ways.get(&key(remote))?;
        (now.saturating_duration_since(way.found) < REMEMBERED_FOR).then_some(way.local)
    }

    fn look_up(&mut self, remote: SocketAddr, now: Instant) -> IpAddr {
        let local = source_address(remote).unwrap_or_else(|error| {
            tracing::debug!(%remote, %error, "there is no way to a peer");
            self.bound.ip()
        });
        self.remember(remote, Way { local, found: now });
        local
    }

    fn remember(&mut self, remote: SocketAddr, way: Way) {
        if self.ways.len() >= REMEMBERED_MAX {
            self.ways.clear();
        }
        self.ways.insert(key(remote), way);
    }
}

fn key(remote: SocketAddr) -> (IpAddr, u32) {
    let link = match remote {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(remote) => remote.scope_id(),
    };
    (remote.ip(), link)
}

/// Connecting a UDP socket sends nothing, but makes the kernel choose the route and with it our address.
fn source_address(mut remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    remote.set_port(ANY_PORT);
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_peer_on_loopback_reaches_a_wildcard_socket_on_loopback() {
        let facing = everywhere().facing((LOOPBACK, 9999).into());
        assert_eq!(facing, SocketAddr::from((LOOPBACK, 5060)));
    }

    #[test]
    fn a_socket_bound_to_one_address_is_reached_there() {
        let bound = SocketAddr::from(([192, 0, 2, 1], 5060));
        assert_eq!(LocalAddresses::new(bound).facing((LOOPBACK, 9999).into()), bound);
    }

    #[test]
    fn an_endless_row_of_peers_does_not_grow_the_memory() {
        let mut addresses = everywhere();
        let way = Way {
            local: LOOPBACK,
            found: Instant::now(),
        };
        for peer in 0..3 * REMEMBERED_MAX as u32 {
            addresses.remember((Ipv4Addr::from_bits(peer), 5060).into(), way);
            assert!(addresses.ways.len() <= REMEMBERED_MAX);
        }
    }

    #[test]
    fn a_way_is_asked_for_again_when_it_is_old() {
        let mut addresses = everywhere();
        let now = Instant::now();
        let peer = (LOOPBACK, 5060).into();
        addresses.remember(
            peer,
            Way {
                local: LOOPBACK,
                found: now,
            },
        );
        assert_eq!(addresses.remembered(peer, now), Some(LOOPBACK));
        assert_eq!(addresses.remembered(peer, now + REMEMBERED_FOR), None);
    }

    #[tokio::test]
    async fn a_bound_socket_receives_what_is_sent_to_it() {
        let ours = bind_sip((LOOPBACK, 0).into()).unwrap();
        let theirs = bind_sip((LOOPBACK, 0).into()).unwrap();
        theirs.send_to(b"OPTIONS", ours.local_addr().unwrap()).await.unwrap();
        let mut bytes = [0; 16];
        let (length, from) = ours.recv_from(&mut bytes).await.unwrap();
        assert_eq!(
            (&bytes[..length], from),
            (&b"OPTIONS"[..], theirs.local_addr().unwrap())
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_and_named() {
        let error = bind_sip(([192, 0, 2, 1], 5060).into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("UDP 192.0.2.1:5060"), "{error}");
    }

    fn everywhere() -> LocalAddresses {
        LocalAddresses::new((Ipv4Addr::UNSPECIFIED, 5060).into())
    }
}
