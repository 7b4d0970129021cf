//! Why a session could not be opened, said so that it can be mended.
//!
//! No text here ever holds the key: URLs are shown without their query and without user and password, and what the
//! server answers is searched for the key before it is quoted.

use std::time::Duration;

/// Longest piece of a server's answer that is quoted.
const QUOTED_CHARS_MAX: usize = 200;

/// Why a session could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL of the backend cannot be used.
    #[error("the backend URL {url} cannot be used: {problem}")]
    BadUrl {
        /// The URL as far as it may be shown.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A header value, the key, cannot be sent.
    #[error("the header {name} cannot be sent: it holds characters that no header may carry, a line end perhaps")]
    BadHeader {
        /// Which header.
        name: String,
    },
    /// The host name leads nowhere.
    #[error("the name {host} cannot be resolved ({cause}): check the backend's URL and this machine's DNS")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver says.
        cause: String,
    },
    /// No address of the host takes a connection.
    #[error("{host}:{port} takes no connection ({cause})")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says about the last address tried.
        cause: String,
    },
    /// It took too long.
    #[error("no session within {} ms: stuck at {stage}", timeout.as_millis())]
    Timeout {
        /// What was being waited for.
        stage: Stage,
        /// How long was allowed.
        timeout: Duration,
    },
    /// The secure connection failed.
    #[error("the TLS connection to {host} failed: {cause}")]
    Tls {
        /// The host.
        host: String,
        /// What happened.
        cause: String,
    },
    /// The host cannot prove who it is.
    #[error(
        "the certificate of {host} is not accepted ({cause}): check the backend's URL, its certificate and this machine's authorities and clock"
    )]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with it: unknown issuer, wrong name, expired.
        cause: String,
    },
    /// The server answered, but not with a WebSocket.
    #[error("refused with HTTP status {status}{}", quoted(body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        body: String,
    },
    /// The server does not speak WebSocket, or broke off.
    #[error("the WebSocket handshake failed: {cause}")]
    Handshake {
        /// What happened.
        cause: String,
    },
}

/// The steps to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asking for the addresses of the host.
    Dns,
    /// Waiting for TCP.
    Tcp,
    /// Waiting for TLS.
    Tls,
    /// Waiting for the answer to the WebSocket handshake.
    Handshake,
}

impl ConnectError {
    /// One fixed word, for the metric and the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::BadHeader { .. } => "bad_header",
            Self::Dns { .. } => "dns",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Tls { .. } => "tls",
            Self::Certificate { .. } => "certificate",
            Self::Refused { .. } => "refused",
            Self::Handshake { .. } => "handshake",
        }
    }

    /// Whether dialling again the same way can only fail again: the settings are wrong, not the moment.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::BadHeader { .. } | Self::Certificate { .. } => true,
            // RFC 9110: 408 and 425 ask for another try, 429 for a later one; every other 4xx means the request itself.
            // A 3xx means another URL, which is for the configuration to name: the key goes nowhere else.
            Self::Refused { status, .. } => (300..500).contains(status) && ![408, 425, 429].contains(status),
            Self::Dns { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Tls { .. }
            | Self::Handshake { .. } => false,
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Dns => "DNS",
            Self::Tcp => "the TCP connection",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the WebSocket handshake",
        })
    }
}

/// The beginning of a server's answer: one line, bounded, and without the keys should the server echo them.
pub(super) fn excerpt(body: &[u8], hidden: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "(hidden)");
    }
    let words: Vec<_> = text
        .split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ").chars().take(QUOTED_CHARS_MAX).collect()
}

fn quoted(body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!(": {body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_echoed_by_the_server_is_not_quoted() {
        let text = excerpt(b"{\n \"message\": \"wrong key sk-12345\"\r\n}", &["sk-12345"]);
        assert_eq!(text, "{ \"message\": \"wrong key (hidden)\" }");
    }

    #[test]
    fn a_long_or_binary_answer_is_cut_and_stays_on_one_line() {
        let text = excerpt(&[b"\xff\x1b[2J\n".as_slice(), &[b'x'; 5000]].concat(), &[]);
        assert!(
            text.chars().count() <= QUOTED_CHARS_MAX && !text.contains(char::is_control),
            "{text}"
        );
    }

    #[test]
    fn refusals_that_mean_the_request_are_fatal_and_those_that_mean_the_moment_are_not() {
        let refused = |status| ConnectError::Refused {
            status,
            body: String::new(),
        };
        for status in [301, 302, 400, 401, 403, 404] {
            assert!(refused(status).is_fatal(), "{status}");
        }
        for status in [200, 408, 425, 429, 500, 502, 503, 529] {
            assert!(!refused(status).is_fatal(), "{status}");
        }
        assert_eq!(refused(401).to_string(), "refused with HTTP status 401");
    }
}
