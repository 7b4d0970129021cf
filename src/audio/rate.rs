//! From one of the sample rates to another.

use super::{Downsampler, SampleRate, Upsampler};

/// Brings samples from one rate to another; a plain copy when they are the same.
#[derive(Clone, Debug)]
pub enum Resampler {
    /// Nothing to do.
    Same,
    /// 8 to 24 kHz.
    Up(Box<Upsampler>),
    /// 24 to 8 kHz.
    Down(Box<Downsampler>),
}

impl Resampler {
    /// From one rate to another.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        match (from, to) {
            (SampleRate::Hz8000, SampleRate::Hz24000) => Self::Up(Box::default()),
            (SampleRate::Hz24000, SampleRate::Hz8000) => Self::Down(Box::default()),
            _ => Self::Same,
        }
    }

    /// Appends the samples at the other rate; what does not make a whole sample waits for the next call.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        match self {
            Self::Same => out.extend_from_slice(pcm),
            Self::Up(up) => up.process(pcm, out),
            Self::Down(down) => down.process(pcm, out),
        }
    }

    /// Forgets the history, as after a gap or a flush.
    pub fn reset(&mut self) {
        match self {
            Self::Same => {}
            Self::Up(up) => up.reset(),
            Self::Down(down) => down.reset(),
        }
    }
}
