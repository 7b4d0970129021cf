//! The HTTP side: health, readiness and metrics.
//!
//! It reads what others keep and decides nothing. It is meant for the machine and its monitoring, not for the internet:
//! there is no TLS and no authentication, and it listens on loopback unless told otherwise.

mod readiness;
mod routes;
mod server;
mod trunks;

pub use readiness::Readiness;
pub use routes::HttpState;
pub use server::serve;
