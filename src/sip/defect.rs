//! What can be wrong with a message, and the answer its sender gets.
//!
//! [`Malformed`] is about one value, [`HeaderError`] about one header, [`ReadError`] about one message. A `ReadError`
//! carries the reply already built from what could be read, because only the reader still has the bytes.

use super::message::Response;

/// What is wrong with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What is wrong with one header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The message has no such header.
    #[error("the {0} header is missing")]
    Missing(&'static str),
    /// The header may occur once only.
    #[error("the {0} header may occur only once")]
    Repeated(&'static str),
    /// The header's value does not follow the grammar.
    #[error("the {name} header cannot be read: {problem}")]
    Malformed {
        /// Which header.
        name: &'static str,
        /// What is wrong with its value.
        problem: Malformed,
    },
}

impl HeaderError {
    /// The header that is missing, repeated or malformed.
    pub fn header(&self) -> &'static str {
        match self {
            HeaderError::Missing(name) | HeaderError::Repeated(name) | HeaderError::Malformed { name, .. } => name,
        }
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Not a message: an empty datagram or line breaks only, sent to keep a NAT binding open (RFC 5626 section 3.5).
    #[error("the datagram is a keep-alive, not a message")]
    KeepAlive,
    /// The first line is neither a request line nor a status line.
    #[error("the first line cannot be read: {0}")]
    StartLine(Malformed),
    /// The first line is too long.
    #[error("the first line is longer than {0} bytes")]
    StartLineTooLong(usize),
    /// The message speaks another SIP version.
    #[error("the SIP version is not 2.0")]
    Version,
    /// A line of the head is not `name: value`, or ends in something other than CRLF.
    #[error("a header line cannot be read: {0}")]
    HeaderLine(Malformed),
    /// One header is longer than allowed.
    #[error("a header is longer than {0} bytes")]
    HeaderTooLong(usize),
    /// There are more headers than allowed.
    #[error("the message has more than {0} headers")]
    TooManyHeaders(usize),
    /// No empty line ends the head.
    #[error("the empty line after the headers is missing")]
    NoHeadEnd,
    /// The headers of a stream message are longer than allowed.
    #[error("the headers are longer than {0} bytes")]
    HeadTooLarge(usize),
    /// The whole message is longer than allowed.
    #[error("the message is longer than {0} bytes")]
    TooLarge(usize),
    /// Content-Length is missing on a stream, not a number, or given twice with different numbers.
    #[error("{0}")]
    ContentLength(HeaderError),
    /// The body of a stream message is longer than allowed.
    #[error("the body makes the message longer than {0} bytes")]
    BodyTooLarge(usize),
    /// The datagram ended before the body did (RFC 3261 section 18.3).
    #[error("the body is shorter than Content-Length says")]
    BodyTruncated,
    /// A header every message must have is missing, repeated or malformed.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The method in CSeq is not the method of the request (RFC 3261 section 8.1.1.5).
    #[error("the CSeq method is not the request's method")]
    MethodMismatch,
    /// More bytes were pushed into a stream reader than it may hold.
    #[error("more than {0} bytes wait in the stream")]
    StreamOverflow(usize),
}

impl Defect {
    /// One word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Defect::KeepAlive => "keep_alive",
            Defect::StartLine(_) | Defect::StartLineTooLong(_) => "bad_start_line",
            Defect::Version => "bad_version",
            Defect::HeaderLine(_) | Defect::HeaderTooLong(_) | Defect::NoHeadEnd => "bad_header_line",
            Defect::TooManyHeaders(_) | Defect::HeadTooLarge(_) | Defect::TooLarge(_) | Defect::BodyTooLarge(_) => {
                "too_large"
            }
            Defect::ContentLength(_) => "bad_content_length",
            Defect::BodyTruncated => "body_truncated",
            Defect::Header(HeaderError::Missing(_)) => "missing_header",
            Defect::Header(HeaderError::Repeated(_)) => "repeated_header",
            Defect::Header(HeaderError::Malformed { .. }) => "bad_header",
            Defect::MethodMismatch => "method_mismatch",
            Defect::StreamOverflow(_) => "stream_overflow",
        }
    }

    /// The status a request with this defect is answered with.
    pub fn status(&self) -> u16 {
        match self {
            Defect::Version => 505,
            Defect::BodyTooLarge(_) => 413,
            Defect::StartLineTooLong(_) => 414,
            Defect::HeadTooLarge(_) | Defect::TooLarge(_) | Defect::StreamOverflow(_) => 513,
            _ => 400,
        }
    }
}

/// A message that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{defect}")]
pub struct ReadError {
    defect: Defect,
    reply: Option<Box<Response>>,
}

impl ReadError {
    pub(super) fn new(defect: Defect, reply: Option<Response>) -> Self {
        Self {
            defect,
            reply: reply.map(Box::new),
        }
    }

    /// What is wrong.
    pub fn defect(&self) -> &Defect {
        &self.defect
    }

    /// One word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        self.defect.reason()
    }

    /// The response the sender should get; `None` for responses, ACK, keep-alives and what cannot be answered.
    pub fn reply(&self) -> Option<Response> {
        self.reply.as_deref().cloned()
    }
}

impl From<Defect> for ReadError {
    fn from(defect: Defect) -> Self {
        Self::new(defect, None)
    }
}
