//! From one of the sample rates to another.

use super::{SampleRate, resample::Converter};

/// Brings samples from one rate to another; a plain copy when they are the same.
#[derive(Clone, Debug)]
pub enum Resampler {
    /// Nothing to do.
    Same,
    /// 8 to 16 kHz.
    From8To16(Box<Converter<1, 2>>),
    /// 8 to 24 kHz.
    From8To24(Box<Converter<1, 3>>),
    /// 16 to 8 kHz.
    From16To8(Box<Converter<2, 1>>),
    /// 16 to 24 kHz.
    From16To24(Box<Converter<2, 3>>),
    /// 24 to 8 kHz.
    From24To8(Box<Converter<3, 1>>),
    /// 24 to 16 kHz.
    From24To16(Box<Converter<3, 2>>),
}

impl Resampler {
    /// From one rate to another.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        use SampleRate::{Hz8000, Hz16000, Hz24000};
        match (from, to) {
            (Hz8000, Hz8000) | (Hz16000, Hz16000) | (Hz24000, Hz24000) => Self::Same,
            (Hz8000, Hz16000) => Self::From8To16(Box::default()),
            (Hz8000, Hz24000) => Self::From8To24(Box::default()),
            (Hz16000, Hz8000) => Self::From16To8(Box::default()),
            (Hz16000, Hz24000) => Self::From16To24(Box::default()),
            (Hz24000, Hz8000) => Self::From24To8(Box::default()),
            (Hz24000, Hz16000) => Self::From24To16(Box::default()),
        }
    }

    /// Appends the samples at the other rate; what does not make a whole group of samples waits for the next call.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        match self {
            Self::Same => out.extend_from_slice(pcm),
            Self::From8To16(converter) => converter.process(pcm, out),
            Self::From8To24(converter) => converter.process(pcm, out),
            Self::From16To8(converter) => converter.process(pcm, out),
            Self::From16To24(converter) => converter.process(pcm, out),
            Self::From24To8(converter) => converter.process(pcm, out),
            Self::From24To16(converter) => converter.process(pcm, out),
        }
    }

    /// Forgets the history, as after a gap or a flush.
    pub fn reset(&mut self) {
        match self {
            Self::Same => {}
            Self::From8To16(converter) => converter.reset(),
            Self::From8To24(converter) => converter.reset(),
            Self::From16To8(converter) => converter.reset(),
            Self::From16To24(converter) => converter.reset(),
            Self::From24To8(converter) => converter.reset(),
            Self::From24To16(converter) => converter.reset(),
        }
    }
}
