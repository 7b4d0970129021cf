//! RIFF/WAVE, PCM of 16 bits: a head of 44 bytes and the samples.
//!
//! The head says how long the file is, which nobody knows before its end. So it is written anew once a second; a file
//! that was cut off anywhere is whole up to there, and the rest is found by its length. A sealed file cannot be written
//! to twice: its head says "until the end" (the largest number), as programs that write to a pipe do it.

use std::io;

use super::disk::{Disk, Written};
use crate::audio::SampleRate;

/// Bytes of the head.
pub(super) const HEAD: u64 = 44;
/// Bytes of one pair of samples.
pub(super) const FRAME: u64 = 4;
/// Where the head says how long the whole is, less what comes before; and how long the samples are.
const RIFF_SIZE_AT: u64 = 4;
const DATA_SIZE_AT: u64 = 40;
/// The most a head can say: beyond it, and while it is not known, it says "until the end". At 16 kHz that is 18 hours.
const UNTIL_THE_END: u32 = u32::MAX;

/// A WAV file that grows.
#[derive(Debug)]
pub(super) struct Wav {
    disk: Disk,
    rate: SampleRate,
    frames: u64,
    marked: u64,
    bytes: Vec<u8>,
}

impl Wav {
    pub(super) fn begin(mut disk: Disk, rate: SampleRate) -> io::Result<Self> {
        let length = if disk.can_patch() { Some(0) } else { None };
        disk.append(&head(rate, length))?;
        Ok(Self {
            disk,
            rate,
            frames: 0,
            marked: 0,
            bytes: Vec::new(),
        })
    }

    /// Appends pairs of samples.
    pub(super) fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
        self.disk.append(&self.bytes)?;
        self.frames += pcm.len() as u64 / 2;
        if self.frames - self.marked >= u64::from(self.rate.hz()) {
            self.mark()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.mark()?;
        self.disk.finish()
    }

    /// As much as there is, when no more can be written.
    pub(super) fn give_up(mut self) -> Written {
        // A disk that takes no more may still take this, which needs no room; if not, the head is a second behind.
        let _ = self.mark();
        if self.disk.can_patch() {
            let _ = self.disk.truncate(HEAD + self.frames * FRAME);
        }
        self.disk.give_up()
    }

    /// Up to here the file is whole.
    fn mark(&mut self) -> io::Result<()> {
        self.marked = self.frames;
        if !self.disk.can_patch() {
            return self.disk.flush();
        }
        for (at, size) in sizes(self.frames * FRAME) {
            self.disk.patch(at, &size.to_le_bytes())?;
        }
        Ok(())
    }
}

/// What the head says of so many bytes of samples, and where.
pub(super) fn sizes(bytes: u64) -> [(u64, u32); 2] {
    let size = |before: u64| u32::try_from(bytes + before).unwrap_or(UNTIL_THE_END);
    [(RIFF_SIZE_AT, size(HEAD - 8)), (DATA_SIZE_AT, size(0))]
}

/// The head of so many bytes of samples, or of as many as come.
fn head(rate: SampleRate, bytes: Option<u64>) -> [u8; HEAD as usize] {
    const CHANNELS: u16 = 2;
    const BITS: u16 = 16;
    let [(_, riff), (_, data)] = bytes.map_or([(0, UNTIL_THE_END); 2], sizes);
    let mut head = [0; HEAD as usize];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &riff.to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &CHANNELS.to_le_bytes(),
        &rate.hz().to_le_bytes(),
        &(rate.hz() * FRAME as u32).to_le_bytes(),
        &(FRAME as u16).to_le_bytes(),
        &BITS.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        head[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    head
}
