//! The loops: sockets on one side, machines on the other.
//!
//! A driver moves bytes between them, arms the next deadline and decides nothing. It never waits for an actor: what it
//! has to report goes through a [`post`].

use std::time::Instant;

pub mod beat;
pub mod dial;
pub mod leg;
pub mod media;
pub mod operator;
pub mod post;
pub mod realtime;
pub mod refusals;
pub mod sip;
pub mod tools;
pub mod warm;
pub mod worker;

/// Sleeps until a machine's deadline; for ever when it has none.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
