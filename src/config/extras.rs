//! Headers and query parameters that a backend wants besides those everybody sends.

use std::collections::BTreeMap;

use super::{
    secret::{Secret, SecretSource},
    section::Section,
};

/// Headers, or parameters, of one backend; more are refused.
const EXTRAS_MAX: usize = 16;

/// Headers that the handshake needs for itself.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// What a name holds that stands for a secret.
const SECRETIVE: &[&str] = &["auth", "cookie", "key", "password", "secret", "token"];

/// Values by name.
pub type Extras = BTreeMap<String, Extra>;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// As it stands in the file.
    Plain(String),
    /// One that is not shown.
    Secret(Secret),
}

impl Extra {
    /// The value itself.
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.reveal(),
        }
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    fn source(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Secret(secret) => secret.source().to_string(),
        }
    }
}

/// Headers of a handshake.
pub(super) fn read_headers(section: &mut Section<'_>, key: &'static str) -> Extras {
    read(section, key, |name| {
        let lower = name.to_ascii_lowercase();
        let token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
        if name.is_empty() || !name.chars().all(token) {
            return Err("is no name of a header".to_owned());
        }
        if OURS.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
            return Err("is a header that the handshake needs for itself".to_owned());
        }
        Ok(())
    })
}

/// Parameters of a URL.
pub(super) fn read_query(section: &mut Section<'_>, key: &'static str) -> Extras {
    read(section, key, |name| match name {
        "" => Err("is no name of a parameter".to_owned()),
        _ => Ok(()),
    })
}

/// As they are written.
pub(super) fn written(extras: &Extras) -> BTreeMap<String, String> {
    let written = |(name, extra): (&String, &Extra)| (name.clone(), extra.source());
    extras.iter().map(written).collect()
}

fn read(section: &mut Section<'_>, key: &'static str, check: impl Fn(&str) -> Result<(), String>) -> Extras {
    let mut extras = Extras::new();
    for (name, text) in section.texts(key, EXTRAS_MAX) {
        match check(&name).and_then(|()| extra(&name, &text)) {
            Ok(extra) => drop(extras.insert(name, extra)),
            Err(fault) => section.wrong(key, &format!("holds \"{}\", which {fault}", name.escape_debug())),
        }
    }
    extras
}

fn extra(name: &str, text: &str) -> Result<Extra, String> {
    let lower = name.to_ascii_lowercase();
    if text.starts_with("env:") || text.starts_with("file:") {
        return SecretSource::read(text, None).map(|source| Extra::Secret(Secret::unresolved(source)));
    }
    if SECRETIVE.iter().any(|part| lower.contains(part)) {
        return Err(
            "looks like a secret: secrets come only from the environment or from a file; write \"env:NAME\" or \
                    \"file:PATH\""
                .to_owned(),
        );
    }
    ascii(text).map(|()| Extra::Plain(text.to_owned()))
}

fn ascii(text: &str) -> Result<(), String> {
    match text.is_ascii() {
        true => Ok(()),
        false => Err("holds letters that no header can carry: use ASCII alone".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{
        BackendKind,
        tests::{problems, read},
    };

    #[test]
    fn values_are_plain_or_secret() {
        let config = read(&backend(
            "headers = { x-team = \"voice\", X-API-Key = \"env:PASSWORD\" }\nquery = { intent = \"realtime\" }",
        ));
        let BackendKind::Realtime(realtime) = &config.backends["x"].kind else {
            panic!("it is realtime")
        };
        let shown: Vec<_> = realtime
            .headers
            .iter()
            .map(|(name, extra)| (name.as_str(), extra.is_secret()))
            .collect();
        assert_eq!(shown, [("X-API-Key", true), ("x-team", false)]);
        assert_eq!(realtime.query["intent"].reveal(), "realtime");
        assert!(config.effective_toml().contains("\"X-API-Key\" = \"env:PASSWORD\""));
    }

    #[test]
    fn what_cannot_be_sent_or_would_be_shown_is_refused() {
        for (key, name, value, fault) in [
            (
                "headers",
                "Host",
                "x",
                "is a header that the handshake needs for itself",
            ),
            (
                "headers",
                "Sec-WebSocket-Key",
                "x",
                "is a header that the handshake needs for itself",
            ),
            ("headers", "a b", "x", "is no name of a header"),
            (
                "headers",
                "x-team",
                "ö",
                "holds letters that no header can carry: use ASCII alone",
            ),
            (
                "query",
                "api_key",
                "hunter2",
                "looks like a secret: secrets come only from the environment or from a file; write \"env:NAME\" or \
                 \"file:PATH\"",
            ),
        ] {
            let told = problems(&backend(&format!("{key} = {{ \"{name}\" = \"{value}\" }}")));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].ends_with(&format!("backends.x.{key} holds \"{name}\", which {fault}")),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_secret_of_a_header_is_fetched_where_an_agent_needs_it() {
        let text = backend("headers = { X-API-Key = \"env:MISSING\" }");
        read(&text);
        let told = problems(&format!("{text}\n[agents.a]\nbackends = [\"x\"]"));
        assert_eq!(
            told,
            ["f.toml:4:11: backends.x.headers needs the environment variable MISSING, which is not set"]
        );
    }

    fn backend(more: &str) -> String {
        format!("[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\n{more}")
    }
}
