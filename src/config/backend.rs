//! `[backends.NAME]`: session servers.

use std::net::Ipv6Addr;

use super::{
    effective::Writer,
    extras::{self, Extra, Extras},
    secret::Secret,
    section::Section,
    vendor::Vendor,
};

const KINDS: &[(&str, Option<Kind>)] = &[("operator", Some(Kind::Operator)), ("realtime", Some(Kind::Realtime))];

/// The formats of a backend's audio.
const AUDIO: &[(&str, BackendAudio)] = &[
    ("auto", BackendAudio::Auto),
    ("pcm16", BackendAudio::Pcm16),
    ("pcm16_16khz", BackendAudio::Pcm16At16Khz),
    ("g711", BackendAudio::G711),
];

/// Keys that only a backend of kind `realtime` has.
const REALTIME_KEYS: &[&str] = &[
    "url",
    "model",
    "vendor",
    "dialect",
    "api_key",
    "headers",
    "query",
    "delegation_model",
];

/// The dialects there are, by their words.
const DIALECTS: &[(&str, Dialect)] = &[("ga", Dialect::Ga), ("beta", Dialect::Beta), ("live", Dialect::Live)];

/// A session server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// The format of its audio.
    pub audio: BackendAudio,
    /// The name of its prices; none costs nothing that is counted.
    pub prices: Option<String>,
}

/// The format of a backend's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendAudio {
    /// G.711 straight through when the leg speaks it and the backend takes it, else 24 kHz PCM.
    #[default]
    Auto,
    /// PCM at 24 kHz.
    Pcm16,
    /// PCM at 16 kHz.
    Pcm16At16Khz,
    /// G.711, whatever the leg speaks.
    G711,
}

/// What a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendKind {
    /// The embedded operator, which needs no network.
    Operator,
    /// A server that speaks a Realtime protocol.
    Realtime(Realtime),
}

/// A server that speaks a Realtime protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realtime {
    /// Where it is, as `ws` or `wss`.
    pub url: String,
    /// The model; empty leaves the choice to the URL.
    pub model: String,
    /// Who runs it.
    pub vendor: Vendor,
    /// How it spells the protocol.
    pub dialect: Dialect,
    /// What it wants to be shown.
    pub api_key: Option<Secret>,
    /// What its handshake wants besides.
    pub headers: Extras,
    /// What its URL wants besides.
    pub query: Extras,
    /// The model that works out tool calls in the live dialect; empty: none does.
    pub delegation_model: String,
}

/// How a backend spells the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// As OpenAI does since general availability.
    #[default]
    Ga,
    /// As they did before.
    Beta,
    /// The Live API, which has no turns.
    Live,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Operator,
    Realtime,
}

impl Backend {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        section.require("kind");
        let kind = match section.choice("kind", KINDS, None) {
            Some(Kind::Operator) => read_operator(&mut section),
            Some(Kind::Realtime) => {
                section.require("url");
                BackendKind::Realtime(Realtime::read(&mut section))
            }
            // Nobody can tell which keys belong here, so those of every kind pass.
            None => BackendKind::Realtime(Realtime::read(&mut section)),
        };
        let mut audio = section.choice("audio", AUDIO, BackendAudio::default());
        let prices = Some(section.text("prices", "")).filter(|name| !name.is_empty());
        if let BackendKind::Realtime(realtime) = &kind {
            audio = realtime.check_audio(&mut section, audio);
        }
        section.finish();
        Self {
            name: name.to_owned(),
            kind,
            audio,
            prices,
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[backends.{}]", self.name));
        match &self.kind {
            BackendKind::Operator => out.text("kind", "operator"),
            BackendKind::Realtime(realtime) => realtime.write(out),
        }
        out.text("audio", self.audio.word());
        out.text("prices", self.prices.as_deref().unwrap_or_default());
    }

    /// What it is when it is not embedded.
    pub fn realtime(&self) -> Option<&Realtime> {
        match &self.kind {
            BackendKind::Operator => None,
            BackendKind::Realtime(realtime) => Some(realtime),
        }
    }

    /// What it wants to be shown, if it wants something.
    pub fn api_key(&self) -> Option<&Secret> {
        self.realtime()?.api_key.as_ref()
    }

    /// Values of headers and parameters, with the keys they stand under, to be fetched.
    pub(super) fn extras_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Extra)> {
        let realtime = match &mut self.kind {
            BackendKind::Operator => None,
            BackendKind::Realtime(realtime) => Some(realtime),
        };
        realtime.into_iter().flat_map(|realtime| {
            let headers = realtime.headers.values_mut().map(|extra| ("headers", extra));
            headers.chain(realtime.query.values_mut().map(|extra| ("query", extra)))
        })
    }

    /// Whether it calls no tools for want of a model that works them out.
    pub(super) fn lacks_delegation(&self) -> bool {
        let lacks = |realtime: &Realtime| realtime.dialect == Dialect::Live && realtime.delegation_model.is_empty();
        self.realtime().is_some_and(lacks)
    }

    /// The same, to be fetched.
    pub(super) fn api_key_mut(&mut self) -> Option<&mut Secret> {
        match &mut self.kind {
            BackendKind::Operator => None,
            BackendKind::Realtime(realtime) => realtime.api_key.as_mut(),
        }
    }
}

