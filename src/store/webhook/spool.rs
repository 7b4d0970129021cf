//! The folder of one webhook: a file for each message, named so that they sort as they were made.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use super::schedule::Entry;
use crate::store::recording::disk;

const ENDING: &str = ".json";

/// What a file that is not whole is called.
const PART_ENDING: &str = ".part";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Makes the folder, and throws away what a crash left half written: it had not been promised to anybody.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        disk::make_folder(&folder)?;
        let spool = Self { folder };
        for name in spool.names()?.filter(|name| name.ends_with(PART_ENDING)) {
            fs::remove_file(spool.folder.join(name))?;
        }
        Ok(spool)
    }

    /// Everything that waits, oldest first. What is not named as ours is not ours.
    pub(super) fn waiting(&self) -> io::Result<Vec<Entry>> {
        let mut names: Vec<String> = self.names()?.collect();
        names.sort();
        let entry = |name: String| {
            let bytes = fs::metadata(self.folder.join(&name)).ok()?.len();
            entry(name, bytes)
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }

    /// Keeps a message; it is on the disk when this returns.
    pub(super) fn keep(&self, born_ms: u64, sequence: u64, call: &str, event: u64, body: &[u8]) -> io::Result<Entry> {
        let name = format!("{born_ms:014}-{sequence:08}-{call}-{event}{ENDING}");
        let (whole, part) = (
            self.folder.join(&name),
            self.folder.join(format!("{name}{PART_ENDING}")),
        );
        let mut file = File::create(&part)?;
        file.write_all(body)?;
        file.sync_all()?;
        disk::rename(&part, &whole)?;
        entry(name, body.len() as u64).ok_or_else(|| io::Error::other("a call's id does not fit into a file's name"))
    }

    pub(super) fn read(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(&entry.file))
    }

    pub(super) fn remove(&self, entry: &Entry) -> io::Result<()> {
        fs::remove_file(self.folder.join(&entry.file))
    }

    fn names(&self) -> io::Result<impl Iterator<Item = String>> {
        let files = fs::read_dir(&self.folder)?.flatten();
        Ok(files.filter_map(|file| file.file_name().into_string().ok()))
    }
}

impl Entry {
    /// The message's own id, the same for every attempt and over restarts.
    pub(super) fn id(&self) -> String {
        let parts = self.file.trim_end_matches(ENDING).split('-').skip(2);
        format!("msg_{}", parts.collect::<Vec<_>>().join("_"))
    }
}

fn entry(file: String, bytes: u64) -> Option<Entry> {
    let mut parts = file.strip_suffix(ENDING)?.split('-');
    let born_ms = parts.next()?.parse().ok()?;
    let _sequence: u64 = parts.next()?.parse().ok()?;
    let call = parts.next()?.to_owned();
    let _event: u64 = parts.next()?.parse().ok()?;
    Some(Entry {
        file,
        call,
        born_ms,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::tests::Folder;

    #[test]
    fn what_is_kept_is_there_after_a_restart_in_its_order_and_with_its_id() {
        let folder = Folder::new();
        let path = folder.0.join("webhooks/crm");
        let spool = Spool::open(path.clone()).unwrap();
        let kept = [(7, "a", 1), (7, "b", 1), (900, "a", 2)].map(|(born_ms, call, event)| {
            let sequence = if call == "b" { 1 } else { 0 };
            spool.keep(born_ms, sequence, call, event, b"{}").unwrap()
        });
        fs::write(path.join("00000000000001-00000000-c-1.json.part"), "{").unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        let again = Spool::open(path.clone()).unwrap();
        assert_eq!(again.waiting().unwrap(), kept);
        assert_eq!(kept[2].id(), "msg_a_2");
        assert_eq!(again.read(&kept[0]).unwrap(), b"{}");
        kept.iter().for_each(|entry| again.remove(entry).unwrap());
        assert_eq!(fs::read_dir(path).unwrap().count(), 1, "what is not ours stays");
    }
}
