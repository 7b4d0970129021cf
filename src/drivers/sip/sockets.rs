//! The sockets SIP is spoken on, and what they are told to peers as.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, UdpSocket};

use crate::{
    config::{self, SipTransport},
    net::{tcp, udp},
    sip::{Listener, Transport},
};

/// The bound sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    /// UDP sockets.
    pub udp: Vec<UdpSocket>,
    /// Listeners for connections, with what is spoken on them.
    pub streams: Vec<(Transport, TcpListener)>,
    /// All of them, in the order of the configuration.
    pub listeners: Vec<Listener>,
}

impl Sockets {
    /// Binds what the configuration names.
    pub fn bind(settings: &config::Sip) -> io::Result<Self> {
        let mut sockets = Self::default();
        for listen in &settings.listen {
            let transport = spoken(listen.transport);
            let bound = sockets.open(transport, listen.address)?;
            let default = settings.external_ip.filter(|ip| ip.is_ipv4() == bound.is_ipv4());
            sockets.listeners.push(Listener {
                transport,
                bound,
                external_ip: listen.external_ip.or(default),
            });
        }
        Ok(sockets)
    }

    /// Where a transport is spoken.
    pub fn addresses(&self, transport: Transport) -> Vec<SocketAddr> {
        let of_kind = self.listeners.iter().filter(|one| one.transport == transport);
        of_kind.map(|one| one.bound).collect()
    }

    fn open(&mut self, transport: Transport, address: SocketAddr) -> io::Result<SocketAddr> {
        match transport {
            Transport::Udp => {
                let socket = udp::bind_sip(address)?;
                let bound = socket.local_addr()?;
                self.udp.push(socket);
                Ok(bound)
            }
            _ => {
                let listener = tcp::listen(address)?;
                let bound = listener.local_addr()?;
                self.streams.push((transport, listener));
                Ok(bound)
            }
        }
    }
}

fn spoken(transport: SipTransport) -> Transport {
    match transport {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
        SipTransport::Ws => Transport::Ws,
        SipTransport::Wss => Transport::Wss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listen;

    #[tokio::test]
    async fn a_socket_without_an_external_address_has_the_one_of_its_family() {
        let listen = |text: &str, external: Option<&str>| Listen {
            external_ip: external.map(|ip| ip.parse().unwrap()),
            ..Listen::new(SipTransport::Udp, text.parse().unwrap())
        };
        let settings = config::Sip {
            listen: vec![
                listen("127.0.0.1:0", None),
                listen("127.0.0.1:0", Some("198.51.100.1")),
                listen("[::1]:0", None),
            ],
            external_ip: "203.0.113.7".parse().ok(),
            ..config::Sip::default()
        };
        let sockets = Sockets::bind(&settings).unwrap();
        let told: Vec<_> = sockets
            .listeners
            .iter()
            .map(|one| one.external_ip.map(|ip| ip.to_string()))
            .collect();
        assert_eq!(
            told,
            [Some("203.0.113.7".to_owned()), Some("198.51.100.1".to_owned()), None]
        );
        assert_eq!(sockets.addresses(Transport::Udp).len(), 3);
    }

    #[tokio::test]
    async fn both_wildcards_are_bound_on_one_port() {
        let six = tcp::listen("[::]:0".parse().unwrap()).unwrap();
        let port = six.local_addr().unwrap().port();
        drop(six);
        let wildcard = |ip: &str| Listen::new(SipTransport::Tcp, SocketAddr::new(ip.parse().unwrap(), port));
        let settings = config::Sip {
            listen: vec![wildcard("::"), wildcard("0.0.0.0")],
            ..config::Sip::default()
        };
        assert_eq!(Sockets::bind(&settings).unwrap().streams.len(), 2);
    }
}
