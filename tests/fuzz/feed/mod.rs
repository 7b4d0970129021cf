//! What a fuzz input is fed to; the libFuzzer targets and the replay share it.
//!
//! Nothing here may panic, whatever the bytes, and nothing may go on for longer than the input warrants.

mod codec;
mod rtp;
mod secure;
mod sip;

pub use codec::codec;
pub use rtp::rtp;
pub use secure::secure;
pub use sip::sip;

/// Fails when more was done than an input can ask for.
struct Work {
    left: usize,
}

impl Work {
    fn new(steps_max: usize) -> Self {
        Self { left: steps_max }
    }

    fn step(&mut self) {
        self.left = self.left.checked_sub(1).expect("more work than the input can ask for");
    }
}
