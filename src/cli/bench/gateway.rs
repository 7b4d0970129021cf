//! The gateway that is measured: `patchcord serve` in a process of its own, and what the kernel says about that process.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::Context;

use super::{
    child::Child,
    plan::{Audio, Codec, Task},
    role,
};
use crate::cli::serve;

/// What it leaves behind.
const FILES: [&str; 6] = [CONFIG, RECORDS, LOG, WORDS, AUTHORITY, CLAIM];
const CONFIG: &str = "patchcord.toml";
const LOG: &str = "gateway.log";

/// Where its calls are recorded.
pub const RECORDS: &str = "records.jsonl";

/// The folder of what survives it, so that it meets no other gateway's.
pub const STATE: &str = "state";

/// What it leaves there.
const CLAIM: &str = "state/lock";

/// What it says while a session is away, where a benchmark gives it words of its own.
pub const WORDS: &str = "words.wav";

/// Lines of its log that are shown.
const LOG_LINES_MAX: usize = 5;

/// The authority that its backends' certificates come from, where a benchmark has one of its own.
pub const AUTHORITY: &str = "authority.pem";

/// Where the library that looks for this machine's authorities looks first.
const AUTHORITY_VARIABLE: &str = "SSL_CERT_FILE";

/// The running gateway.
pub struct Gateway {
    child: Child,
    folder: PathBuf,
    /// Where it takes calls.
    pub sip: SocketAddr,
}

/// Starts a gateway whose sessions are served at this address.
pub fn start(backend: SocketAddr, codec: Codec, audio: Audio) -> anyhow::Result<Gateway> {
    start_with(|folder| config(folder, backend, codec, audio), &[])
}

/// Starts a gateway with the configuration for its folder, and with these files in it.
pub fn start_with(config: impl Fn(&Path) -> String, files: &[(&str, &[u8])]) -> anyhow::Result<Gateway> {
    let folder = std::env::temp_dir().join(format!("patchcord-bench-{}", process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(CONFIG), config(&folder))?;
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes)?;
    }
    let log = fs::File::create(folder.join(LOG))?;
    let authority = folder.join(AUTHORITY);
    let variables = authority.exists().then_some((AUTHORITY_VARIABLE, authority.as_path()));
    let task = Task::Gateway { folder: folder.clone() };
    let mut child = Child::start_in(&task, log.into(), variables.as_slice())?;
    let found = child.line_with("SIP over UDP on ");
    let line = found.with_context(|| format!("the gateway does not start: {}", said(&folder)))?;
    let address = line.split(" on ").nth(1).and_then(|rest| rest.split(": ").next());
    let sip = address.and_then(|address| address.parse().ok());
    Ok(Gateway {
        child,
        folder,
        sip: sip.context("the gateway does not say where it takes calls")?,
    })
}

/// Is the gateway, until its parent ends or the gateway itself.
pub fn be(folder: &Path) -> anyhow::Result<()> {
    let litter = folder.to_owned();
    role::end_with_parent(move || remove(&litter));
    serve::run(Some(&folder.join(CONFIG)));
    remove(folder);
    Ok(())
}

/// The end of its log, in one line.
fn said(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().take(LOG_LINES_MAX).collect();
    lines.join("; ")
}

/// Only what a benchmark wrote, so that a wrong folder loses nothing.
fn remove(folder: &Path) {
    if let Ok(log) = fs::read_to_string(folder.join(LOG)) {
        let wrong = log.lines().filter(|line| !line.contains(" INFO "));
        wrong.take(LOG_LINES_MAX).for_each(|line| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }
    for file in FILES {
        let _ = fs::remove_file(folder.join(file));
    }
    for folder in [&folder.join(STATE), folder] {
        let _ = fs::remove_dir(folder);
    }
}

/// Nothing in it holds calls back, and the ports are below those that the kernel gives to whoever asks.
fn config(folder: &Path, backend: SocketAddr, codec: Codec, audio: Audio) -> String {
    let (codec, audio) = (codec.audio().name().to_lowercase(), audio.word());
    format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\n[media]\nports = \"16384-32767\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\ncalls_max = 100000\nlag_ms_max = 0\n[records]\npath = \"{}\"\nstate = \"{}\"\n[log]\nlevel = \"warn\"\n\
         [[trunk]]\nname = \"bench\"\nfrom = [\"127.0.0.0/8\"]\ncodecs = [\"{codec}\"]\n[[route]]\nagent = \"bench\"\n\
         [agents.bench]\nbackends = [\"bench\"]\n\
         [backends.bench]\nkind = \"realtime\"\nurl = \"ws://{backend}/v1/realtime\"\nmodel = \"bench\"\naudio = \"{audio}\"\n",
        folder.join(RECORDS).display(),
        folder.join(STATE).display()
    )
}

