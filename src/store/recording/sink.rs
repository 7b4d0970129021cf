//! A call's end of a recording: where its media driver puts chunks. It never waits.

use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender};

use super::writer::{Ending, Job};
use crate::media::tap::{Chunk, Length};

/// Takes one recording's chunks. Dropping it ends the recording as cut off.
#[derive(Debug)]
pub struct Sink {
    pub(super) id: u64,
    pub(super) queue: Sender<Job>,
    /// Room for the end, taken at the beginning, so that it always arrives.
    pub(super) end: Option<OwnedPermit<Job>>,
    pub(super) returned: Receiver<Vec<i16>>,
    pub(super) lost: u64,
}

impl Sink {
    /// Hands a chunk over. One that finds the queue full is lost, counted, and silent in the recording; its buffer
    /// comes back.
    pub fn write(&mut self, chunk: Chunk) -> Option<Vec<i16>> {
        let job = Job::Write(self.id, chunk);
        let Err(refused) = self.queue.try_send(job) else {
            return None;
        };
        let Job::Write(_, chunk) = refused.into_inner() else {
            return None;
        };
        self.lost += chunk.pcm.len() as u64 / 2;
        Some(chunk.pcm)
    }

    /// A buffer that has been written.
    pub fn take_back(&mut self) -> Option<Vec<i16>> {
        self.returned.try_recv().ok()
    }

    /// Ends the recording, which came to this much.
    pub fn close(mut self, length: Length) {
        let length = Length {
            lost: length.lost + self.lost,
            ..length
        };
        self.end(Ending::Wanted(length));
    }

    fn end(&mut self, ending: Ending) {
        if let Some(room) = self.end.take() {
            room.send(Job::End(self.id, ending));
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end(Ending::Dropped { lost: self.lost });
    }
}
