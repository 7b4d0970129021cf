//! Hosts: the part of a URI or a Via that says where, a name or a literal address, with or without a port.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::defect::Malformed;

/// A host as written: a name, an IPv4 address, or an IPv6 address in brackets. Compared by address, else without case.
#[derive(Debug, Clone, Eq)]
pub struct Host {
    text: String,
    ip: Option<IpAddr>,
}

impl Host {
    /// Reads a host; an IPv6 address must be in brackets.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner
                .strip_suffix(']')
                .ok_or(Malformed("the ']' of an IPv6 address is missing"))?;
            let ip: Ipv6Addr = inner
                .parse()
                .map_err(|_| Malformed("the IPv6 address cannot be read"))?;
            return Ok(Self {
                text: text.to_owned(),
                ip: Some(ip.into()),
            });
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.is_empty() || !text.bytes().all(legal) {
            return Err(Malformed("the host cannot be read"));
        }
        Ok(Self {
            text: text.to_owned(),
            ip: text.parse().ok(),
        })
    }

    /// Reads `host` or `host:port`.
    pub(super) fn read_with_port(text: &str) -> Result<(Self, Option<u16>), Malformed> {
        let host_end = text
            .rfind(']')
            .map_or_else(|| text.find(':').unwrap_or(text.len()), |bracket| bracket + 1);
        let (host, tail) = text
            .split_at_checked(host_end)
            .ok_or(Malformed("the host cannot be read"))?;
        let host = Self::read(host.trim_end())?;
        let port = match tail.trim_start() {
            "" => None,
            tail => Some(read_port(tail)?),
        };
        Ok((host, port))
    }

    /// The host as written, brackets included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.text.eq_ignore_ascii_case(&other.text),
            _ => false,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        let text = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        Self { text, ip: Some(ip) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn read_port(tail: &str) -> Result<u16, Malformed> {
    let digits = tail
        .strip_prefix(':')
        .ok_or(Malformed("text follows the host"))?
        .trim_start();
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits
            .parse()
            .map_err(|_| Malformed("the port is not a number below 65536")),
        false => Err(Malformed("the port is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_by_address_or_without_case() {
        let read = |text| Host::read(text).unwrap();
        assert_eq!(read("[2001:DB8::1]"), read("[2001:db8:0:0:0:0:0:1]"));
        assert_eq!(read("Example.COM"), read("example.com"));
        assert_ne!(read("192.0.2.1"), read("host"));
        assert_eq!(read("[2001:DB8::1]").to_string(), "[2001:DB8::1]");
        assert_eq!(Host::from(IpAddr::from([192, 0, 2, 1])), read("192.0.2.1"));
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        let read = |text| Host::read_with_port(text).map(|(host, port)| (host.to_string(), port));
        assert_eq!(read("[::1]:5061").unwrap(), ("[::1]".into(), Some(5061)));
        assert_eq!(read("[::1]").unwrap(), ("[::1]".into(), None));
        assert_eq!(read("192.0.2.2 : 5060").unwrap(), ("192.0.2.2".into(), Some(5060)));
        for text in [
            "", ":5060", "h:", "h:x", "h:70000", "::1", "[::1", "[::1]x", "[h]", "a]b", "h i", "[::1]]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
