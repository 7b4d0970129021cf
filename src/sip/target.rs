//! Target and hop: where a request of ours is to go, before and after its name has been looked up.
//!
//! The endpoint knows names; the driver asks the DNS (RFC 3263) and hands back hops in the order to try them. Nothing
//! here resolves anything.

use std::net::SocketAddr;

use super::defect::Malformed;
use super::flow::Transport;
use super::host::Host;
use super::uri::{Scheme, Uri};

/// Where a request is to go, as a URI says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host: a name or an address.
    pub host: Host,
    /// The port, when one is written; without it the DNS is asked for services.
    pub port: Option<u16>,
    /// The transport, when one is written.
    pub transport: Option<Transport>,
    /// Only transports nobody can read along on will do (`sips:`).
    pub secure: bool,
}

impl Target {
    /// Where a `sip:` or `sips:` URI leads.
    pub fn of(uri: &Uri) -> Result<Self, Malformed> {
        let host = uri.host().ok_or(Malformed("the URI names no host"))?;
        let named = uri.params().get("transport");
        let transport = match named.map(Transport::read) {
            Some(None) => return Err(Malformed("the URI names an unknown transport")),
            known => known.flatten(),
        };
        Ok(Self {
            host: host.clone(),
            port: uri.port(),
            transport,
            secure: *uri.scheme() == Scheme::Sips,
        })
    }
}

/// One address a target turned out to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// What to speak there.
    pub transport: Transport,
    /// Our end, as the peer would reach it: the listening socket of that transport, at the address facing the peer.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Whom a certificate has to name, and the Host of a WebSocket: the name before the DNS was asked (RFC 5922).
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_where_it_leads() {
        let target = |uri: &str| Target::of(&Uri::read(uri).unwrap());
        let named = target("sips:bob@example.com:5071;transport=TLS").unwrap();
        assert_eq!((named.host.as_str(), named.port), ("example.com", Some(5071)));
        assert_eq!((named.transport, named.secure), (Some(Transport::Tls), true));
        assert_eq!(target("sip:[::1]").unwrap().transport, None);
        assert!(target("sip:h;transport=sctp").is_err() && target("tel:+15550100").is_err());
    }
}
