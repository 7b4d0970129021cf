//! Via: the way a response goes back (RFC 3261 section 20.42, rport RFC 3581).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{
    defect::Malformed,
    grammar::{is_token, list, trim},
    host::Host,
    params::Params,
};

/// How a branch made by RFC 3261 begins; with it the branch alone names the transaction (section 8.1.1.7).
pub const BRANCH_MAGIC: &str = "z9hG4bK";

/// One hop of the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// The transport as written, such as `UDP`; compared without case.
    pub transport: String,
    /// The host of sent-by.
    pub host: Host,
    /// The port of sent-by, when one is written.
    pub port: Option<u16>,
    /// `branch`, `rport`, `received` and whatever else there is.
    pub params: Params,
}

impl Via {
    /// The Via of a request we send.
    pub fn new(transport: &str, sent_by: SocketAddr, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        Self {
            transport: transport.to_owned(),
            host: sent_by.ip().into(),
            port: Some(sent_by.port()),
            params,
        }
    }

    /// Reads one Via value.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let (hop, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        let mut parts = hop.splitn(3, '/').map(trim);
        let protocol = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !protocol.0.eq_ignore_ascii_case("SIP") || protocol.1 != "2.0" {
            return Err(Malformed("it must start with SIP/2.0"));
        }
        let (transport, sent_by) = parts
            .next()
            .and_then(|tail| tail.split_once([' ', '\t']))
            .ok_or(Malformed("a transport and a host must follow SIP/2.0"))?;
        if !is_token(transport) {
            return Err(Malformed("the transport is not a token"));
        }
        let (host, port) = Host::read_with_port(trim(sent_by))?;
        Ok(Self {
            transport: transport.to_owned(),
            host,
            port,
            params: Params::read(params)?,
        })
    }

    /// Reads a comma-separated list of Via values.
    pub fn read_list(text: &str) -> Result<Vec<Self>, Malformed> {
        list(text)?.into_iter().map(Self::read).collect()
    }

    /// The branch, the name of the transaction.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// Where the request really came from, as the next hop saw it; with or without brackets around IPv6.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.get("received")?.trim_matches(['[', ']']).parse().ok()
    }

    /// The source port as the next hop saw it.
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport")?.parse().ok()
    }

    /// Whether the sender asks for `rport` to be filled in.
    pub fn wants_rport(&self) -> bool {
        self.params.contains("rport")
    }

    /// Writes down where the request came from: `received` when sent-by says otherwise or rport is asked for, and
    /// `rport` when it is asked for (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.wants_rport();
        if asked {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        match asked || self.host.ip() != Some(source.ip()) {
            true => self.params.set("received", Some(&source.ip().to_string())),
            false => self.params.remove("received"),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(out, ":{port}")?;
        }
        write!(out, "{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_is_read_with_any_legal_white_space() {
        let via = Via::read("SIP  / 2.0  / TCP     spindle.example.com : 5061  ; branch  =   z9hG4bK9ikj8  ").unwrap();
        assert_eq!(
            via.to_string(),
            "SIP/2.0/TCP spindle.example.com:5061;branch=z9hG4bK9ikj8"
        );
        assert_eq!(via.branch(), Some("z9hG4bK9ikj8"));
        assert_eq!(
            Via::read_list("SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b;branch=2")
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn an_ipv6_via_keeps_address_and_port_apart() {
        let via = Via::read("SIP/2.0/UDP [2001:db8::9:1]:5061;received=[2001:db8::9:255];branch=z9hG4bKas3").unwrap();
        assert_eq!((via.host.as_str(), via.port), ("[2001:db8::9:1]", Some(5061)));
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
        assert_eq!(Via::read("SIP/2.0/UDP [::1]").unwrap().port, None);
        assert_eq!(Via::read(&via.to_string()).unwrap(), via);
    }

    #[test]
    fn malformed_vias_are_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 h",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h i",
            "SIP/2.0/U<P h",
        ] {
            assert!(Via::read(text).is_err(), "{text}");
        }
        assert!(Via::read_list("SIP/2.0/UDP 192.0.2.15;,;,,").is_err());
    }

    #[test]
    fn stamping_fills_in_received_and_rport() {
        let source = "198.51.100.7:40000".parse().unwrap();
        let mut via = Via::read("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK1").unwrap();
        via.stamp(source);
        assert_eq!((via.received(), via.rport()), (Some(source.ip()), Some(40000)));

        let mut same = Via::read("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1;received=192.0.2.9").unwrap();
        same.stamp(source);
        assert_eq!(same.to_string(), "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1");

        let mut other = Via::read("SIP/2.0/UDP host.example.com;branch=z9hG4bK1").unwrap();
        other.stamp(source);
        assert_eq!((other.received(), other.rport()), (Some(source.ip()), None));
    }
}
