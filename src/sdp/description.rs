//! A session description as values, and to and from bytes.
//!
//! The only module that names `sdp-types`, which reads lines and fields. Here they become what a negotiation needs; it
//! decides nothing except what cannot be read at all. Attributes that repeat count once, the first time.

use std::net::{IpAddr, Ipv4Addr};

use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

pub use super::lines::{Map, Parameters, Setup};
use super::{Direction, Fingerprint, Refusal, lines};
use crate::rtp::srtp::{Crypto, Unusable};

/// A description: what is said for the whole session is already folded into its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The `m=` sections, in order.
    pub streams: Vec<Stream>,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// `audio`, `video` and so on.
    pub kind: String,
    /// 0 when it is switched off.
    pub port: u16,
    /// The transport, such as `RTP/AVP`.
    pub profile: String,
    /// The formats as listed.
    pub formats: String,
    /// Where to send, from its own `c=` line or the session's.
    pub address: Option<Address>,
    /// What each format is.
    pub maps: Vec<Map>,
    /// What more is said of each format.
    pub parameters: Vec<Parameters>,
    /// Which way media flows, seen from whoever wrote this.
    pub direction: Direction,
    /// The wanted packet time.
    pub ptime_ms: Option<u32>,
    /// The longest packet time.
    pub maxptime_ms: Option<u32>,
    /// Where RTCP goes (RFC 3605); elsewhere than the next port only if it says so.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// Whether RTCP may come on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether reports of how the call sounds are wanted (RFC 3611).
    pub voip_metrics: bool,
    /// The keys of its writer that we can use, by suites.
    pub cryptos: Vec<Crypto>,
    /// Why the first of the other `a=crypto` lines is passed over.
    pub unusable: Option<Unusable>,
    /// What its writer's certificate is known by.
    pub fingerprint: Option<Fingerprint>,
    /// Who begins the handshake.
    pub setup: Option<Setup>,
}

/// The contents of a `c=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// Anything else, as written.
    Other(String),
}

/// The line that says whose description this is.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    /// Where we are.
    pub address: IpAddr,
    /// Which session.
    pub session_id: u64,
    /// Which of its descriptions.
    pub version: u64,
}

/// A description longer than this is refused: a hundred streams fit.
pub const BYTES_MAX: usize = 16 * 1024;
/// A description of more lines than this is refused.
pub const LINES_MAX: usize = 512;
/// A description of more streams than this is refused; each costs a line in the answer.
pub const STREAMS_MAX: usize = 32;
/// Formats, and lines of each kind about them, of one stream; those behind are passed over. There are 128 payload types.
pub const FORMATS_MAX: usize = 128;
/// `a=crypto` lines of one stream; those behind are passed over. There are six suites.
pub const CRYPTOS_MAX: usize = 32;

impl Description {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        check_size(body)?;
        let session = Session::parse(body).map_err(|error| Refusal::Unreadable(error.to_string()))?;
        if session.medias.len() > STREAMS_MAX {
            return Err(Refusal::TooLarge("more than 32 streams"));
        }
        let streams = session
            .medias
            .iter()
            .map(|media| Stream::read(media, &session))
            .collect();
        Ok(Self { streams })
    }

    /// Writes a body. Session-wide lines are the author's; every stream in use has its own direction.
    pub fn write(&self, author: Author) -> Vec<u8> {
        let origin = Origin::with_ip_addr(author.session_id, author.version, author.address);
        let mut session = Session::new(origin, "-");
        session.set_connection(author.address);
        session.add_time(Time::new(0, 0));
        session.add_medias(self.streams.iter().map(Stream::to_media));
        let mut body = Vec::new();
        // Writing to memory cannot fail, and a shorter body would be refused, not misread.
        let _ = session.write(&mut body);
        body
    }
}

