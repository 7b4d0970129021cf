//! How a backend is reached: over the network, or, for the embedded operator, through memory.
//!
//! Both ways end in the same WebSocket, so that nothing behind it knows the difference. What the configuration says of a
//! backend meets here what is known of its vendor.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::{operator, realtime::Dial};
use crate::{
    audio::SampleRate,
    config::{self, Backend, BackendAudio, BackendKind, Extra, Realtime},
    net::{
        tls::Tls,
        websocket::{self, Connect, Secret},
    },
    realtime::{AudioWish, Auth, Dialect, Quirks, Settings},
};

/// Bytes that may lie between the gateway and its embedded operator; past it the writer waits.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// The URL of the operator in memory; only its path is looked at.
const OPERATOR_URL: &str = "ws://operator/v1/realtime";

/// Dials backends.
#[derive(Debug, Clone)]
pub struct Dialler {
    tls: Tls,
    timeout: Duration,
}

impl Dialler {
    /// Dials with these roots of trust, each dial within `timeout`.
    pub fn new(tls: Tls, timeout: Duration) -> Self {
        Self { tls, timeout }
    }

    /// The dial of one backend, to be started on a media worker's thread.
    pub fn dial(&self, backend: &Backend) -> Box<dyn FnOnce() -> Dial + Send> {
        match &backend.kind {
            BackendKind::Operator => {
                let connect = Connect::new(OPERATOR_URL, self.timeout);
                Box::new(move || Box::pin(dial_memory(connect)))
            }
            BackendKind::Realtime(realtime) => {
                let (connect, tls) = (connect(realtime, self.timeout), self.tls.clone());
                Box::new(move || Box::pin(async move { websocket::connect(&connect, &tls).await }))
            }
        }
    }
}

/// What a session with this backend is told, whatever agent it is for.
pub fn settings(backend: &Backend) -> Settings {
    let settings = Settings {
        backend: backend.name.clone(),
        audio: match backend.audio {
            BackendAudio::Auto => AudioWish::Auto,
            BackendAudio::Pcm16 => AudioWish::Pcm16(SampleRate::Hz24000),
            BackendAudio::Pcm16At16Khz => AudioWish::Pcm16(SampleRate::Hz16000),
            BackendAudio::G711 => AudioWish::G711,
        },
        ..Settings::default()
    };
    let Some(realtime) = backend.realtime() else {
        return settings;
    };
    let quirks = quirks(realtime);
    Settings {
        dialect: dialect(realtime.dialect),
        quirks,
        model: match quirks.model_key {
            Some(_) => String::new(),
            None => realtime.model.clone(),
        },
        delegation_model: realtime.delegation_model.clone(),
        ..settings
    }
}

fn dialect(configured: config::Dialect) -> Dialect {
    match configured {
        config::Dialect::Ga => Dialect::Ga,
        config::Dialect::Beta => Dialect::Beta,
        config::Dialect::Live => Dialect::Live,
    }
}

/// The configuration takes no vendor and dialect that have no row.
fn quirks(realtime: &Realtime) -> Quirks {
    Quirks::of(realtime.vendor.word(), dialect(realtime.dialect)).unwrap_or_default()
}

/// What is configured comes last, and so instead of what is usual.
fn connect(realtime: &Realtime, timeout: Duration) -> Connect {
    let quirks = quirks(realtime);
    let mut connect = Connect::new(&*realtime.url, timeout);
    if let Some(key) = &realtime.api_key {
        show_key(&mut connect, quirks.auth, key.reveal());
    }
    for (name, value) in quirks.headers {
        connect.headers.push(((*name).to_owned(), Secret::new(*value)));
    }
    let own = |name: &str| realtime.query.contains_key(name);
    if let Some(name) = quirks.model_key.filter(|name| !realtime.model.is_empty() && !own(name)) {
        connect.query.push((name.to_owned(), Secret::new(&*realtime.model)));
    }
    if let Some(name) = quirks.id_key.filter(|name| !own(name)) {
        let id = format!("{:016x}", RandomState::new().hash_one(name));
        connect.query.push((name.to_owned(), Secret::new(id)));
    }
    for (name, extra) in &realtime.headers {
        connect.headers.retain(|(usual, _)| !usual.eq_ignore_ascii_case(name));
        connect.headers.push(shown(name, extra, &mut connect.hidden));
    }
    for (name, extra) in &realtime.query {
        connect.query.push(shown(name, extra, &mut connect.hidden));
    }
    connect
}

