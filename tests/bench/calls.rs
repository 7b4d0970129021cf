//! CPU time and memory of the gateway process at a number of calls.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::phone::{Offer, Phone};

/// How long each number of calls is measured.
const MEASURE: Duration = Duration::from_secs(20);

/// How long the calls talk before the measurement starts.
const WARM_UP: Duration = Duration::from_secs(4);

/// New calls per second while the load is built up.
const CALLS_PER_S: u64 = 50;

/// Prints the table.
pub fn print() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    println!("\nWhole process, PCMU 20 ms to PCM16 24 kHz over ws, operator and callers in other processes");
    println!(
        "{:>6} {:>14} {:>12} {:>10} {:>12}",
        "calls", "% core/call", "µs/frame", "kB/call", "lost packets"
    );
    for calls in [50, 200] {
        let figures = runtime.block_on(measure(calls));
        let per_call = figures.cpu.as_secs_f64() / MEASURE.as_secs_f64() / calls as f64;
        println!(
            "{calls:>6} {:>14.3} {:>12.1} {:>10.0} {:>12}",
            per_call * 100.0,
            per_call * 20_000.0,
            figures.memory_kb as f64 / calls as f64,
            figures.lost
        );
    }
}

struct Figures {
    cpu: Duration,
    memory_kb: i64,
    lost: u64,
}

async fn measure(calls: usize) -> Figures {
    let operator = Server::operator();
    let gateway = Server::gateway(operator.address);
    let idle_kb = gateway.memory_kb();
    let mut phones = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(1000 / CALLS_PER_S));
    for _ in 0..calls {
        pace.tick().await;
        let mut phone = Phone::new(gateway.address).await;
        phone.dial("operator", Offer::Pcmu).await;
        phones.push(phone);
    }
    converse(&phones, WARM_UP).await;
    let before = gateway.cpu();
    let started = Instant::now();
    converse(&phones, MEASURE).await;
    let stretch = MEASURE.as_secs_f64() / started.elapsed().as_secs_f64();
    let cpu = (gateway.cpu() - before).mul_f64(stretch);
    let memory_kb = gateway.memory_kb() - idle_kb;
    let lost = phones.iter().map(lost).sum();
    for phone in &mut phones {
        phone.hang_up().await;
    }
    Figures { cpu, memory_kb, lost }
}

/// Everybody talks and is repeated, over and over.
async fn converse(phones: &[Phone], length: Duration) {
    let until = Instant::now() + length;
    let mut turn = tokio::time::interval(Duration::from_secs(4));
    while Instant::now() < until {
        tokio::select! {
            _ = turn.tick() => phones.iter().for_each(|phone| phone.say(440.0, Duration::from_millis(1500))),
            () = tokio::time::sleep_until(until.into()) => return,
        }
    }
}

/// Packets the phone never saw, by the gaps in their sequence numbers.
fn lost(phone: &Phone) -> u64 {
    phone
        .heard()
        .windows(2)
        .map(|pair| u64::from(pair[1].sequence.wrapping_sub(pair[0].sequence).wrapping_sub(1)))
        .sum()
}

/// One of the two processes; ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    folder: Option<PathBuf>,
}

impl Server {
    fn operator() -> Self {
        let mut child = patchcord(["operator", "--listen", "127.0.0.1:0"]);
        let line = said(&mut child, "ws://");
        let address = between(&line, "ws://", "/").parse().unwrap();
        Self {
            child,
            address,
            folder: None,
        }
    }

    fn gateway(operator: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("patchcord-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("patchcord.toml");
        fs::write(&config, gateway_config(operator, &folder)).unwrap();
        let mut child = patchcord(["serve", "--config", config.to_str().unwrap()]);
        let line = said(&mut child, "SIP over UDP");
        let address = between(&line, " on ", ": ").parse().unwrap();
        Self {
            child,
            address,
            folder: Some(folder),
        }
    }

    /// User and system time of the process so far (proc(5), fields 14 and 15).
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn memory_kb(&self) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended by itself, and the folder is only litter.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn patchcord<const N: usize>(arguments: [&str; N]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_patchcord"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the line a process prints when it is ready.
fn said(child: &mut Child, what: &str) -> String {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains(what))
        .unwrap()
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    line.split(before).nth(1).unwrap().split(after).next().unwrap()
}

fn gateway_config(operator: SocketAddr, folder: &Path) -> String {
    format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\n[media]\nports = \"40000-44999\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [records]\npath = \"{}\"\n[log]\nlevel = \"warn\"\n\
         [[trunk]]\nname = \"bench\"\nfrom = [\"127.0.0.0/8\"]\n[[route]]\nagent = \"operator\"\n\
         [agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello.\"\n\
         [backends.operator]\nkind = \"realtime\"\nurl = \"ws://{operator}/v1/realtime\"\nmodel = \"bench\"\n",
        folder.join("records.jsonl").display()
    )
}
