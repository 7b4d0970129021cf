//! Ogg-Opus (RFC 3533, RFC 7845): Opus in pages of a second, each whole by itself.
//!
//! A page says how far the sound goes at its end and carries its own checksum, so that a file that was cut off anywhere
//! is whole up to its last page: [`repair`] drops what comes after it and marks it as the last.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

use super::disk::{Disk, Written};
use crate::audio::{SampleRate, StereoEncoder};

/// The clock of Ogg-Opus, whatever the rate of the samples was.
const CLOCK_HZ: u64 = 48_000;
/// What a page begins with, up to the table of its segments.
const PAGE_HEAD: usize = 27;
const CAPTURE: &[u8; 4] = b"OggS";
/// Where a page has its flags, its checksum and the number of its segments.
const FLAGS_AT: usize = 5;
const CHECKSUM_AT: usize = 22;
const SEGMENTS_AT: usize = 26;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// Packets of one page: a second.
const PACKETS_MAX: usize = 50;
/// Segments of one page at most, by the format.
const SEGMENTS_MAX: usize = 255;
const VENDOR: &str = concat!("patchcord ", env!("CARGO_PKG_VERSION"));

/// An Ogg-Opus file that grows.
pub(super) struct Ogg {
    disk: Disk,
    encoder: StereoEncoder,
    rate: SampleRate,
    serial: u32,
    /// Pages written.
    pages: u32,
    /// Pairs taken in, and of those what is in packets, silence behind the end included.
    frames: u64,
    encoded: u64,
    /// What does not fill a packet yet.
    rest: Vec<i16>,
    page: Page,
}

/// A page in the making.
#[derive(Default)]
struct Page {
    segments: Vec<u8>,
    packets: usize,
    bytes: Vec<u8>,
}

impl Ogg {
    pub(super) fn begin(disk: Disk, rate: SampleRate) -> io::Result<Self> {
        let encoder = StereoEncoder::new(rate).map_err(io::Error::other)?;
        let mut ogg = Self {
            serial: getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?,
            rest: Vec::with_capacity(encoder.packet_samples()),
            disk,
            encoder,
            rate,
            pages: 0,
            frames: 0,
            encoded: 0,
            page: Page::default(),
        };
        let head = ogg.head();
        ogg.page.push(&head);
        ogg.put(FIRST, 0)?;
        ogg.page.push(&tags());
        ogg.put(0, 0)?;
        ogg.disk.flush()?;
        Ok(ogg)
    }

    /// Appends pairs of samples.
    pub(super) fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        self.frames += pcm.len() as u64 / 2;
        self.encode(pcm)
    }

    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.end()?;
        self.disk.finish()
    }

    /// As much as there is, when no more can be written.
    pub(super) fn give_up(mut self) -> Written {
        // A disk that takes no more may still take this; if not, the file ends with the page before.
        let whole = self.disk.length();
        if self.end().is_err() {
            let _ = self.disk.truncate(whole);
        }
        self.disk.give_up()
    }

    /// Silence behind the end, until the last sample has come through the encoder; then the last page.
    fn end(&mut self) -> io::Result<()> {
        let due = self.frames + u64::from(self.encoder.delay());
        let silence = vec![0; self.encoder.packet_samples()];
        while self.encoded < due {
            let missing = silence.len() - self.rest.len();
            self.encode(&silence[..missing])?;
        }
        self.put(LAST, self.position())?;
        self.disk.flush()
    }

    fn encode(&mut self, mut pcm: &[i16]) -> io::Result<()> {
        let packet = self.encoder.packet_samples();
        while self.rest.len() + pcm.len() >= packet {
            let (now, later) = pcm.split_at(packet - self.rest.len());
            self.rest.extend_from_slice(now);
            pcm = later;
            self.page
                .push(self.encoder.encode(&self.rest).map_err(io::Error::other)?);
            self.rest.clear();
            self.encoded += packet as u64 / 2;
            if self.page.is_full() {
                self.put(0, self.position())?;
                self.disk.flush()?;
            }
        }
        self.rest.extend_from_slice(pcm);
        Ok(())
    }

    /// How far the sound goes, on the clock of the format, what is to be skipped at the beginning included.
    fn position(&self) -> u64 {
        let due = self.frames + u64::from(self.encoder.delay());
        self.encoded.min(due) * self.per_frame()
    }

    fn per_frame(&self) -> u64 {
        CLOCK_HZ / u64::from(self.rate.hz())
    }

    fn put(&mut self, flags: u8, position: u64) -> io::Result<()> {
        let page = self.page.take(flags, position, self.serial, self.pages);
        self.pages += 1;
        self.disk.append(&page)
    }

    /// RFC 7845 section 5.1: version 1, two channels, how much to skip, the rate there was, no gain, plain stereo.
    fn head(&self) -> Vec<u8> {
        let skipped = (u64::from(self.encoder.delay()) * self.per_frame()) as u16;
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend(skipped.to_le_bytes());
        head.extend(self.rate.hz().to_le_bytes());
        head.extend([0, 0, 0]);
        head
    }
}

