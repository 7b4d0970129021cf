//! The file the records are appended to: whole lines, a file moved away is followed by a new one, a torn line is closed.
//!
//! Nothing is synchronised to the disk per line; a power failure may cost what the kernel still held.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// The file of records.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    open: Option<Opened>,
    /// How much of the line being written has reached the file: the disk may have filled up in the middle of it.
    written: usize,
}

#[derive(Debug)]
struct Opened {
    file: File,
    identity: Identity,
}

/// Device and inode: a path that leads to another one leads to another file.
type Identity = (u64, u64);

impl RecordFile {
    /// Opens the file, and makes it and its folder if need be.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let unusable = |error: &io::Error| {
            let text = format!(
                "call records cannot be written to {} ({error}): configure a path that may be written, or none",
                path.display()
            );
            io::Error::new(error.kind(), text)
        };
        Self::make(path.clone()).map_err(|error| unusable(&error))
    }

    fn make(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut file = Self {
            path,
            open: None,
            written: 0,
        };
        file.follow()?;
        Ok(file)
    }

    /// Makes sure that the open file is the one the path leads to: log rotation moves it away.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        let there = fs::metadata(&self.path).ok().map(|metadata| identity(&metadata));
        if self.open.is_none() || self.open.as_ref().map(|opened| opened.identity) != there {
            self.reopen()?;
        }
        Ok(())
    }

    /// Appends one line, its line end included, with one write. After an error the same line has to be given again: what
    /// of it is in the file already is not repeated.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(opened) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        while let Some(rest) = line.get(self.written..).filter(|rest| !rest.is_empty()) {
            match opened.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        Ok(())
    }

    /// Forgets the line that was being written, and how far it was: what is in the file of it becomes a line of its own.
    pub(super) fn give_up_line(&mut self) {
        self.open = None;
        self.written = 0;
    }

    /// Asks the disk to hold what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(opened) if opened.file.metadata()?.is_file() => opened.file.sync_data(),
            _ => Ok(()),
        }
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)?;
        if ends_torn(&mut file)? {
            file.write_all(b"\n")?;
        }
        let identity = identity(&file.metadata()?);
        self.open = Some(Opened { file, identity });
        self.written = 0;
        Ok(())
    }
}

/// Whether the last line lacks its end, because a process or disk failed in the middle of it.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_file_moved_away_is_followed_by_a_new_one() {
        let folder = Folder::new();
        let path = folder.0.join("deep/records.jsonl");
        let mut file = RecordFile::open(path.clone()).unwrap();
        file.append(b"one\n").unwrap();
        let moved = folder.0.join("records.1");
        fs::rename(&path, &moved).unwrap();
        file.follow().unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(
            (fs::read(moved).unwrap(), fs::read(path).unwrap()),
            (b"one\n".to_vec(), b"two\n".to_vec())
        );
    }

    #[test]
    fn a_torn_last_line_is_closed_before_the_next_record() {
        let folder = Folder::new();
        let path = folder.0.join("records.jsonl");
        fs::write(&path, "one\n{\"torn").unwrap();
        RecordFile::open(path.clone()).unwrap().append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "one\n{\"torn\ntwo\n");
    }

    #[test]
    fn what_is_in_the_file_already_is_kept() {
        let folder = Folder::new();
        let path = folder.0.join("records.jsonl");
        for line in [b"one\n", b"two\n"] {
            let mut file = RecordFile::open(path.clone()).unwrap();
            file.append(line).unwrap();
            file.sync().unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = Folder::new();
        let error = RecordFile::open(folder.0.clone()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.0.display().to_string()) && error.contains("configure"),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_the_line_is_not_taken() {
        let mut file = RecordFile::open("/dev/full".into()).unwrap();
        assert_eq!(file.append(b"one\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.written, 0);
    }

    /// A folder of its own for one test.
    pub(in crate::store) struct Folder(pub(in crate::store) PathBuf);

    impl Folder {
        pub(in crate::store) fn new() -> Self {
            let path = std::env::temp_dir().join(format!("patchcord-store-{:016x}", getrandom::u64().unwrap()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
