//! A writer thread: chunks of many recordings, one after the other, into their files.
//!
//! The queue is bounded, and so is what one recording may have in it, by its buffers. A recording that breaks the
//! thread's work costs itself alone.

use std::{
    collections::HashMap,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Opening, Report, Shared, Sink, State, Tell,
    disk::{self, Disk, Full, Written},
    keeper::Finishing,
    ogg::Ogg,
    reason,
    wav::Wav,
};
use crate::{
    audio::SampleRate,
    config::RecordingFormat,
    media::tap::{BUFFERS_MAX, Chunk, Length},
    telemetry::{Held, Level},
};

/// Chunks and ends that may wait for one thread; past it chunks are lost and counted, and no recording begins. Half of it
/// is 40 s of sound of a hundred calls.
const QUEUE_MAX: usize = 8192;

/// How long settling may take.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// The way to one thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
}

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    Open(u64, Box<Begin>),
    Write(u64, Chunk),
    End(u64, Ending),
    /// Answer when everything before this is done.
    Settle(oneshot::Sender<()>),
    /// Break on purpose.
    Break,
    /// Wait until whoever holds the other end lets go of it: how the tests show what a slow disk does.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test holds a writer up"))]
    Hold(oneshot::Receiver<()>),
}

/// A recording to begin.
#[derive(Debug)]
pub(super) struct Begin {
    path: PathBuf,
    rate: SampleRate,
    buffers: mpsc::Sender<Vec<i16>>,
    tell: Tell,
}

/// How a recording ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// As it should, this long.
    Wanted(Length),
    /// Whoever had it is gone.
    Dropped {
        /// Pairs of samples that did not fit into the queue.
        lost: u64,
    },
}

/// The thread's side.
struct Worker {
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    takes: HashMap<u64, Take>,
}

/// One recording under way.
struct Take {
    path: PathBuf,
    rate: SampleRate,
    buffers: mpsc::Sender<Vec<i16>>,
    tell: Tell,
    sound: Container,
    frames: u64,
    _active: Held,
}

/// A file's format.
enum Container {
    Wav(Box<Wav>),
    Ogg(Box<Ogg>),
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let worker = Worker {
            queue: inbox,
            shared,
            takes: HashMap::new(),
        };
        thread::Builder::new()
            .name("recordings".to_owned())
            .spawn(|| worker.run())?;
        Ok(Self { queue })
    }

    pub(super) fn open(&self, id: u64, path: PathBuf, opening: Opening) -> Option<Sink> {
        let (buffers, returned) = mpsc::channel(BUFFERS_MAX);
        let Opening { rate, tell, .. } = opening;
        let room = (
            self.queue.clone().try_reserve_owned(),
            self.queue.clone().try_reserve_owned(),
        );
        let (Ok(begin), Ok(end)) = room else {
            tell.fail(reason::OVERLOADED);
            return None;
        };
        let job = Begin {
            path,
            rate,
            buffers,
            tell,
        };
        begin.send(Job::Open(id, Box::new(job)));
        Some(Sink {
            id,
            queue: self.queue.clone(),
            end: Some(end),
            returned,
            lost: 0,
        })
    }

    pub(super) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        let waiting = async {
            if self.queue.send(Job::Settle(done)).await.is_ok() {
                // A thread that is gone has nothing left to do.
                let _ = settled.await;
            }
        };
        if timeout(SETTLE_MAX, waiting).await.is_err() {
            tracing::error!("the disk hangs; recordings may not be whole");
        }
    }

    #[cfg(test)]
    pub(super) fn hold(&self, held: oneshot::Receiver<()>) {
        self.queue.try_send(Job::Hold(held)).unwrap();
    }

    pub(super) fn break_down(&self) {
        // One that is full is broken enough.
        let _ = self.queue.try_send(Job::Break);
    }
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            let id = job.id();
            let done = catch_unwind(AssertUnwindSafe(|| self.handle(job)));
            if let (Err(_), Some(id)) = (done, id) {
                tracing::error!("writing a recording broke the writer; the recording is lost from here on");
                self.break_off(id, reason::WRITER_BROKE);
            }
        }
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Open(id, begin) => self.open(id, *begin),
            Job::Write(id, chunk) => self.write(id, chunk),
            Job::End(id, ending) => self.end(id, ending),
            // Whoever asked may have stopped waiting.
            Job::Settle(done) => drop(done.send(())),
            Job::Hold(held) => drop(held.blocking_recv()),
            Job::Break => panic!("a writer of recordings was told to break"),
        }
    }

    fn open(&mut self, id: u64, begin: Begin) {
        match self.create(&begin) {
            Ok(sound) => {
                let take = Take {
                    path: begin.path,
                    rate: begin.rate,
                    buffers: begin.buffers,
                    tell: begin.tell,
                    sound,
                    frames: 0,
                    _active: self.shared.metrics.hold(Level::RecordingsActive),
                };
                self.takes.insert(id, take);
            }
            Err(error) => {
                let reason = word(&error);
                tracing::error!(path = %begin.path.display(), reason, %error, "a recording cannot be begun");
                self.shared.metrics.recording_failed(reason);
                if error.kind() != io::ErrorKind::AlreadyExists {
                    // Whatever there is of it is not worth a repair.
                    let _ = fs::remove_file(disk::part_of(&begin.path));
                }
                begin.tell.fail(reason);
            }
        }
    }

    fn create(&self, begin: &Begin) -> io::Result<Container> {
        let disk = Disk::create(&begin.path, self.shared.key.as_ref(), self.shared.budget.clone())?;
        match self.shared.format {
            RecordingFormat::Wav => Wav::begin(disk, begin.rate).map(Box::new).map(Container::Wav),
            RecordingFormat::Ogg => Ogg::begin(disk, begin.rate).map(Box::new).map(Container::Ogg),
        }
    }

    fn write(&mut self, id: u64, chunk: Chunk) {
        let Some(take) = self.takes.get_mut(&id) else { return };
        let written = take.write(&chunk);
        // One that finds no room is one too many, and let go.
        let _ = take.buffers.try_send(chunk.pcm);
        match written {
            Ok(bytes) => self.shared.metrics.recorded(bytes),
            Err(error) => {
                let reason = word(&error);
                tracing::error!(path = %take.path.display(), reason, %error, "a recording ends before its call");
                self.break_off(id, reason);
            }
        }
    }

    fn end(&mut self, id: u64, ending: Ending) {
        let Some(mut take) = self.takes.remove(&id) else { return };
        let (length, state) = match ending {
            Ending::Wanted(length) => (length, State::Finished),
            Ending::Dropped { lost } => (take.as_far_as_it_is(lost), State::CutOff(reason::CRASHED)),
        };
        let padded = take.silence(length.frames);
        let state = match padded {
            Ok(()) => state,
            Err(error) => State::CutOff(word(&error)),
        };
        self.finish(take, length, state);
    }

    /// Ends a recording for a reason of ours.
    fn break_off(&mut self, id: u64, reason: &'static str) {
        if let Some(take) = self.takes.remove(&id) {
            let length = take.as_far_as_it_is(0);
            self.finish(take, length, State::CutOff(reason));
        }
    }

    fn finish(&self, take: Take, length: Length, state: State) {
        let per_second = f64::from(take.rate.hz());
        let lost_ms = length.lost / take.rate.per_ms() as u64;
        self.shared.metrics.recording_lost(Duration::from_millis(lost_ms));
        let written = match (state, take.sound) {
            (State::Finished, sound) => sound.finish(),
            (_, sound) => Ok(sound.give_up()),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(path = %take.path.display(), %error, "a recording could not be finished; it is repaired at the next start");
                self.shared.metrics.recording_failed(word(&error));
                return take.tell.fail(word(&error));
            }
        };
        if let Some(reason) = state.reason() {
            self.shared.metrics.recording_failed(reason);
        }
        let report = Report {
            number: take.tell.number(),
            state,
            path: Some(take.path.clone()),
            url: None,
            seconds: take.frames as f64 / per_second,
            paused_seconds: length.paused as f64 / per_second,
            lost_ms,
            sha256: None,
        };
        self.shared.keeper.finish(Finishing {
            written,
            whole: take.path,
            report,
            tell: take.tell,
        });
    }
}