/// RFC 7845 section 5.2: who made it, and which side is who.
fn tags() -> Vec<u8> {
    const COMMENT: &str = "COMMENT=left: caller, right: agent";
    let mut tags = b"OpusTags".to_vec();
    tags.extend((VENDOR.len() as u32).to_le_bytes());
    tags.extend(VENDOR.as_bytes());
    tags.extend(1_u32.to_le_bytes());
    tags.extend((COMMENT.len() as u32).to_le_bytes());
    tags.extend(COMMENT.as_bytes());
    tags
}

impl Page {
    fn push(&mut self, packet: &[u8]) {
        let whole = packet.len() / 255;
        self.segments.extend(std::iter::repeat_n(255, whole));
        self.segments.push((packet.len() % 255) as u8);
        self.bytes.extend_from_slice(packet);
        self.packets += 1;
    }

    /// Whether another packet, however large, may not fit.
    fn is_full(&self) -> bool {
        const PACKET_SEGMENTS_MAX: usize = 6;
        self.packets >= PACKETS_MAX || self.segments.len() > SEGMENTS_MAX - PACKET_SEGMENTS_MAX
    }

    /// The page as it stands in the file, RFC 3533 section 6; begins the next.
    fn take(&mut self, flags: u8, position: u64, serial: u32, number: u32) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_HEAD + self.segments.len() + self.bytes.len());
        page.extend_from_slice(CAPTURE);
        page.extend([0, flags]);
        page.extend(position.to_le_bytes());
        page.extend(serial.to_le_bytes());
        page.extend(number.to_le_bytes());
        page.extend([0; 4]);
        page.push(self.segments.len() as u8);
        page.append(&mut self.segments);
        page.append(&mut self.bytes);
        self.packets = 0;
        let sum = checksum(&page);
        page[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
        page
    }
}

/// Cuts a file off behind its last whole page, and marks that one as the last. Says how many pages there are.
pub(super) fn repair(file: &mut File) -> io::Result<u32> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::new(&mut *file);
    let (mut pages, mut end, mut last) = (0, 0, None);
    while let Some(page) = read_page(&mut reader)? {
        pages += 1;
        let begin = end;
        end += page.len() as u64;
        last = Some((begin, page));
    }
    file.set_len(end)?;
    if let Some((begin, mut page)) = last {
        page[FLAGS_AT] |= LAST;
        page[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
        let sum = checksum(&page);
        page[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&page, begin)?;
    }
    file.flush()?;
    Ok(pages)
}

