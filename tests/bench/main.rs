//! What a frame costs, and what a call costs the whole process.
//!
//! `cargo bench` (or `tests/run bench`) prints tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. Then what a frame costs in every codec,
//! resampler and detector, what a datagram of a stranger costs, dropped and read, and what protecting a packet costs, by
//! suite. The others are `patchcord bench`: what the system calls of a frame cost without any gateway, and what calls cost
//! the gateway's process, and what a caller notices when a backend dies (`patchcord bench survival`). Figures are
//! of this machine; compare ratios, not numbers of different machines.

mod calls;
mod codecs;
mod drops;
mod frames;
mod leg;
mod srtp;

fn main() {
    frames::print();
    codecs::print();
    drops::print();
    srtp::print();
    calls::print();
}
