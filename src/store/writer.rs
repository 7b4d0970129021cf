//! The writer of call records: a thread of its own, so that a slow disk delays no call.
//!
//! A call reserves a slot before it is admitted, and with it the room its record will need. Handing the record over
//! then never waits and never fails; a call that cannot get a slot is refused, because the disk has been failing for
//! that long. While the disk fails, records wait and are tried again. Whether a call writes a record at all is decided
//! by the call: a slot dropped unused writes nothing.

use std::{io, path::PathBuf, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{file::RecordFile, record::CallRecord};
use crate::telemetry::Metrics;

/// Records taken from the queue at once. The file's place is checked once per batch.
const BATCH_RECORDS_MAX: usize = 64;

/// The pause after the first failure to write; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How long closing may take. Past it what the disk would not take goes into the log.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The handle calls reserve their slots from; clones share the writer.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    queue: mpsc::Sender<Box<CallRecord>>,
    closing: mpsc::Sender<Close>,
}

/// Room for the record of one call.
#[derive(Debug)]
#[must_use = "a slot dropped unused writes nothing"]
pub struct RecordSlot(mpsc::OwnedPermit<Box<CallRecord>>);

/// The thread's side.
struct Worker {
    queue: mpsc::Receiver<Box<CallRecord>>,
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
        let worker = Worker { queue: inbox, closing: closings, close: None, file, metrics };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("records".to_owned()).spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self { queue, closing })
    }

    /// Room for one record, or nothing when there is none or the writer is closing.
    pub fn reserve(&self) -> Option<RecordSlot> {
        self.queue.clone().try_reserve_owned().ok().map(RecordSlot)
    }

    /// Slots that are reserved or hold an unwritten record.
    pub fn slots_in_use(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Takes no more reservations, waits for the slots that are out, writes everything and returns; after ten seconds
    /// returns in any case, having put what could not be written into the log.
    pub async fn close(&self) {
        self.close_within(CLOSE_MAX).await;
    }

    async fn close_within(&self, wait_max: Duration) {
        let (done, finished) = oneshot::channel();
        let close = Close { deadline: Instant::now() + wait_max, done };
        if self.closing.send(close).await.is_ok() {
            // The answer is also an error when somebody else closed the writer first, which is as good.
            let _ = finished.await;
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
                match line(&record) {
                    Ok(line) => self.write(&line).await,
                    Err(error) => self.lost(&record.call_id, &error.to_string()),
                }
            }
        }
        self.finish();
    }

    /// Waits for records. False when all is written, or the time for closing is up.
    async fn take(&mut self, batch: &mut Vec<Box<CallRecord>>) -> bool {
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
        self.metrics.records_written(1);
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
        self.close.as_ref().is_some_and(|close| Instant::now() >= close.deadline)
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
mod tests {
    use std::fs;

    use super::{
        super::{file::tests::Folder, record::tests::record},
        *,
    };

    #[tokio::test]
    async fn every_record_handed_over_is_one_line_after_closing() {
        let folder = Folder::new();
        let (writer, path) = writer(&folder, 500);
        let slots: Vec<_> = (0..500).map(|_| writer.reserve().unwrap()).collect();
        for (n, slot) in slots.into_iter().enumerate() {
            slot.write(record(&format!("c{n}")));
        }
        writer.close().await;
        let ids: Vec<_> = read(&path).into_iter().map(|record| record.call_id).collect();
        assert_eq!(ids, (0..500).map(|n| format!("c{n}")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_slot_dropped_unused_writes_nothing_and_gives_its_room_back() {
        let folder = Folder::new();
        let (writer, path) = writer(&folder, 1);
        let slot = writer.reserve().unwrap();
        assert!(writer.reserve().is_none());
        drop(slot);
        assert_eq!(writer.slots_in_use(), 0);
        drop(writer.reserve().unwrap());
        writer.close().await;
        assert_eq!(read(&path), []);
    }

    #[tokio::test]
    async fn closing_waits_for_a_call_that_still_holds_its_slot_and_admits_no_other() {
        let folder = Folder::new();
        let (writer, path) = writer(&folder, 8);
        let slot = writer.reserve().unwrap();
        let closing = tokio::spawn({
            let writer = writer.clone();
            async move { writer.close().await }
        });
        while writer.reserve().is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished());
        slot.write(record("last"));
        closing.await.unwrap();
        assert_eq!(read(&path).len(), 1);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_failing_disk_keeps_the_record_and_writes_it_once_when_it_recovers() {
        let folder = Folder::new();
        let (writer, path) = writer(&folder, 8);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        writer.reserve().unwrap().write(record("kept"));
        while !failures(&writer) {
            tokio::task::yield_now().await;
        }
        fs::remove_dir(&path).unwrap();
        writer.writer.close().await;
        assert_eq!(read(&path).len(), 1);
        assert!(writer.metrics.render().contains("patchcord_records_written_total 1"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn closing_ends_in_time_though_the_disk_stays_full() {
        let metrics = Metrics::new();
        let writer = RecordWriter::open(Some("/dev/full".into()), 8, metrics.clone()).unwrap();
        writer.reserve().unwrap().write(record("lost"));
        writer.close_within(Duration::from_millis(20)).await;
        assert!(!metrics.render().contains("patchcord_records_failed_total 0"));
        assert!(metrics.render().contains("patchcord_records_written_total 0"));
    }

    #[tokio::test]
    async fn closing_ends_in_time_though_a_call_never_gives_its_slot_back() {
        let writer = RecordWriter::open(None, 8, Metrics::new()).unwrap();
        let _slot = writer.reserve().unwrap();
        writer.close_within(Duration::from_millis(20)).await;
    }

    #[tokio::test]
    async fn without_a_path_records_go_nowhere_and_nothing_fails() {
        let writer = RecordWriter::open(None, 8, Metrics::new()).unwrap();
        writer.reserve().unwrap().write(record("c1"));
        writer.close().await;
    }

    struct Watched {
        writer: RecordWriter,
        metrics: Metrics,
    }

    impl std::ops::Deref for Watched {
        type Target = RecordWriter;

        fn deref(&self) -> &RecordWriter {
            &self.writer
        }
    }

    fn writer(folder: &Folder, slots_max: usize) -> (Watched, PathBuf) {
        let path = folder.0.join("records.jsonl");
        let metrics = Metrics::new();
        (Watched { writer: RecordWriter::open(Some(path.clone()), slots_max, metrics.clone()).unwrap(), metrics }, path)
    }

    fn failures(writer: &Watched) -> bool {
        !writer.metrics.render().contains("patchcord_records_failed_total 0")
    }

    fn read(path: &PathBuf) -> Vec<CallRecord> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