/// The next whole page; nothing where there is none.
fn read_page(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut page = vec![0; PAGE_HEAD];
    if !read_whole(source, &mut page)? || !page.starts_with(CAPTURE) {
        return Ok(None);
    }
    let segments = usize::from(page[SEGMENTS_AT]);
    page.resize(PAGE_HEAD + segments, 0);
    if !read_whole(source, &mut page[PAGE_HEAD..])? {
        return Ok(None);
    }
    let bytes: usize = page[PAGE_HEAD..].iter().map(|&length| usize::from(length)).sum();
    page.resize(PAGE_HEAD + segments + bytes, 0);
    if !read_whole(source, &mut page[PAGE_HEAD + segments..])? {
        return Ok(None);
    }
    let mut unsummed = page.clone();
    unsummed[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    let good = checksum(&unsummed).to_le_bytes() == page[CHECKSUM_AT..CHECKSUM_AT + 4];
    Ok(good.then_some(page))
}

/// False at the end of what there is.
fn read_whole(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// RFC 3533 section 6: the polynomial 04c11db7, not reflected, beginning and ending with zero.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(byte)];
    bytes.iter().fold(0, step)
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut sum, mut bit) = ((index as u32) << 24, 0);
        while bit < 8 {
            sum = if sum >> 31 == 1 {
                sum << 1 ^ 0x04c1_1db7
            } else {
                sum << 1
            };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::{super::disk::Budget, *};
    use crate::audio::{Tone, level, stereo};

    #[test]
    fn the_checksum_is_that_of_ogg() {
        // The usual check of CRC-32/MPEG-2, which begins with ones; over zero it is this.
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn a_file_reads_back_as_it_was_written_and_to_the_sample_as_long() {
        for (rate, frames) in [
            (SampleRate::Hz8000, 8_000 * 3 + 77),
            (SampleRate::Hz16000, 16_000 * 2 + 1),
        ] {
            let path = temporary(&format!("whole-{}", rate.hz()));
            let pcm = sound(rate, frames);
            let written = write(&path, rate, &pcm).finish().unwrap();
            let (pages, packets) = read(&written.path);
            assert_eq!((pages[0][FLAGS_AT], pages.last().unwrap()[FLAGS_AT]), (FIRST, LAST));
            assert!(packets[0].starts_with(b"OpusHead\x01\x02") && packets[1].starts_with(b"OpusTags"));
            let skipped = u64::from(u16::from_le_bytes([packets[0][10], packets[0][11]]));
            let per_frame = CLOCK_HZ / u64::from(rate.hz());
            assert_eq!(position(pages.last().unwrap()), skipped + frames as u64 * per_frame);
            let decoded = &stereo::decode(&packets[2..])[2 * skipped as usize..];
            assert!(decoded.len() as u64 >= 2 * frames as u64 * per_frame);
            let side = |side: usize, from_ms: usize, to_ms: usize| -> Vec<i16> {
                let part = &decoded[2 * 48 * from_ms..2 * 48 * to_ms];
                part.iter().skip(side).step_by(2).copied().collect()
            };
            // Left sounds in the first second, right in the second.
            let levels = [(0, 100, 900), (1, 100, 900), (0, 1_100, 1_900), (1, 1_100, 1_900)];
            let levels = levels.map(|(of, from, to)| level::dbfs(&side(of, from, to)) > -30.0);
            assert_eq!(levels, [true, false, false, true]);
            let onset = side(1, 900, 1_100)
                .iter()
                .position(|sample| sample.abs() > 2_000)
                .unwrap();
            assert!(onset.abs_diff(100 * 48) < 3 * 48, "{onset}");
            std::fs::remove_file(&written.path).unwrap();
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_repaired_up_to_its_last_page() {
        let path = temporary("cut");
        let pcm = sound(SampleRate::Hz8000, 8_000 * 3);
        let written = write(&path, SampleRate::Hz8000, &pcm).finish().unwrap();
        let whole = std::fs::read(&written.path).unwrap();
        let pages = read(&written.path).0;
        let ends: Vec<usize> = pages
            .iter()
            .scan(0, |end, page| {
                *end += page.len();
                Some(*end)
            })
            .collect();
        for length in (0..whole.len()).step_by(97).chain(ends.clone()) {
            std::fs::write(&written.path, &whole[..length]).unwrap();
            let mut file = File::options().read(true).write(true).open(&written.path).unwrap();
            let kept = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(repair(&mut file).unwrap() as usize, kept, "{length}");
            let pages = read(&written.path).0;
            assert_eq!(pages.len(), kept, "{length}");
            assert!(pages.last().is_none_or(|page| page[FLAGS_AT] & LAST != 0));
        }
        std::fs::remove_file(&written.path).unwrap();
    }

    fn write(path: &std::path::Path, rate: SampleRate, pcm: &[i16]) -> Ogg {
        let disk = Disk::create(path, None, Arc::new(Budget::new(0, None))).unwrap();
        let mut ogg = Ogg::begin(disk, rate).unwrap();
        pcm.chunks(2 * 333).for_each(|pcm| ogg.write(pcm).unwrap());
        ogg
    }

    /// A second of a tone on the left, then one on the right, then silence.
    fn sound(rate: SampleRate, frames: usize) -> Vec<i16> {
        let mut tone = vec![0; frames];
        Tone::new(rate, 440.0, -12.0).fill(&mut tone);
        let second = rate.hz() as usize;
        let pair = |(at, &sample): (usize, &i16)| match at / second {
            0 => [sample, 0],
            1 => [0, sample],
            _ => [0, 0],
        };
        tone.iter().enumerate().flat_map(pair).collect()
    }

    /// The pages of a file, and the packets in them.
    fn read(path: &std::path::Path) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut source = io::BufReader::new(File::open(path).unwrap());
        let (mut pages, mut packets, mut packet) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(page) = read_page(&mut source).unwrap() {
            let segments = usize::from(page[SEGMENTS_AT]);
            let mut at = PAGE_HEAD + segments;
            for &length in &page[PAGE_HEAD..PAGE_HEAD + segments] {
                packet.extend_from_slice(&page[at..at + usize::from(length)]);
                at += usize::from(length);
                if length < 255 {
                    packets.push(std::mem::take(&mut packet));
                }
            }
            pages.push(page);
        }
        (pages, packets)
    }

    fn position(page: &[u8]) -> u64 {
        u64::from_le_bytes(page[6..14].try_into().unwrap())
    }

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("patchcord-{}-ogg-{name}.ogg", std::process::id()))
    }
}
