//! Recordings at rest that only who has the key can read: AES-256-GCM over one chunk after the other.
//!
//! ```text
//! head:   "patchcord sealed" (16)  version 1 (1)  reserved 0 (3)  salt (32)  nonce prefix (7)  reserved 0 (5)
//! chunk:  length of what follows, little-endian (4)  sealed bytes with their tag of 16
//! ```
//!
//! Each file has a key of its own, made of ours and its salt by HKDF-SHA-256. The nonce of a chunk is the prefix, its
//! number (32 bits, big-endian) and one byte that is 1 for the last chunk alone: chunks that are missing, moved, or left
//! out at the end do not open. The head is authenticated with every chunk. Every chunk can be read as soon as it is
//! written, whatever becomes of the rest.

use std::io::{self, Read, Write};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};

/// How a sealed file begins.
const MAGIC: &[u8; 16] = b"patchcord sealed";
const VERSION: u8 = 1;
const SALT: std::ops::Range<usize> = 20..52;
const PREFIX: std::ops::Range<usize> = 52..59;
const HEAD: usize = 64;
const TAG: usize = 16;
/// What the derived key is for.
const PURPOSE: &[u8] = b"patchcord recording, chunks";
/// Plain bytes of a chunk after which it is sealed even though nobody asked.
const CHUNK_MAX: usize = 256 << 10;
/// Plain bytes of the largest chunk a reader takes: one buffer more than a writer ever seals at once.
const CHUNK_READ_MAX: usize = 2 * CHUNK_MAX;

/// The key that recordings are sealed with.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Why a sealed file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is something else.
    #[error("this is not a sealed recording")]
    Foreign,
    /// It was sealed by a later version.
    #[error("this recording was sealed in a format of version {0}, which this version does not read")]
    Version(u8),
    /// A chunk does not open.
    #[error("chunk {0} does not open: the key is another, or the file has been changed")]
    Sealed(u32),
    /// The end is missing.
    #[error("the file ends after {0} chunks, before its end: what was read of it is good, the rest is missing")]
    Truncated(u32),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The writing end.
pub(super) struct Sealer {
    head: [u8; HEAD],
    key: LessSafeKey,
    number: u32,
    plain: Vec<u8>,
}

/// The reading end.
pub(super) struct Opener<R> {
    source: R,
    head: [u8; HEAD],
    key: LessSafeKey,
    number: u32,
    chunk: Vec<u8>,
    /// Bytes of the file up to the last chunk that opened.
    pub(super) sound: u64,
}

/// A chunk that opened.
pub(super) struct Opened<'a> {
    pub(super) plain: &'a [u8],
    pub(super) last: bool,
}

impl Key {
    /// This key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn of_file(&self, head: &[u8; HEAD]) -> io::Result<LessSafeKey> {
        let broken = |_| io::Error::other("a key cannot be derived");
        let derived = Salt::new(HKDF_SHA256, &head[SALT]).extract(&self.0);
        let mut key = [0; 32];
        let filled = derived
            .expand(&[PURPOSE], HKDF_SHA256)
            .and_then(|made| made.fill(&mut key));
        filled.map_err(broken)?;
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(broken)?))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key(***)")
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sealer({})", self.number)
    }
}

impl Sealer {
    pub(super) fn new(key: &Key) -> io::Result<Self> {
        let mut head = [0; HEAD];
        head[..16].copy_from_slice(MAGIC);
        head[16] = VERSION;
        for range in [SALT, PREFIX] {
            getrandom::fill(&mut head[range]).map_err(|error| io::Error::other(error.to_string()))?;
        }
        Self::at(key, head, 0)
    }

    /// Goes on with a file that has so many chunks.
    pub(super) fn resume<R>(key: &Key, opener: &Opener<R>) -> io::Result<Self> {
        Self::at(key, opener.head, opener.number)
    }

    fn at(key: &Key, head: [u8; HEAD], number: u32) -> io::Result<Self> {
        Ok(Self {
            key: key.of_file(&head)?,
            head,
            number,
            plain: Vec::new(),
        })
    }

    /// What stands before the first chunk.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.plain.extend_from_slice(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.plain.len() >= CHUNK_MAX
    }

    /// What has been pushed, as a chunk of the file.
    pub(super) fn seal(&mut self, last: bool) -> io::Result<Vec<u8>> {
        let number = self.number;
        self.number = number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("a recording has too many chunks"))?;
        let nonce = nonce(&self.head, number, last);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&self.head), &mut self.plain)
            .map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        let length = (self.plain.len() + TAG) as u32;
        let chunk = [&length.to_le_bytes(), self.plain.as_slice(), tag.as_ref()].concat();
        self.plain.clear();
        Ok(chunk)
    }
}

impl<R: Read> Opener<R> {
    pub(super) fn new(mut source: R, key: &Key) -> Result<Self, Unreadable> {
        let mut head = [0; HEAD];
        source.read_exact(&mut head).map_err(|_| Unreadable::Foreign)?;
        match (head.starts_with(MAGIC), head[16]) {
            (false, _) => Err(Unreadable::Foreign),
            (true, VERSION) => Ok(Self {
                key: key.of_file(&head)?,
                source,
                head,
                number: 0,
                chunk: Vec::new(),
                sound: HEAD as u64,
            }),
            (true, version) => Err(Unreadable::Version(version)),
        }
    }

