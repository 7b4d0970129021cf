//! A journal on a disk: once and no more, after crashes too.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[tokio::test]
async fn a_tool_call_is_begun_once_until_its_call_is_forgotten() {
    let file = Scratch::new();
    let journal = Journal::open(Some(file.path.clone()), u64::MAX).unwrap();
    let begun = journal.begin(key("a", "1"), "look_up", true).await.unwrap();
    assert_eq!(
        journal.begin(key("a", "1"), "look_up", true).await.unwrap_err(),
        NotBegun::Before
    );
    begun.end("ok");
    assert_eq!(
        journal.begin(key("a", "1"), "look_up", true).await.unwrap_err(),
        NotBegun::Before
    );
    journal
        .begin(key("b", "1"), "look_up", false)
        .await
        .unwrap()
        .end("failed");
    journal.forget("a");
    drop(journal.begin(key("a", "1"), "look_up", false).await.unwrap());
    journal.flush().await;
    let words: Vec<String> = file.lines().into_iter().map(|line| line.event).collect();
    assert_eq!(words, ["begun", "ok", "begun", "failed", "begun", "cancelled"]);
}

#[test]
fn what_a_crash_left_under_way_is_marked_and_nothing_else() {
    let file = Scratch::new();
    let begun = |tool_call: &str| line("c", tool_call, "begun");
    let text = format!(
        "{}{}not a line\n{}{{\"at\":\"torn",
        begun("1"),
        begun("2"),
        line("c", "1", "ok")
    );
    std::fs::write(&file.path, text).unwrap();
    drop(Journal::open(Some(file.path.clone()), u64::MAX).unwrap());
    let marked: Vec<String> = file
        .lines()
        .into_iter()
        .filter(|line| line.event == UNKNOWN)
        .map(|line| line.tool_call)
        .collect();
    assert_eq!(marked, ["2"]);
    drop(Journal::open(Some(file.path.clone()), u64::MAX).unwrap());
    assert_eq!(file.lines().iter().filter(|line| line.event == UNKNOWN).count(), 1);
}

#[test]
fn a_file_that_is_full_is_put_aside_and_what_is_under_way_goes_on() {
    let file = Scratch::new();
    let mut book = Book::open(file.path.clone(), 300).unwrap();
    book.begin(&key("c", "long"), "t".to_owned(), true).unwrap();
    for number in 0..50 {
        let key = key("c", &number.to_string());
        book.begin(&key, "t".to_owned(), false).unwrap();
        book.end(&key, "ok").unwrap();
    }
    assert!(book.bytes < 700, "{}", book.bytes);
    let (open, torn) = read(&file.path).unwrap();
    assert_eq!(
        (open.into_keys().collect::<Vec<_>>(), torn),
        (vec![key("c", "long")], false)
    );
}

#[tokio::test]
async fn without_a_disk_nothing_is_begun_and_without_a_file_memory_will_do() {
    assert!(Journal::open(Some(PathBuf::from("/nonexistent/j")), 1).is_err());
    // Whatever is written there is refused for want of room.
    let full = Journal::open(Some(PathBuf::from("/dev/full")), u64::MAX).unwrap();
    assert_eq!(
        full.begin(key("a", "1"), "t", false).await.unwrap_err(),
        NotBegun::Unwritten
    );
    let memory = Journal::open(None, 0).unwrap();
    memory.begin(key("a", "1"), "t", true).await.unwrap().end("ok");
    assert_eq!(
        memory.begin(key("a", "1"), "t", true).await.unwrap_err(),
        NotBegun::Before
    );
}

struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "patchcord-journal-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            path: std::env::temp_dir().join(name),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over in the temporary directory they would only be litter.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(self.path.with_extension("1"));
    }
}

fn key(call: &str, tool_call: &str) -> Key {
    Key {
        call: call.to_owned(),
        tool_call: tool_call.to_owned(),
    }
}

fn line(call: &str, tool_call: &str, event: &str) -> String {
    format!("{{\"at\":\"\",\"call\":\"{call}\",\"tool_call\":\"{tool_call}\",\"tool\":\"t\",\"event\":\"{event}\"}}\n")
}
