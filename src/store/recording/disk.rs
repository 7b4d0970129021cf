//! A recording's file while it grows: its bytes go out at once, so that a process that dies takes nothing of them along.
//!
//! It is called `….part` until it is whole. Only the machine's own death can cost what the kernel has not written yet:
//! there is no `fsync` before the end, because a slow disk would then hold up every other recording.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::seal::{Key, Sealer};

/// What a file that is not whole yet has at the end of its name.
pub(super) const PART: &str = "part";

/// A file that grows.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    path: PathBuf,
    length: u64,
    sealer: Option<Sealer>,
    budget: Arc<Budget>,
}

/// How much all recordings together take, and may take.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    max: u64,
}

/// A file that has been written to its end, and not yet been made sure of.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: File,
    /// Where it is; ends in `.part`.
    pub(super) path: PathBuf,
}

/// The bound on all recordings together has been reached.
#[derive(Debug, thiserror::Error)]
#[error("the recordings take all the room that [recording] size_mb_max gives them")]
pub(super) struct Full;

impl Budget {
    /// So many bytes are taken already.
    pub(super) fn new(used: u64, max: Option<u64>) -> Self {
        Self {
            used: AtomicU64::new(used),
            max: max.unwrap_or(u64::MAX),
        }
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.max {
            self.give_back(bytes);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, Full));
        }
        Ok(())
    }

    /// Somebody has counted what there is.
    pub(super) fn set(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }

    /// Something has been deleted.
    pub(super) fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always gives a value.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Disk {
    /// A new file that becomes `path` once it is whole; with a key it is sealed. For the eyes of its owner alone.
    pub(super) fn create(path: &Path, key: Option<&Key>, budget: Arc<Budget>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let path = part_of(path);
        // The lock says that this file has somebody, see `repair`.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // Where files cannot be locked, nobody repairs them.
        let _ = file.try_lock();
        let sealer = key.map(Sealer::new).transpose()?;
        let mut disk = Self {
            file,
            path,
            length: 0,
            sealer: None,
            budget,
        };
        if let Some(sealer) = &sealer {
            disk.put(sealer.head())?;
        }
        disk.sealer = sealer;
        Ok(disk)
    }

    /// Bytes written.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether what is written can be changed later.
    pub(super) fn can_patch(&self) -> bool {
        self.sealer.is_none()
    }

    /// Appends; what is to be sealed waits for [`Self::flush`], or until there is a good deal of it.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(sealer) = &mut self.sealer else {
            return self.put(bytes);
        };
        sealer.push(bytes);
        if sealer.is_full() { self.flush() } else { Ok(()) }
    }

    /// Changes bytes that have been written.
    pub(super) fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Cuts off what was written beyond there.
    pub(super) fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Brings out what waits to be sealed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.sealer.as_mut().filter(|sealer| !sealer.is_empty()) {
            Some(sealer) => {
                let chunk = sealer.seal(false)?;
                self.put(&chunk)
            }
            None => Ok(()),
        }
    }

    /// Nothing more will come.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        if let Some(sealer) = &mut self.sealer {
            let chunk = sealer.seal(true)?;
            self.put(&chunk)?;
        }
        Ok(self.give_up())
    }

    /// What there is, when nothing more can be written.
    pub(super) fn give_up(self) -> Written {
        Written {
            file: self.file,
            path: self.path,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.budget.take(bytes.len() as u64)?;
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// The folder and those above it; a new one is its owner's alone.
pub(in crate::store) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What the file is called until it is whole.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    PathBuf::from(name)
}

/// What it is called once it is.
pub(super) fn whole_of(part: &Path) -> Option<PathBuf> {
    (part.extension()? == PART).then(|| part.with_extension(""))
}

/// Makes sure that the folder remembers what was renamed in it.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        })?
        .sync_all(),
        None => Ok(()),
    }
}

/// Gives the file its name.
pub(in crate::store) fn rename(part: &Path, whole: &Path) -> io::Result<()> {
    fs::rename(part, whole)?;
    sync_folder(whole)
}
