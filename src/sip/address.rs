//! Name and address: the value of From, To, Contact, Route and Record-Route (RFC 3261 section 20.10).

use std::fmt;

use super::{
    defect::Malformed,
    grammar::{list, quote, trim, unquote},
    params::Params,
    uri::Uri,
};

/// A URI with an optional display name before it and parameters behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name with quotes and escapes resolved.
    pub display: Option<String>,
    /// The address.
    pub uri: Uri,
    /// The header's parameters, such as `tag`; the URI's own are inside the URI.
    pub params: Params,
}

impl NameAddr {
    /// A bare address.
    pub fn new(uri: Uri) -> Self {
        Self {
            display: None,
            uri,
            params: Params::default(),
        }
    }

    /// Reads one address.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        if text.starts_with('"') {
            let (display, rest) = unquote(text)?;
            return Self::read_angle(Some(display), rest);
        }
        match text.find('<') {
            Some(position) => {
                let (display, rest) = text.split_at(position);
                Self::read_angle(read_display(trim(display))?, rest)
            }
            None => Self::read_bare(text),
        }
    }

    /// Reads a comma-separated list of addresses.
    pub fn read_list(text: &str) -> Result<Vec<Self>, Malformed> {
        list(text)?.into_iter().map(Self::read).collect()
    }

    /// The dialog tag.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The same address with this tag.
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    fn read_angle(display: Option<String>, rest: &str) -> Result<Self, Malformed> {
        let rest = trim(rest)
            .strip_prefix('<')
            .ok_or(Malformed("'<' must follow the display name"))?;
        let (uri, params) = rest.split_once('>').ok_or(Malformed("a '<' is not closed"))?;
        Ok(Self {
            display,
            uri: Uri::read(uri)?,
            params: Params::read(params)?,
        })
    }

    /// Without brackets everything from the first `;` belongs to the header, and `?` and `,` cannot be told apart from
    /// their meaning in the header, so they are not allowed (RFC 3261 section 20.10).
    fn read_bare(text: &str) -> Result<Self, Malformed> {
        let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        if uri.contains(['?', ',']) {
            return Err(Malformed("a URI with '?' or ',' must stand in '<' and '>'"));
        }
        Ok(Self {
            display: None,
            uri: Uri::read(trim(uri))?,
            params: Params::read(params)?,
        })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(out, "{} ", quote(display))?;
        }
        write!(out, "<{}>{}", self.uri, self.params)
    }
}

/// A display name without quotes should be tokens; we take every character that leaves the rest unambiguous, because
/// gateways in the field put accents and brackets there.
fn read_display(text: &str) -> Result<Option<String>, Malformed> {
    match text
        .chars()
        .any(|c| c.is_ascii_control() && c != '\t' || "\">,;\\".contains(c))
    {
        true => Err(Malformed("a display name with special characters must stand in quotes")),
        false => Ok((!text.is_empty()).then(|| text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_an_address_are_read() {
        for (text, display, uri, tag) in [
            ("sip:a@h;tag=1", None, "sip:a@h", Some("1")),
            ("<sip:a@h;lr>;tag=1", None, "sip:a@h;lr", Some("1")),
            ("caller<sip:a@h>", Some("caller"), "sip:a@h", None),
            (
                "Bob M. (Work) <sip:a@h> ; tag = x",
                Some("Bob M. (Work)"),
                "sip:a@h",
                Some("x"),
            ),
            (
                r#""A \"q\" \\ , <B>; C" <sip:a@h>;tag=1"#,
                Some(r#"A "q" \ , <B>; C"#),
                "sip:a@h",
                Some("1"),
            ),
            ("\"\" <tel:+1555>", Some(""), "tel:+1555", None),
            ("J\u{f6}rg <sip:a@h>", Some("J\u{f6}rg"), "sip:a@h", None),
        ] {
            let read = NameAddr::read(text).unwrap();
            assert_eq!(
                (read.display.as_deref(), read.uri.as_str(), read.tag()),
                (display, uri, tag),
                "{text}"
            );
            assert_eq!(NameAddr::read(&read.to_string()).unwrap(), read, "{text}");
        }
    }

    #[test]
    fn an_address_inside_a_quoted_display_name_is_only_a_name() {
        let from = NameAddr::read(r#""Bob <sip:ceo@corp>" <sip:attacker@evil>;tag=1"#).unwrap();
        assert_eq!(from.display.as_deref(), Some("Bob <sip:ceo@corp>"));
        assert_eq!(from.uri.as_str(), "sip:attacker@evil");
        let all = NameAddr::read_list(r#""a, <sip:x@y>" <sip:b@c>,<sip:d@e>;q=0.5"#).unwrap();
        assert_eq!(
            all.iter().map(|one| one.uri.as_str()).collect::<Vec<_>>(),
            ["sip:b@c", "sip:d@e"]
        );
    }

    #[test]
    fn expires_without_brackets_belongs_to_the_header() {
        let contact = NameAddr::read("sip:a@h;expires=60").unwrap();
        assert_eq!(contact.params.get("expires"), Some("60"));
        assert_eq!(contact.uri.as_str(), "sip:a@h");
        assert_eq!(contact.to_string(), "<sip:a@h>;expires=60");
    }

    #[test]
    fn ambiguous_addresses_are_refused() {
        for text in [
            "",
            "*",
            "<sip:a@h",
            "< sip:a@h >",
            "\"A <sip:a@h>",
            "\"A\" sip:a@h",
            "Bell, Alexander <sip:a@h>",
            "sip:a@h?Route=x",
            "<sip:a@h> x",
            "<sip:a@h>;;",
            "alan@example.com",
            "a \"b\" <sip:a@h>",
        ] {
            assert!(NameAddr::read(text).is_err(), "{text}");
        }
    }
}
