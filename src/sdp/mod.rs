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

pub use crate::audio::{Codec, OpusWishes};
use crate::rtp::srtp::MasterKey;

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
    /// What we send.
    pub send: Format,
    /// Everything that may come: what we send among it unless the far end chose another.
    pub receive: Vec<Format>,
    /// The telephone-events that may come, one for each clock; empty when the far end does not know them.
    pub events: Vec<EventFormat>,
    /// The payload type of the telephone-events we send: those at the clock of what we send.
    pub event_send: Option<u8>,
    /// The payload type of comfort noise (RFC 3389), when it was agreed on.
    pub comfort_noise: Option<u8>,
    /// Where the far end wants RTP; unspecified (0.0.0.0 or ::) while it holds us the old way.
    pub remote_rtp: SocketAddr,
    /// Where the far end wants RTCP; the same as RTP when they share a port.
    pub remote_rtcp: SocketAddr,
    /// Whether RTCP comes and goes on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// How much audio goes into each packet we send: a multiple of 10, 10 to 60.
    pub ptime_ms: u32,
    /// Which way media flows, seen from our side.
    pub direction: Direction,
    /// How packets are protected.
    pub security: Security,
    /// Whether the far end wants extended reports of how the call sounds (RFC 3611).
    pub voip_metrics: bool,
}

/// A codec with its payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// The number packets carry it under.
    pub payload_type: u8,
    /// What the far end wants of Opus.
    pub opus: OpusWishes,
}

/// Telephone-events with their payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// The number packets carry them under.
    pub payload_type: u8,
    /// The clock their durations count in.
    pub clock_hz: u32,
}

/// How packets are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    #[default]
    None,
    /// By keys from the descriptions (RFC 4568).
    Sdes {
        /// Protects what we send.
        ours: MasterKey,
        /// Protects what comes.
        theirs: MasterKey,
    },
    /// By keys that a handshake on the media path makes (RFC 5764).
    Dtls {
        /// Whether we begin the handshake.
        active: bool,
        /// The certificate the far end must show.
        fingerprint: Fingerprint,
    },
}

/// The hash of a certificate (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function as written, in lower case: `sha-256`.
    pub algorithm: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

impl Format {
    /// A codec under the number our offers give it, with no wishes.
    pub fn plain(codec: Codec) -> Self {
        Self {
            codec,
            payload_type: codec.payload_type(),
            opus: OpusWishes::default(),
        }
    }
}
