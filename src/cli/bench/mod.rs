//! `patchcord bench`: what calls cost on this machine, how late their sound is, and whether the goals are reached.
//!
//! Four processes: this one, the gateway (`patchcord serve`), all callers, and the backend. The load goes up in steps;
//! calls of one step stay up for the next. In every step each caller holds a tone of its own, each agent speaks most of
//! the time, and both ends check that they hear the right pitch.
//!
//! What is measured, and how:
//!
//! - **CPU** is the time the gateway's threads were on a core (`schedstat`), nothing else's. A *frame* is 20 ms of one
//!   call: one packet in, one packet out.
//! - **packet→append**: a caller takes the time, then sends a packet four times as loud as the others; the backend finds
//!   the append with the loud part in it, and has the kernel's time of its arrival. The time in the gateway's host
//!   kernel is in it, the backend's lateness is not.
//! - **delta→RTP**: the backend takes the time, then writes the first delta of a response; the caller has the kernel's
//!   time of the first packet with voice in it.
//! - **off the grid**: how far the kernel's times of packets are from an even grid of their timestamps, laid where the
//!   earliest tenth of 250 packets keeps it.
//! - **callers' late**: how late the callers sent, against their own even grid. Where this is not far below the other
//!   times, the machine is too busy to say anything about the gateway.
//!
//! `patchcord bench survival` measures something else: see [`survival`].
//!
//! All processes share the machine's cores, as they would not in earnest; so the more calls, the more the others weigh.

