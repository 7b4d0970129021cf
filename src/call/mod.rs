//! One call's decisions: a leg paired with a session, from the first INVITE to the written record.
//!
//! [`Machine`] decides what happens to the call (ring, answer, greet, apologise, hang up), [`Conductor`] translates what
//! the leg, the media and the session report into its inputs and its outputs into what they are to do, [`Bridge`] joins
//! the leg's media with the session's protocol frame by frame, [`Outage`] decides when and where a lost session is
//! dialled again, [`SecondLeg`] is whom we call for a transfer, [`Breaker`] decides whether a backend is worth it, [`Terms`] keep what offer and answer agreed on, [`Facts`] what
//! the agent may know of the call, [`Recording`] whether it is recorded, [`spend`] what it costs and [`budget`] what it may cost. All
//! are pure: the actors and drivers around them own the sockets, the clock and the random numbers.

pub mod breaker;
pub mod bridge;
pub mod budget;
pub mod conductor;
pub mod facts;
pub mod filler;
pub mod keys;
pub mod machine;
mod messages;
mod monologue;
pub mod order;
pub mod outage;
pub mod outcome;
pub mod recording;
mod replay;
pub mod second_leg;
pub mod spend;
mod terms;
pub mod transfer;
pub mod turns;
pub mod warm;

pub use breaker::Breaker;
pub use bridge::Bridge;
pub use conductor::Conductor;
pub use facts::Facts;
pub use machine::Machine;
pub use order::Order;
pub use outage::Outage;
pub use outcome::{Cause, Fault, Outcome};
pub use recording::Recording;
pub use second_leg::SecondLeg;
pub use terms::Terms;
