//! Header names: one spelling for each, compact forms expanded (RFC 3261 section 7.3.3).

use std::{borrow::Cow, fmt};

/// A header name in its canonical spelling; compared without case.
#[derive(Debug, Clone, Eq)]
pub struct HeaderName(Cow<'static, str>);

impl HeaderName {
    /// The name for any spelling of it: compact, or in another case. Unknown names keep the spelling they have.
    pub fn new(spelling: &str) -> Self {
        let known = match spelling.len() {
            1 => COMPACT
                .iter()
                .find(|(compact, _)| compact.eq_ignore_ascii_case(spelling))
                .map(|(_, name)| *name),
            _ => CANONICAL
                .iter()
                .copied()
                .find(|name| name.eq_ignore_ascii_case(spelling)),
        };
        Self(known.map_or_else(|| Cow::Owned(spelling.to_owned()), Cow::Borrowed))
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the header of that full name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The compact forms in the IANA registry.
const COMPACT: [(&str, &str); 20] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("s", "Subject"),
    ("t", "To"),
    ("u", "Allow-Events"),
    ("v", "Via"),
    ("x", "Session-Expires"),
    ("y", "Identity"),
];

/// The names we spell in one way whatever the peer wrote, the frequent ones first.
const CANONICAL: [&str; 67] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "Record-Route",
    "Route",
    "Allow",
    "Supported",
    "User-Agent",
    "Authorization",
    "Require",
    "Reason",
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow-Events",
    "Authentication-Info",
    "Call-Info",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Date",
    "Diversion",
    "Error-Info",
    "Event",
    "Expires",
    "History-Info",
    "Identity",
    "Identity-Info",
    "In-Reply-To",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "Organization",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "RSeq",
    "Refer-To",
    "Referred-By",
    "Reject-Contact",
    "Remote-Party-ID",
    "Replaces",
    "Reply-To",
    "Request-Disposition",
    "Retry-After",
    "Server",
    "Session-Expires",
    "Subject",
    "Subscription-State",
    "Timestamp",
    "Unsupported",
    "Warning",
    "WWW-Authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_names_mean_the_full_ones() {
        for (compact, name) in COMPACT {
            assert_eq!(HeaderName::new(compact).as_str(), name);
            assert_eq!(HeaderName::new(&compact.to_uppercase()).as_str(), name);
            assert!(CANONICAL.contains(&name), "{name}");
        }
    }

    #[test]
    fn known_names_get_one_spelling_and_unknown_ones_keep_theirs() {
        assert_eq!(HeaderName::new("cAlL-iD").as_str(), "Call-ID");
        assert_eq!(HeaderName::new("www-authenticate").as_str(), "WWW-Authenticate");
        assert_eq!(HeaderName::new("X-Custom-ID").as_str(), "X-Custom-ID");
        assert_eq!(HeaderName::new("x-custom-id"), HeaderName::new("X-Custom-ID"));
    }
}
