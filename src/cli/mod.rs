//! The command line: `serve`, `check`, `explain`, `operator`, `probe`, `call`, `recording`, `bench`, `version`.
//!
//! Exit codes: 0 fine, 1 failed while running (`explain`: the call is refused; `probe`: no session is to be had), 2 bad configuration or usage. This is the only place that prints.

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{operator::Faults, routing::Question};

#[cfg(target_os = "linux")]
mod bench;
mod call;
mod check;
mod explain;
mod operator;
mod probe;
mod recording;
mod serve;
mod signals;

/// It failed while running.
const EXIT_RUNTIME: u8 = 1;

/// The configuration or the command line is bad.
const EXIT_USAGE: u8 = 2;

#[derive(Parser)]
#[command(name = "patchcord", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Validate the configuration and print what is in effect, secrets hidden.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say rule by rule what would become of a call, and why.
    Explain {
        /// Who calls, such as "sip:alice@example.com".
        #[arg(long, value_name = "URI")]
        from: String,
        /// Who is called, such as "sip:100@gateway.example.com".
        #[arg(long, value_name = "URI")]
        to: String,
        /// Where it comes from.
        #[arg(long, value_name = "IP[:PORT]")]
        source: String,
        /// What it comes by: udp, tcp, tls, ws or wss.
        #[arg(long, value_name = "NAME", default_value = "udp")]
        transport: String,
        /// The user it logs in as, with the right password.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Run the embedded session server alone, to develop against.
    Operator {
        /// The address to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
        listen: SocketAddr,
        /// Faults to show on purpose, such as "drop@2000,refuse*3" (see the operator's documentation).
        #[arg(long, value_name = "FAULTS", default_value = "")]
        fault: Faults,
        /// Let clients ask for faults with an `operator.fault` event.
        #[arg(long)]
        allow_control: bool,
    },
    /// Hold a short session with a backend and tell what it speaks, takes and refuses, and how fast; exits with 1 when it
    /// does not speak.
    Probe(probe::Probe),
    /// Place a call through a running gateway and print its progress; exits with 1 when nobody answers.
    Call(call::Call),
    /// Open sealed recordings.
    Recording(recording::Recording),
    /// Measure on this machine what calls cost, how late their sound is, and whether the goals are reached.
    #[cfg(target_os = "linux")]
    Bench(bench::Bench),
    /// Be one of the processes of a benchmark.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    BenchProcess,
    /// Print the version.
    Version,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // Clap itself ends the process with 2 when the command line is bad.
    match Arguments::parse().command {
        Command::Serve { config } => serve::run(config.as_deref()),
        Command::Check { config } => check::run(config.as_deref()),
        Command::Explain {
            from,
            to,
            source,
            transport,
            user,
            config,
        } => match Question::read(&from, &to, &source, &transport, user.as_deref()) {
            Ok(question) => explain::run(config.as_deref(), &question),
            Err(wrong) => {
                eprintln!("patchcord: --{wrong}");
                ExitCode::from(EXIT_USAGE)
            }
        },
        Command::Operator {
            listen,
            fault,
            allow_control,
        } => operator::run(listen, fault, allow_control),
        Command::Probe(probe) => probe::run(&probe),
        Command::Call(call) => call::run(&call),
        Command::Recording(recording) => recording::run(&recording),
        #[cfg(target_os = "linux")]
        Command::Bench(bench) => bench::run(&bench),
        #[cfg(target_os = "linux")]
        Command::BenchProcess => bench::be(),
        Command::Version => version(),
    }
}

/// Prints a line. A closed standard output is no reason to end: `println!` would panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn version() -> ExitCode {
    say(concat!("patchcord ", env!("CARGO_PKG_VERSION")));
    ExitCode::SUCCESS
}
