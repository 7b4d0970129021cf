//! `[[trunk]]`: who may call, and whom we may call.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    effective::Writer,
    names,
    secret::Secret,
    section::{Section, one_of},
    trunk_limits::{AllowedTransport, TrunkLimits},
    trunk_media::TrunkMedia,
    uplink::Uplink,
};

const DIGESTS: &[(&str, Digest)] = &[
    ("sha-512-256", Digest::Sha512_256),
    ("sha-256", Digest::Sha256),
    ("md5", Digest::Md5),
];

/// The session interval asked for unless the settings say otherwise (RFC 4028 section 4.2).
const SESSION_EXPIRES: Duration = Duration::from_secs(1800);

/// The shortest session interval: at half of it a peer is asked for a sign of life.
const SESSION_EXPIRES_S_MIN: u64 = 2;

/// A SIP peer. With networks it is known by its source address, with credentials its calls are challenged; with
/// credentials alone it may call from anywhere; with an uplink calls are placed at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Where it sends from; empty only when it has credentials or an uplink.
    pub from: Vec<IpNet>,
    /// What it logs in with.
    pub credentials: Option<Credentials>,
    /// How we reach it; none for a trunk that only calls us.
    pub uplink: Option<Uplink>,
    /// After how long without a sign of life a call with it is given up (RFC 4028); none never asks for one.
    pub session_expires: Option<Duration>,
    /// How much it may use.
    pub limits: TrunkLimits,
    /// Whether texts that come inside a call (MESSAGE) are passed on to the agent.
    pub messages: bool,
    /// How its audio is sent.
    pub media: TrunkMedia,
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The hashes it may log in with, in the order it is offered them; at least one.
    pub digest: Vec<Digest>,
}

/// A hash that SIP digest may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-512/256 (RFC 8760).
    Sha512_256,
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5, for the many phones that know nothing else.
    Md5,
}

impl Trunk {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        section.require("name");
        let name = section.parsed("name", String::new(), read_name);
        let from = read_networks(&mut section);
        let credentials = read_credentials(&mut section);
        let uplink = Uplink::read(&mut section);
        let session_expires = read_session_expires(&mut section);
        let limits = TrunkLimits::read(&mut section);
        let messages = section.optional_truth("messages").unwrap_or(true);
        let media = TrunkMedia::read(&mut section);
        section.finish();
        Self {
            name,
            from,
            credentials,
            uplink,
            session_expires,
            limits,
            messages,
            media,
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[[trunk]]");
        out.text("name", &self.name);
        out.list("from", &self.from);
        out.text(
            "username",
            self.credentials
                .as_ref()
                .map_or("", |credentials| &credentials.username),
        );
        out.secret(
            "password",
            self.credentials.as_ref().map(|credentials| &credentials.password),
        );
        out.list(
            "digest",
            self.credentials.iter().flat_map(|credentials| &credentials.digest),
        );
        Uplink::write(self.uplink.as_ref(), out);
        out.whole("session_expires_s", self.session_expires.unwrap_or_default().as_secs());
        self.limits.write(out);
        out.whole("messages", self.messages);
        self.media.write(out);
    }

    /// Whether keys of its audio may stand in signalling that anybody on the way can read.
    pub(super) fn exposes_keys(&self) -> bool {
        let allowed = &self.limits.transports;
        let is_private =
            |transport: &AllowedTransport| matches!(transport, AllowedTransport::Tls | AllowedTransport::Wss);
        let inbound = !self.from.is_empty() || self.credentials.is_some();
        let inbound_is_open = inbound && (allowed.is_empty() || !allowed.iter().all(is_private));
        let outbound_is_open = self
            .uplink
            .as_ref()
            .is_some_and(|uplink| !matches!(uplink.transport, Some("tls" | "wss")));
        self.media.needs_private_signalling() && (inbound_is_open || outbound_is_open)
    }

