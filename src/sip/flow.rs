//! Flow: the way a message came, which is also the way back (RFC 3261 section 18.2, RFC 3581).
//!
//! A flow is a value; the sockets belong to the driver. Requests of ours inside a dialog, ACK included, go where RFC 3261
//! section 12.2.1.1 says, to the first Route or to the peer's Contact, with one exception: they stay on the flow of the
//! peer's last message when the peer opened that connection, when it is behind a NAT, when the flow leads there anyway,
//! or when the address cannot be looked up (`whereabouts`). Behind a NAT only that way is open.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::via::Via;

/// The port a Via without a port means.
const DEFAULT_PORT: u16 = 5060;

/// The first number of a connection that we opened.
pub const OPENED_BY_US: u64 = 1 << 63;

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams: the transaction timers repeat what may be lost.
    Udp,
    /// One connection: nothing is lost unless the connection is.
    Tcp,
    /// One encrypted connection.
    Tls,
    /// One WebSocket, a message in each of its frames (RFC 7118).
    Ws,
    /// One encrypted WebSocket.
    Wss,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The transport of this name, as in Via or in a URI's `transport` parameter.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(text))
    }

    /// The word in Via.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// Whether the transport repeats lost bytes itself.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// Whether nobody on the way can read along.
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// The port a host without one means (RFC 3261 section 19.1.2, RFC 7118 section 5.2.2).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Where a message came from and through which of our sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What carried it.
    pub transport: Transport,
    /// Our end, as the peer reaches it: a concrete address, not the wildcard a socket may be bound to.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Which connection; 0 for UDP. Connections that came to us are counted by the driver, those the endpoint asks for
    /// by the endpoint, from [`OPENED_BY_US`] on.
    pub connection: u64,
}

impl Flow {
    /// The peer's address, an IPv4 address in IPv6 clothes undressed.
    pub fn source_ip(&self) -> IpAddr {
        self.remote.ip().to_canonical()
    }

    /// Who sent it, as far as addresses tell.
    pub fn origin(&self) -> Origin {
        Origin::of(self.local.ip(), self.remote.ip())
    }

    /// Where the response to a request with this topmost Via goes. Over TCP the connection it came on; over UDP its
    /// source address, at the source port when the peer asked for it with `rport`, else at the port of sent-by. `maddr`
    /// is not obeyed: it would let anyone point our responses at anyone.
    pub fn reply_to(&self, via: &Via) -> Flow {
        if self.transport.is_reliable() || via.wants_rport() {
            return *self;
        }
        let port = via.port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT);
        Flow {
            remote: SocketAddr::new(self.remote.ip(), port),
            ..*self
        }
    }

    /// Whether it is a connection that we opened.
    pub fn is_ours(&self) -> bool {
        self.connection >= OPENED_BY_US
    }

    /// Whether both use the same connection; never true of UDP.
    pub fn shares_connection(&self, other: &Flow) -> bool {
        self.transport.is_reliable() && other.transport.is_reliable() && self.connection == other.connection
    }
}

/// Who sends something, as far as addresses tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    address: IpAddr,
    is_here: bool,
}

impl Origin {
    /// What comes from one of our own addresses, or to a loopback address, comes from this machine: the kernel lets
    /// nobody else through. Softphones call 127.0.0.1 from whatever address their machine has. A loopback address says
    /// so itself and stands for nothing else.
    pub fn of(local: IpAddr, remote: IpAddr) -> Self {
        let (local, address) = (local.to_canonical(), remote.to_canonical());
        Self {
            address,
            is_here: (local == address || local.is_loopback()) && !address.is_loopback(),
        }
    }

    /// The addresses it may be known by, the surest first: its own, and the loopback ones when it is this machine.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let here = loopback.into_iter().filter(move |_| self.is_here);
        std::iter::once(self.address).chain(here)
    }
}

/// Somewhere else.
impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            is_here: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_goes_to_the_source_port_only_when_rport_asks_for_it() {
        let flow = flow(Transport::Udp);
        let reply = |via: &str| flow.reply_to(&Via::read(via).unwrap()).remote.to_string();
        assert_eq!(
            reply("SIP/2.0/UDP 10.0.0.1:5080;rport;branch=z9hG4bK1"),
            "192.0.2.7:40000"
        );
        assert_eq!(reply("SIP/2.0/UDP 10.0.0.1:5080;branch=z9hG4bK1"), "192.0.2.7:5080");
        assert_eq!(reply("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1"), "192.0.2.7:5060");
    }

    #[test]
    fn over_tcp_a_response_stays_on_the_connection() {
        let flow = flow(Transport::Tcp);
        assert_eq!(
            flow.reply_to(&Via::read("SIP/2.0/TCP 10.0.0.1:5080;branch=z9hG4bK1").unwrap()),
            flow
        );
        assert!(flow.shares_connection(&flow));
    }

    #[test]
    fn who_calls_from_an_own_address_or_to_a_loopback_one_is_this_machine() {
        let is_here = |local: &str, remote: &str| {
            let origin = Origin::of(local.parse().unwrap(), remote.parse().unwrap());
            let loopback = origin.addresses().any(|address| address.is_loopback());
            assert_eq!(origin.addresses().next().unwrap(), remote.parse::<IpAddr>().unwrap());
            loopback
        };
        assert!(is_here("192.0.2.1", "192.0.2.1"));
        assert!(is_here("127.0.0.1", "192.0.2.1"));
        assert!(is_here("::1", "2001:db8::1"));
        let other = Origin::of("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        assert_eq!(other.addresses().count(), 1);
        assert!(!is_here("192.0.2.1", "192.0.2.7"));
        assert!(!is_here("2001:db8::1", "2001:db8::7"));
    }

    fn flow(transport: Transport) -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40000"].map(|address| address.parse().unwrap());
        Flow {
            transport,
            local,
            remote,
            connection: 3,
        }
    }
}
