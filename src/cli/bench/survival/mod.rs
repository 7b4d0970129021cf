//! `patchcord bench survival`: what a caller notices when a backend dies, a session is renewed, or somebody cuts in.
//!
//! A gateway runs in a process of its own, once for each scene; callers and backends are played here, over real sockets of
//! the loopback. Callers come in a few lanes, one thread each, one call after another in each; every lane has two backends
//! of its own, so that one may die without the others noticing.
//!
//! What is measured, and how:
//!
//! - Packets and appends have the time at which the kernel got them. The end of a backend, the beginning of its answer and
//!   what a caller sends have the time just before the system call. All of it is one clock.
//! - A backend dies in the middle of the agent's words, once with a reset and once with an orderly end, without a word of
//!   the protocol. What stands for the agent is known by its sound.
//! - Each packet of a caller carries its number in its sound, which comes through µ-law unchanged. So what two sessions
//!   were told can be compared with what was said, sample by sample.
//! - The backends confirm, answer and hear at once; where an answer's time is told, theirs is not in it.
//! - Nothing is aligned: deaths, voices and answers begin anywhere between two packets, so up to 20 ms of most figures are
//!   the wait for the next packet.

use std::{collections::BTreeMap, process::ExitCode, thread};

use clap::Args;
use serde_json::json;

use self::{
    lane::{LANES_MAX, Lane},
    results::{Figure, Row, Tally},
    setup::{Setup, Terms},
};
use super::{
    super::{EXIT_RUNTIME, say},
    Watchdog,
    clock::{self, MS},
    cores,
};

mod answers;
mod coded;
mod deaths;
mod hearing;
mod host;
mod lane;
mod link;
mod renewals;
mod results;
mod setup;
mod turns;
mod wire;

/// How long one scene may take; it ends with fewer samples then.
const SCENE_MAX: u64 = 30_000 * MS;

/// How long all of them may take together.
const ALL_MAX: u64 = 175_000 * MS;

/// What starting and ending it may take besides.
const SCENE_SLACK: u64 = 40_000 * MS;

/// A lane that fails so often in a row gives up its scene.
const FAILURES_MAX: usize = 3;

/// From here on the callers' own lateness is as large as what is measured.
const LATE_MAX: u64 = 2 * MS;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Survival {
    /// How often everything is measured; less often where that takes too long.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples: u32,
    /// Calls at the same time.
    #[arg(long, value_name = "CALLS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..LANES_MAX as i64))]
    lanes: u32,
    /// Only the scenes of these names: away, redialled, next, spoken-to, renewed, backend-ear, own-ear, cold, cold-tls,
    /// warm.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a goal is missed.
    #[arg(long)]
    enforce: bool,
}

/// Something that is played again and again.
struct Scene {
    name: &'static str,
    terms: Terms,
    /// One call of it.
    call: fn(&mut Lane, &mut Tally) -> anyhow::Result<()>,
    /// What comes of it; the first says how often it was played.
    figures: &'static [Figure],
    /// What the gateway itself says about the same.
    says: Says,
}