fn show_key(connect: &mut Connect, auth: Auth, key: &str) {
    connect.hidden.push(Secret::new(key));
    match auth {
        Auth::Scheme(scheme) => {
            let value = Secret::new(format!("{scheme} {key}"));
            connect.headers.push(("Authorization".to_owned(), value));
        }
        Auth::Header(name) => connect.headers.push((name.to_owned(), Secret::new(key))),
        Auth::Query(name) => connect.query.push((name.to_owned(), Secret::new(key))),
    }
}

fn shown(name: &str, extra: &Extra, hidden: &mut Vec<Secret>) -> (String, Secret) {
    let value = Secret::new(extra.reveal());
    if extra.is_secret() {
        hidden.push(value.clone());
    }
    (name.to_owned(), value)
}

/// The operator's end lives beside the call, on the same worker; it ends when our end is dropped.
async fn dial_memory(connect: Connect) -> Result<websocket::WebSocket, websocket::ConnectError> {
    let (ours, theirs) = tokio::io::duplex(MEMORY_BYTES_MAX);
    tokio::task::spawn_local(operator::serve_stream(theirs, operator::Settings::default()));
    websocket::connect_stream(&connect, ours).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Vendor;

    #[test]
    fn every_vendor_has_its_quirks_in_every_dialect_it_speaks() {
        for vendor in Vendor::all() {
            for spoken in vendor.dialects() {
                let known = Quirks::of(vendor.word(), dialect(*spoken));
                assert!(known.is_some(), "{vendor:?} {spoken:?}");
            }
        }
    }

    #[test]
    fn the_key_and_the_model_go_where_the_vendor_looks_for_them() {
        for (more, headers, query) in [
            ("", "Authorization=Bearer k", "model=m"),
            ("vendor = \"azure\"", "api-key=k", "model=m"),
            (
                "vendor = \"azure\"\ndialect = \"beta\"\nquery = { api-version = \"2024-10-01-preview\" }",
                "api-key=k",
                "deployment=m api-version=2024-10-01-preview",
            ),
            (
                "dialect = \"beta\"",
                "Authorization=Bearer k OpenAI-Beta=realtime=v1",
                "model=m",
            ),
            ("dialect = \"live\"", "Authorization=Bearer k", ""),
            (
                "vendor = \"inworld\"\nquery = { key = \"env:K\" }",
                "Authorization=Basic k",
                "key=k",
            ),
            (
                "headers = { authorization = \"env:K\", x-team = \"v\" }\nquery = { model = \"own\" }",
                "authorization=k x-team=v",
                "model=own",
            ),
        ] {
            let connect = connected(more);
            let written = |pairs: &[(String, Secret)]| {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.reveal()))
                    .collect();
                pairs.join(" ")
            };
            assert_eq!(written(&connect.headers), headers, "{more}");
            assert_eq!(written(&connect.query), query, "{more}");
            assert!(connect.hidden.iter().all(|hidden| hidden.reveal() == "k"), "{more}");
        }
    }

    fn connected(more: &str) -> Connect {
        let text = format!(
            "[backends.x]\nkind = \"realtime\"\nurl = \"wss://h/p\"\nmodel = \"m\"\napi_key = \"env:K\"\n{more}\n\
             [agents.a]\nbackends = [\"x\"]\ntools = []\n"
        );
        let env = BTreeMap::from([("K".to_owned(), "k".to_owned())]);
        let config = config::load("t.toml", &text, &env, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        connect(config.backends["x"].realtime().unwrap(), Duration::from_secs(1))
    }
}
