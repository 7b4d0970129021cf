//! The journal of tool calls: which were begun, and how they ended, so that none is begun twice.
//!
//! One line of JSON per event, appended by a thread of its own. What may not be done twice is begun only once its line
//! has reached the disk. After a crash the calls that were under way are marked `unknown` and never done again by the
//! gateway; a person can find them here. What tools are given, and what they say, is not written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Events that wait for the disk; past it a tool call is refused, and the end of one is not written down, which makes it
/// `unknown` after a crash.
const QUEUE_MAX: usize = 1024;

/// Tool calls of calls that go on; past it the oldest is forgotten.
const KNOWN_MAX: usize = 16_384;

/// How long a gateway that stops waits for the disk.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// The longest line read back, in bytes; a longer one is none of ours.
const LINE_BYTES_MAX: usize = 4096;

/// Keeps the journal; clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Job>,
}

/// A tool call of a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Our id of the call.
    pub call: String,
    /// The session's id of the tool call.
    pub tool_call: String,
}

/// A tool call that may be done now. Dropped without an end it was `cancelled`.
#[derive(Debug)]
pub struct Begun {
    key: Key,
    queue: SyncSender<Job>,
    ended: bool,
}

/// Why a tool call may not be begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// It was begun before.
    #[error("this was begun before and is not done twice")]
    Before,
    /// Nobody would know that it was begun.
    #[error("the gateway cannot write down that it is done, so it was not done")]
    Unwritten,
}

#[derive(Debug)]
enum Job {
    Begin {
        key: Key,
        tool: String,
        sync: bool,
        answer: oneshot::Sender<Result<(), NotBegun>>,
    },
    End(Key, &'static str),
    Forget(String),
    Flush(oneshot::Sender<()>),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: String,
    call: String,
    tool_call: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// `begun`, or the word it ended with.
    event: String,
}

const BEGUN: &str = "begun";
const UNKNOWN: &str = "unknown";
const CANCELLED: &str = "cancelled";

impl Journal {
    /// Opens the file, or keeps the journal in memory alone. What a crash left under way is marked first.
    pub fn open(path: Option<PathBuf>, bytes_max: u64) -> io::Result<Self> {
        let book = path.map(|path| Book::open(path, bytes_max)).transpose()?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let keeper = Keeper {
            book,
            known: BTreeSet::new(),
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || keeper.run(&jobs))?;
        Ok(Self { queue })
    }

    /// Writes down that a tool call is begun; `sync` waits for the disk.
    pub async fn begin(&self, key: Key, tool: &str, sync: bool) -> Result<Begun, NotBegun> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Begin {
            key: key.clone(),
            tool: tool.to_owned(),
            sync,
            answer,
        };
        self.queue.try_send(job).map_err(|_| NotBegun::Unwritten)?;
        // From here on it counts as begun, whether or not somebody still waits for the answer.
        let begun = Begun {
            key,
            queue: self.queue.clone(),
            ended: false,
        };
        match answered.await {
            Ok(Ok(())) => Ok(begun),
            Ok(Err(not_begun)) => {
                begun.disown();
                Err(not_begun)
            }
            Err(_) => Err(NotBegun::Unwritten),
        }
    }

    /// Waits until what was told so far is on the disk, but not for ever.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.try_send(Job::Flush(done)).is_ok() {
            // A disk that hangs is not waited for; after it the calls under way are `unknown`.
            let _ = tokio::time::timeout(FLUSH_MAX, flushed).await;
        }
    }

    /// A call is over: its tool calls will not be told again.
    pub fn forget(&self, call: &str) {
        // The memory is bounded without it.
        let _ = self.queue.try_send(Job::Forget(call.to_owned()));
    }
}

impl Begun {
    /// It ended with this word.
    pub fn end(mut self, word: &'static str) {
        self.write(word);
    }

    fn disown(mut self) {
        self.ended = true;
    }

