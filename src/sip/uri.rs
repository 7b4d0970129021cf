//! URIs: `sip:`, `sips:` and `tel:` taken apart, any other scheme kept whole.
//!
//! A [`Uri`] keeps the text it was read from and prints exactly that: nothing is escaped or unescaped on the way
//! through. The parts are views for decisions. It does not resolve anything.

use std::{fmt, fmt::Write, net::SocketAddr};

use super::{defect::Malformed, params::Params};

pub use super::host::Host;

/// A URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    text: String,
    scheme: Scheme,
    user: Option<String>,
    password: Option<String>,
    host: Option<Host>,
    port: Option<u16>,
    params: Params,
    headers: Option<String>,
}

impl Uri {
    /// Reads a URI.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        if text.chars().any(|c| c.is_ascii_control() || " <>\"".contains(c)) {
            return Err(Malformed("the URI has a character it must not have"));
        }
        let (scheme, rest) = text.split_once(':').ok_or(Malformed("the URI has no scheme"))?;
        let mut uri = Self::opaque(text, Scheme::read(scheme)?);
        match uri.scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(rest)?,
            Scheme::Tel => uri.read_tel(rest)?,
            Scheme::Other(_) => {}
        }
        Ok(uri)
    }

    /// A `sip:` URI for one of our addresses; characters a user part cannot hold are escaped.
    pub fn sip(user: Option<&str>, address: SocketAddr) -> Self {
        let mut uri = Self::opaque("", Scheme::Sip);
        uri.user = user.filter(|user| !user.is_empty()).map(escape_user);
        uri.host = Some(Host::from(address.ip()));
        uri.port = Some(address.port());
        uri.render();
        uri
    }

    /// A URI of this scheme for one of our addresses: `sips:` when it is that, else `sip:`.
    pub fn own(scheme: &Scheme, user: Option<&str>, address: SocketAddr) -> Self {
        let mut uri = Self::sip(user, address);
        if *scheme == Scheme::Sips {
            uri.scheme = Scheme::Sips;
            uri.render();
        }
        uri
    }

    /// Somebody of this name at the host of this URI, reached in the same way. Characters a user part cannot hold are
    /// escaped.
    pub fn with_user(&self, user: &str) -> Self {
        let mut uri = self.clone();
        uri.user = (!user.is_empty()).then(|| escape_user(user));
        (uri.password, uri.headers) = (None, None);
        uri.render();
        uri
    }

    /// The URI as it may stand in From and To: without port, parameters and headers (RFC 3261 section 19.1.1, table 1).
    pub fn as_identity(&self) -> Self {
        let mut uri = self.clone();
        if matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            (uri.port, uri.headers, uri.params) = (None, None, Params::default());
            uri.render();
        }
        uri
    }

    /// The same URI with a parameter set; a URI of a scheme we do not take apart stays as it is.
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        if !matches!(self.scheme, Scheme::Other(_)) {
            self.params.set(name, value);
            self.render();
        }
        self
    }

    /// The URI as it may stand in a request line: without headers and the `method` parameter (RFC 3261 section
    /// 19.1.1, table 1). A peer's Contact may have both.
    pub fn for_request_line(mut self) -> Self {
        if self.headers.is_some() || self.params.contains("method") {
            self.headers = None;
            self.params.remove("method");
            self.render();
        }
        self
    }

    /// The place alone, without who is meant there and without parameters: what a REGISTER is sent to (RFC 3261 section
    /// 10.2).
    pub fn without_user(mut self) -> Self {
        if self.host.is_some() {
            (self.user, self.password, self.headers) = (None, None, None);
            self.params = Params::default();
            self.render();
        }
        self
    }

    /// The whole URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The user part as written, its parameters included (`+1555;npdi`); for `tel:` the number.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Who is meant: the user part without its parameters, escapes resolved.
    pub fn subscriber(&self) -> Option<String> {
        let user = self.user()?;
        Some(unescape(user.split_once(';').map_or(user, |(name, _)| name)))
    }

    /// The password part. It has no use but to be noticed (RFC 3261 section 19.1.1).
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The host of a `sip:` or `sips:` URI.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The port, when one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI's own parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The `?name=value&...` part without its question mark.
    pub fn headers(&self) -> Option<&str> {
        self.headers.as_deref()
    }

    /// Whether both name the same resource as far as the wire goes: scheme, user, host and port (RFC 3261 19.1.4);
    /// parameters are left out.
    pub fn same_resource(&self, other: &Uri) -> bool {
        let user = |uri: &Uri| uri.user().map(unescape);
        match (&self.host, &other.host) {
            (Some(a), Some(b)) => {
                self.scheme == other.scheme && a == b && self.port == other.port && user(self) == user(other)
            }
            _ => self.text == other.text,
        }
    }

    fn opaque(text: &str, scheme: Scheme) -> Self {
        Self {
            text: text.to_owned(),
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: None,
        }
    }

    /// The user part is found first, by the one `@` there can be: it may itself hold `;`, `?` and `/`.
    fn read_sip(&mut self, rest: &str) -> Result<(), Malformed> {
        let rest = match rest.split_once('@') {
            Some((_, tail)) if tail.contains('@') => return Err(Malformed("the URI has more than one '@'")),
            Some((user, tail)) => {
                self.read_user(user)?;
                tail
            }
            None => rest,
        };
        let (rest, headers) = cut(rest, '?');
        let (host_port, params) = cut(rest, ';');
        let (host, port) = Host::read_with_port(host_port)?;
        self.host = Some(host);
        self.port = port;
        self.params = params.map_or(Ok(Params::default()), Params::read_uri)?;
        self.headers = headers.map(str::to_owned);
        Ok(())
    }

    fn read_user(&mut self, user: &str) -> Result<(), Malformed> {
        let (user, password) = cut(user, ':');
        if user.is_empty() {
            return Err(Malformed("the URI has an empty user part"));
        }
        self.user = Some(user.to_owned());
        self.password = password.map(str::to_owned);
        Ok(())
    }

    fn read_tel(&mut self, rest: &str) -> Result<(), Malformed> {
        let (number, params) = cut(rest, ';');
        let digits = number.strip_prefix('+').unwrap_or(number);
        let legal = |byte: u8| byte.is_ascii_hexdigit() || b"*#-.()".contains(&byte);
        if !digits.bytes().all(legal)
            || !digits
                .bytes()
                .any(|byte| byte.is_ascii_hexdigit() || b"*#".contains(&byte))
        {
            return Err(Malformed("the tel URI has no number"));
        }
        self.user = Some(number.to_owned());
        self.params = params.map_or(Ok(Params::default()), Params::read_uri)?;
        Ok(())
    }

    fn render(&mut self) {
        let mut text = format!("{}:", self.scheme);
        text.extend(self.user.as_deref());
        if let Some(password) = &self.password {
            text.extend([":", password]);
        }
        if let Some(host) = &self.host {
            text.extend([if self.user.is_some() { "@" } else { "" }, host.as_str()]);
        }
        if let Some(port) = self.port {
            text.extend([":", &port.to_string()]);
        }
        text.push_str(&self.params.to_string());
        if let Some(headers) = &self.headers {
            text.extend(["?", headers]);
        }
        self.text = text;
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// What kind of URI it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other, in lower case; such a URI is not taken apart.
    Other(String),
}