impl Take {
    /// Writes a chunk where it stands. Says how many bytes that were.
    fn write(&mut self, chunk: &Chunk) -> io::Result<u64> {
        let before = self.frames;
        self.silence(chunk.at)?;
        self.sound.write(&chunk.pcm)?;
        self.frames += chunk.pcm.len() as u64 / 2;
        Ok((self.frames - before) * 4)
    }

    /// Silence up to there.
    fn silence(&mut self, until: u64) -> io::Result<()> {
        const SILENCE: [i16; 3_200] = [0; 3_200];
        while self.frames < until {
            let frames = (until - self.frames).min(SILENCE.len() as u64 / 2);
            self.sound.write(&SILENCE[..2 * frames as usize])?;
            self.frames += frames;
        }
        Ok(())
    }

    fn as_far_as_it_is(&self, lost: u64) -> Length {
        Length {
            frames: self.frames,
            paused: 0,
            lost,
        }
    }
}

impl Container {
    fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        match self {
            Self::Wav(wav) => wav.write(pcm),
            Self::Ogg(ogg) => ogg.write(pcm),
        }
    }

    fn finish(self) -> io::Result<Written> {
        match self {
            Self::Wav(wav) => wav.finish(),
            Self::Ogg(ogg) => ogg.finish(),
        }
    }

    fn give_up(self) -> Written {
        match self {
            Self::Wav(wav) => wav.give_up(),
            Self::Ogg(ogg) => ogg.give_up(),
        }
    }
}

impl Job {
    /// Which recording it is about.
    fn id(&self) -> Option<u64> {
        match self {
            Self::Open(id, _) | Self::Write(id, _) | Self::End(id, _) => Some(*id),
            Self::Hold(_) => None,
            Self::Settle(_) | Self::Break => None,
        }
    }
}

/// The reason word of an error.
pub(super) fn word(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if error.get_ref().is_some_and(|inner| inner.is::<Full>()) => reason::RECORDINGS_FULL,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => reason::DISK_FULL,
        _ => reason::UNWRITABLE,
    }
}
