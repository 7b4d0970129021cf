//! The keys of `[[trunk]]` that say how requests of ours reach it: where it is, who we are there, whether we register.

use std::time::Duration;

use super::{
    effective::Writer,
    secret::Secret,
    section::{Section, one_of},
};

/// The transports by their names in a URI.
const TRANSPORTS: &[(&str, &str)] = &[
    ("udp", "udp"),
    ("tcp", "tcp"),
    ("tls", "tls"),
    ("ws", "ws"),
    ("wss", "wss"),
];

/// How long a registration we ask for lasts unless the settings say otherwise.
const REGISTER_EXPIRES: Duration = Duration::from_secs(3600);

/// Who we are where we do not log in.
const NOBODY: &str = "patchcord";

/// The way to a peer that calls are placed at, and where we may register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name or address; an IPv6 address in brackets.
    pub host: String,
    /// Its port; none asks the DNS, or takes the one of the transport.
    pub port: Option<u16>,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`; none asks the DNS.
    pub transport: Option<&'static str>,
    /// The SIP URI of a proxy that everything goes to first.
    pub outbound_proxy: Option<String>,
    identity: Option<String>,
    /// What we log in with there.
    pub login: Option<Login>,
    /// Whether we register.
    pub register: bool,
    /// How long a registration we ask for is to last.
    pub register_expires: Duration,
    /// How often it is asked whether it is there; none never asks.
    pub probe: Option<Duration>,
}

/// A user name and a password of ours at somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Uplink {
    /// Reads the keys out of a trunk; none when it says no `host`.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let gave_host = section.gives_text("host");
        let host = section.parsed("host", String::new(), read_host);
        let login = read_login(section);
        let uplink = Self {
            host,
            port: section
                .optional_whole("port", 0..=65535, "(a port; 0: by the DNS or the transport)")
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            transport: section.parsed("transport", None, read_transport),
            outbound_proxy: section.parsed("outbound_proxy", None, read_uri),
            identity: section.parsed("identity", None, read_uri),
            register: section.optional_truth("register").unwrap_or_default(),
            register_expires: section.seconds("register_expires_s", REGISTER_EXPIRES, 30..=86_400),
            probe: Some(section.seconds("probe_s", Duration::ZERO, 0..=86_400)).filter(|probe| !probe.is_zero()),
            login,
        };
        if uplink.register && uplink.login.is_none() {
            section.wrong("register", "needs \"login_username\" and \"login_password\" beside it");
        }
        if uplink.host.is_empty() {
            if let Some(key) = uplink.first_setting().filter(|_| !gave_host) {
                section.wrong(key, "has no \"host\" beside it");
            }
            return None;
        }
        Some(uplink)
    }

    /// A key that was set, in the order of the sample.
    fn first_setting(&self) -> Option<&'static str> {
        let set = [
            ("port", self.port.is_some()),
            ("transport", self.transport.is_some()),
            ("outbound_proxy", self.outbound_proxy.is_some()),
            ("identity", self.identity.is_some()),
            ("login_username", self.login.is_some()),
            ("register", self.register),
            ("register_expires_s", self.register_expires != REGISTER_EXPIRES),
            ("probe_s", self.probe.is_some()),
        ];
        set.into_iter().find(|(_, is_set)| *is_set).map(|(key, _)| key)
    }

    /// The keys of a trunk, also of one without an uplink.
    pub(super) fn write(uplink: Option<&Self>, out: &mut Writer) {
        let text = |of: fn(&Self) -> Option<&str>| uplink.and_then(of).unwrap_or_default();
        out.text("host", text(|uplink| Some(&uplink.host)));
        out.whole("port", uplink.and_then(|uplink| uplink.port).unwrap_or_default());
        out.text("transport", text(|uplink| uplink.transport));
        out.text("outbound_proxy", text(|uplink| uplink.outbound_proxy.as_deref()));
        out.text("identity", text(|uplink| uplink.identity.as_deref()));
        out.text("login_username", text(|uplink| Some(&uplink.login.as_ref()?.username)));
        let login = uplink.and_then(|uplink| uplink.login.as_ref());
        out.secret("login_password", login.map(|login| &login.password));
        out.whole("register", uplink.is_some_and(|uplink| uplink.register));
        let expires = uplink.map_or(REGISTER_EXPIRES, |uplink| uplink.register_expires);
        out.whole("register_expires_s", expires.as_secs());
        let probe = uplink.and_then(|uplink| uplink.probe).unwrap_or_default();
        out.whole("probe_s", probe.as_secs());
    }

    /// Where it is, as a SIP URI.
    pub fn address(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = self
            .transport
            .map(|word| format!(";transport={word}"))
            .unwrap_or_default();
        format!("sip:{}{port}{transport}", self.host)
    }

    /// Who we are there, as a SIP URI.
    pub fn identity(&self) -> String {
        let user = self.login.as_ref().map_or(NOBODY, |login| &login.username);
        let default = || format!("sip:{}@{}", escaped(user), self.host);
        self.identity.clone().unwrap_or_else(default)
    }
}

fn read_login(section: &mut Section<'_>) -> Option<Login> {
    let gives_password = section.gives_text("login_password");
    let username = section.text("login_username", "");
    let password = section.secret("login_password");
    match (username.is_empty(), password) {
        (false, Some(password)) => Some(Login { username, password }),
        (false, None) => {
            if !gives_password {
                section.wrong("login_username", "has no \"login_password\" beside it");
            }
            None
        }
        (true, Some(_)) => {
            section.wrong("login_password", "has no \"login_username\" beside it");
            None
        }
        (true, None) => None,
    }
}

fn read_transport(text: &str) -> Result<Option<&'static str>, String> {
    match text {
        "" => Ok(None),
        word => one_of(word, TRANSPORTS).map(Some),
    }
}

/// A name, an IPv4 address, or an IPv6 address, which gets its brackets.
fn read_host(text: &str) -> Result<String, String> {
    match host_fault(text) {
        _ if text.is_empty() => Ok(String::new()),
        None if text.contains(':') && !text.starts_with('[') => Ok(format!("[{text}]")),
        None => Ok(text.to_owned()),
        Some(fault) => Err(fault),
    }
}

fn host_fault(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_ipv6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    let is_host = match inner {
        Some(inner) => is_ipv6(inner),
        None => is_ipv6(text) || (!text.is_empty() && text.chars().all(legal) && !text.starts_with('-')),
    };
    (!is_host).then(|| {
        "is not a host: write a name like \"sip.example.com\" or an address; the port goes into \"port\"".to_owned()
    })
}

/// A SIP URI with nothing in it that could not stand in angle brackets.
fn read_uri(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let how = || "is not a SIP URI: write it like \"sip:user@example.com\"".to_owned();
    let rest = text
        .strip_prefix("sips:")
        .or_else(|| text.strip_prefix("sip:"))
        .ok_or_else(how)?;
    let plain = |letter: char| letter.is_ascii_graphic() && !"<>\"?".contains(letter);
    let (user, place) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(user, place)| (Some(user), place));
    let host_port = place.split(';').next().unwrap_or_default();
    let bracket = host_port.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match host_port.get(bracket..).and_then(|tail| tail.find(':')) {
        Some(colon) => host_port.split_at(bracket + colon),
        None => (host_port, ""),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let good_user = user.is_none_or(|user| !user.is_empty() && !user.contains('@'));
    let params = place.split(';').skip(1);
    let good_params = params.into_iter().all(|param| !param.is_empty());
    match rest.chars().all(plain) && good_user && good_params && is_port && host_fault(host).is_none() {
        true => Ok(Some(text.to_owned())),
        false => Err(how()),
    }
}

/// What may stand in the user part of a URI as it is (RFC 3261 section 25.1).
fn escaped(user: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    user.bytes().fold(String::new(), |text, byte| match plain(byte) {
        true => text + &char::from(byte).to_string(),
        false => format!("{text}%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const TRUNK: &str = "[[trunk]]\nname = \"a\"\n";

    #[test]
    fn a_host_alone_makes_a_trunk_that_calls_are_placed_at() {
        let uplink = uplink("host = \"pbx.example.com\"");
        assert_eq!(uplink.address(), "sip:pbx.example.com");
        assert_eq!(uplink.identity(), "sip:patchcord@pbx.example.com");
        assert!(!uplink.register && uplink.login.is_none() && uplink.probe.is_none());
    }

    #[test]
    fn a_trunk_to_register_at_says_everything() {
        let uplink = uplink(
            "host = \"2001:db8::1\"\nport = 5071\ntransport = \"tls\"\noutbound_proxy = \"sip:[::1]:5080;lr\"\n\
             login_username = \"4930@home\"\nlogin_password = \"env:PASSWORD\"\nregister = true\n\
             register_expires_s = 120\nprobe_s = 30",
        );
        assert_eq!(uplink.address(), "sip:[2001:db8::1]:5071;transport=tls");
        assert_eq!(uplink.identity(), "sip:4930%40home@[2001:db8::1]");
        assert_eq!(uplink.outbound_proxy.as_deref(), Some("sip:[::1]:5080;lr"));
        assert_eq!(uplink.login.as_ref().unwrap().password.reveal(), "hunter2");
        assert!(uplink.register);
        assert_eq!(uplink.register_expires, Duration::from_secs(120));
        assert_eq!(uplink.probe, Some(Duration::from_secs(30)));
    }

    #[test]
    fn an_identity_of_its_own_is_kept() {
        let uplink = uplink("host = \"h\"\nidentity = \"sips:+4930@carrier.example:5061;user=phone\"");
        assert_eq!(uplink.identity(), "sips:+4930@carrier.example:5061;user=phone");
    }

    #[test]
    fn what_cannot_be_reached_or_written_is_refused() {
        for (line, problem) in [
            (
                "host = \"h:5060\"",
                "f.toml:3:8: trunk[0].host = \"h:5060\" is not a host: write a name like \"sip.example.com\" or an \
                 address; the port goes into \"port\"",
            ),
            (
                "host = \"h\"\ntransport = \"tsl\"",
                "f.toml:4:13: trunk[0].transport = \"tsl\" is not known: did you mean \"tls\"?",
            ),
            (
                "host = \"h\"\nport = 70000",
                "f.toml:4:8: trunk[0].port = 70000 is out of range: 0 to 65535 (a port; 0: by the DNS or the transport)",
            ),
            (
                "host = \"h\"\nidentity = \"sip:a@b@c\"",
                "f.toml:4:12: trunk[0].identity = \"sip:a@b@c\" is not a SIP URI: write it like \"sip:user@example.com\"",
            ),
            (
                "host = \"h\"\noutbound_proxy = \"proxy.example.com\"",
                "f.toml:4:18: trunk[0].outbound_proxy = \"proxy.example.com\" is not a SIP URI: write it like \
                 \"sip:user@example.com\"",
            ),
            (
                "host = \"h\"\nregister = true",
                "f.toml:4:12: trunk[0].register needs \"login_username\" and \"login_password\" beside it",
            ),
            (
                "host = \"h\"\nlogin_username = \"a\"",
                "f.toml:4:18: trunk[0].login_username has no \"login_password\" beside it",
            ),
            (
                "host = \"h\"\nlogin_password = \"env:PASSWORD\"",
                "f.toml:4:18: trunk[0].login_password has no \"login_username\" beside it",
            ),
            (
                "from = [\"::1\"]\nprobe_s = 5",
                "f.toml:4:11: trunk[0].probe_s has no \"host\" beside it",
            ),
        ] {
            assert_eq!(problems(&format!("{TRUNK}{line}")), [problem]);
        }
    }

    #[test]
    fn uris_are_told_from_what_only_looks_like_one() {
        for good in [
            "sip:h",
            "sips:u@h:5061",
            "sip:u;p=1@[::1]:5060;lr;x=y",
            "sip:+49(30)@192.0.2.1",
        ] {
            assert!(read_uri(good).is_ok(), "{good}");
        }
        for bad in [
            "h",
            "tel:1",
            "sip:",
            "sip:@h",
            "sip:u@",
            "sip:h:x",
            "sip:h:99999",
            "sip:h;;lr",
            "sip:<h>",
            "sip:[::",
            "sip:u@h?x=y",
        ] {
            assert!(read_uri(bad).is_err(), "{bad}");
        }
    }

    fn uplink(lines: &str) -> Uplink {
        read(&format!("{TRUNK}{lines}")).trunks[0].uplink.clone().unwrap()
    }
}
