//! A backend's URL, taken apart: where to connect, and what to ask for there.

use std::fmt::Write;

use tokio_tungstenite::tungstenite::http::Uri;

use super::{connect_error::ConnectError, websocket::Secret};

/// Where a WebSocket URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Whether it is `wss`.
    pub(super) secure: bool,
    /// Name or address, without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The whole URL, with its query.
    pub(super) uri: Uri,
}

impl Target {
    /// Reads a URL and appends to its query what it does not say itself.
    pub(super) fn parse(url: &str, query: &[(String, Secret)]) -> Result<Self, ConnectError> {
        let bad = |problem| ConnectError::BadUrl {
            url: shown(url),
            problem,
        };
        let uri: Uri = with_query(url, query).parse().map_err(|_| bad("it is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad("it must begin with ws:// or wss://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it holds a user or a password: put the key into api_key"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() != authority.host() => return Err(bad("its port is not a number up to 65535")),
            None if secure => 443,
            None => 80,
        };
        Ok(Self {
            secure,
            host,
            port,
            uri,
        })
    }
}

/// The URL without what may be secret: everything after `?` or `#`, and everything before `@`.
fn shown(url: &str) -> String {
    let open = url.split(['?', '#']).next().unwrap_or_default();
    match (open.split_once("://"), open.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        (None, Some((_, place))) => place.to_owned(),
        (_, None) => open.to_owned(),
    }
}

fn with_query(url: &str, query: &[(String, Secret)]) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let said = url.split_once('?').map_or("", |(_, query)| query);
    let says = |name: &str| said.split('&').any(|pair| pair.split('=').next() == Some(name));
    let mut whole = url.to_owned();
    for (name, value) in query.iter().filter(|(name, _)| !says(name)) {
        let joint = match whole.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        // Writing to a string cannot fail.
        let _ = write!(whole, "{joint}{}={}", escape(name), escape(value.reveal()));
    }
    whole
}

/// Percent-encoding of everything but the unreserved characters (RFC 3986 section 2.3).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a string cannot fail.
            other => drop(write!(escaped, "%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_appended_once_and_escaped() {
        for (url, expected) in [
            (
                "wss://api.example.com/v1/realtime",
                "wss://api.example.com/v1/realtime?model=a%20b%26c",
            ),
            ("ws://h/r?x=1", "ws://h/r?x=1&model=a%20b%26c"),
            ("ws://h/r?", "ws://h/r?model=a%20b%26c"),
            ("ws://h/r?model=own", "ws://h/r?model=own"),
            ("ws://h/r?x=1&model=own", "ws://h/r?x=1&model=own"),
            ("ws://h/r?mymodel=own#part", "ws://h/r?mymodel=own&model=a%20b%26c"),
        ] {
            let model = [("model".to_owned(), Secret::new("a b&c"))];
            assert_eq!(Target::parse(url, &model).unwrap().uri.to_string(), expected);
        }
        assert_eq!(
            Target::parse("ws://h/r?x=1", &[]).unwrap().uri.to_string(),
            "ws://h/r?x=1"
        );
    }

    #[test]
    fn host_and_port_are_read_from_names_and_addresses() {
        for (url, host, port, secure) in [
            ("wss://api.example.com/v1", "api.example.com", 443, true),
            ("ws://127.0.0.1/", "127.0.0.1", 80, false),
            ("ws://[::1]:9000/x", "::1", 9000, false),
            ("wss://h:8443", "h", 8443, true),
        ] {
            let target = Target::parse(url, &[]).unwrap();
            assert_eq!((target.host.as_str(), target.port, target.secure), (host, port, secure));
        }
    }

    #[test]
    fn a_bad_url_is_explained_without_showing_its_secrets() {
        for url in [
            "",
            "h",
            "/v1",
            "https://h/x?key=s3cret",
            "ws://me:s3cret@h/x",
            "ws://",
            "ws://h:99999/?k=s3cret",
        ] {
            let error = Target::parse(url, &[("key".to_owned(), Secret::new("s3cret"))])
                .unwrap_err()
                .to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
