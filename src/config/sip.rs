//! `[sip]`: where SIP is spoken.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::{effective::Writer, nearest::suggestion, section::Section};

/// The port of SIP (RFC 3261 section 19.1.2).
const SIP_PORT: u16 = 5060;

const TRANSPORTS: [&str; 2] = ["udp", "tcp"];

/// Settings of `[sip]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// The sockets, at least one.
    pub listen: Vec<Listen>,
    /// The address peers are told to send to; none tells each peer the one it reaches us on.
    pub external_ip: Option<IpAddr>,
}

/// One socket SIP is spoken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listen {
    /// Over UDP; port 0 takes a free one.
    Udp(SocketAddr),
    /// Over TCP; port 0 takes a free one.
    Tcp(SocketAddr),
}

impl Default for Sip {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SIP_PORT));
        Self {
            listen: vec![Listen::Udp(any), Listen::Tcp(any)],
            external_ip: None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(out, "udp:{address}"),
            Self::Tcp(address) => write!(out, "tcp:{address}"),
        }
    }
}

impl Sip {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        section.refuse_empty("listen", "names no socket: without one nobody can call");
        let sip = Self {
            listen: section.list("listen", default.listen, read_listen),
            external_ip: section.parsed("external_ip", default.external_ip, read_external_ip),
        };
        check_listen(&mut section, &sip.listen);
        section.finish();
        sip
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[sip]");
        out.list("listen", &self.listen);
        out.text(
            "external_ip",
            self.external_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        );
    }
}

fn read_listen(text: &str) -> Result<Listen, String> {
    let how = "write \"udp:ADDRESS:PORT\" or \"tcp:ADDRESS:PORT\"";
    let (transport, address) = text
        .split_once(':')
        .ok_or_else(|| format!("names no transport: {how}"))?;
    let listen = match transport {
        "udp" => Listen::Udp,
        "tcp" => Listen::Tcp,
        other => return Err(format!("has an unknown transport: {}", suggestion(other, TRANSPORTS))),
    };
    address
        .parse()
        .map(listen)
        .map_err(|_| format!("has no IP address with a port: {how}"))
}

fn read_external_ip(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = text.parse().map_err(|_| "is not an IP address".to_owned())?;
    match ip.is_unspecified() || ip.is_multicast() {
        true => Err("is no address of one machine; leave it empty for the address the peer reaches us on".to_owned()),
        false => Ok(Some(ip)),
    }
}

fn check_listen(section: &mut Section<'_>, listen: &[Listen]) {
    let fixed = |listen: &Listen| match listen {
        Listen::Udp(address) | Listen::Tcp(address) => address.port() != 0,
    };
    for (index, socket) in listen.iter().enumerate().filter(|(_, socket)| fixed(socket)) {
        if listen[..index].contains(socket) {
            section.wrong("listen", &format!("names {socket} twice"));
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
                 \"udp:ADDRESS:PORT\" or \"tcp:ADDRESS:PORT\"",
                "f.toml:2:33: sip.listen[1] = \"upd:0.0.0.0:5060\" has an unknown transport: did you mean \"udp\"?",
                "f.toml:2:53: sip.listen[2] = 5060 is not a text: put it in quotes",
                "f.toml:2:59: sip.listen[3] = \"5060\" names no transport: write \"udp:ADDRESS:PORT\" or \
                 \"tcp:ADDRESS:PORT\"",
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
