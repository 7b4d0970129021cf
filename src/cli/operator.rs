//! `patchcord operator`: the embedded session server alone, on a socket.

use std::{net::SocketAddr, process::ExitCode};

use super::{EXIT_RUNTIME, say};
use crate::{
    drivers::operator::{self, Settings},
    net,
    operator::Faults,
    telemetry,
};

/// The environment variable with the key that clients must show; without it everybody is served.
const KEY_VARIABLE: &str = "PATCHCORD_OPERATOR_KEY";

/// Serves until interrupted.
pub fn run(listen: SocketAddr, faults: Faults, allow_control: bool) -> ExitCode {
    // The filter is ours and can be read.
    let _ = telemetry::log::init(telemetry::log::Format::Human, "info");
    let mut settings = Settings::with_faults(faults);
    settings.control = allow_control;
    settings.key = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(listen, settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patchcord: the operator cannot listen on {listen}: {error}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

async fn serve(listen: SocketAddr, settings: Settings) -> std::io::Result<()> {
    let listener = net::tcp::listen(listen)?;
    say(&format!(
        "Realtime sessions on ws://{}/v1/realtime",
        listener.local_addr()?
    ));
    let mut signals = super::signals::Signals::new()?;
    let stop = async move {
        signals.next().await;
    };
    operator::listen(listener, settings, stop).await;
    Ok(())
}