impl Gateway {
    /// What it logged so far.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.join(LOG))?)
    }

    /// What its metrics say. To be asked once.
    pub fn metrics(&mut self) -> anyhow::Result<String> {
        let line = self.child.line_with("Metrics on http://")?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let mut stream = TcpStream::connect(address.context("the gateway does not say where its metrics are")?)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What the kernel says about it now.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }
}

/// What the kernel says about a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time on a core, of all its threads together.
    pub cpu: Duration,
    /// How often its threads gave up the core to wait for something.
    pub waits: u64,
    /// Resident memory.
    pub memory_kb: u64,
}

impl Usage {
    /// Of the process of this number.
    pub fn of(id: u32) -> anyhow::Result<Self> {
        let mut usage = Self {
            memory_kb: field(&format!("/proc/{id}/status"), "VmRSS:")?,
            ..Self::default()
        };
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            let task = task?.path();
            // A thread may end between the listing and the reading; the gateway's do not.
            let Ok(schedule) = fs::read_to_string(task.join("schedstat")) else {
                continue;
            };
            let ran = schedule.split(' ').next().and_then(|ns| ns.parse().ok());
            usage.cpu += Duration::from_nanos(ran.context("the kernel keeps no schedstat")?);
            usage.waits += field(&task.join("status").display().to_string(), "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(usage)
    }
}

/// What the kernel says about the whole machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    idle: u64,
    steal: u64,
    all: u64,
    dropped: u64,
}

impl Machine {
    /// Now.
    pub fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        let tick = |at: usize| ticks.get(at).copied().unwrap_or(0);
        let snmp = fs::read_to_string("/proc/net/snmp")?;
        Ok(Self {
            idle: tick(3) + tick(4),
            steal: tick(7),
            // Guest time is in user time already.
            all: ticks.iter().take(8).sum(),
            dropped: udp_dropped(&snmp),
        })
    }

    /// Shares of its time since then: idle, and taken by other machines on the same hardware.
    pub fn shares_since(&self, then: &Self) -> (f64, f64) {
        let all = (self.all - then.all).max(1) as f64;
        (
            (self.idle - then.idle) as f64 / all,
            (self.steal - then.steal) as f64 / all,
        )
    }

    /// Datagrams dropped since then because their socket was full, of any process.
    pub fn dropped_since(&self, then: &Self) -> u64 {
        self.dropped.saturating_sub(then.dropped)
    }
}

/// The table has a line of names and a line of numbers for each protocol.
fn udp_dropped(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let at = names.split_whitespace().position(|name| name == "RcvbufErrors");
    let number = at.and_then(|at| numbers.split_whitespace().nth(at));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn field(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{path} says nothing of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_the_gateway_takes() {
        let backend = "127.0.0.1:9".parse().expect("an address");
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
            for audio in [Audio::Pcm16, Audio::G711, Audio::Auto] {
                let text = config(Path::new("/tmp/x"), backend, codec, audio);
                let read = crate::config::load("bench.toml", &text, &Default::default(), &|_| Ok(String::new()));
                assert!(read.is_ok(), "{read:?}");
            }
        }
    }

    #[test]
    fn a_process_that_computes_is_seen_to() {
        let before = Usage::of(process::id()).expect("usage");
        let mut sum = 0_u64;
        let until = std::time::Instant::now() + Duration::from_millis(30);
        while std::time::Instant::now() < until {
            sum = std::hint::black_box(sum + 1);
        }
        let after = Usage::of(process::id()).expect("usage");
        assert!(after.cpu > before.cpu && after.memory_kb > 0);
    }

    #[test]
    fn dropped_datagrams_are_found_by_name() {
        let snmp = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
                    Udp: 10 20 30 40 50 60\n";
        assert_eq!((udp_dropped(snmp), udp_dropped("Udp: InDatagrams\n")), (50, 0));
    }
}
