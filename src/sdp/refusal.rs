//! Why a session description cannot be served.

use thiserror::Error;

/// A description that was refused; the text tells the far end's operator what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is more of it than any session needs.
    #[error("the session description is too large: {0}")]
    TooLarge(&'static str),
    /// It is not a session description.
    #[error("the session description cannot be read: {0}")]
    Unreadable(String),
    /// The stream has no `c=` line, neither its own nor the session's.
    #[error("the audio stream has no connection address; add a c= line")]
    NoAddress,
    /// A host name, or a kind of address we do not know.
    #[error("the connection address {0:?} is no IP address; host names are not looked up")]
    AddressUnknown(String),
    /// An address nobody can be sent anything at.
    #[error("the connection address {0} is not one host's; send a unicast address")]
    AddressNotUnicast(String),
    /// An answer that does not match our offer.
    #[error("the answer does not fit our offer: {0}")]
    Mismatch(&'static str),
    /// No audio stream, or all of them switched off.
    #[error("there is no audio stream, or its port is 0")]
    NoAudio,
    /// Audio over a transport we do not know.
    #[error("the audio stream uses {0}; offer RTP/AVP, RTP/SAVP or UDP/TLS/RTP/SAVP")]
    ProfileUnknown(String),
    /// Audio that is encrypted only, on a trunk that is not.
    #[error("the audio stream insists on SRTP ({0}), which this trunk's settings refuse; offer RTP/AVP")]
    SrtpRefused(String),
    /// Audio that is encrypted by DTLS only, on a trunk without.
    #[error(
        "the audio stream insists on DTLS-SRTP ({0}), which this trunk's settings refuse; offer RTP/SAVP with a=crypto"
    )]
    DtlsRefused(String),
    /// Plain audio on a trunk that is encrypted only.
    #[error("this trunk's settings require SRTP, and the audio stream has none; {0}")]
    SrtpRequired(&'static str),
    /// Keys for nothing we speak.
    #[error("no crypto suite in common; offer one of {ours}{why}")]
    NoCommonSuite {
        /// The suites we speak.
        ours: String,
        /// What is wrong with the lines there are.
        why: String,
    },
    /// DTLS without what its other side is known by.
    #[error("DTLS-SRTP is offered with {0}; add a=fingerprint:sha-256 and a=setup:actpass")]
    DtlsIncomplete(&'static str),
    /// Audio in codecs we do not speak.
    #[error("no codec in common; offer one of {0}")]
    NoCommonCodec(String),
}

impl Refusal {
    /// The reason word, the same in the response, the log, the metric and the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) | Self::Unreadable(_) | Self::Mismatch(_) => "bad_sdp",
            Self::NoAddress | Self::AddressUnknown(_) | Self::AddressNotUnicast(_) => "bad_sdp",
            Self::DtlsIncomplete(_) => "bad_sdp",
            Self::NoAudio => "no_audio",
            Self::SrtpRefused(_) | Self::DtlsRefused(_) => "srtp_refused",
            Self::SrtpRequired(_) => "srtp_required",
            Self::NoCommonSuite { .. } => "no_common_suite",
            Self::ProfileUnknown(_) | Self::NoCommonCodec(_) => "no_common_codec",
        }
    }

    /// Of several streams that cannot be served, the one that came closest tells why.
    pub(super) const fn closeness(&self) -> u8 {
        match self {
            Self::NoAudio => 0,
            Self::ProfileUnknown(_) => 1,
            Self::SrtpRefused(_) | Self::DtlsRefused(_) | Self::SrtpRequired(_) => 2,
            Self::NoCommonSuite { .. } | Self::DtlsIncomplete(_) => 3,
            Self::NoCommonCodec(_) => 4,
            _ => 5,
        }
    }
}