impl BackendAudio {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        AUDIO
            .iter()
            .find(|(_, audio)| *audio == self)
            .map_or("auto", |(word, _)| word)
    }
}

impl Realtime {
    fn read(section: &mut Section<'_>) -> Self {
        let vendor = section.choice("vendor", &Vendor::words(), Vendor::default());
        let realtime = Self {
            url: section.private("url", String::new(), read_url),
            model: section.text("model", ""),
            vendor,
            dialect: read_dialect(section, vendor),
            api_key: section.secret("api_key"),
            headers: extras::read_headers(section, "headers"),
            query: extras::read_query(section, "query"),
            delegation_model: section.text("delegation_model", ""),
        };
        if realtime.dialect == Dialect::Live {
            if realtime.model.is_empty() {
                section.wrong_table("needs the key \"model\": in the \"live\" dialect no URL names it");
            }
        } else if !realtime.delegation_model.is_empty() {
            section.wrong(
                "delegation_model",
                "belongs to the \"live\" dialect: elsewhere one model does both",
            );
        }
        realtime
    }

    /// What there is of the audio that is wanted.
    fn check_audio(&self, section: &mut Section<'_>, wanted: BackendAudio) -> BackendAudio {
        self.vendor.audio(wanted).unwrap_or_else(|taken| {
            let words: Vec<String> = taken.iter().map(|audio| format!("\"{}\"", audio.word())).collect();
            let vendor = self.vendor.word();
            let fault = format!(
                "= \"{}\" is not taken by \"{vendor}\": use {}",
                wanted.word(),
                words.join(" or ")
            );
            section.wrong("audio", &fault);
            wanted
        })
    }

    fn write(&self, out: &mut Writer) {
        out.text("kind", "realtime");
        out.text("url", &self.url);
        out.text("model", &self.model);
        out.text("vendor", self.vendor.word());
        out.text("dialect", self.dialect.word());
        out.secret("api_key", self.api_key.as_ref());
        out.texts("headers", &extras::written(&self.headers));
        out.texts("query", &extras::written(&self.query));
        out.text("delegation_model", &self.delegation_model);
    }
}

impl Dialect {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ga => "ga",
            Self::Beta => "beta",
            Self::Live => "live",
        }
    }
}

fn read_operator(section: &mut Section<'_>) -> BackendKind {
    for key in REALTIME_KEYS {
        section.forbid(
            key,
            "belongs to a backend of kind \"realtime\": the operator is embedded",
        );
    }
    BackendKind::Operator
}

/// One that the vendor speaks.
fn read_dialect(section: &mut Section<'_>, vendor: Vendor) -> Dialect {
    let spoken = vendor.dialects();
    let default = spoken.first().copied().unwrap_or_default();
    let dialect = section.choice("dialect", DIALECTS, default);
    if spoken.contains(&dialect) {
        return dialect;
    }
    let words: Vec<String> = spoken.iter().map(|dialect| format!("\"{}\"", dialect.word())).collect();
    let fault = format!(
        "= \"{}\" is not spoken by \"{}\": use {}",
        dialect.word(),
        vendor.word(),
        words.join(" or ")
    );
    section.wrong("dialect", &fault);
    default
}

fn read_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user or a password: put the key into \"api_key\"".to_owned());
    }
    if text.contains('#') || !text.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err("holds characters that no URL here has: write \"wss://HOST/PATH\"".to_owned());
    }
    match scheme {
        "ws" | "wss" => check_authority(authority).map(|()| text.to_owned()),
        "http" => Err("begins with http://, but sessions run over WebSockets: begin with ws://".to_owned()),
        "https" => Err("begins with https://, but sessions run over WebSockets: begin with wss://".to_owned()),
        _ => Err("must begin with ws:// or wss://".to_owned()),
    }
}