impl Stream {
    /// The formats that are RTP payload types.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        let numbers = self
            .formats
            .split_ascii_whitespace()
            .filter_map(|format| format.parse().ok());
        numbers.filter(|&number: &u8| number < 128).take(FORMATS_MAX)
    }

    /// The line that explains a format.
    pub fn map(&self, payload_type: u8) -> Option<&Map> {
        self.maps.iter().find(|map| map.payload_type == payload_type)
    }

    /// What more is said of a format.
    pub fn parameters(&self, payload_type: u8) -> Option<&str> {
        let found = self.parameters.iter().find(|line| line.payload_type == payload_type);
        found.map(|line| line.text.as_str())
    }

    fn read(media: &Media, session: &Session) -> Self {
        let (cryptos, unusable) = cryptos(media);
        Self {
            kind: media.media.to_ascii_lowercase(),
            port: media.port,
            profile: media.proto.clone(),
            formats: media.fmt.trim().to_owned(),
            address: media
                .connections
                .first()
                .or(session.connection.as_ref())
                .map(Address::read),
            maps: values(media, "rtpmap")
                .take(FORMATS_MAX)
                .filter_map(Map::read)
                .collect(),
            parameters: values(media, "fmtp")
                .take(FORMATS_MAX)
                .filter_map(Parameters::read)
                .collect(),
            direction: direction(&media.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or(Direction::SendRecv),
            ptime_ms: number(media, session, "ptime"),
            maxptime_ms: number(media, session, "maxptime"),
            rtcp: values(media, "rtcp").next().and_then(lines::read_rtcp),
            rtcp_mux: media.has_attribute("rtcp-mux") || media.has_attribute("rtcp-mux-only"),
            voip_metrics: either(media, session, "rtcp-xr").any(lines::asks_voip_metrics),
            cryptos,
            unusable,
            fingerprint: either(media, session, "fingerprint").find_map(Fingerprint::read),
            setup: either(media, session, "setup").find_map(Setup::read),
        }
    }

    fn to_media(&self) -> Media {
        Media {
            media: self.kind.clone(),
            port: self.port,
            num_ports: None,
            proto: self.profile.clone(),
            fmt: self.formats.clone(),
            media_title: None,
            connections: Vec::new(),
            bandwidths: Vec::new(),
            key: None,
            attributes: if self.port == 0 { Vec::new() } else { self.attributes() },
        }
    }

    fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = Vec::new();
        for map in &self.maps {
            attributes.push(Attribute::with_value("rtpmap", map.value()));
            let about = self
                .parameters
                .iter()
                .filter(|line| line.payload_type == map.payload_type);
            attributes.extend(about.map(|line| Attribute::with_value("fmtp", line.value())));
        }
        attributes.extend(self.ptime_ms.map(|ptime| Attribute::with_value("ptime", ptime)));
        attributes.extend(self.maxptime_ms.map(|ptime| Attribute::with_value("maxptime", ptime)));
        self.write_security(&mut attributes);
        if self.rtcp_mux {
            attributes.push(Attribute::new("rtcp-mux"));
        }
        if self.voip_metrics {
            attributes.push(Attribute::with_value("rtcp-xr", "voip-metrics"));
        }
        attributes.push(Attribute::new(lines::direction_word(self.direction)));
        attributes
    }

    fn write_security(&self, attributes: &mut Vec<Attribute>) {
        let cryptos = self.cryptos.iter().map(Crypto::write);
        attributes.extend(cryptos.map(|line| Attribute::with_value("crypto", line)));
        let fingerprint = self.fingerprint.as_ref().map(Fingerprint::value);
        attributes.extend(fingerprint.map(|line| Attribute::with_value("fingerprint", line)));
        attributes.extend(self.setup.map(|setup| Attribute::with_value("setup", setup.word())));
    }
}

impl Address {
    fn read(connection: &Connection) -> Self {
        match connection.try_address() {
            Ok(address) => Self::Ip(address.ip),
            Err(_) => Self::Other(connection.connection_address.clone()),
        }
    }
}

fn check_size(body: &[u8]) -> Result<(), Refusal> {
    if body.len() > BYTES_MAX {
        return Err(Refusal::TooLarge("more than 16 KiB"));
    }
    if body.iter().filter(|&&byte| byte == b'\n').count() > LINES_MAX {
        return Err(Refusal::TooLarge("more than 512 lines"));
    }
    Ok(())
}

fn values<'a>(media: &'a Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    media.get_attribute_values(name).flatten()
}

/// What is said for the stream, and behind it what is said for the whole session.
fn either<'a>(media: &'a Media, session: &'a Session, name: &'a str) -> impl Iterator<Item = &'a str> {
    values(media, name).chain(session.get_attribute_values(name).flatten())
}

fn cryptos(media: &Media) -> (Vec<Crypto>, Option<Unusable>) {
    let (mut usable, mut unusable) = (Vec::new(), None);
    for line in values(media, "crypto").take(CRYPTOS_MAX).map(Crypto::read) {
        match line {
            Ok(crypto) => usable.push(crypto),
            Err(why) => drop(unusable.get_or_insert(why)),
        }
    }
    (usable, unusable)
}

/// A number said for the stream or for the whole session; some write `20.0`.
fn number(media: &Media, session: &Session, name: &str) -> Option<u32> {
    let own = values(media, name).next();
    let value = own.or_else(|| session.get_first_attribute_value(name).flatten())?;
    value.trim().split('.').next()?.parse().ok()
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .find_map(|attribute| lines::read_direction(&attribute.attribute))
}

/// Whether packets can be sent there, now or after a hold.
pub fn is_unicast(address: IpAddr) -> bool {
    !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_lines_count_for_streams_without_their_own() {
        let body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
            a=inactive\r\na=ptime:30\r\nm=audio 4000 RTP/AVP 0\r\n\
            m=audio 4002 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\na=ptime:20\r\n";
        let streams = Description::read(body.as_bytes()).unwrap().streams;
        assert_eq!(streams[0].address, Some(Address::Ip("192.0.2.1".parse().unwrap())));
        assert_eq!(
            (streams[0].direction, streams[0].ptime_ms),
            (Direction::Inactive, Some(30))
        );
        assert_eq!(streams[1].address, Some(Address::Ip("2001:db8::1".parse().unwrap())));
        assert_eq!(
            (streams[1].direction, streams[1].ptime_ms),
            (Direction::RecvOnly, Some(20))
        );
    }

    #[test]
    fn more_than_any_session_needs_is_refused() {
        let long = format!("v=0\r\ns={}\r\n", "x".repeat(BYTES_MAX));
        assert!(matches!(Description::read(long.as_bytes()), Err(Refusal::TooLarge(_))));
        let lines = format!("v=0\r\n{}", "a=x\r\n".repeat(LINES_MAX));
        assert!(matches!(Description::read(lines.as_bytes()), Err(Refusal::TooLarge(_))));
        let streams = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(STREAMS_MAX + 1));
        assert!(matches!(
            Description::read(streams.as_bytes()),
            Err(Refusal::TooLarge(_))
        ));
    }
}
