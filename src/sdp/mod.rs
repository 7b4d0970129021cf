//! Session descriptions: read an offer and choose an answer, or make an offer and read its answer (RFC 3264, RFC 8866).
//!
//! What we speak is one audio stream, in the codecs and with the protection its trunk is set to, with telephone-events
//! and comfort noise beside it. Streams of any other kind are turned down in the answer; an offer with nothing for us is
//! refused with a [`Refusal`] that says why. Bundles and ICE are not spoken: what an offer says of them is ignored, and
//! packets go where its `c=` and `m=` lines say. The bytes are read and written by `sdp-types`, which only
//! [`description`] names.
//!
//! `formats` decides which codecs, numbers and events, `security` how packets are protected, and `negotiate` puts both
//! together. Nothing here makes keys: ours are in [`Protection`], for as long as the call lasts.

pub mod description;
mod formats;
mod lines;
mod negotiate;
mod opus;
mod profile;
mod refusal;
mod security;

use std::net::{IpAddr, SocketAddr};

pub use negotiate::{answer, offer, read_answer};
pub use profile::{Keying, Profile};
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
    /// How much audio we like in each packet: a multiple of 10, 10 to 60.
    pub ptime_ms: u32,
    /// How packets may be protected.
    pub protection: Protection,
    /// What is in effect when something else is about to be agreed on: the numbers of codecs keep their meaning, and
    /// packets stay protected the way they are.
    pub before: Option<Box<Negotiated>>,
}

impl Local {
    /// A side that speaks every codec, without protection.
    pub fn new(address: IpAddr, rtp_port: u16, session_id: u64) -> Self {
        Self {
            address,
            rtp_port,
            session_id,
            version: 1,
            codecs: Codec::ALL.to_vec(),
            ptime_ms: PTIME_MS,
            protection: Protection::default(),
            before: None,
        }
    }
}

/// Packet time without a wish of anybody.
pub const PTIME_MS: u32 = 20;
/// The longest packet time we send and take.
pub const PTIME_MS_MAX: u32 = 60;

/// How packets of a call may be protected, and what we need for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Whether they may or must be.
    pub srtp: Srtp,
    /// A key of ours for every suite we speak, the one we like best first; made for this call alone.
    pub keys: Vec<MasterKey>,
    /// What our certificate is known by; without it there is no DTLS.
    pub dtls: Option<Fingerprint>,
}

/// Whether packets may or must be protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    /// Never: who insists is refused.
    #[default]
    Off,
    /// When the far end offers it; our own offers are plain.
    Accepted,
    /// When the far end offers it or takes our offer of it (RFC 8643).
    Offered,
    /// Always: who does not is refused.
    Required,
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
    /// The telephone-events we send: those at the clock of what we send; of another clock only when there are no others.
    pub event_send: Option<EventFormat>,
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
    /// The transport, as the descriptions name it.
    pub profile: Profile,
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

impl Security {
    /// What records call it; nothing when packets are not protected.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Sdes { ours, .. } => Some(ours.suite.name()),
            Self::Dtls { .. } => Some("dtls"),
        }
    }
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