fn check_authority(authority: &str) -> Result<(), String> {
    // The colons of an IPv6 address stand inside brackets (RFC 3986 section 3.2.2).
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_named = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if !is_named && bracketed.is_none_or(|host| host.parse::<Ipv6Addr>().is_err()) {
        return Err("names no host: write \"wss://HOST/PATH\"".to_owned());
    }
    match port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        true => Ok(()),
        false => Err("has no port from 1 to 65535 behind its host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn a_realtime_backend_is_read() {
        let config = read(
            "[backends.x]\nkind = \"realtime\"\nurl = \"ws://[::1]:9/v1/realtime?a=b\"\nmodel = \"m\"\n\
             api_key = \"env:PASSWORD\"",
        );
        let BackendKind::Realtime(realtime) = &config.backends["x"].kind else {
            panic!("it is realtime")
        };
        assert_eq!(
            (realtime.url.as_str(), realtime.model.as_str()),
            ("ws://[::1]:9/v1/realtime?a=b", "m")
        );
        assert_eq!((realtime.dialect, realtime.api_key.is_some()), (Dialect::Ga, true));
    }

    #[test]
    fn a_backend_needs_a_kind_and_a_server_needs_an_address() {
        assert_eq!(
            problems("[backends.x]\nmodel = \"m\""),
            ["f.toml:1:1: [backends.x] needs the key \"kind\""]
        );
        assert_eq!(
            problems("[backends.x]\nkind = \"realtime\""),
            ["f.toml:1:1: [backends.x] needs the key \"url\""]
        );
        assert_eq!(
            problems("[backends.x]\nkind = \"realtme\"\nurl = \"ws://x\""),
            ["f.toml:2:8: backends.x.kind = \"realtme\" is not known: did you mean \"realtime\"?"]
        );
    }

    #[test]
    fn the_operator_has_no_address_and_no_key() {
        assert_eq!(
            problems("[backends.x]\nkind = \"operator\"\nurl = \"ws://x\"\nmodle = \"m\""),
            [
                "f.toml:3:7: backends.x.url belongs to a backend of kind \"realtime\": the operator is embedded",
                "f.toml:4:1: unknown key \"modle\" in [backends.x]: there are \"kind\", \"audio\" and \"prices\"",
            ]
        );
    }

    #[test]
    fn a_vendor_speaks_its_dialects_alone() {
        for (more, fault) in [
            (
                "dialect = \"gaa\"",
                "4:11: backends.x.dialect = \"gaa\" is not known: did you mean \"ga\"?",
            ),
            (
                "dialect = \"live\"\nvendor = \"xai\"",
                "4:11: backends.x.dialect = \"live\" is not spoken by \"xai\": use \"ga\"",
            ),
            (
                "vendor = \"azur\"",
                "4:10: backends.x.vendor = \"azur\" is not known: did you mean \"azure\"?",
            ),
            (
                "vendor = \"localai\"\naudio = \"g711\"",
                "5:9: backends.x.audio = \"g711\" is not taken by \"localai\": use \"pcm16\" or \"pcm16_16khz\"",
            ),
            (
                "dialect = \"live\"",
                "1:1: [backends.x] needs the key \"model\": in the \"live\" dialect no URL names it",
            ),
            (
                "delegation_model = \"m\"",
                "4:20: backends.x.delegation_model belongs to the \"live\" dialect: elsewhere one model does both",
            ),
        ] {
            let text = format!("[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\n{more}");
            assert_eq!(problems(&text), [format!("f.toml:{fault}")]);
        }
    }

    #[test]
    fn a_vendor_brings_its_dialect_and_its_audio() {
        for (vendor, dialect, audio) in [
            ("openai", Dialect::Ga, BackendAudio::Auto),
            ("speaches", Dialect::Beta, BackendAudio::Pcm16),
            ("dashscope", Dialect::Beta, BackendAudio::Pcm16),
        ] {
            let text = format!("[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\nvendor = \"{vendor}\"");
            let config = read(&text);
            let BackendKind::Realtime(realtime) = &config.backends["x"].kind else {
                panic!("it is realtime")
            };
            assert_eq!((realtime.dialect, config.backends["x"].audio), (dialect, audio));
        }
    }

    #[test]
    fn an_agent_with_tools_needs_a_model_that_works_them_out() {
        let backend = "[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\ndialect = \"live\"\nmodel = \"m\"\n";
        let agent = "[agents.a]\nbackends = [\"x\"]\n";
        assert_eq!(
            problems(&format!("{backend}{agent}")),
            [
                "f.toml:7:13: agents.a.backends[0] = \"x\" calls no tools: give it the key \"delegation_model\", or the \
              agent tools = []"
            ]
        );
        read(&format!("{backend}{agent}tools = []"));
        read(&format!("{backend}delegation_model = \"t\"\n{agent}"));
    }

    #[test]
    fn bad_urls_are_refused_without_showing_what_may_be_secret() {
        for (url, fault) in [
            (
                "https://x",
                "begins with https://, but sessions run over WebSockets: begin with wss://",
            ),
            (
                "http://x",
                "begins with http://, but sessions run over WebSockets: begin with ws://",
            ),
            ("x", "must begin with ws:// or wss://"),
            ("wss://", "names no host: write \"wss://HOST/PATH\""),
            ("wss://:80/", "names no host: write \"wss://HOST/PATH\""),
            ("wss://[zz]/", "names no host: write \"wss://HOST/PATH\""),
            ("wss://x:0/", "has no port from 1 to 65535 behind its host"),
            ("wss://x:99999", "has no port from 1 to 65535 behind its host"),
            (
                "wss://me:hunter2@x/",
                "holds a user or a password: put the key into \"api_key\"",
            ),
            (
                "wss://x/a b",
                "holds characters that no URL here has: write \"wss://HOST/PATH\"",
            ),
            (
                "wss://x/#a",
                "holds characters that no URL here has: write \"wss://HOST/PATH\"",
            ),
        ] {
            let text = format!("[backends.x]\nkind = \"realtime\"\nurl = \"{url}\"");
            assert_eq!(problems(&text), [format!("f.toml:3:7: backends.x.url {fault}")]);
        }
    }
}
