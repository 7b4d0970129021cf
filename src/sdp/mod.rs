//! Session descriptions: read an offer and choose an answer, or make an offer and read its answer (RFC 3264, RFC 8866).
//!
//! What we speak is one audio stream, G.711 in plain RTP, with telephone-events beside it. Streams of any other kind
//! are turned down in the answer; an offer with nothing for us is refused with a [`Refusal`] that says why. The bytes
//! are read and written by `sdp-types`, which only [`description`] names.

pub mod description;
mod negotiate;
mod refusal;

use std::net::{IpAddr, SocketAddr};

pub use negotiate::{answer, offer, read_answer};
pub use refusal::Refusal;

/// Our side of a session, as long as the call lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where the far end reaches our media.
    pub address: IpAddr,
    /// Our RTP port; RTCP is on the next one.
    pub rtp_port: u16,
    /// Tells this session from all others of ours; should fit 63 bits.
    pub session_id: u64,
    /// Increases by one with every description sent in the call that differs from the last (RFC 3264 section 8).
    pub version: u64,
    /// What we speak, what we like best first.
    pub codecs: Vec<Codec>,
}

/// An audio codec we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Every codec, in the order of their payload types.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// Its name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Its static payload type (RFC 3551 table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }
}

/// Which way media flows, seen from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// We send only.
    SendOnly,
    /// We receive only: the far end holds us, perhaps with music.
    RecvOnly,
    /// Neither way: the far end holds us.
    Inactive,
}

impl Direction {
    /// Whether we send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the far end sends.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// From both halves.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same, seen from the other side.
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }
}

/// What an offer and its answer settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The codec both ways.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of telephone-events, when the far end knows them.
    pub telephone_event: Option<u8>,
    /// Where the far end wants RTP; unspecified (0.0.0.0 or ::) while it holds us the old way.
    pub remote_rtp: SocketAddr,
    /// Where the far end wants RTCP.
    pub remote_rtcp: SocketAddr,
    /// How much audio goes into each packet we send: a multiple of 10, 10 to 60.
    pub ptime_ms: u32,
    /// Which way media flows, seen from our side.
    pub direction: Direction,
}
