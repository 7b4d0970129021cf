//! The values of attribute lines, to and from text.

use std::net::IpAddr;

use super::{Direction, Fingerprint};

/// An `a=rtpmap` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The format it explains.
    pub payload_type: u8,
    /// The encoding.
    pub name: String,
    /// Its clock rate.
    pub clock_hz: u32,
    /// How many channels.
    pub channels: u32,
}

/// An `a=fmtp` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The format it is about.
    pub payload_type: u8,
    /// What it says.
    pub text: String,
}

/// Who begins a handshake: `a=setup` (RFC 4145).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Whoever wrote this does.
    Active,
    /// Whoever wrote this waits.
    Passive,
    /// The other side may choose.
    Actpass,
    /// Nobody, for now.
    Holdconn,
}

impl Map {
    pub(super) fn read(value: &str) -> Option<Self> {
        let (payload_type, encoding) = value.trim().split_once(char::is_whitespace)?;
        let mut parts = encoding.trim().split('/');
        Some(Self {
            payload_type: payload_type.parse().ok()?,
            name: parts.next()?.to_owned(),
            clock_hz: parts.next()?.trim().parse().ok()?,
            channels: parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?,
        })
    }

    /// One channel goes without saying.
    pub(super) fn value(&self) -> String {
        let value = format!("{} {}/{}", self.payload_type, self.name, self.clock_hz);
        match self.channels {
            1 => value,
            channels => format!("{value}/{channels}"),
        }
    }
}

impl Parameters {
    pub(super) fn read(value: &str) -> Option<Self> {
        let (payload_type, text) = value.trim().split_once(char::is_whitespace)?;
        Some(Self {
            payload_type: payload_type.parse().ok()?,
            text: text.trim().to_owned(),
        })
    }

    pub(super) fn value(&self) -> String {
        format!("{} {}", self.payload_type, self.text)
    }
}

impl Setup {
    const WORDS: [(&str, Self); 4] = [
        ("active", Self::Active),
        ("passive", Self::Passive),
        ("actpass", Self::Actpass),
        ("holdconn", Self::Holdconn),
    ];

    pub(super) fn read(value: &str) -> Option<Self> {
        let value = value.trim();
        let known = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
        known.map(|&(_, setup)| setup)
    }

    pub(super) fn word(self) -> &'static str {
        let named = Self::WORDS.iter().find(|(_, setup)| *setup == self);
        named.map_or("", |(word, _)| word)
    }
}

/// The hash functions certificates are checked by, with the length of their hashes.
const HASHES: [(&str, usize); 3] = [("sha-256", 32), ("sha-384", 48), ("sha-512", 64)];

impl Fingerprint {
    /// Reads the value of an `a=fingerprint` line; nothing when it names a hash we do not check.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (algorithm, digits) = value.trim().split_once(char::is_whitespace)?;
        let algorithm = algorithm.to_ascii_lowercase();
        let bytes: Option<Vec<u8>> = digits.trim().split(':').map(read_byte).collect();
        let bytes = bytes.filter(|bytes| HASHES.contains(&(algorithm.as_str(), bytes.len())))?;
        Some(Self { algorithm, bytes })
    }

    pub(super) fn value(&self) -> String {
        let bytes: Vec<String> = self.bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{} {}", self.algorithm, bytes.join(":"))
    }
}

fn read_byte(digits: &str) -> Option<u8> {
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// `a=rtcp:53020` or `a=rtcp:53020 IN IP4 126.16.64.4`.
pub(super) fn read_rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    Some((port, words.nth(2).and_then(|address| address.parse().ok())))
}

/// Whether `a=rtcp-xr` asks for the VoIP metrics block (RFC 3611 section 5.1).
pub(super) fn asks_voip_metrics(value: &str) -> bool {
    let mut words = value.split_ascii_whitespace();
    words.any(|word| word.split('=').next() == Some("voip-metrics"))
}

/// The direction an attribute of this name means.
pub(super) fn read_direction(name: &str) -> Option<Direction> {
    DIRECTIONS
        .into_iter()
        .find(|&direction| name.eq_ignore_ascii_case(direction_word(direction)))
}

const DIRECTIONS: [Direction; 4] = [
    Direction::SendRecv,
    Direction::SendOnly,
    Direction::RecvOnly,
    Direction::Inactive,
];

pub(super) const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtpmap_is_read_in_any_case_and_with_channels() {
        assert_eq!(Map::read("0 pcmu/8000/1").unwrap().channels, 1);
        let map = Map::read("111 opus/48000/2").unwrap();
        assert_eq!((map.channels, map.value().as_str()), (2, "111 opus/48000/2"));
        assert_eq!(Map::read("0  PCMU/8000/1").unwrap().value(), "0 PCMU/8000");
        for broken in ["", "0", "0 pcmu", "x pcmu/8000", "0 pcmu/x", "300 pcmu/8000"] {
            assert_eq!(Map::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_rtcp_line_may_name_an_address() {
        assert_eq!(read_rtcp("53020"), Some((53_020, None)));
        let address = "126.16.64.4".parse().unwrap();
        assert_eq!(read_rtcp("53020 IN IP4 126.16.64.4"), Some((53_020, Some(address))));
        assert_eq!(read_rtcp("99999"), None);
    }

    #[test]
    fn a_fingerprint_is_read_in_any_case_and_written_in_capitals() {
        let hash = ["ab"; 32].join(":");
        let fingerprint = Fingerprint::read(&format!("SHA-256 {hash}")).unwrap();
        assert_eq!(fingerprint.bytes, [0xab; 32]);
        assert_eq!(fingerprint.value(), format!("sha-256 {}", hash.to_uppercase()));
        let short = ["ab"; 31].join(":");
        for broken in [
            "".to_owned(),
            "sha-256".to_owned(),
            format!("sha-256 {short}"),
            format!("sha-256 {short}:+a"),
            format!("sha-256 {short}:zz"),
            format!("sha-1 {}", ["ab"; 20].join(":")),
            format!("md5 {}", ["ab"; 16].join(":")),
        ] {
            assert_eq!(Fingerprint::read(&broken), None, "{broken}");
        }
    }

    #[test]
    fn voip_metrics_are_found_among_other_reports() {
        assert!(asks_voip_metrics("rcvr-rtt=all:10000 voip-metrics stat-summary=loss"));
        assert!(!asks_voip_metrics("stat-summary"));
        assert!(!asks_voip_metrics(""));
    }
}
