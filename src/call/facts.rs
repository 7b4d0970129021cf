//! What is known of a call besides its sound: who calls whom, what the signalling says about it, what the application
//! that placed it wants the agent to know.
//!
//! The agent's texts may name these facts: `{{caller}}`, `{{called}}`, `{{header.x-order}}`, `{{variable.name}}`. They come
//! from the far end, so that they are bounded in number and size, and a caller that asks for privacy (RFC 3323, RFC
//! 3325) is shown to the agent as anonymous. The record keeps everything, and that it was asked for.

use std::collections::BTreeMap;

use crate::sip::{Headers, Invite, NameAddr, Uri};

/// Headers kept of one call; further ones are left out.
pub const HEADERS_MAX: usize = 32;

/// The longest value kept, in bytes; the rest is cut off.
pub const VALUE_BYTES_MAX: usize = 512;

/// Variables one call may have.
pub const VARIABLES_MAX: usize = 32;

/// The longest text made of a template, in bytes; the rest is cut off.
const TEXT_BYTES_MAX: usize = 128 * 1024;

/// Headers kept besides `X-…`.
const KEPT: &[&str] = &[
    "p-asserted-identity",
    "remote-party-id",
    "privacy",
    "diversion",
    "history-info",
    "user-to-user",
];

/// Those of them that tell who calls.
const IDENTIFYING: &[&str] = &["p-asserted-identity", "remote-party-id"];

/// What a caller who wants privacy is called.
const ANONYMOUS: &str = "anonymous";

/// What is known of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Who calls: a number or name, as well as it is known.
    pub caller: String,
    /// Who is called.
    pub called: String,
    /// Whether the caller asked not to be told of.
    pub private: bool,
    /// Headers by their names in lower case; several of one name are joined with commas.
    pub headers: BTreeMap<String, String>,
    /// What the application says, by its own names.
    pub variables: BTreeMap<String, String>,
}

impl Facts {
    /// What an INVITE tells.
    pub fn of(invite: &Invite) -> Self {
        let headers = kept(&invite.headers);
        let asserted = IDENTIFYING
            .iter()
            .find_map(|name| identity(invite.headers.first(name)?));
        Self {
            caller: asserted.unwrap_or_else(|| address(&invite.from.uri)),
            called: address(&invite.request_uri),
            private: wants_privacy(&invite.headers),
            headers,
            variables: BTreeMap::new(),
        }
    }

    /// A text of the agent with what it names put in. What is not known stays empty; braces that are never closed stay
    /// as they are.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                break;
            };
            filled.push_str(before);
            filled.push_str(self.value(name.trim()));
            rest = behind;
        }
        filled.push_str(rest);
        filled.truncate(filled.floor_char_boundary(TEXT_BYTES_MAX));
        filled
    }

    /// What is known under this name; empty when nothing is.
    pub fn value(&self, name: &str) -> &str {
        let name = name.to_ascii_lowercase();
        match name.split_once('.') {
            None if name == "caller" && self.private => ANONYMOUS,
            None if name == "caller" => &self.caller,
            None if name == "called" => &self.called,
            Some(("header", header)) => self.header(header),
            Some(("variable", _)) => self.variable(&name),
            _ => "",
        }
    }

    fn header(&self, name: &str) -> &str {
        let hidden = self.private && IDENTIFYING.contains(&name);
        let value = self.headers.get(name).filter(|_| !hidden);
        value.map_or("", String::as_str)
    }

    /// Variables are compared without regard to case, like everything between the braces.
    fn variable(&self, name: &str) -> &str {
        let named = |key: &str| {
            name.strip_prefix("variable.")
                .is_some_and(|name| key.eq_ignore_ascii_case(name))
        };
        let found = self.variables.iter().find(|(key, _)| named(key));
        found.map_or("", |(_, value)| value)
    }
}

