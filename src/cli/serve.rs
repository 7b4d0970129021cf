//! `patchcord serve`: start, say where to call, wait for a signal, drain, end.

use std::{path::Path, process::ExitCode, time::Duration};

use super::{
    EXIT_RUNTIME, EXIT_USAGE, check, say,
    signals::{Signals, Stop},
};
use crate::{
    actors::tree::{self, Gateway},
    config::{Config, LogFormat},
    net, telemetry,
};

/// How long the calls that are left may take for their last sentence once the drain is over.
const FINISH_MAX: Duration = Duration::from_secs(30);

/// Threads for signalling, actors and HTTP; media has its own.
const SIGNALLING_THREADS: usize = 2;

/// Runs the gateway until a signal or a failure ends it.
pub fn run(path: Option<&Path>) -> ExitCode {
    let Some(config) = check::load_or_explain(path) else {
        return ExitCode::from(EXIT_USAGE);
    };
    if let Err(error) = telemetry::log::init(log_format(config.log.format), &config.log.level) {
        eprintln!("patchcord: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    net::tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SIGNALLING_THREADS)
        .thread_name("signalling")
        .enable_all()
        .build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(config)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Every supervisor on the way up wraps the cause in its own words; the cause is what helps.
            eprintln!("patchcord: {}", error.root_cause());
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn log_format(format: LogFormat) -> telemetry::log::Format {
    match format {
        LogFormat::Human => telemetry::log::Format::Human,
        LogFormat::Json => telemetry::log::Format::Json,
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let drain_max = config.limits.drain_max;
    let mut signals = Signals::new()?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let gateway = tree::start(config).await?;
    welcome(&gateway);
    let stop = tokio::select! {
        stop = signals.next() => stop,
        why = gateway.failed() => return fail(&gateway, &why).await,
    };
    tokio::select! {
        () = wind_down(&gateway, stop, drain_max) => {}
        why = gateway.failed() => return fail(&gateway, &why).await,
        _ = signals.next() => anyhow::bail!("killed by a second signal"),
    }
    tokio::select! {
        () = gateway.stop() => Ok(()),
        _ = signals.next() => anyhow::bail!("killed by a second signal"),
    }
}

/// The gateway has given up; what was recorded is still written.
async fn fail(gateway: &Gateway, why: &str) -> anyhow::Result<()> {
    gateway.stop().await;
    anyhow::bail!("the gateway failed: {why}")
}

async fn wind_down(gateway: &Gateway, stop: Stop, drain_max: Duration) {
    gateway.drain();
    if stop == Stop::Drain {
        tracing::info!(
            drain_s_max = drain_max.as_secs(),
            "draining: no new calls; waiting for those there are"
        );
        gateway.empty_within(drain_max).await;
    }
    gateway.finish_calls();
    if !gateway.empty_within(FINISH_MAX).await {
        tracing::warn!("some calls did not end in time and are cut off");
    }
}

fn welcome(gateway: &Gateway) {
    for address in &gateway.addresses.udp {
        let uri = format!("sip:operator@{}", reachable(address));
        say(&format!("SIP over UDP on {address}: call {uri}"));
        say(&format!(
            "  for instance: baresip -e \"/uanew <sip:me@127.0.0.1>;regint=0\" -e \"/dial {uri}\""
        ));
    }
    for address in &gateway.addresses.tcp {
        let uri = format!("sip:operator@{};transport=tcp", reachable(address));
        say(&format!("SIP over TCP on {address}: call {uri}"));
    }
    let more = [
        ("TLS", &gateway.addresses.tls),
        ("WebSocket", &gateway.addresses.ws),
        ("secure WebSocket", &gateway.addresses.wss),
    ];
    for (name, addresses) in more {
        addresses
            .iter()
            .for_each(|address| say(&format!("SIP over {name} on {address}")));
    }
    say(&format!("Metrics on http://{}/metrics", gateway.http_address));
    say("Ctrl-C ends it after the sentence, SIGTERM lets calls end first");
}

/// An address to dial from this machine.
fn reachable(address: &std::net::SocketAddr) -> String {
    match (address.ip().is_unspecified(), address.is_ipv4()) {
        (true, true) => format!("127.0.0.1:{}", address.port()),
        (true, false) => format!("[::1]:{}", address.port()),
        (false, _) => address.to_string(),
    }
}
