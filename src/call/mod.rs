//! One call's decisions: a leg paired with a session, from the first INVITE to the written record.
//!
//! [`Machine`] decides what happens to the call (ring, answer, greet, apologise, hang up), [`Bridge`] joins the leg's
//! media with the session's protocol frame by frame, [`Outage`] decides when and where a lost session is dialled again,
//! and [`Terms`] keep what offer and answer agreed on. All are pure: the actors and drivers around them own the sockets, the clock and the random numbers.

pub mod bridge;
pub mod machine;
pub mod outage;
pub mod outcome;
mod terms;

pub use bridge::Bridge;
pub use machine::Machine;
pub use outage::Outage;
pub use outcome::{Cause, Fault, Outcome};
pub use terms::Terms;
