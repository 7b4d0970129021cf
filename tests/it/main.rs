//! Whole calls through a whole gateway: real sockets, a test phone, the embedded operator or one with faults.

mod calls;
mod control;
mod events;
mod gateway;
mod line;
mod phone;
mod recording;
mod refusals;
mod spend;
mod survival;
mod tone;
mod transports;
mod turns;
mod wire;