fn kept(headers: &Headers) -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for header in headers.iter() {
        let name = header.name.to_string().to_ascii_lowercase();
        if count == HEADERS_MAX || !(name.starts_with("x-") || KEPT.contains(&name.as_str())) {
            continue;
        }
        count += 1;
        let value = kept.entry(name).or_default();
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str(&header.value);
        value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
    }
    kept
}

/// The number or name of the first identity in a header value.
fn identity(value: &str) -> Option<String> {
    let identities = NameAddr::read_list(value).ok()?;
    identities.first().map(|identity| address(&identity.uri))
}

/// The number or user name, else the whole URI.
fn address(uri: &Uri) -> String {
    let mut address = uri.subscriber().unwrap_or_else(|| uri.to_string());
    address.truncate(address.floor_char_boundary(VALUE_BYTES_MAX));
    address
}

/// RFC 3323 section 4.2 and RFC 3325 section 9.3: values are separated by semicolons; `none` asks for nothing.
fn wants_privacy(headers: &Headers) -> bool {
    headers.all("Privacy").any(|value| {
        let mut wishes = value.split([';', ',']).map(str::trim);
        wishes.any(|wish| {
            ["id", "user", "header"]
                .iter()
                .any(|word| wish.eq_ignore_ascii_case(word))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_facts_of_the_call() {
        let mut facts = facts(&[("X-Order", "7"), ("x-order", "8"), ("Diversion", "<sip:boss@a>")]);
        facts.variables.insert("Name".to_owned(), "Ann".to_owned());
        let filled = facts.fill("{{caller}} to {{ called }}: {{header.X-Order}}, {{variable.name}}, {{nothing}}.");
        assert_eq!(filled, "100 to 200: 7, 8, Ann, .");
        assert_eq!(facts.fill("{{header.diversion}}"), "<sip:boss@a>");
        assert_eq!(facts.fill("open {{ end, a } b"), "open {{ end, a } b");
    }

    #[test]
    fn what_is_put_in_is_not_read_again() {
        let facts = facts(&[("X-Evil", "{{caller}}")]);
        assert_eq!(facts.fill("{{header.x-evil}}"), "{{caller}}");
    }

    #[test]
    fn an_asserted_identity_goes_before_the_from() {
        let facts = facts(&[(
            "P-Asserted-Identity",
            "\"Ann\" <sip:+15550100@carrier.example>, <tel:+15550100>",
        )]);
        assert_eq!(facts.caller, "+15550100");
    }

    #[test]
    fn a_private_caller_is_anonymous_to_the_agent_and_known_to_the_record() {
        let facts = facts(&[("P-Asserted-Identity", "<sip:+15550100@c>"), ("Privacy", "user;id")]);
        assert_eq!(facts.fill("{{caller}}{{header.p-asserted-identity}}"), "anonymous");
        assert!(facts.private && facts.headers["p-asserted-identity"].contains("15550100"));
    }

    #[test]
    fn headers_are_bounded_and_others_are_not_kept() {
        let long = "é".repeat(VALUE_BYTES_MAX);
        let many: Vec<(String, String)> = (0..40).map(|number| (format!("X-{number}"), long.clone())).collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let bounded = facts(&many);
        assert_eq!(bounded.headers.len(), HEADERS_MAX);
        assert!(bounded.headers.values().all(|value| value.len() <= VALUE_BYTES_MAX));
        assert!(facts(&[("Subject", "hi"), ("Route", "<sip:a>")]).headers.is_empty());
    }

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        let mut headers = Headers::new();
        pairs.iter().for_each(|(name, value)| headers.push(name, *value));
        let from = NameAddr::read("<sip:100@a>").unwrap();
        let flow = crate::sip::Flow {
            transport: crate::sip::Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:5070".parse().unwrap(),
            connection: 0,
        };
        Facts::of(&Invite {
            trunk: "lan".to_owned(),
            to: from.clone(),
            from,
            request_uri: Uri::read("sip:200@b").unwrap(),
            call_id: "c".to_owned(),
            flow,
            advertised_ip: flow.local.ip(),
            offer: None,
            headers,
            replaces: None,
        })
    }
}
