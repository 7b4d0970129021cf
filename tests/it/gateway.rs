//! A gateway of the test's own, on ports of its own, with a record file of its own.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use patchcord::{
    actors::tree::{self, Gateway},
    config,
    drivers::operator,
    operator::Faults,
    telemetry::Level,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::phone::PATIENCE;

/// What opens the control API.
pub const TOKEN: &str = "open sesame";

/// What recordings are sealed with, where they are: 32 bytes in hexadecimal.
pub const RECORDING_KEY: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

/// What opens the storage that recordings are uploaded to, id and secret alike.
pub const S3_SECRET: &str = "open bucket";

/// What webhooks are signed with.
pub const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A running gateway and what it was given.
pub struct TestGateway {
    /// The gateway.
    pub gateway: Gateway,
    records: PathBuf,
}

/// A session server of the test's own; ends when dropped.
pub struct TestBackend {
    /// Where it listens.
    pub address: SocketAddr,
    task: AbortHandle,
}

impl TestGateway {
    /// A gateway with the embedded operator.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// A gateway whose agent uses this backend alone.
    pub async fn start_on(backend: &TestBackend) -> Self {
        Self::start_with(&on_backend(backend.address)).await
    }

    /// A gateway with more configuration. `extra` may replace the agent's backend with one named `test`.
    pub async fn start_with(extra: &str) -> Self {
        let records = std::env::temp_dir().join(format!("patchcord-it-{}-{}.jsonl", std::process::id(), nonce()));
        let config = config_with(extra, &records);
        let gateway = tree::start(config).await.expect("the gateway starts");
        Self { gateway, records }
    }

    /// The same gateway again, with what it had on the disk; this one must have been stopped.
    pub async fn again(&self, extra: &str) -> Self {
        let gateway = tree::start(config_with(extra, &self.records)).await;
        Self {
            gateway: gateway.expect("the gateway starts again"),
            records: self.records.clone(),
        }
    }

    /// Where it speaks SIP over UDP.
    pub fn sip(&self) -> SocketAddr {
        self.gateway.addresses.udp[0]
    }

    /// Where a level stands.
    pub fn level(&self, level: Level) -> i64 {
        self.gateway.metrics().level(level)
    }

    /// Waits until every level that counts something of a call is back at zero.
    pub async fn settled(&self) {
        const LEVELS: [Level; 5] = [
            Level::CallsActive,
            Level::SessionsActive,
            Level::WorkerTasks,
            Level::SipDialogs,
            Level::RtpPortsInUse,
        ];
        self.until("everything is given back", || {
            self.gateway.metrics().render();
            LEVELS.into_iter().all(|level| self.level(level) == 0)
        })
        .await;
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while !holds() {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Waits for this many records and returns them.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        self.until("the records are written", || self.read_records().len() >= count)
            .await;
        let records = self.read_records();
        assert_eq!(records.len(), count, "{records:?}");
        records
    }

    fn read_records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.records).unwrap_or_default();
        // A line without its end is still being written.
        let written = text.rfind('\n').map_or(0, |end| end + 1);
        text[..written]
            .lines()
            .map(|line| serde_json::from_str(line).expect("a record is one line of JSON"))
            .collect()
    }

    /// One sample of `/metrics`, by the beginning of its line.
    pub fn sample(&self, series: &str) -> f64 {
        let text = self.gateway.metrics().render();
        let line = text.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0.0)
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        // Left over in the temporary directory it would only be litter.
        let _ = std::fs::remove_file(&self.records);
        let _ = std::fs::remove_file(journal_of(&self.records));
        let _ = std::fs::remove_dir_all(state_of(&self.records));
    }
}

impl TestBackend {
    /// An operator with these faults on a port of its own.
    pub async fn start(faults: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, faults)
    }

    /// The same on this listener.
    pub fn on(listener: TcpListener, faults: &str) -> Self {
        let address = listener.local_addr().unwrap();
        let faults: Faults = faults.parse().unwrap();
        let settings = operator::Settings::with_faults(faults);
        let task = tokio::spawn(operator::listen(listener, settings, std::future::pending::<()>())).abort_handle();
        Self { address, task }
    }
}

impl Drop for TestBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Configuration that has the agent use a Realtime backend at this address.
pub fn on_backend(address: SocketAddr) -> String {
    format!(
        "[backends.test]\nkind = \"realtime\"\nurl = \"ws://{address}/v1/realtime\"\nmodel = \"test\"\n\
         [agents.operator]\nbackends = [\"test\"]\ngreeting = \"Hello.\"\n"
    )
}

fn config_with(extra: &str, records: &std::path::Path) -> config::Config {
    let agent = if extra.contains("[agents.operator]") {
        ""
    } else {
        "[agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello.\"\n"
    };
    let limits = if extra.contains("[limits]") {
        ""
    } else {
        "[limits]\ncalls_max = 50\nlag_ms_max = 0\n"
    };
    let route = if extra.contains("[[route]]") {
        ""
    } else {
        "[[route]]\nto = \"*\"\nagent = \"operator\"\n"
    };
    let trunk = if extra.contains("[[trunk]]") {
        ""
    } else {
        "[[trunk]]\nname = \"lan\"\nfrom = [\"127.0.0.0/8\"]\n"
    };
    let sip = if extra.contains("[sip]") {
        ""
    } else {
        "[sip]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\n"
    };
    let http = if extra.contains("[http]") {
        ""
    } else {
        "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:TOKEN\"\n"
    };
    let journal = if extra.contains("[journal]") {
        String::new()
    } else {
        format!("[journal]\npath = \"{}\"\n", journal_of(records).display())
    };
    // More keys of a section go with those the test needs itself.
    let (media, extra) = match extra.strip_prefix("[media]\n") {
        Some(media) => (media, ""),
        None => ("", extra),
    };
    let (session, extra) = match extra.strip_prefix("[session]\n") {
        Some(rest) => rest.split_at(rest.find("\n[").map_or(rest.len(), |end| end + 1)),
        None => ("", extra),
    };
    let budget = if session.contains("reconnect_budget_ms") {
        ""
    } else {
        "reconnect_budget_ms = 1500\n"
    };
    let text = format!(
        "{sip}{http}[media]\nports = \"{}\"\nworkers = 1\n{media}[records]\npath = \"{}\"\nstate = \"{}\"\n\
         {journal}[session]\nreconnect_first_ms = 50\nreconnect_ms_max = 200\n{budget}{session}\
         [backends.operator]\nkind = \"operator\"\n{limits}{trunk}{route}{agent}{extra}",
        ports(),
        records.display(),
        state_of(records).display()
    );
    let env = [
        ("TOKEN", TOKEN),
        ("RECORDING_KEY", RECORDING_KEY),
        ("S3", S3_SECRET),
        ("HOOK", HOOK_SECRET),
    ];
    let env: BTreeMap<String, String> = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    config::load("test.toml", &text, &env, &|path| std::fs::read_to_string(path))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn journal_of(records: &std::path::Path) -> PathBuf {
    records.with_extension("journal")
}

fn state_of(records: &std::path::Path) -> PathBuf {
    records.with_extension("state")
}

/// A range of RTP ports of this test's own.
fn ports() -> String {
    let low = 20_000 + (nonce() % 100) * 200;
    format!("{low}-{}", low + 199)
}

fn nonce() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
