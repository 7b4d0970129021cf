//! The supervision tree: lifetimes, restarts, handles.
//!
//! An actor starts drivers and children, watches them, and translates what they report into inputs of a machine. It
//! holds no protocol logic, and audio never passes through its mailbox. Resources are given back by dropping them,
//! because an actor that panics runs nothing else. The wiring is [`tree`].

mod alarm;
mod approvals;
mod backends;
mod bind;
mod board;
pub mod call;
mod calls;
mod children;
mod control;
mod endpoint;
mod engine;
pub mod gateway;
mod http;
mod inquiries;
mod ledger;
mod local;
pub mod plane;
mod refusals;
mod service;
mod session;
mod sip_settings;
pub mod tree;
mod warm;
mod watch;

pub use sip_settings::peers;
