//! Our end of what we send by ourselves: which socket faces a peer, and at which address the peer reaches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    net::udp::LocalAddresses,
    sip::{Transport, locate::Listening},
};

/// Finds our end.
#[derive(Debug)]
pub(super) struct Ways {
    sockets: Vec<(Transport, SocketAddr)>,
    ipv4: LocalAddresses,
    ipv6: LocalAddresses,
}

impl Ways {
    /// With these bound sockets.
    pub(super) fn new(sockets: Vec<(Transport, SocketAddr)>) -> Self {
        Self {
            sockets,
            ipv4: LocalAddresses::new((Ipv4Addr::UNSPECIFIED, 0).into()),
            ipv6: LocalAddresses::new((Ipv6Addr::UNSPECIFIED, 0).into()),
        }
    }

    /// What we listen on.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let listening = |(transport, bound): &(Transport, SocketAddr)| Listening {
            transport: *transport,
            is_ipv4: bound.is_ipv4(),
        };
        self.sockets.iter().map(listening).collect()
    }

    /// Our end as this peer reaches it: the socket of the transport that the kernel would send from, else one that could
    /// be. A connection may be opened without a socket that listens; its peer then finds nobody at the default port.
    /// `None` when there is no way to the peer.
    pub(super) fn facing(&mut self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        let source = match remote {
            SocketAddr::V4(_) => self.ipv4.facing(remote),
            SocketAddr::V6(_) => self.ipv6.facing(remote),
        };
        let source = Some(source.ip()).filter(|ip| !ip.is_unspecified())?;
        let fits = |bound: &IpAddr| *bound == source || bound.is_unspecified();
        let could = |bound: &IpAddr| bound.is_loopback() == remote.ip().is_loopback();
        let socket = self
            .socket(transport, source, fits)
            .or_else(|| self.socket(transport, source, could));
        match socket {
            Some(bound) if bound.ip().is_unspecified() => Some(SocketAddr::new(source, bound.port())),
            None if transport.is_reliable() => Some(SocketAddr::new(source, transport.default_port())),
            other => other,
        }
    }

    fn socket(&self, transport: Transport, source: IpAddr, will_do: impl Fn(&IpAddr) -> bool) -> Option<SocketAddr> {
        let of_kind = self.sockets.iter().filter(|(kind, _)| *kind == transport);
        let mut of_family = of_kind
            .map(|(_, bound)| *bound)
            .filter(|bound| bound.is_ipv4() == source.is_ipv4());
        of_family.find(|bound| will_do(&bound.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_that_faces_the_peer_is_found_at_the_address_the_peer_reaches() {
        let mut ways = ways(&[
            (Transport::Udp, "0.0.0.0:5060"),
            (Transport::Tcp, "0.0.0.0:5070"),
            (Transport::Tls, "127.0.0.3:5071"),
        ]);
        let mut facing = |transport| {
            ways.facing(transport, "127.0.0.1:9".parse().unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(facing(Transport::Udp), "127.0.0.1:5060");
        assert_eq!(facing(Transport::Tcp), "127.0.0.1:5070");
        assert_eq!(facing(Transport::Tls), "127.0.0.3:5071");
        assert_eq!(facing(Transport::Wss), "127.0.0.1:443");
    }

    #[test]
    fn datagrams_leave_from_a_socket_of_their_family_or_not_at_all() {
        let mut ways = ways(&[(Transport::Udp, "[::1]:5060")]);
        assert_eq!(ways.facing(Transport::Udp, "127.0.0.1:9".parse().unwrap()), None);
        assert_eq!(
            ways.listening(),
            [Listening {
                transport: Transport::Udp,
                is_ipv4: false
            }]
        );
    }

    fn ways(sockets: &[(Transport, &str)]) -> Ways {
        let sockets = sockets
            .iter()
            .map(|(transport, bound)| (*transport, bound.parse().unwrap()));
        Ways::new(sockets.collect())
    }
}
