//! What became of a recording, told once.

use std::{fmt, path::PathBuf};

/// Reason words of recordings that ended before their call wanted them to.
pub mod reason {
    /// The disk is full.
    pub const DISK_FULL: &str = "disk_full";
    /// The recordings take all the room they may.
    pub const RECORDINGS_FULL: &str = "recordings_full";
    /// The folder or the file cannot be written.
    pub const UNWRITABLE: &str = "unwritable";
    /// The writer threads have more to do than they can.
    pub const OVERLOADED: &str = "overloaded";
    /// The writer failed at this one.
    pub const WRITER_BROKE: &str = "writer_broke";
    /// The call's media ended without a word.
    pub const CRASHED: &str = "crashed";
}

/// What became of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The how manieth of its call.
    pub number: u32,
    /// How it ended.
    pub state: State,
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Where it is going to be, if it goes elsewhere.
    pub url: Option<String>,
    /// How long it is.
    pub seconds: f64,
    /// How much of that was paused.
    pub paused_seconds: f64,
    /// How much of it is silence because there was no room for the sound.
    pub lost_ms: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is all there.
    Finished,
    /// It ended before it should have, for this reason; what was written is there.
    CutOff(&'static str),
    /// Nothing of it is there, for this reason.
    Failed(&'static str),
}

/// Who is told what became of a recording: exactly once, whatever happens to whoever should tell.
pub struct Tell {
    number: u32,
    tell: Option<Box<dyn FnOnce(Report) + Send>>,
}

impl State {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::CutOff(_) => "cut_off",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it is not whole.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Finished => None,
            Self::CutOff(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

impl Report {
    /// Nothing came of it.
    pub fn failed(number: u32, reason: &'static str) -> Self {
        Self {
            number,
            state: State::Failed(reason),
            path: None,
            url: None,
            seconds: 0.0,
            paused_seconds: 0.0,
            lost_ms: 0,
            sha256: None,
        }
    }
}

impl Tell {
    /// Calls this with what became of the recording of this number.
    pub fn new(number: u32, tell: impl FnOnce(Report) + Send + 'static) -> Self {
        Self {
            number,
            tell: Some(Box::new(tell)),
        }
    }

    /// Which recording it is about.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn tell(mut self, report: Report) {
        if let Some(tell) = self.tell.take() {
            tell(report);
        }
    }

    pub(super) fn fail(self, reason: &'static str) {
        let report = Report::failed(self.number, reason);
        self.tell(report);
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Report::failed(self.number, reason::WRITER_BROKE));
        }
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tell({})", self.number)
    }
}
