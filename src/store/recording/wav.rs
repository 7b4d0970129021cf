//! RIFF/WAVE, PCM of 16 bits: a head of 44 bytes and the samples.
//!
//! The head says how long the file is, which nobody knows before its end. So it is written anew once a second; a file
//! that was cut off anywhere is whole up to there, and the rest is found by its length. A sealed file cannot be written
//! to twice: its head says "until the end" (the largest number), as programs that write to a pipe do it.

use std::{fs::File, io, os::unix::fs::FileExt};

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

/// Has the head say how long the file is. One that is no WAV of ours stays as it is.
pub fn mend(file: &mut File) -> io::Result<()> {
    let mut head = [0; HEAD as usize];
    let length = file.metadata()?.len();
    if length < HEAD || file.read_exact_at(&mut head, 0).is_err() || !head.starts_with(b"RIFF") {
        return Ok(());
    }
    for (at, size) in sizes(length - HEAD) {
        file.write_all_at(&size.to_le_bytes(), at)?;
    }
    Ok(())
}

/// Reads a file of one channel, PCM of 16 bits, at a rate we speak; or says what is wrong with it.
pub fn read(file: &[u8]) -> Result<(SampleRate, Vec<i16>), String> {
    const WANTED: &str = "it needs to be a WAV file of 16-bit PCM, mono, at 8, 16 or 24 kHz";
    let chunks = file
        .strip_prefix(b"RIFF")
        .and_then(|rest| rest.get(4..)?.strip_prefix(b"WAVE"));
    let mut rest = chunks.ok_or(WANTED)?;
    let mut rate = None;
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let body = &behind[..size.min(behind.len())];
        match (&head[..4], rate) {
            (b"fmt ", _) => rate = Some(rate_of(body).ok_or(WANTED)?),
            (b"data", Some(rate)) => {
                let samples = body
                    .chunks_exact(2)
                    .map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
                return Ok((rate, samples.collect()));
            }
            _ => {}
        }
        rest = behind.get(size + size % 2..).unwrap_or_default();
    }
    Err(WANTED.to_owned())
}

/// PCM, one channel, 16 bits: its rate.
fn rate_of(format: &[u8]) -> Option<SampleRate> {
    let short = |at: usize| Some(u16::from_le_bytes([*format.get(at)?, *format.get(at + 1)?]));
    let hz = u32::from(short(4)?) | u32::from(short(6)?) << 16;
    let fits = short(0)? == 1 && short(2)? == 1 && short(14)? == 16;
    let rates = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];
    rates.into_iter().find(|rate| fits && rate.hz() == hz)
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
