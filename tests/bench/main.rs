//! What a frame costs, and what a call costs the whole process.
//!
//! `cargo bench` (or `tests/run bench`) prints four tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. The second is what a frame costs in
//! every codec, resampler and detector. The third is what a datagram of a stranger costs, dropped and read. The fourth
//! starts the release binary twice, as gateway and as operator, places calls from this process and reads the gateway's
//! own CPU time. Figures are of this machine; compare ratios, not numbers of different machines.

mod calls;
mod codecs;
mod drops;
mod frames;
// The phone of the flow tests can do more than is wanted here.
#[allow(dead_code)]
#[path = "../it/phone.rs"]
mod phone;
// It speaks over UDP alone here.
#[allow(dead_code)]
#[path = "../it/wire.rs"]
mod wire;

fn main() {
    frames::print();
    codecs::print();
    drops::print();
    calls::print();
}