impl Scheme {
    /// Whether calls to such a URI are taken.
    pub fn is_served(&self) -> bool {
        matches!(self, Self::Sip | Self::Tel)
    }

    fn read(text: &str) -> Result<Self, Malformed> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) || !text.bytes().all(legal) {
            return Err(Malformed("the URI's scheme cannot be read"));
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "sip" => Scheme::Sip,
            "sips" => Scheme::Sips,
            "tel" => Scheme::Tel,
            other => Scheme::Other(other.to_owned()),
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
            Scheme::Other(other) => other,
        })
    }
}

fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator)
        .map_or((text, None), |(head, tail)| (head, Some(tail)))
}

pub(super) fn escape_user(user: &str) -> String {
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) => escaped.push(byte.into()),
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    escaped
}

/// A value as it may stand behind `?name=` in a URI: every character that means something there is escaped.
pub(super) fn escape_header(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) => escaped.push(byte.into()),
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    escaped
}

/// Resolves `%41`; a `%` that starts no escape stays, and bytes that are not UTF-8 are replaced.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, escaped_byte(tail)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escaped_byte(tail: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*tail.get(index)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_sip_uri_are_found() {
        let uri = read("sip:alice:secret@example.com:5070;transport=tcp;lr?Subject=x&Priority=urgent");
        assert_eq!(uri.scheme(), &Scheme::Sip);
        assert_eq!((uri.user(), uri.password()), (Some("alice"), Some("secret")));
        assert_eq!((uri.host().unwrap().as_str(), uri.port()), ("example.com", Some(5070)));
        assert_eq!(uri.params().get("transport"), Some("tcp"));
        assert!(uri.params().contains("lr"));
        assert_eq!(uri.headers(), Some("Subject=x&Priority=urgent"));
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets_and_its_port() {
        let uri = read("sips:[::1]:5071;lr");
        assert_eq!((uri.host().unwrap().as_str(), uri.port()), ("[::1]", Some(5071)));
        assert_eq!(read("sip:bob@[2001:db8::1]").host().unwrap().as_str(), "[2001:db8::1]");
        assert!(Uri::read("sip:bob@[2001:db8::1").is_err());
        assert!(Uri::read("sip:bob@2001:db8::1").is_err());
        assert!(Uri::read("sip:[::1]x").is_err());
    }

    #[test]
    fn a_tel_uri_is_a_number_and_prints_as_it_came() {
        let uri = read("tel:+1-555-123.4567;phone-context=example.com");
        assert_eq!((uri.scheme(), uri.user()), (&Scheme::Tel, Some("+1-555-123.4567")));
        assert_eq!(uri.params().get("phone-context"), Some("example.com"));
        assert_eq!(read("tel:+15551234567").to_string(), "tel:+15551234567");
        assert!(Uri::read("tel:").is_err());
        assert!(Uri::read("tel:bob").is_err());
    }

    #[test]
    fn a_user_part_may_hold_parameters_and_query_characters() {
        let uri = read("sip:+15551234567;npdi@gw.example.com;user=phone");
        assert_eq!(uri.user(), Some("+15551234567;npdi"));
        assert_eq!(uri.subscriber().unwrap(), "+15551234567");
        assert_eq!(uri.host().unwrap().as_str(), "gw.example.com");
        assert_eq!(uri.params().get("user"), Some("phone"));
        assert_eq!(uri.to_string(), "sip:+15551234567;npdi@gw.example.com;user=phone");
        assert_eq!(read("sip:a?b=c/d@e").user(), Some("a?b=c/d"));
    }

    #[test]
    fn an_escaped_hash_goes_through_unchanged() {
        let uri = read("sip:%23911@example.com");
        assert_eq!(uri.to_string(), "sip:%23911@example.com");
        assert_eq!(uri.subscriber().unwrap(), "#911");
        assert_eq!(read("sip:%zz%4@h").subscriber().unwrap(), "%zz%4");
    }

    #[test]
    fn other_schemes_are_kept_whole_and_broken_uris_refused() {
        assert_eq!(read("isbn:2983792873").scheme(), &Scheme::Other("isbn".into()));
        assert_eq!(read("nobodyKnowsThisScheme:x").to_string(), "nobodyKnowsThisScheme:x");
        for text in [
            "",
            "sip:",
            "sip",
            ":x",
            "1sip:x",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:h:",
            "sip:h:65536",
        ] {
            assert!(Uri::read(text).is_err(), "{text}");
        }
        for text in [
            "sip:h:-1",
            "sip:h;;",
            "sip:a b@h",
            "sip:a@h;lr=1;lr=2",
            "<sip:a@h>",
            "sip:h\0",
            "sip:h:+5060",
        ] {
            assert!(Uri::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn our_own_uris_read_back_equal() {
        for uri in [
            Uri::sip(None, "192.0.2.1:5060".parse().unwrap()),
            Uri::sip(Some("a@b c"), "[2001:db8::1]:5080".parse().unwrap()).with_param("transport", Some("tcp")),
        ] {
            assert_eq!(Uri::read(uri.as_str()).unwrap(), uri);
        }
    }

    #[test]
    fn a_request_line_takes_no_headers_and_no_method() {
        let contact = read("sip:+1;npdi@[::1]:5070;method=BYE;transport=tcp?Route=x");
        assert_eq!(
            contact.for_request_line().as_str(),
            "sip:+1;npdi@[::1]:5070;transport=tcp"
        );
        assert_eq!(read("SIP:a@h").for_request_line().as_str(), "SIP:a@h");
    }

    #[test]
    fn the_same_resource_is_seen_through_case_escapes_and_parameters() {
        assert!(read("sip:a%62c@Example.com").same_resource(&read("SIP:abc@example.com;transport=udp")));
        assert!(!read("sip:abc@example.com").same_resource(&read("sip:ABC@example.com")));
        assert!(!read("sip:abc@example.com:5060").same_resource(&read("sip:abc@example.com")));
        assert!(read("tel:+1").same_resource(&read("tel:+1")));
    }

    fn read(text: &str) -> Uri {
        Uri::read(text).unwrap()
    }
}
