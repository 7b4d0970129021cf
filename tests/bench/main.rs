//! What a frame costs, and what a call costs the whole process.
//!
//! `cargo bench` (or `tests/run bench`) prints some tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. The second is what a datagram of a
//! stranger costs, dropped and read. The others are `patchcord bench`: what the system calls of a frame cost without any
//! gateway, and what calls cost the gateway's process. Figures are
//! of this machine; compare ratios, not numbers of different machines.

mod calls;
mod drops;
mod frames;

fn main() {
    frames::print();
    drops::print();
    calls::print();
}
