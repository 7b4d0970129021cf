//! What days have cost, kept over restarts: a small file that is replaced whole whenever something was paid for.
//!
//! A thread of its own writes it, so that a slow disk delays no call; what is paid for meanwhile goes with the next
//! writing. A crash of the process costs what was paid for in the milliseconds before it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::recording::disk;
use crate::{
    call::budget::Purses,
    config::{Budget, Money},
};

/// The file in the folder of what survives.
const FILE: &str = "spend.json";

/// How long it is waited after a failure to write.
const RETRY: Duration = Duration::from_secs(5);

/// The purses of all days there are budgets for; clones share them.
#[derive(Debug, Clone)]
pub struct PurseBook {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    changed: Condvar,
}

#[derive(Debug)]
struct Book {
    purses: Purses,
    /// Not written down yet.
    dirty: bool,
    /// Being written.
    writing: bool,
    closed: bool,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    day: String,
    spent: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    budget: String,
    /// Empty for a budget of all agents together.
    agent: String,
    micros: u64,
}

impl PurseBook {
    /// Reads what was written down, and starts the thread. Without a daily budget there is nothing to keep, and no thread.
    pub fn open<'b>(folder: &Path, mut budgets: impl Iterator<Item = &'b Budget>) -> anyhow::Result<Self> {
        let kept = budgets.any(Budget::is_daily);
        let purses = if kept { read(folder)? } else { Purses::default() };
        let shared = Arc::new(Shared {
            book: Mutex::new(Book {
                purses,
                dirty: false,
                writing: false,
                closed: !kept,
            }),
            changed: Condvar::new(),
        });
        if kept {
            let (shared, folder) = (shared.clone(), folder.to_owned());
            thread::Builder::new()
                .name("spend".to_owned())
                .spawn(move || shared.keep(&folder))?;
        }
        Ok(Self { shared })
    }

    /// A call of this agent has cost this much more. Returns what the purse holds then.
    pub fn charge(&self, budget: &Budget, agent: &str, amount: Money) -> Money {
        let mut book = self.shared.lock();
        let spent = book.purses.charge(&today(), budget, agent, amount);
        book.dirty = true;
        drop(book);
        self.shared.changed.notify_all();
        spent
    }

    /// What the purse of this agent's budget holds today.
    pub fn spent(&self, budget: &Budget, agent: &str) -> Money {
        self.shared.lock().purses.spent(&today(), budget, agent)
    }

    /// Waits until everything is written down, for a bounded time, and writes nothing more.
    pub fn close(&self, wait_max: Duration) {
        let unwritten = |book: &mut Book| book.dirty || book.writing;
        let book = self.shared.lock();
        if !book.closed {
            let waited = self.shared.changed.wait_timeout_while(book, wait_max, unwritten);
            let (mut book, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            book.closed = true;
            if timeout.timed_out() {
                tracing::error!("the disk hangs; what was spent today may not be written down");
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn keep(&self, folder: &Path) {
        while let Some(page) = self.next() {
            let written = write(folder, &page);
            let mut book = self.lock();
            book.writing = false;
            if let Err(error) = written {
                book.dirty = true;
                tracing::error!(folder = %folder.display(), %error, "what was spent today cannot be written down");
                // Closing need not wait for a disk that fails.
                let closing = |book: &mut Book| !book.closed;
                drop(self.changed.wait_timeout_while(book, RETRY, closing));
                continue;
            }
            drop(book);
            self.changed.notify_all();
        }
    }

    /// What is to be written next; nothing when there will be nothing more.
    fn next(&self) -> Option<Page> {
        let idle = |book: &mut Book| !book.dirty && !book.closed;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut book = waited.unwrap_or_else(PoisonError::into_inner);
        if book.closed {
            return None;
        }
        (book.dirty, book.writing) = (false, true);
        Some(Page::of(&book.purses))
    }
}

impl Page {
    fn of(purses: &Purses) -> Self {
        let (day, spent) = purses.contents();
        let line = |((budget, agent), spent): (&(String, String), &Money)| Line {
            budget: budget.clone(),
            agent: agent.clone(),
            micros: spent.micros(),
        };
        Self {
            day: day.to_owned(),
            spent: spent.map(line).collect(),
        }
    }
}

/// What was written down last. A file that cannot be read stops the start: going on without it would let money be spent
/// that is spent already.
fn read(folder: &Path) -> anyhow::Result<Purses> {
    let path = folder.join(FILE);
    let explained = |why: String| {
        anyhow::anyhow!(
            "what was spent today cannot be read from {} ({why}): repair it, or remove it",
            path.display()
        )
    };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Purses::default()),
        read => read.map_err(|error| explained(error.to_string()))?,
    };
    let page: Page = serde_json::from_slice(&text).map_err(|error| explained(error.to_string()))?;
    let spent: BTreeMap<_, _> = page
        .spent
        .into_iter()
        .map(|line| ((line.budget, line.agent), Money::from_micros(line.micros)))
        .collect();
    Ok(Purses::of(page.day, spent))
}

/// Replaces the file: whoever reads it finds the old one or the new one, whole.
fn write(folder: &Path, page: &Page) -> io::Result<()> {
    disk::make_folder(folder)?;
    let (path, part): (PathBuf, PathBuf) = (folder.join(FILE), folder.join(format!("{FILE}.part")));
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec(page)?)?;
    file.sync_all()?;
    disk::rename(&part, &path)
}

/// The day in UTC.
fn today() -> String {
    Timestamp::now().strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::BudgetScope, store::file::tests::Folder};

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn what_a_day_has_cost_survives_a_restart() {
        let folder = Folder::new();
        let state = folder.0.join("state");
        let budget = budget(BudgetScope::AgentDay);
        for spent in [7, 14] {
            let book = PurseBook::open(&state, [&budget].into_iter()).unwrap();
            assert_eq!(book.charge(&budget, "a", Money::from_micros(7)).micros(), spent);
            book.close(WAIT);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_the_start() {
        let folder = Folder::new();
        fs::write(folder.0.join(FILE), "{").unwrap();
        let budget = budget(BudgetScope::Day);
        let error = PurseBook::open(&folder.0, [&budget].into_iter())
            .unwrap_err()
            .to_string();
        assert!(error.contains(FILE) && error.contains("repair"), "{error}");
    }

    #[test]
    fn without_a_daily_budget_nothing_is_kept() {
        let folder = Folder::new();
        let state = folder.0.join("state");
        PurseBook::open(&state, [&budget(BudgetScope::Call)].into_iter())
            .unwrap()
            .close(WAIT);
        assert!(!state.exists());
    }

    fn budget(scope: BudgetScope) -> Budget {
        Budget::of(scope, Money::from_micros(1_000))
    }
}
