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
    /// Audio, but not over plain RTP.
    #[error("the audio stream uses {0}; offer RTP/AVP")]
    ProfileUnknown(String),
    /// Audio, but only encrypted.
    #[error("the audio stream insists on SRTP ({0}); offer RTP/AVP")]
    SrtpRequired(String),
    /// Audio over plain RTP in codecs we do not speak.
    #[error("no codec in common; offer PCMU or PCMA at 8000 Hz, one channel")]
    NoCommonCodec,
}

impl Refusal {
    /// The reason word, the same in the response, the log, the metric and the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) | Self::Unreadable(_) | Self::Mismatch(_) => "bad_sdp",
            Self::NoAddress | Self::AddressUnknown(_) | Self::AddressNotUnicast(_) => "bad_sdp",
            Self::NoAudio => "no_audio",
            Self::SrtpRequired(_) => "srtp_required",
            Self::ProfileUnknown(_) | Self::NoCommonCodec => "no_common_codec",
        }
    }
}
