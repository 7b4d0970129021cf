//! Recordings of calls: stereo files that grow as the call goes on, whole after a crash, sealed if wanted.
//!
//! Samples come from a call's media driver through its [`Sink`], in chunks that say where they stand, and a few writer
//! threads put them into files. A finished file is made sure of, measured and named by the keeper, a thread of its own
//! that also repairs what a crash left behind. None of it can delay or harm a call: what does not fit into a queue is
//! lost, counted and silent, and a disk that takes nothing ends the recording with a reason word.

pub(super) mod disk;
mod keeper;
mod ogg;
mod repair;
mod report;
mod seal;
mod sink;
mod upload;
mod wav;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use jiff::Timestamp;

pub use report::{Report, State, Tell, reason};
pub use seal::{Key, Unreadable, unseal};
pub use sink::Sink;
pub use wav::{mend as mend_wav, read as read_wav};

use crate::{
    audio::SampleRate,
    config::{self, RecordingFormat},
    telemetry::Metrics,
};
use disk::Budget;
use keeper::Keeper;
use writer::Writer;

/// Writer threads; Opus takes a share of a core for every recording, WAV next to nothing.
const WRITERS_MAX: usize = 4;

/// The way to the threads that write recordings; clones share them.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    writers: Arc<Vec<Writer>>,
    next: Arc<AtomicUsize>,
}

/// What the threads have in common.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    format: RecordingFormat,
    key: Option<Key>,
    budget: Arc<Budget>,
    metrics: Metrics,
    keeper: Keeper,
    ids: AtomicU64,
}

/// A recording to be made.
pub struct Opening {
    /// The call's id, which becomes part of the name.
    pub call_id: String,
    /// The how manieth of the call.
    pub number: u32,
    /// Its rate.
    pub rate: SampleRate,
    /// Who is told what became of it.
    pub tell: Tell,
}

impl Recorder {
    /// Starts the threads, and has repaired what was left behind.
    pub fn start(config: &config::Recording, metrics: Metrics) -> anyhow::Result<Self> {
        // Whoever read the configuration has looked at the key.
        let key = config.key_bytes().map_err(anyhow::Error::msg)?.map(Key::new);
        Self::start_with(config, key, metrics)
    }

    fn start_with(config: &config::Recording, key: Option<Key>, metrics: Metrics) -> anyhow::Result<Self> {
        let budget = Arc::new(Budget::new(0, config.size_max));
        let keeper = Keeper::start(config, key.clone(), budget.clone(), &metrics)?;
        let shared = Arc::new(Shared {
            folder: config.path.clone(),
            format: config.format,
            key,
            budget,
            metrics,
            keeper,
            ids: AtomicU64::new(0),
        });
        let count = thread::available_parallelism().map_or(1, usize::from).min(WRITERS_MAX);
        let writers = (0..count)
            .map(|_| Writer::start(shared.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            shared,
            writers: Arc::new(writers),
            next: Arc::default(),
        })
    }

    /// Begins a recording. Whatever becomes of it is told by `opening.tell`, a failure as well.
    pub fn open(&self, opening: Opening) -> Option<Sink> {
        let id = self.shared.ids.fetch_add(1, Ordering::Relaxed);
        let writer = &self.writers[self.next.fetch_add(1, Ordering::Relaxed) % self.writers.len()];
        writer.open(id, self.shared.path(&opening), opening)
    }

    /// What the files are.
    pub fn format(&self) -> &'static str {
        self.shared.format.word()
    }

    /// Whether they are sealed.
    pub fn seals(&self) -> bool {
        self.shared.key.is_some()
    }

    /// Waits until what has been ended is whole, for a bounded time.
    pub async fn close(&self) {
        for writer in self.writers.iter() {
            writer.settle().await;
        }
        self.shared.keeper.settle().await;
    }

    /// Have every writer thread break on purpose: how the tests show what survives.
    pub fn break_writers(&self) {
        self.writers.iter().for_each(Writer::break_down);
    }
}

impl Shared {
    fn path(&self, opening: &Opening) -> PathBuf {
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let sealed = if self.key.is_some() { ".sealed" } else { "" };
        let Opening { call_id, number, .. } = opening;
        let format = self.format.word();
        self.folder.join(format!("{time}_{call_id}_{number}.{format}{sealed}"))
    }
}

#[cfg(test)]
mod tests;
