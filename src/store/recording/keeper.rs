//! The keeper: a thread that makes sure of finished recordings, measures and names them, repairs what a crash left, and
//! deletes what has been kept long enough.
//!
//! Waiting for the disk is its work, so that no writer waits.

use std::{
    fs::{self, File},
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use ring::digest::{Context, SHA256};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Key, Report, Tell,
    disk::{self, Budget, Written},
    repair,
    upload::{SPOOL, Uploader},
};
use crate::{config, telemetry::Metrics};

/// Finished recordings that may wait; past it the writers wait for the keeper.
const QUEUE_MAX: usize = 1024;

/// How long settling may take.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked what has been kept long enough.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Files deleted in one sweep; the rest goes with the next.
const SWEEP_MAX: usize = 10_000;

/// How the names of our files end.
const ENDINGS: [&str; 4] = [".wav", ".ogg", ".wav.sealed", ".ogg.sealed"];

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    queue: mpsc::Sender<Job>,
}

/// A recording that has been written to its end.
#[derive(Debug)]
pub(super) struct Finishing {
    pub(super) written: Written,
    /// What it is called when it is whole.
    pub(super) whole: PathBuf,
    pub(super) report: Report,
    pub(super) tell: Tell,
}

#[derive(Debug)]
enum Job {
    Finish(Box<Finishing>),
    Settle(oneshot::Sender<()>),
}

struct Worker {
    queue: mpsc::Receiver<Job>,
    folder: PathBuf,
    key: Option<Key>,
    retention: Option<Duration>,
    keep_local: bool,
    uploader: Option<Uploader>,
    budget: Arc<Budget>,
}

impl Keeper {
    pub(super) fn start(
        config: &config::Recording,
        key: Option<Key>,
        budget: Arc<Budget>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let start = |upload| Uploader::start(upload, &config.path, budget.clone(), metrics.clone());
        let worker = Worker {
            queue: inbox,
            folder: config.path.clone(),
            key,
            retention: config.retention,
            keep_local: config.upload.as_ref().is_none_or(|upload| upload.keep_local),
            uploader: config.upload.as_ref().map(start).transpose()?,
            budget,
        };
        worker.count();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new()
            .name("recordings-keep".to_owned())
            .spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self { queue })
    }

    /// Takes a recording over. Waits while there is no room.
    pub(super) fn finish(&self, finishing: Finishing) {
        // Without the keeper the file stays as it is, and is finished at the next start; what it holds tells so.
        let _ = self.queue.blocking_send(Job::Finish(Box::new(finishing)));
    }

    pub(super) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.queue.try_send(Job::Settle(done)).is_ok() && timeout(SETTLE_MAX, settled).await.is_err() {
            tracing::error!("the disk hangs; recordings may not be whole");
        }
    }
}

impl Worker {
    async fn run(mut self) {
        self.survive(Self::repair);
        let mut sweep_at = Instant::now();
        loop {
            if Instant::now() >= sweep_at {
                self.survive(Self::sweep);
                sweep_at = Instant::now() + SWEEP_EVERY;
            }
            match timeout_at(sweep_at, self.queue.recv()).await {
                Ok(Some(Job::Finish(finishing))) => self.survive(|worker| worker.finish(*finishing)),
                // Whoever asked may have stopped waiting.
                Ok(Some(Job::Settle(done))) => drop(done.send(())),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Should one recording break the thread's work, it costs this recording alone.
    fn survive(&self, work: impl FnOnce(&Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!("keeping recordings broke; what it was about is repaired at the next start");
        }
    }

    fn repair(&self) {
        repair::repair_all(&self.folder, self.key.as_ref(), |part| self.name(part).map(drop));
    }

    fn finish(&self, finishing: Finishing) {
        let Finishing {
            written,
            whole,
            mut report,
            tell,
        } = finishing;
        match self.make_sure(&written) {
            Ok((named, sha256)) => {
                report.sha256 = Some(sha256);
                report.path = self.keep_local.then_some(whole.clone());
                report.url = self.url(&named);
            }
            Err(error) => {
                tracing::error!(path = %whole.display(), %error, "a recording may not have reached the disk");
                report.path = Some(written.path);
            }
        }
        tracing::info!(path = %whole.display(), seconds = report.seconds, state = report.state.word(), "recorded");
        tell.tell(report);
    }

    /// Brings it to the disk, and gives it its name. What that is, and its SHA-256.
    fn make_sure(&self, written: &Written) -> io::Result<(PathBuf, String)> {
        written.file.sync_all()?;
        let sum = sha256(&written.path)?;
        Ok((self.name(&written.path)?, sum))
    }

    /// Gives a whole file its name: in the spool when it is to be uploaded.
    fn name(&self, part: &Path) -> io::Result<PathBuf> {
        let whole = disk::whole_of(part).ok_or_else(|| io::Error::other("it has its name already"))?;
        let Some(uploader) = &self.uploader else {
            disk::rename(part, &whole)?;
            return Ok(whole);
        };
        let spool = self.folder.join(SPOOL);
        disk::make_folder(&spool)?;
        let spooled = spool.join(whole.file_name().unwrap_or_default());
        disk::rename(part, &spooled)?;
        uploader.wake();
        Ok(spooled)
    }

    fn url(&self, named: &Path) -> Option<String> {
        let name = named.file_name()?.to_str()?;
        Some(self.uploader.as_ref()?.url(name))
    }

    /// How much there is, however it came there.
    fn count(&self) {
        let mut bytes = 0;
        self.each_file(|_, length, _| bytes += length);
        self.budget.set(bytes);
    }

    /// Deletes what has been kept long enough.
    fn sweep(&self) {
        let Some(oldest) = self.retention.and_then(|kept| SystemTime::now().checked_sub(kept)) else {
            return self.count();
        };
        let mut deleted = 0;
        self.each_file(|path, _, changed| {
            if changed < oldest && is_ours(path) && deleted < SWEEP_MAX {
                match fs::remove_file(path) {
                    Ok(()) => deleted += 1,
                    Err(error) => tracing::error!(path = %path.display(), %error, "a recording that has been kept long enough cannot be deleted"),
                }
            }
        });
        if deleted > 0 {
            tracing::info!(deleted, "recordings have been kept long enough and were deleted");
        }
        self.count();
    }

    /// Every file of the folder and its spool, with its length and when it was changed last.
    fn each_file(&self, mut look: impl FnMut(&Path, u64, SystemTime)) {
        for folder in [self.folder.clone(), self.folder.join(SPOOL)] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                if let Ok(metadata) = entry.metadata()
                    && metadata.is_file()
                    && let Ok(changed) = metadata.modified()
                {
                    look(&entry.path(), metadata.len(), changed);
                }
            }
        }
    }
}

/// Whether a whole file is one of ours, by its name. What else is in the folder is not ours to delete.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.contains("_call_") && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => context.update(&buffer[..length]),
        }
    }
    let sum = context.finish();
    Ok(sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