/// Where the gateway tells of itself.
#[derive(Clone, Copy)]
enum Says {
    /// Nowhere.
    Nothing,
    /// In a histogram of seconds.
    Metric(&'static str),
    /// In lines of its log, as milliseconds behind this.
    Log(&'static str),
}

/// As it is without a word in the configuration.
const PLAIN: Terms = Terms {
    session: "",
    agent: "",
    log: "",
    tls: false,
};

const SCENES: &[Scene] = &[
    Scene {
        name: "away",
        terms: PLAIN,
        call: deaths::away,
        figures: &[Figure::Tone, Figure::Words, Figure::HoleAtDeath],
        says: Says::Metric("patchcord_session_filler_seconds"),
    },
    Scene {
        name: "redialled",
        terms: PLAIN,
        call: deaths::redialled,
        figures: &[Figure::Redialled, Figure::HoleAtDeath],
        says: Says::Metric("patchcord_session_recovery_seconds"),
    },
    Scene {
        name: "next",
        terms: Terms {
            session: "reconnect_budget_ms = 0",
            ..PLAIN
        },
        call: deaths::moved_on,
        figures: &[Figure::MovedOn, Figure::HoleAtDeath],
        says: Says::Metric("patchcord_session_recovery_seconds"),
    },
    Scene {
        name: "spoken-to",
        terms: PLAIN,
        call: deaths::spoken_to,
        figures: &[Figure::SpokenMissing, Figure::SpokenLate],
        says: Says::Nothing,
    },
    Scene {
        name: "renewed",
        terms: Terms {
            session: "renew_after_s = 1",
            log: ",patchcord::actors::ledger=info",
            ..PLAIN
        },
        call: renewals::renewed,
        figures: &[Figure::RenewalAdded, Figure::RenewalMissing, Figure::HoleAtRenewal],
        says: Says::Log("gap_ms="),
    },
    Scene {
        name: "backend-ear",
        terms: PLAIN,
        call: turns::heard_by_backend,
        figures: &[
            Figure::CutByBackend,
            Figure::PacketToAppend,
            Figure::DeltaToPacket,
            Figure::Overhead,
        ],
        says: Says::Metric("patchcord_barge_in_seconds"),
    },
    Scene {
        name: "own-ear",
        terms: Terms {
            agent: "interruption = \"gateway\"",
            ..PLAIN
        },
        call: turns::heard_by_gateway,
        figures: &[Figure::Ducked, Figure::CutByGateway],
        says: Says::Nothing,
    },
    Scene {
        name: "cold",
        terms: PLAIN,
        call: answers::cold,
        figures: &[Figure::AnsweredCold],
        says: Says::Metric("patchcord_call_setup_seconds"),
    },
    Scene {
        name: "cold-tls",
        terms: Terms { tls: true, ..PLAIN },
        call: answers::cold_in_tls,
        figures: &[Figure::AnsweredColdTls],
        says: Says::Nothing,
    },
    Scene {
        name: "warm",
        terms: Terms {
            agent: "warm_sessions_max = 2",
            ..PLAIN
        },
        call: answers::warm,
        figures: &[Figure::AnsweredWarm],
        says: Says::Metric("patchcord_call_setup_seconds"),
    },
];

/// Measures and prints.
pub fn run(survival: &Survival) -> ExitCode {
    match measure(survival) {
        Ok(rows) if survival.enforce && !rows.iter().all(|row| row.met) => ExitCode::from(EXIT_RUNTIME),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patchcord: {error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn measure(survival: &Survival) -> anyhow::Result<Vec<Row>> {
    let unknown = survival
        .only
        .iter()
        .find(|name| SCENES.iter().all(|scene| scene.name != **name));
    anyhow::ensure!(unknown.is_none(), "there is no scene of the name {unknown:?}");
    let wanted = |scene: &&Scene| survival.only.is_empty() || survival.only.iter().any(|name| name == scene.name);
    // A gateway that does not know what a scene is about cannot play it.
    let scenes = SCENES.iter().filter(wanted).filter(|scene| setup::knows(scene.terms));
    let watchdog = Watchdog::start();
    if !survival.json {
        say(&format!(
            "{} calls at a time, {}; {} cores, which gateway, callers and backends share\n{}",
            survival.lanes,
            results::terms(),
            cores(),
            results::HEAD
        ));
    }
    let (mut rows, mut told) = (Vec::new(), Vec::new());
    let end = clock::now() + ALL_MAX;
    for scene in scenes {
        watchdog.allow(SCENE_MAX + SCENE_SLACK);
        let played = scene.play(survival, end)?;
        if !survival.json {
            played.lines().iter().for_each(|line| say(line));
        }
        told.push(json!({
            "scene": scene.name,
            "rows": played.rows,
            "missed": played.missed,
            "callers_late_p99_ms": played.late as f64 / MS as f64,
            "gateway_says": played.says,
        }));
        rows.extend(played.rows);
    }
    if survival.json {
        say(&serde_json::to_string_pretty(
            &json!({ "cores": cores(), "scenes": told }),
        )?);
    }
    Ok(rows)
}

/// What came of a scene.
struct Played {
    rows: Vec<Row>,
    missed: BTreeMap<String, usize>,
    late: u64,
    says: Option<String>,
}

impl Played {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().map(Row::line).collect();
        let missed = self
            .missed
            .iter()
            .map(|(why, count)| format!("       {count} times not measured: {why}"));
        lines.extend(missed);
        lines.extend(
            self.says
                .iter()
                .map(|says| format!("       the gateway itself says: {says}")),
        );
        if self.late > LATE_MAX {
            let late = self.late as f64 / MS as f64;
            lines.push(format!(
                "       the callers themselves were late, p99 {late:.1} ms: this machine is too busy"
            ));
        }
        lines
    }
}

impl Scene {
    fn play(&self, survival: &Survival, end: u64) -> anyhow::Result<Played> {
        let lanes = survival.lanes as usize;
        let share = (survival.samples as usize).div_ceil(lanes);
        let Setup { mut gateway, mut lanes } = Setup::open(lanes, self.terms)?;
        let until = end.min(clock::now() + SCENE_MAX);
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let played = lanes
                .iter_mut()
                .map(|lane| scope.spawn(move || self.play_in(lane, share, until)));
            let played: Vec<_> = played.collect();
            for lane in played {
                match lane.join() {
                    Ok(played) => tally.merge(played),
                    Err(_) => tally.miss("a lane broke down".to_owned()),
                }
            }
        });
        let mut late: Vec<u64> = lanes.iter().flat_map(|lane| &lane.late).copied().collect();
        late.sort_unstable();
        Ok(Played {
            rows: tally.rows(self.figures),
            missed: tally.missed,
            late: results::quantile(&late, 0.99).unwrap_or(0),
            says: match self.says {
                Says::Nothing => None,
                Says::Metric(name) => mean(&gateway.metrics()?, name),
                Says::Log(before) => longest(&gateway.log()?, before),
            },
        })
    }

    fn play_in(&self, lane: &mut Lane, share: usize, until: u64) -> Tally {
        clock::wake_punctually();
        let mut tally = Tally::default();
        let mut failures = 0;
        while tally.count(self.figures[0]) < share && clock::now() < until && failures < FAILURES_MAX {
            match (self.call)(lane, &mut tally) {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tally.miss(format!("{error:#}"));
                    // It fails as well where the call never was.
                    let _ = lane.hang_up();
                }
            }
        }
        tally
    }
}

/// How often something was counted and how long it took in the mean, as a histogram of the gateway says.
fn mean(metrics: &str, name: &str) -> Option<String> {
    let sum = |end: &str| {
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with(&format!("{name}_{end}")));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>()
    };
    let (count, seconds) = (sum("count"), sum("sum"));
    (count > 0.0).then(|| {
        format!(
            "{count} times, {:.2} ms in the mean ({name})",
            seconds / count * 1_000.0
        )
    })
}

/// How often the log has milliseconds behind this word, and the most.
fn longest(log: &str, before: &str) -> Option<String> {
    let found = log.split(before).skip(1);
    let found: Vec<u64> = found
        .filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok())
        .collect();
    let most = found.iter().max()?;
    Some(format!("{} times, {most} ms at most ({before})", found.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_but_those_of_the_future_has_a_configuration_that_the_gateway_takes() {
        for scene in SCENES.iter().filter(|scene| scene.name != "warm") {
            assert!(setup::knows(scene.terms), "{}", scene.name);
        }
    }

    #[test]
    fn what_the_gateway_says_is_read() {
        let metrics = "x_seconds_sum{a=\"1\"} 0.5\nx_seconds_count{a=\"1\"} 3\nx_seconds_sum 0.5\nx_seconds_count 1\n";
        assert!(mean(metrics, "x_seconds").is_some_and(|says| says.starts_with("4 times, 250.00 ms")));
        assert_eq!(mean(metrics, "y_seconds"), None);
        let log = "INFO gap_ms=19 the call\nINFO gap_ms=21 the call\n";
        assert!(longest(log, "gap_ms=").is_some_and(|says| says.starts_with("2 times, 21 ms")));
    }
}
