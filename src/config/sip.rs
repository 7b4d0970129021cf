//! `[sip]`: where SIP is spoken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    effective::Writer,
    listen::{Listen, SipTransport, read_external_ip},
    section::Section,
    sip_tls::SipTls,
};

/// The port of SIP (RFC 3261 section 19.1.2).
const SIP_PORT: u16 = 5060;

/// Settings of `[sip]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// The sockets, at least one.
    pub listen: Vec<Listen>,
    /// The address peers are told to send to where the socket has none of its own; none tells each peer the one it
    /// reaches us on.
    pub external_ip: Option<IpAddr>,
    /// The DNS server to ask; none: the machine's.
    pub resolver: Option<SocketAddr>,
    /// Certificates and authorities.
    pub tls: SipTls,
}

impl Default for Sip {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SIP_PORT));
        Self {
            listen: [SipTransport::Udp, SipTransport::Tcp]
                .map(|transport| Listen::new(transport, any))
                .to_vec(),
            external_ip: None,
            resolver: None,
            tls: SipTls::default(),
        }
    }
}

impl Sip {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        section.refuse_empty("listen", "names no socket: without one nobody can call");
        let sip = Self {
            listen: section.list("listen", default.listen, Listen::read),
            external_ip: section.parsed("external_ip", default.external_ip, |text| {
                optional(text, read_external_ip)
            }),
            resolver: section.parsed("resolver", default.resolver, |text| optional(text, read_resolver)),
            tls: SipTls::read(section.inner("tls")),
        };
        check_listen(&mut section, &sip);
        section.finish();
        sip
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let text = |ip: Option<String>| ip.unwrap_or_default();
        out.table("[sip]");
        out.list("listen", &self.listen);
        out.text("external_ip", text(self.external_ip.map(|ip| ip.to_string())));
        out.text("resolver", text(self.resolver.map(|server| server.to_string())));
        self.tls.write(out);
    }
}

fn optional<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match text {
        "" => Ok(None),
        text => read(text).map(Some),
    }
}

fn read_resolver(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "is not an IP address with a port: write it like \"192.0.2.53:53\"".to_owned())
}

fn check_listen(section: &mut Section<'_>, sip: &Sip) {
    for (index, socket) in sip.listen.iter().enumerate() {
        if sip.listen.iter().take(index).any(|other| other.collides(socket)) {
            section.wrong("listen", &format!("names {socket} twice"));
        }
        if socket.transport.is_secure() && !sip.tls.has_identity() {
            let text = format!("names {socket}, which needs \"certificate\" and \"key\" in [sip.tls]");
            section.wrong("listen", &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn sockets_and_the_address_are_read() {
        let sip = read("[sip]\nlisten = [\"udp:[::1]:5070\", \"tcp:127.0.0.1:0\"]\nexternal_ip = \"192.0.2.1\"").sip;
        assert_eq!(
            sip.listen.iter().map(Listen::to_string).collect::<Vec<_>>(),
            ["udp:[::1]:5070", "tcp:127.0.0.1:0"]
        );
        assert_eq!(sip.external_ip, Some(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn each_bad_socket_is_told_at_its_own_position() {
        assert_eq!(
            problems("[sip]\nlisten = [\"udp:localhost:5060\", \"upd:0.0.0.0:5060\", 5060, \"5060\"]"),
            [
                "f.toml:2:11: sip.listen[0] = \"udp:localhost:5060\" has no IP address with a port: write \
                 \"udp:ADDRESS:PORT\", or the same with tcp, tls, ws or wss",
                "f.toml:2:33: sip.listen[1] = \"upd:0.0.0.0:5060\" has an unknown transport: did you mean \"udp\"?",
                "f.toml:2:53: sip.listen[2] = 5060 is not a text: put it in quotes",
                "f.toml:2:59: sip.listen[3] = \"5060\" names no transport: write \"udp:ADDRESS:PORT\", or \
                 the same with tcp, tls, ws or wss",
            ]
        );
    }

    #[test]
    fn no_socket_and_the_same_socket_twice_are_refused() {
        assert_eq!(
            problems("[sip]\nlisten = []"),
            ["f.toml:2:10: sip.listen names no socket: without one nobody can call"]
        );
        assert_eq!(
            problems("[sip]\nlisten = [\"udp:0.0.0.0:5060\", \"udp:0.0.0.0:5060\"]"),
            ["f.toml:2:10: sip.listen names udp:0.0.0.0:5060 twice"]
        );
    }

    #[test]
    fn a_resolver_is_an_address_with_a_port() {
        let resolver = "192.0.2.53:53".parse().unwrap();
        assert_eq!(read("[sip]\nresolver = \"192.0.2.53:53\"").sip.resolver, Some(resolver));
        assert_eq!(
            problems("[sip]\nresolver = \"192.0.2.53\""),
            [
                "f.toml:2:12: sip.resolver = \"192.0.2.53\" is not an IP address with a port: write it like \
              \"192.0.2.53:53\""
            ]
        );
    }

    #[test]
    fn an_external_address_must_be_one_machines() {
        assert_eq!(
            problems("[sip]\nexternal_ip = \"0.0.0.0\""),
            [
                "f.toml:2:15: sip.external_ip = \"0.0.0.0\" is no address of one machine; leave it empty for the address \
              the peer reaches us on"
            ]
        );
        assert_eq!(
            problems("[sip]\nexternal_ip = \"example.com\""),
            ["f.toml:2:15: sip.external_ip = \"example.com\" is not an IP address"]
        );
    }
}