    /// How many chunks have opened.
    pub(super) fn chunks(&self) -> u32 {
        self.number
    }

    /// The next chunk; nothing at an end that is too early.
    pub(super) fn next(&mut self) -> Result<Opened<'_>, Unreadable> {
        let mut length = [0; 4];
        let number = self.number;
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Unreadable::Truncated(number),
            _ => Unreadable::Io(error),
        };
        self.source.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if !(TAG..=CHUNK_READ_MAX + TAG).contains(&length) {
            return Err(Unreadable::Sealed(number));
        }
        self.chunk.resize(length, 0);
        self.source.read_exact(&mut self.chunk).map_err(cut)?;
        let last = self.open()?;
        self.number += 1;
        self.sound += 4 + length as u64;
        Ok(Opened {
            plain: &self.chunk,
            last,
        })
    }

    /// Opens the chunk where it stands. Whether it is the last is tried out: only one of the two opens.
    fn open(&mut self) -> Result<bool, Unreadable> {
        let sealed = self.chunk.clone();
        for last in [false, true] {
            let nonce = nonce(&self.head, self.number, last);
            let opened = self.key.open_in_place(nonce, Aad::from(&self.head), &mut self.chunk);
            if let Ok(length) = opened.map(|plain| plain.len()) {
                self.chunk.truncate(length);
                return Ok(last);
            }
            self.chunk.copy_from_slice(&sealed);
        }
        Err(Unreadable::Sealed(self.number))
    }
}

/// Writes what is sealed in `source` to `out`, and says how many bytes that were. What was written before an error is
/// good.
pub fn unseal(source: impl Read, key: &Key, mut out: impl Write) -> Result<u64, Unreadable> {
    let mut opener = Opener::new(source, key)?;
    let mut written = 0;
    loop {
        let Opened { plain, last } = opener.next()?;
        out.write_all(plain)?;
        written += plain.len() as u64;
        if last {
            out.flush()?;
            return Ok(written);
        }
    }
}

fn nonce(head: &[u8; HEAD], number: u32, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..7].copy_from_slice(&head[PREFIX]);
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_key_alone() {
        let (sealed, key) = sealed();
        assert!(!sealed.windows(5).any(|bytes| bytes == b"hello"));
        let mut out = Vec::new();
        assert_eq!(unseal(sealed.as_slice(), &key, &mut out).unwrap(), 11);
        assert_eq!(out, b"hello there");
        let other = Key([8; 32]);
        assert!(matches!(
            unseal(sealed.as_slice(), &other, Vec::new()),
            Err(Unreadable::Sealed(0))
        ));
    }

    #[test]
    fn two_files_of_the_same_sound_have_nothing_in_common() {
        assert_ne!(sealed().0[HEAD..], sealed().0[HEAD..]);
    }

    #[test]
    fn a_file_cut_off_anywhere_gives_its_whole_chunks_and_says_that_more_is_missing() {
        let (sealed, key) = sealed();
        for length in HEAD..sealed.len() {
            let mut out = Vec::new();
            let cut = unseal(&sealed[..length], &key, &mut out);
            assert!(matches!(cut, Err(Unreadable::Truncated(_))), "{length}");
            assert!(b"hello there".starts_with(&out), "{length}");
            let whole_chunks = [(HEAD + 4 + 6 + TAG, 6)]
                .iter()
                .filter(|(at, _)| length >= *at)
                .map(|(_, len)| *len);
            assert_eq!(out.len(), whole_chunks.max().unwrap_or(0), "{length}");
        }
    }

    #[test]
    fn a_bit_changed_anywhere_is_noticed() {
        let (sealed, key) = sealed();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(unseal(changed.as_slice(), &key, Vec::new()).is_err(), "{at}");
        }
    }

    #[test]
    fn chunks_cannot_be_left_out_or_moved() {
        let (sealed, key) = sealed();
        let first = 4 + 6 + TAG;
        let without: Vec<u8> = [&sealed[..HEAD], &sealed[HEAD + first..]].concat();
        assert!(matches!(
            unseal(without.as_slice(), &key, Vec::new()),
            Err(Unreadable::Sealed(0))
        ));
        let twice: Vec<u8> = [&sealed[..HEAD + first], &sealed[HEAD..]].concat();
        assert!(matches!(
            unseal(twice.as_slice(), &key, Vec::new()),
            Err(Unreadable::Sealed(1))
        ));
    }

    fn sealed() -> (Vec<u8>, Key) {
        let key = Key([7; 32]);
        let mut sealer = Sealer::new(&key).unwrap();
        let mut file = sealer.head().to_vec();
        sealer.push(b"hello ");
        file.extend(sealer.seal(false).unwrap());
        sealer.push(b"there");
        file.extend(sealer.seal(true).unwrap());
        (file, key)
    }
}
