//! The writer of call records: a thread of its own, so that a slow disk delays no call.
//!
//! A call reserves a slot before it is admitted, and with it the room its record will need. Handing the record over
//! then never waits and never fails; a call that cannot get a slot is refused, because the disk has been failing for
//! that long. While the disk fails, records wait and are tried again. Whether a call writes a record at all is decided
//! by the call: a slot dropped unused writes nothing.

use std::{io, panic::AssertUnwindSafe, path::PathBuf, thread, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

use super::{file::RecordFile, record::CallRecord};
use crate::telemetry::Metrics;

/// Records taken from the queue at once; while the disk fails they wait outside the queue.
const BATCH_RECORDS_MAX: usize = 64;

/// The pause after the first failure to write; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How long closing may take. Past it what the disk would not take goes into the log.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long the thread may stay in a system call after that.
const HUNG_AFTER: Duration = Duration::from_secs(1);

/// Boxed, because the queue moves it three times.
type Entry = Box<CallRecord>;

/// The handle calls reserve their slots from; clones share the writer.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    queue: mpsc::Sender<Entry>,
    closing: mpsc::Sender<Close>,
}

/// Room for the record of one call.
#[derive(Debug)]
#[must_use = "a slot dropped unused writes nothing"]
pub struct RecordSlot(mpsc::OwnedPermit<Entry>);

/// The thread's side.
struct Worker {
    queue: mpsc::Receiver<Entry>,
    closing: mpsc::Receiver<Close>,
    close: Option<Close>,
    file: Option<RecordFile>,
    metrics: Metrics,
}

struct Close {
    deadline: Instant,
    done: oneshot::Sender<()>,
}

impl RecordWriter {
    /// Opens the file and starts the thread. Without a path the records go nowhere. At most `slots_max` calls and
    /// unwritten records together find room; past it [`Self::reserve`] gives nothing.
    pub fn open(path: Option<PathBuf>, slots_max: usize, metrics: Metrics) -> io::Result<Self> {
        let file = path.map(RecordFile::open).transpose()?;
        let (queue, inbox) = mpsc::channel(slots_max.max(1));
        let (closing, closings) = mpsc::channel(1);
        let worker = Worker {
            queue: inbox,
            closing: closings,
            close: None,
            file,
            metrics,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || runtime.block_on(worker.run()))
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("the thread for call records cannot be started ({error}): raise the limit of threads"),
                )
            })?;
        Ok(Self { queue, closing })
    }

    /// Room for one record, or nothing when there is none or the writer is closing.
    pub fn reserve(&self) -> Option<RecordSlot> {
        self.queue.clone().try_reserve_owned().ok().map(RecordSlot)
    }

    /// The same, when this much room is left besides: for records that must not take the room of others.
    pub fn reserve_leaving(&self, kept_free: usize) -> Option<RecordSlot> {
        (self.queue.capacity() > kept_free).then(|| self.reserve()).flatten()
    }

    /// Takes no more reservations, waits for the slots that are out, writes everything and returns; after ten seconds
    /// returns in any case, having put what could not be written into the log. A record handed over later than that is
    /// lost, so calls end first.
    pub async fn close(&self) {
        self.close_within(CLOSE_MAX).await;
    }

    async fn close_within(&self, wait_max: Duration) {
        let (done, finished) = oneshot::channel();
        let deadline = Instant::now() + wait_max;
        let closed = async {
            if self.closing.send(Close { deadline, done }).await.is_ok() {
                // The answer is also an error when somebody else closed the writer first, which is as good.
                let _ = finished.await;
            }
        };
        if timeout_at(deadline + HUNG_AFTER, closed).await.is_err() {
            tracing::error!("the disk hangs; call records may be lost");
        }
    }
}

impl RecordSlot {
    /// Hands the record over. Never waits.
    pub fn write(self, record: CallRecord) {
        self.0.send(Box::new(record));
    }
}

impl Worker {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_RECORDS_MAX);
        while self.take(&mut batch).await {
            for record in batch.drain(..) {
                self.survive(&record).await;
            }
        }
        self.finish();
    }

    /// Takes care of one record. Should that break, it costs this record alone: without this thread no call would be
    /// admitted any more.
    async fn survive(&mut self, record: &CallRecord) {
        if AssertUnwindSafe(self.keep(record)).catch_unwind().await.is_err() {
            self.metrics.record_failed();
            if let Some(file) = &mut self.file {
                file.give_up_line();
            }
            self.lost(&record.call_id, "writing it broke the writer");
        }
    }

    async fn keep(&mut self, record: &CallRecord) {
        match line(record) {
            Ok(line) => self.write(&line).await,
            Err(error) => self.lost(&record.call_id, &error.to_string()),
        }
    }

    /// Waits for records. False when all is written, or the time for closing is up.
    async fn take(&mut self, batch: &mut Vec<Entry>) -> bool {
        loop {
            let deadline = self.close.as_ref().map(|close| close.deadline);
            tokio::select! {
                biased;
                taken = self.queue.recv_many(batch, BATCH_RECORDS_MAX) => return taken > 0,
                Some(close) = self.closing.recv() => self.begin_closing(close),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return false,
            }
        }
    }

    fn begin_closing(&mut self, close: Close) {
        self.queue.close();
        self.close.get_or_insert(close);
    }

    /// Writes one line, however often it takes, until the time for closing is up.
    async fn write(&mut self, line: &[u8]) {
        let mut pause = RETRY_MIN;
        loop {
            match self.attempt(line) {
                Ok(()) => break,
                Err(error) => self.failed(&error, pause == RETRY_MIN),
            }
            if self.time_is_up() {
                return self.lost(String::from_utf8_lossy(line).trim_end(), "the time for closing is up");
            }
            self.wait(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        if pause > RETRY_MIN {
            tracing::info!("call records can be written again");
        }
        if self.file.is_some() {
            self.metrics.records_written(1);
        }
    }

    fn attempt(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.follow()?;
        file.append(line)
    }

    /// Logged at the first failure of a row alone; the metric counts them all.
    fn failed(&self, error: &io::Error, first: bool) {
        self.metrics.record_failed();
        if let (true, Some(file)) = (first, &self.file) {
            tracing::error!(path = %file.path().display(), %error, "call records cannot be written; they are kept and tried again");
        }
    }

    /// The log is the last place a record can go to.
    fn lost(&self, record: &str, why: &str) {
        tracing::error!(record, why, "a call record could not be written");
    }

    fn time_is_up(&self) -> bool {
        self.close
            .as_ref()
            .is_some_and(|close| Instant::now() >= close.deadline)
    }

    /// Pauses, but no longer than closing allows.
    async fn wait(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            let deadline = self.close.as_ref().map_or(until, |close| close.deadline.min(until));
            tokio::select! {
                () = sleep_until(deadline) => return,
                Some(close) = self.closing.recv() => self.begin_closing(close),
            }
        }
    }

    fn finish(mut self) {
        if let Some(Err(error)) = self.file.as_ref().map(RecordFile::sync) {
            tracing::error!(%error, "call records may not have reached the disk");
        }
        if let Some(close) = self.close.take() {
            // Nobody waits any more when the closing task was dropped.
            let _ = close.done.send(());
        }
    }
}

fn line(record: &CallRecord) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
