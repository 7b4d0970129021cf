//! Whole calls through a whole gateway: real sockets, a test phone, the embedded operator or one with faults.

mod calls;
mod control;
mod dialects;
mod events;
mod gateway;
mod line;
mod mcp;
mod phone;
mod recording;
mod refusals;
mod request;
mod script;
mod spend;
mod survival;
mod tone;
mod tools;
mod transfers;
mod transports;
mod turns;
mod warm;
mod wire;
