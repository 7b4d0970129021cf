//! One socket SIP is spoken on, as `[sip] listen` names it: `TRANSPORT:ADDRESS:PORT`, and behind a `/` perhaps the
//! address its peers are told.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::nearest::suggestion;

const HOW: &str = "write \"udp:ADDRESS:PORT\", or the same with tcp, tls, ws or wss";

/// What carries SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SipTransport {
    /// Datagrams.
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

/// One socket SIP is spoken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen {
    /// What is spoken there.
    pub transport: SipTransport,
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// The address its peers are told to send to; none tells the one of `[sip]`.
    pub external_ip: Option<IpAddr>,
}

impl SipTransport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether it needs a certificate.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether two of these cannot listen on the same port.
    fn shares_ports(self, other: Self) -> bool {
        (self == Self::Udp) == (other == Self::Udp)
    }
}

impl Listen {
    /// A socket whose peers are told what `[sip]` says.
    pub fn new(transport: SipTransport, address: SocketAddr) -> Self {
        Self {
            transport,
            address,
            external_ip: None,
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (transport, rest) = text
            .split_once(':')
            .ok_or_else(|| format!("names no transport: {HOW}"))?;
        let words = SipTransport::ALL.map(SipTransport::as_str);
        let known = SipTransport::ALL.into_iter().find(|one| one.as_str() == transport);
        let transport = known.ok_or_else(|| format!("has an unknown transport: {}", suggestion(transport, words)))?;
        let (address, external) = match rest.split_once('/') {
            Some((address, external)) => (address, Some(external)),
            None => (rest, None),
        };
        let address: SocketAddr = address
            .parse()
            .map_err(|_| format!("has no IP address with a port: {HOW}"))?;
        let external_ip = external.map(read_external_ip).transpose()?;
        if external_ip.is_some_and(|external| external.is_ipv4() != address.is_ipv4()) {
            return Err("has an external address of another family behind \"/\"".to_owned());
        }
        Ok(Self {
            transport,
            address,
            external_ip,
        })
    }

    /// Whether both cannot be bound.
    pub(super) fn collides(&self, other: &Self) -> bool {
        self.address.port() != 0 && self.address == other.address && self.transport.shares_ports(other.transport)
    }
}

impl fmt::Display for SipTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.transport, self.address)?;
        self.external_ip.map_or(Ok(()), |external| write!(out, "/{external}"))
    }
}

/// An address that one machine can have.
pub(super) fn read_external_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| "is not an IP address".to_owned())?;
    match ip.is_unspecified() || ip.is_multicast() {
        true => Err("is no address of one machine; leave it empty for the address the peer reaches us on".to_owned()),
        false => Ok(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_and_family_is_read_and_written_the_same() {
        for text in [
            "udp:[::]:5060",
            "tcp:0.0.0.0:5060/203.0.113.7",
            "tls:[2001:db8::1]:5061/2001:db8::2",
            "ws:127.0.0.1:0",
            "wss:192.0.2.1:443",
        ] {
            assert_eq!(Listen::read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_external_address_has_to_be_one_machines_and_of_the_family() {
        let fault = |text: &str| Listen::read(text).unwrap_err();
        assert!(fault("udp:0.0.0.0:5060/").contains("is not an IP address"));
        assert!(fault("udp:0.0.0.0:5060/0.0.0.0").contains("one machine"));
        assert!(fault("udp:0.0.0.0:5060/2001:db8::1").contains("another family"));
    }

    #[test]
    fn connections_of_all_kinds_share_the_ports_of_tcp() {
        let collide = |a: &str, b: &str| Listen::read(a).unwrap().collides(&Listen::read(b).unwrap());
        assert!(collide("tcp:0.0.0.0:5060", "ws:0.0.0.0:5060/192.0.2.1"));
        assert!(!collide("udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"));
        assert!(!collide("tcp:0.0.0.0:0", "tcp:0.0.0.0:0"));
        assert!(!collide("tcp:0.0.0.0:5060", "tcp:[::]:5060"));
    }
}
