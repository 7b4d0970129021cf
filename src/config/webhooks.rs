//! `[[webhook]]`: who is told of calls.

use std::{path::PathBuf, time::Duration};

use super::{
    bounds::LINE_BYTES_MAX, effective::Writer, names, recording_upload::read_endpoint, secret::Secret, section::Section,
};

/// What the text of a secret begins with (Standard Webhooks).
const SECRET_PREFIX: &str = "whsec_";

/// The shortest and the longest key of a secret, in bytes (Standard Webhooks).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What somebody can be told of.
pub const WEBHOOK_EVENTS: &[&str] = &["call.started", "call.answered", "call.ended", "tool", "approval"];

/// Somebody who is told of calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What messages are signed with, as Standard Webhooks write it.
    pub secret: Option<Secret>,
    /// What it is told of; `tool` and `approval` stand for all that begin so.
    pub events: Vec<String>,
    /// More authorities that its certificate may come from.
    pub ca: Option<PathBuf>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The most waited after the first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The most ever waited.
    pub retry_max: Duration,
    /// How old a message may become.
    pub retry_for: Duration,
    /// How many bytes may wait.
    pub spool_bytes_max: u64,
}

impl Webhook {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        section.require("secret");
        let events: Vec<String> = WEBHOOK_EVENTS.iter().map(|event| (*event).to_owned()).collect();
        let webhook = Self {
            name: read_name(&mut section),
            url: {
                section.require("url");
                section.private("url", String::new(), read_url)
            },
            secret: section.secret("secret"),
            events: section.list("events", events, read_event),
            ca: Some(section.text("ca", ""))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            timeout: section.millis("timeout_ms", Duration::from_secs(10), 100..=60_000),
            retry_first: section.millis("retry_first_ms", Duration::from_secs(1), 10..=3_600_000),
            retry_max: section.millis("retry_ms_max", Duration::from_secs(600), 10..=86_400_000),
            retry_for: section.seconds("retry_for_s", Duration::from_secs(259_200), 1..=2_592_000),
            spool_bytes_max: section.whole("spool_mb_max", 64, 1..=65_536, "MB") * 1_000_000,
        };
        section.finish();
        webhook
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[[webhook]]");
        out.text("name", &self.name);
        out.text("url", &self.url);
        out.secret("secret", self.secret.as_ref());
        out.list("events", &self.events);
        out.text("ca", self.ca.as_deref().unwrap_or("".as_ref()).display());
        out.whole("timeout_ms", self.timeout.as_millis());
        out.whole("retry_first_ms", self.retry_first.as_millis());
        out.whole("retry_ms_max", self.retry_max.as_millis());
        out.whole("retry_for_s", self.retry_for.as_secs());
        out.whole("spool_mb_max", self.spool_bytes_max / 1_000_000);
    }

    /// Whether it is told of this.
    pub fn wants(&self, event: &str) -> bool {
        let family = event.split('.').next().unwrap_or_default();
        self.events.iter().any(|wanted| wanted == event || wanted == family)
    }

    /// The key that messages are signed with, or what is wrong with the secret.
    pub fn key(&self) -> Result<Vec<u8>, String> {
        let secret = self.secret.as_ref().map_or("", Secret::reveal);
        let coded = secret
            .strip_prefix(SECRET_PREFIX)
            .ok_or_else(|| format!("does not begin with \"{SECRET_PREFIX}\", as a secret of Standard Webhooks does"))?;
        let key = base64_simd::STANDARD
            .decode_to_vec(coded)
            .map_err(|_| format!("holds no base64 behind \"{SECRET_PREFIX}\""))?;
        match KEY_BYTES.contains(&key.len()) {
            true => Ok(key),
            false => Err(format!(
                "holds a key of {} bytes: {} to {} are good",
                key.len(),
                KEY_BYTES.start(),
                KEY_BYTES.end()
            )),
        }
    }
}

fn read_name(section: &mut Section<'_>) -> String {
    section.require("name");
    section.parsed("name", String::new(), |name| match names::fault(name) {
        Some(fault) => Err(fault),
        None => Ok(name.to_owned()),
    })
}

fn read_event(event: &str) -> Result<String, String> {
    match WEBHOOK_EVENTS.contains(&event) {
        true => Ok(event.to_owned()),
        false => Err(format!("is not known: there are {}", WEBHOOK_EVENTS.join(", "))),
    }
}

/// Addresses may hold a token, so no message shows them.
fn read_url(text: &str) -> Result<String, String> {
    let authority = text.split("://").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || text.contains('#') || text.len() > LINE_BYTES_MAX {
        return Err("is no address of a webhook: write \"https://HOST/PATH\"".to_owned());
    }
    read_endpoint(text)
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{problems, read_with};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn webhook(more: &str) -> String {
        format!("[[webhook]]\nname = \"crm\"\nurl = \"https://example.com/hook\"\nsecret = \"env:HOOK\"\n{more}")
    }

    #[test]
    fn a_webhook_is_told_of_everything_unless_it_says_of_what() {
        let config = read_with(&webhook(""), &[("HOOK", SECRET)]).unwrap();
        let all = &config.webhooks[0];
        assert!(all.wants("call.started") && all.wants("tool.called") && all.wants("approval.asked"));
        assert!(!all.wants("quality"));
        assert_eq!(all.key().unwrap().len(), 24);
        let some = read_with(&webhook("events = [\"call.ended\"]"), &[("HOOK", SECRET)]).unwrap();
        assert!(some.webhooks[0].wants("call.ended") && !some.webhooks[0].wants("call.started"));
    }

    #[test]
    fn a_secret_that_cannot_sign_is_refused_without_showing_it() {
        for (secret, fault) in [
            (
                "hunter2",
                "does not begin with \"whsec_\", as a secret of Standard Webhooks does",
            ),
            ("whsec_hunter2!", "holds no base64 behind \"whsec_\""),
            ("whsec_aHVudGVyMg==", "holds a key of 7 bytes: 24 to 64 are good"),
        ] {
            let problems = read_with(&webhook(""), &[("HOOK", secret)]).unwrap_err();
            assert_eq!(problems, [format!("f.toml:4:10: webhook[0].secret {fault}")]);
        }
    }

    #[test]
    fn what_happens_in_calls_goes_over_the_network_encrypted() {
        let plain = "[[webhook]]\nname = \"crm\"\nurl = \"http://10.0.0.1/hook\"\nsecret = \"env:PASSWORD\"";
        let found = problems(plain);
        assert!(
            found[0].contains("webhook[0].url goes over the network in the clear"),
            "{found:?}"
        );
    }
}
