//! Binding again what an actor before this one had bound.

use std::{io, time::Duration};

/// How often binding is tried: after a failure the sockets of the old actor may take a moment to close.
const TRIES_MAX: u32 = 20;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds, patiently when the address is still in use.
pub async fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES_MAX {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(PAUSE).await,
            bound => return bound,
        }
    }
    bind()
}