    fn write(&mut self, word: &'static str) {
        if !std::mem::replace(&mut self.ended, true) && self.queue.try_send(Job::End(self.key.clone(), word)).is_err() {
            tracing::warn!(
                call_id = self.key.call,
                word,
                "the end of a tool call is not in the journal"
            );
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.write(CANCELLED);
    }
}

struct Keeper {
    book: Option<Book>,
    known: BTreeSet<Key>,
}

impl Keeper {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Begin {
                    key,
                    tool,
                    sync,
                    answer,
                } => {
                    // Whoever asked may have been stopped; it counts as begun all the same.
                    let _ = answer.send(self.begin(key, tool, sync));
                }
                Job::End(key, word) => self.end(&key, word),
                Job::Forget(call) => self.known.retain(|key| key.call != call),
                Job::Flush(done) => self.flush(done),
            }
        }
    }

    fn begin(&mut self, key: Key, tool: String, sync: bool) -> Result<(), NotBegun> {
        if self.known.contains(&key) {
            return Err(NotBegun::Before);
        }
        if let Some(book) = &mut self.book {
            book.begin(&key, tool, sync).map_err(|error| {
                tracing::error!(path = %book.path.display(), %error, "the journal of tool calls cannot be written");
                NotBegun::Unwritten
            })?;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_first();
        }
        self.known.insert(key);
        Ok(())
    }

    fn flush(&self, done: oneshot::Sender<()>) {
        if let Some(book) = &self.book
            && let Err(error) = book.file.sync_data()
        {
            tracing::error!(path = %book.path.display(), %error, "the journal of tool calls may not be on the disk");
        }
        // Whoever asked may have stopped waiting.
        let _ = done.send(());
    }

    fn end(&mut self, key: &Key, word: &str) {
        if let Some(book) = &mut self.book
            && let Err(error) = book.end(key, word)
        {
            tracing::error!(path = %book.path.display(), %error, "the journal of tool calls cannot be written");
        }
    }
}

/// The file.
struct Book {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// What is under way, with its tool.
    open: BTreeMap<Key, String>,
}

impl Book {
    fn open(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let (under_way, torn) = read(&path)?;
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        let mut book = Self {
            path,
            file,
            bytes,
            bytes_max,
            open: under_way,
        };
        if torn {
            book.write(b"\n")?;
        }
        let left = book.open.clone();
        for (key, tool) in &left {
            tracing::warn!(
                call_id = key.call,
                tool,
                "a tool call was under way when the gateway ended; whether it was done is not known"
            );
            book.end(key, UNKNOWN)?;
        }
        if !left.is_empty() {
            book.file.sync_data()?;
        }
        Ok(book)
    }

    fn begin(&mut self, key: &Key, tool: String, sync: bool) -> io::Result<()> {
        if self.bytes >= self.bytes_max {
            self.put_aside()?;
        }
        self.line(key, Some(&tool), BEGUN)?;
        if sync {
            self.file.sync_data()?;
        }
        self.open.insert(key.clone(), tool);
        Ok(())
    }

    fn end(&mut self, key: &Key, word: &str) -> io::Result<()> {
        self.open.remove(key);
        self.line(key, None, word)
    }

    fn line(&mut self, key: &Key, tool: Option<&str>, event: &str) -> io::Result<()> {
        let line = Line {
            at: format!("{:.3}", Timestamp::now()),
            call: key.call.clone(),
            tool_call: key.tool_call.clone(),
            tool: tool.map(str::to_owned),
            event: event.to_owned(),
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// One older file is kept; what is under way goes on in the new one.
    fn put_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        self.file.sync_data()?;
        std::fs::rename(&self.path, aside)?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        for (key, tool) in self.open.clone() {
            self.line(&key, Some(&tool), BEGUN)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What is under way in a file, and whether it ends in the middle of a line.
fn read(path: &Path) -> io::Result<(BTreeMap<Key, String>, bool)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Ok(Default::default());
    }
    let torn = ends_torn(&mut file)?;
    file.rewind()?;
    let mut open = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        // What is no line of ours tells nothing.
        if line.len() <= LINE_BYTES_MAX
            && let Ok(line) = serde_json::from_slice::<Line>(&line)
        {
            let key = Key {
                call: line.call,
                tool_call: line.tool_call,
            };
            match line.event == BEGUN {
                true => drop(open.insert(key, line.tool.unwrap_or_default())),
                false => drop(open.remove(&key)),
            }
        }
    }
    Ok((open, torn))
}

fn ends_torn(file: &mut File) -> io::Result<bool> {
    use std::io::Read;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
