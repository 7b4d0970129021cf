//! Whole calls on one clock and one seed: phones, lossy networks, the gateway's machines and the embedded operator, with
//! no socket, no thread and no real time.
//!
//! The clock jumps from one thing that happens to the next. All that is left to chance follows from the seed of a run, so
//! a failure names its seed, and `PATCHCORD_SIM_SEED` replays it alone.
//!
//! - [`world`] moves everything; [`plan`] says what a run consists of.
//! - [`phone`] with [`transaction`] and [`wire`] is a telephone's SIP, written by hand; [`mouth`] and [`ear`] are its RTP.
//! - [`gateway`] and [`call`] do what the actors and drivers do, purely; [`backend`] is the operator behind a connection
//!   that can break.
//! - [`audit`] and [`reference`] check what passes; the tests here check what came of it.
//! - [`scripts`] is smaller and runs far more often: one bridge between a caller and two backends that fail in every way,
//!   with [`account`] for what the next session has to be told.

mod account;
mod agenda;
mod audit;
mod backend;
mod call;
mod caller;
mod dice;
mod ear;
mod flows;
mod gateway;
mod link;
mod mouth;
mod phone;
mod plan;
mod reference;
mod rtp;
mod scripts;
mod seeds;
mod transaction;
mod wire;
mod world;
