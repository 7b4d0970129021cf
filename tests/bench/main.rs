//! What a frame costs, and what a call costs the whole process.
//!
<<<<<<< HEAD
//! `cargo bench` (or `tests/run bench`) prints tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. Then what a frame costs in every codec,
//! resampler and detector, what a datagram of a stranger costs, dropped and read, and what protecting a packet costs, by
//! suite. The others are `patchcord bench`: what the system calls of a frame cost without any gateway, and what calls cost
//! the gateway's process. Figures are
//! of this machine; compare ratios, not numbers of different machines.
=======
//! `cargo bench` (or `tests/run bench`) prints four tables. The first is the time one 20 ms frame takes in each direction
//! through the real bridge: packet to session message, session message to packet. The second is what a frame costs in
//! every codec, resampler and detector. The third is what a datagram of a stranger costs, dropped and read. The fourth
//! starts the release binary twice, as gateway and as operator, places calls from this process and reads the gateway's
//! own CPU time. Figures are of this machine; compare ratios, not numbers of different machines.
>>>>>>> codecs

mod calls;
mod codecs;
mod drops;
mod frames;
mod srtp;

fn main() {
    frames::print();
    codecs::print();
    drops::print();
    srtp::print();
    calls::print();
}
