//! The keeper: a thread that makes sure of finished recordings, measures and names them, and repairs what a crash left.
//!
//! Waiting for the disk is its work, so that no writer waits.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use ring::digest::{Context, SHA256};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Key, Report, Tell,
    disk::{self, Budget, Written},
};
use crate::{config, telemetry::Metrics};

/// Finished recordings that may wait; past it the writers wait for the keeper.
const QUEUE_MAX: usize = 1024;

/// How long settling may take.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    queue: SyncSender<Job>,
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
    queue: Receiver<Job>,
    folder: PathBuf,
    key: Option<Key>,
    budget: Arc<Budget>,
    metrics: Metrics,
}

impl Keeper {
    pub(super) fn start(
        config: &config::Recording,
        key: Option<Key>,
        budget: Arc<Budget>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        let worker = Worker {
            queue: inbox,
            folder: config.path.clone(),
            key,
            budget,
            metrics,
        };
        thread::Builder::new()
            .name("recordings-keep".to_owned())
            .spawn(|| worker.run())?;
        Ok(Self { queue })
    }

    /// Takes a recording over. Waits while there is no room.
    pub(super) fn finish(&self, finishing: Finishing) {
        // Without the keeper the file stays as it is, and is finished at the next start; what it holds tells so.
        let _ = self.queue.send(Job::Finish(Box::new(finishing)));
    }

    pub(super) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.queue.try_send(Job::Settle(done)).is_ok() && timeout(SETTLE_MAX, settled).await.is_err() {
            tracing::error!("the disk hangs; recordings may not be whole");
        }
    }
}

impl Worker {
    fn run(self) {
        while let Ok(job) = self.queue.recv() {
            match job {
                Job::Finish(finishing) => self.finish(*finishing),
                // Whoever asked may have stopped waiting.
                Job::Settle(done) => drop(done.send(())),
            }
        }
    }

    fn finish(&self, finishing: Finishing) {
        let Finishing {
            written,
            whole,
            mut report,
            tell,
        } = finishing;
        match make_sure(&written, &whole) {
            Ok(sha256) => report.sha256 = Some(sha256),
            Err(error) => {
                tracing::error!(path = %whole.display(), %error, "a recording may not have reached the disk");
                report.path = Some(written.path);
            }
        }
        tracing::info!(path = %whole.display(), seconds = report.seconds, state = report.state.word(), "recorded");
        tell.tell(report);
    }
}

/// Brings it to the disk, and gives it its name. Its SHA-256.
fn make_sure(written: &Written, whole: &Path) -> io::Result<String> {
    written.file.sync_all()?;
    let sum = sha256(&written.path)?;
    disk::rename(&written.path, whole)?;
    Ok(sum)
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
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