    /// Whether it may call from anywhere, with its credentials.
    pub fn is_open(&self) -> bool {
        self.from.is_empty() && self.credentials.is_some()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = DIGESTS.iter().find(|(_, digest)| digest == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

fn read_name(text: &str) -> Result<String, String> {
    names::fault(text).map_or_else(|| Ok(text.to_owned()), Err)
}

fn read_networks(section: &mut Section<'_>) -> Vec<IpNet> {
    if section.first_given(&["from", "username", "password", "host"]).is_none() {
        section.wrong_table(
            "needs \"from\", or \"username\" and \"password\", or \"host\": it does not say who may call or be called",
        );
    }
    if section.first_given(&["username", "password", "host"]).is_none() {
        section.refuse_empty(
            "from",
            "names no network, and there is neither \"username\" nor \"host\": nobody could call or be called",
        );
    }
    section.list("from", Vec::new(), read_network)
}

pub(super) fn read_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
    let network: IpNet = text.parse().or_else(|_| address()).map_err(|_| {
        "is not a network: write it like \"192.168.0.0/16\", or one address like \"192.0.2.7\"".to_owned()
    })?;
    match network == network.trunc() {
        true => Ok(network),
        false => Err(format!(
            "has bits behind its prefix: did you mean \"{}\"?",
            network.trunc()
        )),
    }
}

fn read_credentials(section: &mut Section<'_>) -> Option<Credentials> {
    let gives_password = section.gives("password");
    let username = section.parsed("username", String::new(), read_username);
    let password = section.secret("password");
    let has_login = !username.is_empty() || password.is_some();
    let digest = read_digest(section, has_login);
    match (username.is_empty(), password) {
        (false, Some(password)) => Some(Credentials {
            username,
            password,
            digest,
        }),
        (false, None) if !gives_password => {
            section.wrong("username", "has no \"password\" beside it");
            None
        }
        (true, Some(_)) => {
            section.wrong("password", "has no \"username\" beside it");
            None
        }
        _ => None,
    }
}

fn read_session_expires(section: &mut Section<'_>) -> Option<Duration> {
    let expires = section.seconds("session_expires_s", SESSION_EXPIRES, 0..=86_400);
    if (1..SESSION_EXPIRES_S_MIN).contains(&expires.as_secs()) {
        section.wrong(
            "session_expires_s",
            &format!("is shorter than {SESSION_EXPIRES_S_MIN} s; 0: never"),
        );
    }
    Some(expires).filter(|expires| !expires.is_zero())
}

/// The hashes of a login; `has_login` tells whether there is one.
pub(super) fn read_digest(section: &mut Section<'_>, has_login: bool) -> Vec<Digest> {
    if has_login {
        section.refuse_empty(
            "digest",
            "names no algorithm: leave it out, or name \"sha-512-256\", \"sha-256\" or \"md5\"",
        );
    }
    let is_given = section.gives("digest");
    let digest = section.list("digest", vec![Digest::Sha256, Digest::Md5], |word| {
        one_of(word, DIGESTS)
    });
    let is_twice = |(place, own): (usize, &Digest)| digest.iter().take(place).any(|other| other == own);
    if digest.iter().enumerate().any(is_twice) {
        section.wrong("digest", "names an algorithm twice");
    }
    if is_given && !digest.is_empty() && !has_login {
        section.wrong("digest", "has no \"username\" and \"password\" beside it");
    }
    digest
}

/// User names stand in quotes in a header (RFC 3261 section 22).
fn read_username(text: &str) -> Result<String, String> {
    match text.contains(['"', '\\']) {
        true => Err("holds quotes or backslashes, which a user name cannot".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const LOGIN: &str = "[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"env:PASSWORD\"\n";

    #[test]
    fn networks_and_single_addresses_are_read() {
        let config = read("[[trunk]]\nname = \"lan\"\nfrom = [\"10.0.0.0/8\", \"192.0.2.7\", \"::1\"]");
        let from: Vec<String> = config.trunks[0].from.iter().map(IpNet::to_string).collect();
        assert_eq!(from, ["10.0.0.0/8", "192.0.2.7/32", "::1/128"]);
        assert!(!config.trunks[0].is_open());
    }

    #[test]
    fn a_trunk_with_credentials_alone_is_open() {
        let config = read("[[trunk]]\nname = \"road\"\nusername = \"alice\"\npassword = \"env:PASSWORD\"");
        assert!(config.trunks[0].is_open());
        let credentials = config.trunks[0].credentials.as_ref().unwrap();
        assert_eq!(
            (credentials.username.as_str(), credentials.password.reveal()),
            ("alice", "hunter2")
        );
    }

    #[test]
    fn a_trunk_says_who_may_call() {
        assert_eq!(
            problems("[[trunk]]\nname = \"lan\""),
            [
                "f.toml:1:1: [[trunk]] needs \"from\", or \"username\" and \"password\", or \"host\": it does not say who may \
                 call or be called"
            ]
        );
        assert_eq!(
            problems("[[trunk]]\nname = \"lan\"\nfrom = []"),
            [
                "f.toml:3:8: trunk[0].from names no network, and there is neither \"username\" nor \"host\": nobody could \
                 call or be called"
            ]
        );
    }

    #[test]
    fn half_of_the_credentials_is_refused() {
        assert_eq!(
            problems("[[trunk]]\nname = \"a\"\nusername = \"u\""),
            ["f.toml:3:12: trunk[0].username has no \"password\" beside it"]
        );
        assert_eq!(
            problems("[[trunk]]\nname = \"a\"\npassword = \"env:PASSWORD\""),
            ["f.toml:3:12: trunk[0].password has no \"username\" beside it"]
        );
    }

    #[test]
    fn phones_log_in_with_sha_256_or_md5_unless_told_otherwise() {
        let digest = |line: &str| {
            let config = read(&format!("{LOGIN}{line}"));
            config.trunks[0].credentials.as_ref().unwrap().digest.clone()
        };
        assert_eq!(digest(""), [Digest::Sha256, Digest::Md5]);
        assert_eq!(digest("digest = [\"md5\"]"), [Digest::Md5]);
        assert_eq!(digest("digest = [\"md5\", \"sha-256\"]"), [Digest::Md5, Digest::Sha256]);
    }

    #[test]
    fn digest_algorithms_are_known_ones_each_once() {
        assert_eq!(
            problems(&format!("{LOGIN}digest = [\"sha256\", \"crc\"]")),
            [
                "f.toml:5:11: trunk[0].digest[0] = \"sha256\" is not known: did you mean \"sha-256\"?",
                "f.toml:5:21: trunk[0].digest[1] = \"crc\" is not known: there are \"sha-512-256\", \"sha-256\" and \
                 \"md5\"",
            ]
        );
        assert_eq!(
            problems(&format!("{LOGIN}digest = []")),
            [
                "f.toml:5:10: trunk[0].digest names no algorithm: leave it out, or name \"sha-512-256\", \
              \"sha-256\" or \"md5\""
            ]
        );
        assert_eq!(
            problems(&format!("{LOGIN}digest = [\"md5\", \"md5\"]")),
            ["f.toml:5:10: trunk[0].digest names an algorithm twice"]
        );
    }

    #[test]
    fn digest_algorithms_without_a_login_are_refused() {
        assert_eq!(
            problems("[[trunk]]\nname = \"lan\"\nfrom = [\"10.0.0.0/8\"]\ndigest = [\"md5\"]"),
            ["f.toml:4:10: trunk[0].digest has no \"username\" and \"password\" beside it"]
        );
        read("[[trunk]]\nname = \"lan\"\nfrom = [\"10.0.0.0/8\"]\ndigest = []");
    }

    #[test]
    fn a_session_interval_is_one_that_peers_accept() {
        let expires = |line: &str| read(&format!("{LOGIN}{line}")).trunks[0].session_expires;
        assert_eq!(expires(""), Some(SESSION_EXPIRES));
        assert_eq!(expires("session_expires_s = 90"), Some(Duration::from_secs(90)));
        assert_eq!(expires("session_expires_s = 0"), None);
        assert_eq!(
            problems(&format!("{LOGIN}session_expires_s = 1")),
            ["f.toml:5:21: trunk[0].session_expires_s is shorter than 2 s; 0: never"]
        );
    }

    #[test]
    fn a_plain_password_is_refused_without_showing_it() {
        assert_eq!(
            problems("[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"hunter2\""),
            [
                "f.toml:4:12: trunk[0].password holds a plain secret: secrets come only from the environment or from a \
              file; write \"env:NAME\" or \"file:PATH\""
            ]
        );
    }

    #[test]
    fn bad_networks_are_refused_with_the_right_one() {
        assert_eq!(
            problems("[[trunk]]\nname = \"a\"\nfrom = [\"10.0.0.1/8\", \"lan\"]"),
            [
                "f.toml:3:9: trunk[0].from[0] = \"10.0.0.1/8\" has bits behind its prefix: did you mean \"10.0.0.0/8\"?",
                "f.toml:3:23: trunk[0].from[1] = \"lan\" is not a network: write it like \"192.168.0.0/16\", or one \
                 address like \"192.0.2.7\"",
            ]
        );
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(
            problems("[[trunk]]\nname = \"My LAN\"\nfrom = [\"10.0.0.0/8\"]"),
            [
                "f.toml:2:8: trunk[0].name = \"My LAN\" is not a good name: use 1 to 64 of a-z, 0-9, \"-\" and single \
              \"_\" inside, beginning with a letter or digit"
            ]
        );
        assert_eq!(
            problems("[[trunk]]\nfrom = [\"10.0.0.0/8\"]"),
            ["f.toml:1:1: [[trunk]] needs the key \"name\""]
        );
    }
}
