//! Whole conversations in virtual time.

mod client;
mod faults;
mod items;
mod recording;
mod responses;
mod speech;

use client::Client;
