//! What a process left behind that died while it recorded: files called `….part`, made whole up to where they come.
//!
//! A file that somebody still writes is locked by whoever does, and left alone.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    disk::{self, PART},
    ogg,
    seal::{Key, Opener, Sealer, Unreadable},
    wav,
};

/// Files looked at in one go; the rest is found at the next start.
const FILES_MAX: usize = 100_000;

/// What became of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repaired {
    /// It is whole up to where it comes.
    Whole,
    /// There was nothing in it.
    Empty,
    /// Somebody writes it.
    InUse,
}

/// Repairs everything in a folder, and hands each whole file on to `named`, which says where it belongs.
pub(super) fn repair_all(folder: &Path, key: Option<&Key>, named: impl Fn(&Path) -> io::Result<()>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(FILES_MAX).flatten() {
        let part = entry.path();
        let Some(whole) = disk::whole_of(&part) else { continue };
        let repaired = repair(&part, &whole, key).and_then(|repaired| match repaired {
            Repaired::Whole => named(&part).map(|()| repaired),
            Repaired::Empty => fs::remove_file(&part).map(|()| repaired),
            Repaired::InUse => Ok(repaired),
        });
        match repaired {
            Ok(Repaired::InUse) => {}
            Ok(_) => {
                tracing::warn!(path = %whole.display(), "a recording that an earlier process left behind was repaired")
            }
            Err(error) => {
                tracing::error!(path = %part.display(), %error, "a recording that an earlier process left behind cannot be repaired")
            }
        }
    }
}

/// Makes one file whole, up to where it comes.
pub(super) fn repair(part: &Path, whole: &Path, key: Option<&Key>) -> io::Result<Repaired> {
    debug_assert!(part.extension().is_some_and(|end| end == PART));
    let mut file = File::options().read(true).write(true).open(part)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Repaired::InUse),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let repaired = match whole.extension().and_then(|end| end.to_str()) {
        Some("wav") => repair_wav(&mut file),
        Some("ogg") => Ok(if ogg::repair(&mut file)? > 2 {
            Repaired::Whole
        } else {
            Repaired::Empty
        }),
        Some("sealed") => repair_sealed(&mut file, key),
        _ => Err(io::Error::other("this is no recording of ours")),
    }?;
    file.sync_all()?;
    Ok(repaired)
}

/// The head is told how long the file is.
fn repair_wav(file: &mut File) -> io::Result<Repaired> {
    let length = file.metadata()?.len();
    let frames = length.saturating_sub(wav::HEAD) / wav::FRAME;
    if frames == 0 {
        return Ok(Repaired::Empty);
    }
    file.set_len(wav::HEAD + frames * wav::FRAME)?;
    for (at, size) in wav::sizes(frames * wav::FRAME) {
        file.write_all_at(&size.to_le_bytes(), at)?;
    }
    Ok(Repaired::Whole)
}

/// What opens is kept, and an end is put behind it.
fn repair_sealed(file: &mut File, key: Option<&Key>) -> io::Result<Repaired> {
    let key = key.ok_or_else(|| io::Error::other("it is sealed, and [recording] key is not set"))?;
    let mut opener = match Opener::new(BufReader::new(&*file), key) {
        Ok(opener) => opener,
        // Not even its head was written.
        Err(Unreadable::Foreign) => return Ok(Repaired::Empty),
        Err(error) => return Err(io::Error::other(error)),
    };
    let cut = loop {
        match opener.next() {
            Ok(chunk) if chunk.last => return Ok(Repaired::Whole),
            Ok(_) => {}
            Err(cut) => break cut,
        }
    };
    match (cut, opener.chunks()) {
        (Unreadable::Truncated(_), 0) => return Ok(Repaired::Empty),
        (Unreadable::Truncated(_), _) => {}
        // Another key, or somebody was at it: not ours to change.
        (error, _) => return Err(io::Error::other(error)),
    }
    let end = Sealer::resume(key, &opener)?.seal(true)?;
    let sound = opener.sound;
    drop(opener);
    file.set_len(sound)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&end)?;
    Ok(Repaired::Whole)
}