use std::{
    io::Write,
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::{Args, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use self::{
    backend::Listening,
    child::Child,
    clock::MS,
    floor::Floor,
    gateway::{Gateway, Machine, Usage},
    joined::Ends,
    plan::{Audio, Codec, Deltas, Order, Steps, Task},
    reports::{Dialled, Heard, Served},
    table::{Figures, Goal},
};
use super::{EXIT_RUNTIME, say};
use crate::audio;

mod backend;
mod caller;
mod callers;
mod child;
mod clock;
mod ear;
mod floor;
mod frames;
mod gateway;
mod histogram;
mod joined;
mod mouth;
mod pitch;
mod plan;
mod reports;
mod role;
mod session;
mod speech;
mod stamped;
mod survival;
mod table;

/// How long calls talk before they are measured: every agent has begun to speak once.
const WARM_UP: u64 = 6_000 * MS;

/// Between the order to measure and the beginning.
const LEAD: u64 = 200 * MS;

/// What a call with Opus may cost, in what its decoder and encoder cost.
const OPUS_MARGIN: f64 = 1.15;

/// Microseconds of every 20 ms that are one percent of a core.
const US_PER_PERCENT: f64 = 200.0;

/// What a step may take beside its measurement, before everything is given up.
const STEP_SLACK: u64 = 90_000 * MS;

/// What is to be measured.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    /// How many calls, step by step.
    #[arg(long, value_name = "LIST", default_value = "1,50,100,200,400")]
    calls: Steps,
    /// How long each step is measured.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(4..=600))]
    seconds: u64,
    /// What the callers speak.
    #[arg(long, value_enum, default_value = "pcmu")]
    codec: Codec,
    /// What the sessions speak.
    #[arg(long, value_enum, default_value = "pcm16")]
    audio: Audio,
    /// How the backend sends what its agent says.
    #[arg(long, value_enum, default_value = "realtime")]
    deltas: Deltas,
    /// After the last step go on with a quarter more calls each time, until times or sound get bad or there are so many.
    #[arg(long, value_name = "CALLS")]
    ceiling: Option<usize>,
    /// Only measure what the system calls of a frame cost here: the floor under all figures.
    #[arg(long)]
    floor: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 1 when the last step misses a goal.
    #[arg(long)]
    enforce: bool,
}

/// What is measured instead of the cost of calls.
#[derive(Debug, Subcommand)]
enum Other {
    /// Measure what a caller notices when a backend dies, a session is renewed or somebody cuts in, and how soon calls are
    /// answered.
    Survival(survival::Survival),
}

/// Measures and prints.
pub fn run(bench: &Bench) -> ExitCode {
    if let Some(Other::Survival(survival)) = &bench.other {
        return survival::run(survival);
    }
    let measured = if bench.floor { floor(bench.json) } else { measure(bench) };
    match measured {
        Ok(goals) if bench.enforce && !goals.iter().all(|goal| goal.met) => ExitCode::from(EXIT_RUNTIME),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patchcord: {error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Is one of the processes of a benchmark.
pub fn be() -> ExitCode {
    match role::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "patchcord: {error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn floor(json: bool) -> anyhow::Result<Vec<Goal>> {
    let floor = Floor::measure()?;
    if json {
        say(&serde_json::to_string_pretty(&floor)?);
    } else {
        floor.lines().iter().for_each(|line| say(line));
    }
    Ok(Vec::new())
}

fn measure(bench: &Bench) -> anyhow::Result<Vec<Goal>> {
    let most = bench.callers_max();
    anyhow::ensure!(
        bench.calls.0.iter().all(|calls| *calls <= most),
        "callers of this codec have {most} pitches to tell them apart: give no more calls than that"
    );
    allow_many_files();
    let floor = Floor::measure()?;
    let mut stage = Stage::open(bench)?;
    if !bench.json {
        say(&stage.describe());
        say(table::HEAD);
    }
    let mut all = Vec::new();
    let mut next = bench.calls.0.first().copied();
    while let Some(calls) = next {
        let figures = stage.step(calls)?;
        if !bench.json {
            say(&figures.row());
            figures
                .remarks()
                .iter()
                .for_each(|remark| say(&format!("       {remark}")));
        }
        next = bench.after(&figures);
        all.push(figures);
    }
    stage.close()?;
    let price = bench.price()?;
    let goals = all.last().map(|last| last.goals(price)).unwrap_or_default();
    if bench.json {
        say(&serde_json::to_string_pretty(&json!({
            "cores": cores(),
            "codec": bench.codec,
            "audio": bench.audio,
            "seconds": bench.seconds,
            "floor": floor,
            "steps": all,
            "goals": goals,
        }))?);
    } else {
        say(&format!(
            "\nGoals, at {} calls:",
            all.last().map_or(0, |last| last.calls)
        ));
        goals.iter().for_each(|goal| say(&format!("  {}", goal.line())));
        if let Some(last) = all.last() {
            say(&last.beside(&floor));
        }
    }
    Ok(goals)
}

impl Bench {
    /// What a call may cost, in percent of a core, where a goal is set.
    fn price(&self) -> anyhow::Result<Option<f64>> {
        Ok(match (self.codec, self.audio) {
            (Codec::Pcmu | Codec::Pcma, Audio::Pcm16) => Some(0.10),
            (Codec::Pcmu | Codec::Pcma, Audio::G711 | Audio::Auto) => Some(0.06),
            // Little more than what the library itself takes, measured here.
            (Codec::Opus, _) => Some(floor::codec_us(audio::Codec::Opus)? * OPUS_MARGIN / US_PER_PERCENT),
            (Codec::G722, _) => None,
        })
    }

    fn callers_max(&self) -> usize {
        pitch::Scale::of(self.codec.audio()).callers
    }

    /// The number of calls of the step after this one.
    fn after(&self, figures: &Figures) -> Option<usize> {
        if let Some(next) = self.calls.0.iter().find(|calls| **calls > figures.calls) {
            return Some(*next);
        }
        let ceiling = self.ceiling?.min(self.callers_max());
        // What a call costs does not end the climb; it is what makes the others fail in the end.
        let goals = figures.goals(None);
        let holds = goals.iter().all(|goal| goal.met || goal.unit == "kB");
        let next = (figures.calls + figures.calls.div_ceil(4)).min(ceiling);
        (holds && next > figures.calls).then_some(next)
    }
}

/// The running processes.
struct Stage {
    // In the order in which they are ended: the gateway goes when nobody needs it any more.
    callers: Child,
    gateway: Gateway,
    backend: Child,
    idle: Usage,
    seconds: u64,
    codec: audio::Codec,
    watchdog: Watchdog,
    words: String,
}

impl Stage {
    fn open(bench: &Bench) -> anyhow::Result<Self> {
        let watchdog = Watchdog::start();
        let mut backend = Child::start(&Task::Backend { deltas: bench.deltas }, Stdio::inherit())?;
        let Listening { port } = backend.hear()?;
        let gateway = gateway::start(([127, 0, 0, 1], port).into(), bench.codec, bench.audio)?;
        let task = Task::Callers {
            gateway: gateway.sip,
            codec: bench.codec,
        };
        let callers = Child::start(&task, Stdio::inherit())?;
        let idle = gateway.usage()?;
        Ok(Self {
            callers,
            gateway,
            backend,
            idle,
            seconds: bench.seconds,
            codec: bench.codec.audio(),
            watchdog,
            words: format!(
                "{:?} 20 ms to {:?}, {:?} deltas",
                bench.codec, bench.audio, bench.deltas
            ),
        })
    }

    fn describe(&self) -> String {
        format!(
            "{}; {} s a step; {} cores, which gateway, callers and backend share",
            self.words,
            self.seconds,
            cores()
        )
    }

    fn step(&mut self, calls: usize) -> anyhow::Result<Figures> {
        let length = self.seconds * 1_000 * MS;
        self.watchdog.allow(length + STEP_SLACK);
        let dialled: Dialled = self.callers.ask(&Order::Dial(calls))?;
        clock::sleep_until(clock::now() + WARM_UP);
        let from = clock::now() + LEAD;
        let until = from + length;
        let order = Order::Measure { from, until };
        self.callers.tell(&order)?;
        self.backend.tell(&order)?;
        clock::sleep_until(from);
        let before = self.snapshot()?;
        clock::sleep_until(until);
        let after = self.snapshot()?;
        let (heard, served): (Heard, Served) = (self.callers.hear()?, self.backend.hear()?);
        let ends = joined::join(&heard, &served, &(from..until), self.codec);
        Ok(Figures {
            failed: dialled.failed,
            ..self.figures(calls, &before, &after, ends)
        })
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot {
            at: clock::now(),
            gateway: self.gateway.usage()?,
            callers: Usage::of(self.callers.id())?,
            backend: Usage::of(self.backend.id())?,
            machine: Machine::now()?,
        })
    }

    fn figures(&self, calls: usize, before: &Snapshot, after: &Snapshot, ends: Ends) -> Figures {
        let seconds = (after.at - before.at) as f64 / 1e9;
        let share = |before: &Usage, after: &Usage| (after.cpu - before.cpu).as_secs_f64() / seconds;
        let per_call = share(&before.gateway, &after.gateway) / calls as f64;
        let (idle, steal) = after.machine.shares_since(&before.machine);
        let memory_kb = after.gateway.memory_kb.saturating_sub(self.idle.memory_kb);
        Figures {
            calls,
            seconds,
            core_percent_per_call: per_call * 100.0,
            us_per_frame: per_call * 20_000.0,
            calls_per_core: 1.0 / per_call.max(1e-9),
            waits_per_s: (after.gateway.waits - before.gateway.waits) as f64 / seconds,
            memory_kb_per_call: memory_kb as f64 / calls as f64,
            callers_core_percent: share(&before.callers, &after.callers) * 100.0,
            backend_core_percent: share(&before.backend, &after.backend) * 100.0,
            idle_percent: idle * 100.0,
            steal_percent: steal * 100.0,
            datagrams_dropped: after.machine.dropped_since(&before.machine),
            failed: Default::default(),
            ends,
        }
    }

    fn close(mut self) -> anyhow::Result<()> {
        self.watchdog.allow(STEP_SLACK);
        let _: Dialled = self.callers.ask(&Order::HangUp)?;
        Ok(())
    }
}

struct Snapshot {
    at: u64,
    gateway: Usage,
    callers: Usage,
    backend: Usage,
    machine: Machine,
}

/// Ends a benchmark that hangs, and with it its processes.
struct Watchdog {
    until: Arc<AtomicU64>,
}

impl Watchdog {
    fn start() -> Self {
        let until = Arc::new(AtomicU64::new(clock::now() + STEP_SLACK));
        let watched = until.clone();
        thread::spawn(move || {
            while clock::now() < watched.load(Ordering::Relaxed) {
                clock::sleep_until(clock::now() + 1_000 * MS);
            }
            eprintln!("patchcord: the benchmark hangs and is given up");
            std::process::exit(i32::from(EXIT_RUNTIME));
        });
        Self { until }
    }

    fn allow(&self, more: u64) {
        self.until.store(clock::now() + more, Ordering::Relaxed);
    }
}

/// A call takes four open files in one process; the usual limit is too low for the steps.
fn allow_many_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it cannot be raised, calls fail and say so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
