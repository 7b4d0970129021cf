//! Which of a call's sources has something to say.
//!
//! A call wakes for its orders, the two UDP sockets of each of its legs, its session and its deadlines. To ask all of them whenever one wakes
//! it costs more than most of what they say; so each has a waker of its own, which leaves a mark before it wakes the call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// What may wake a call, besides its deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The call's actors.
    Orders,
    /// The RTP socket.
    Rtp,
    /// The RTCP socket.
    Rtcp,
    /// The session's connection.
    Session,
    /// That of a second session, or of a first that is being closed.
    Standby,
    /// The second leg's RTP socket.
    SecondRtp,
    /// Its RTCP socket.
    SecondRtcp,
}

const ALL: [Source; 7] = [
    Source::Orders,
    Source::Rtp,
    Source::Rtcp,
    Source::Session,
    Source::Standby,
    Source::SecondRtp,
    Source::SecondRtcp,
];

/// What has woken the call since it last looked, and how each source is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Woken<'a> {
    marks: u8,
    wakers: &'a [Waker; ALL.len()],
}

/// The wakers of one call's sources.
#[derive(Debug, Default)]
pub(super) struct Sources {
    bells: Option<Bells>,
}

#[derive(Debug)]
struct Bells {
    task: Waker,
    marks: Arc<AtomicU8>,
    wakers: [Waker; ALL.len()],
}

struct Bell {
    mark: u8,
    marks: Arc<AtomicU8>,
    task: Waker,
}

impl Source {
    fn mark(self) -> u8 {
        1 << self as u8
    }
}

impl<'a> Woken<'a> {
    /// The context to ask this source in, if it has something to say.
    pub fn by(self, source: Source) -> Option<Context<'a>> {
        (self.marks & source.mark() != 0).then(|| self.context(source))
    }

    /// The context to ask this source in.
    pub fn context(self, source: Source) -> Context<'a> {
        Context::from_waker(&self.wakers[source as usize])
    }
}

impl Sources {
    /// Takes the marks left. The first time, and whenever the call has moved to another task, every source has to be
    /// asked, so that it learns its waker.
    pub fn take(&mut self, task: &Waker) -> Woken<'_> {
        let known = self.bells.take().filter(|bells| bells.task.will_wake(task));
        let marks = match &known {
            Some(bells) => bells.marks.swap(0, Ordering::AcqRel),
            None => u8::MAX,
        };
        let bells = self.bells.insert(known.unwrap_or_else(|| Bells::new(task)));
        Woken {
            marks,
            wakers: &bells.wakers,
        }
    }
}

impl Bells {
    fn new(task: &Waker) -> Self {
        let marks = Arc::new(AtomicU8::new(0));
        let bell = |source: Source| Bell {
            mark: source.mark(),
            marks: marks.clone(),
            task: task.clone(),
        };
        Self {
            wakers: ALL.map(|source| Waker::from(Arc::new(bell(source)))),
            task: task.clone(),
            marks,
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.marks.fetch_or(self.mark, Ordering::AcqRel);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_wakes_the_call_is_asked_once_and_alone() {
        let (mut sources, task) = (Sources::default(), Waker::noop().clone());
        assert_eq!(asked(sources.take(&task)), ALL);
        let woken = sources.take(&task);
        assert_eq!(asked(woken), []);
        woken.context(Source::Rtp).waker().wake_by_ref();
        assert_eq!(asked(sources.take(&task)), [Source::Rtp]);
        assert_eq!(asked(sources.take(&task)), []);
    }

    #[test]
    fn in_another_task_every_source_is_asked_again() {
        let mut sources = Sources::default();
        sources.take(Waker::noop());
        let other = Waker::from(Arc::new(Bell {
            mark: 0,
            marks: Arc::default(),
            task: Waker::noop().clone(),
        }));
        assert_eq!(asked(sources.take(&other)), ALL);
    }

    fn asked(woken: Woken<'_>) -> Vec<Source> {
        ALL.into_iter().filter(|source| woken.by(*source).is_some()).collect()
    }
}
