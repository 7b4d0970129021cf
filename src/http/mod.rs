//! The HTTP side: health, readiness and metrics for everybody who can reach it, and the control API for those who show
//! the token.
//!
//! It reads what others keep and passes on what clients ask; what becomes of it is decided by whoever has the calls
//! ([`Control`]). It is meant for the machine, its monitoring and applications beside it, not for the internet: there is
//! no TLS, and it listens on loopback unless told otherwise.

mod approvals;
mod backends;
mod body;
mod calls;
mod control;
mod events;
pub mod explain;
mod lease;
mod openapi;
mod readiness;
mod routes;
mod server;
mod token;
mod trunks;

pub use control::{
    ApprovalView, CallEvent, CallView, Control, OutcomeView, PlaceCall, RecordingAction, Refused, SessionChange, Told,
    Transfer,
};
pub use readiness::Readiness;
pub use routes::HttpState;
pub use server::serve;
