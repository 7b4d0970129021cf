//! What a frame costs, and what a call costs the whole process.
//!
//! `cargo bench` (or `tests/run bench`) prints tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. Then what a frame costs in every codec,
//! resampler and detector, what a datagram of a stranger costs, dropped and read, and what protecting a packet costs, by
//! suite. The last starts the release binary as `patchcord bench` does and reads the gateway's own CPU time. Figures are
//! of this machine; compare ratios, not numbers of different machines.

mod calls;
mod codecs;
mod drops;
mod frames;
// The phone of the flow tests can do more than is wanted here.
#[allow(dead_code)]
#[path = "../it/phone.rs"]
mod phone;
mod srtp;
// It speaks over UDP alone here.
#[allow(dead_code)]
#[path = "../it/wire.rs"]
mod wire;

fn main() {
    frames::print();
    codecs::print();
    drops::print();
    srtp::print();
    calls::print();
}
