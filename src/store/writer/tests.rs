//! Tests of the writer against good, failing and full disks.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

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
    let metrics = Metrics::new();
    let writer = RecordWriter::open(None, 8, metrics.clone()).unwrap();
    writer.reserve().unwrap().write(record("c1"));
    writer.close().await;
    let text = metrics.render();
    assert!(text.contains("patchcord_records_written_total 0") && text.contains("patchcord_records_failed_total 0"));
}

#[tokio::test]
async fn a_record_that_breaks_the_writer_is_lost_alone() {
    let folder = Folder::new();
    let (writer, path) = writer(&folder, 8);
    let (_queue, inbox) = mpsc::channel(1);
    let (_closing, closings) = mpsc::channel(1);
    let mut worker = Worker {
        queue: inbox,
        closing: closings,
        close: None,
        file: Some(RecordFile::open(path.clone()).unwrap()),
        metrics: writer.metrics.clone(),
    };
    // The disk fails, and the first thing the writer says about it panics.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let broken = AtomicBool::new(false);
    let log = tracing_subscriber::fmt().with_writer(move || {
        assert!(broken.swap(true, Ordering::Relaxed), "the log breaks");
        io::sink()
    });
    let guard = tracing::subscriber::set_default(log.finish());
    worker.survive(&record("first")).await;
    drop(guard);
    assert!(writer.metrics.render().contains("patchcord_records_failed_total 2"));
    fs::remove_dir(&path).unwrap();
    worker.survive(&record("second")).await;
    let ids: Vec<_> = read(&path).into_iter().map(|record| record.call_id).collect();
    assert_eq!(ids, ["second"]);
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
    (
        Watched {
            writer: RecordWriter::open(Some(path.clone()), slots_max, metrics.clone()).unwrap(),
            metrics,
        },
        path,
    )
}

fn failures(writer: &Watched) -> bool {
    !writer.metrics.render().contains("patchcord_records_failed_total 0")
}

fn read(path: &PathBuf) -> Vec<CallRecord> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
