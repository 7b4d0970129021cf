//! A session description as values, and to and from bytes.
//!
//! The only module that names `sdp-types`, which reads lines and fields. Here they become what a negotiation needs; it
//! decides nothing except what cannot be read at all. Attributes that repeat count once, the first time.

use std::net::{IpAddr, Ipv4Addr};

use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

use super::{Direction, Refusal};

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
    /// The transport, `RTP/AVP` if it is for us.
    pub profile: String,
    /// The formats as listed.
    pub formats: String,
    /// Where to send, from its own `c=` line or the session's.
    pub address: Option<Address>,
    /// What each format is.
    pub maps: Vec<Map>,
    /// Which way media flows, seen from whoever wrote this.
    pub direction: Direction,
    /// The wanted packet time.
    pub ptime_ms: Option<u32>,
    /// The longest packet time.
    pub maxptime_ms: Option<u32>,
    /// Where RTCP goes (RFC 3605); elsewhere than the next port only if it says so.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
}

/// The contents of a `c=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// Anything else, as written.
    Other(String),
}

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
        numbers.filter(|&number: &u8| number < 128)
    }

    /// The line that explains a format.
    pub fn map(&self, payload_type: u8) -> Option<&Map> {
        self.maps.iter().find(|map| map.payload_type == payload_type)
    }

    fn read(media: &Media, session: &Session) -> Self {
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
            maps: values(media, "rtpmap").filter_map(Map::read).collect(),
            direction: direction(&media.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or(Direction::SendRecv),
            ptime_ms: number(media, session, "ptime"),
            maxptime_ms: number(media, session, "maxptime"),
            rtcp: values(media, "rtcp").next().and_then(read_rtcp),
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
            if map.is_telephone_event() {
                attributes.push(Attribute::with_value("fmtp", format!("{} 0-15", map.payload_type)));
            }
        }
        attributes.extend(self.ptime_ms.map(|ptime| Attribute::with_value("ptime", ptime)));
        attributes.push(Attribute::new(word(self.direction)));
        attributes
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

impl Map {
    /// Whether this is RFC 4733's keys, at the clock of G.711.
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event") && self.clock_hz == 8_000
    }

    fn read(value: &str) -> Option<Self> {
        let (payload_type, encoding) = value.trim().split_once(char::is_whitespace)?;
        let mut parts = encoding.trim().split('/');
        Some(Self {
            payload_type: payload_type.parse().ok()?,
            name: parts.next()?.to_owned(),
            clock_hz: parts.next()?.trim().parse().ok()?,
            channels: parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?,
        })
    }

    fn value(&self) -> String {
        format!("{} {}/{}", self.payload_type, self.name, self.clock_hz)
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

/// A number said for the stream or for the whole session; some write `20.0`.
fn number(media: &Media, session: &Session, name: &str) -> Option<u32> {
    let own = values(media, name).next();
    let value = own.or_else(|| session.get_first_attribute_value(name).flatten())?;
    value.trim().split('.').next()?.parse().ok()
}

/// `a=rtcp:53020` or `a=rtcp:53020 IN IP4 126.16.64.4`.
fn read_rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    Some((port, words.nth(2).and_then(|address| address.parse().ok())))
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| {
        DIRECTIONS
            .into_iter()
            .find(|&direction| attribute.attribute.eq_ignore_ascii_case(word(direction)))
    })
}

const DIRECTIONS: [Direction; 4] = [
    Direction::SendRecv,
    Direction::SendOnly,
    Direction::RecvOnly,
    Direction::Inactive,
];

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
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
    fn an_rtpmap_is_read_in_any_case_and_with_channels() {
        let map = Map::read("101 Telephone-Event/8000").unwrap();
        assert!(map.is_telephone_event());
        assert_eq!(Map::read("0 pcmu/8000/1").unwrap().channels, 1);
        assert_eq!(Map::read("0 L16/44100/2").unwrap().channels, 2);
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
