//! Warm sessions: connected and configured before the call is there that will want one.
//!
//! Each waits on a media worker, in a task of its own that answers its server and notices its end, on a shelf that all
//! calls of that worker reach without a lock. Taking one off the shelf ends the task: from then on the call's own driver
//! polls the connection. How many there should be is decided elsewhere; letting go of [`Start::retire`]'s other end
//! closes a session.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use super::{
    post::Post,
    realtime::{Dial, Event, SessionSocket},
    worker::{Overloaded, Workers, with_scratch},
};
use crate::realtime::{self, FaultClass, Machine, Output, Settings};

/// Things a warm session's socket may tell in one go, so that the calls of its worker come first.
const SOCKET_EVENTS_MAX: usize = 16;

/// How long a task sleeps whose session has no deadline of its own.
const NO_DEADLINE: Duration = Duration::from_secs(3_600);

/// What a warm session starts with.
pub struct Start {
    /// What it is called in reports.
    pub id: u64,
    /// Whose calls may take it.
    pub agent: String,
    /// How it is connected.
    pub dial: Box<dyn FnOnce() -> Dial + Send>,
    /// What it is configured with.
    pub settings: Box<Settings>,
    /// Where its keeper hears; two reports at most.
    pub told: Arc<Post<Told>>,
    /// It is closed when the other end of this is let go.
    pub retire: oneshot::Receiver<()>,
}

/// What the keeper hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// It waits for its call.
    Ready(u64),
    /// It does not any more.
    Gone(u64, Gone),
}

/// Why a warm session does not wait any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Gone {
    /// A call has taken it.
    Taken,
    /// It was to be closed.
    Retired,
    /// It could not be had, or broke.
    Lost {
        /// A fixed word for metrics and logs.
        word: &'static str,
        /// What the backend or the network said.
        detail: String,
    },
}

/// A session as a call takes it.
pub struct Warm {
    /// Its connection.
    pub socket: SessionSocket,
    /// Its protocol.
    pub session: Machine,
    /// Since when it has waited.
    pub since: Instant,
}

thread_local! {
    /// What waits on this thread, and what is being made there: what was begun first comes first.
    static SHELF: RefCell<Vec<Rc<Slot>>> = const { RefCell::new(Vec::new()) };
}

/// The place of one session on the shelf.
struct Slot {
    agent: String,
    held: RefCell<Held>,
}

/// The session, until a call takes it.
struct Held {
    kept: Option<Box<Kept>>,
    /// Wakes the task that keeps it.
    task: Option<Waker>,
}

struct Kept {
    socket: SessionSocket,
    session: Machine,
    ready_at: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

/// Has a session made on the worker that serves the fewest calls, and says which that is.
pub fn start(workers: &Workers, start: Start) -> Result<usize, Overloaded> {
    workers.run_aside(move || keep(start))
}

/// Takes a session of this agent off the shelf of the calling thread that can become one with these settings: the one
/// that was begun first.
pub fn take(agent: &str, settings: &Settings) -> Option<Warm> {
    SHELF.with_borrow(|shelf| {
        let mut fitting = shelf.iter().filter(|slot| slot.agent == agent);
        fitting.find_map(|slot| slot.held.borrow_mut().give(settings))
    })
}

async fn keep(start: Start) {
    let Start {
        id,
        agent,
        dial,
        settings,
        told,
        mut retire,
    } = start;
    let mut ending = Ending { id, told, gone: None };
    let shelved = Shelved::new(agent, Kept::new(dial(), *settings));
    let gone = std::future::poll_fn(|context| {
        let gone = shelved.0.poll(context, &mut || ending.ready());
        if gone.is_pending() && Pin::new(&mut retire).poll(context).is_ready() {
            return Poll::Ready(Gone::Retired);
        }
        gone
    })
    .await;
    let left = shelved.0.held.borrow_mut().kept.take();
    if let Some(mut kept) = left {
        kept.socket.close().await;
    }
    ending.gone = Some(gone);
}

/// A place on the shelf for as long as this lives.
struct Shelved(Rc<Slot>);

/// Tells the keeper of the end, however it comes.
struct Ending {
    id: u64,
    told: Arc<Post<Told>>,
    gone: Option<Gone>,
}

impl Shelved {
    fn new(agent: String, kept: Kept) -> Self {
        let held = RefCell::new(Held {
            kept: Some(Box::new(kept)),
            task: None,
        });
        let slot = Rc::new(Slot { agent, held });
        SHELF.with_borrow_mut(|shelf| shelf.push(slot.clone()));
        Self(slot)
    }
}

impl Drop for Shelved {
    fn drop(&mut self) {
        SHELF.with_borrow_mut(|shelf| shelf.retain(|slot| !Rc::ptr_eq(slot, &self.0)));
    }
}

impl Ending {
    fn ready(&self) {
        // There is room for two reports of every session there may be.
        let _ = self.told.send(Told::Ready(self.id));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let crashed = || Gone::Lost {
            word: "crashed",
            detail: "the task that kept the session broke".to_owned(),
        };
        let gone = self.gone.take().unwrap_or_else(crashed);
        let _ = self.told.send(Told::Gone(self.id, gone));
    }
}

impl Slot {
    fn poll(&self, context: &mut Context<'_>, ready: &mut dyn FnMut()) -> Poll<Gone> {
        let mut held = self.held.borrow_mut();
        held.task = Some(context.waker().clone());
        match &mut held.kept {
            None => Poll::Ready(Gone::Taken),
            Some(kept) => with_scratch(|scratch| kept.poll(context, &mut scratch.read, ready)),
        }
    }
}

impl Held {
    fn give(&mut self, settings: &Settings) -> Option<Warm> {
        let kept = self.kept.as_ref()?;
        let since = kept.ready_at.filter(|_| kept.session.can_adopt(settings))?;
        let Kept { socket, session, .. } = *self.kept.take()?;
        if let Some(task) = self.task.take() {
            task.wake();
        }
        Some(Warm { socket, session, since })
    }
}

impl Kept {
    fn new(dial: Dial, settings: Settings) -> Self {
        let mut socket = SessionSocket::default();
        socket.dial(dial);
        Self {
            socket,
            session: Machine::new(settings),
            ready_at: None,
            alarm: Box::pin(sleep_until((Instant::now() + NO_DEADLINE).into())),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, read: &mut [u8], ready: &mut dyn FnMut()) -> Poll<Gone> {
        for _ in 0..SOCKET_EVENTS_MAX {
            let now = Instant::now();
            if self.session.poll_timeout().is_some_and(|at| at <= now) {
                self.session.handle_timeout(now);
            }
            let Self { socket, session, .. } = self;
            let mut spoke = false;
            let polled = socket.poll(context, read, &mut |text| {
                spoke |= session.handle_text(now, text).is_some()
            });
            if spoke {
                // Nobody hears it, so that no call could go on from it.
                let detail = "it spoke although it was asked nothing".to_owned();
                return Poll::Ready(Gone::Lost {
                    word: "unasked",
                    detail,
                });
            }
            match polled {
                Poll::Ready(Event::Lost(loss)) => {
                    let (_, word, detail) = loss.classify();
                    return Poll::Ready(Gone::Lost { word, detail });
                }
                Poll::Ready(Event::Opened) => session.handle_open(now),
                Poll::Ready(Event::Heard) | Poll::Pending => {}
            }
            if let Some(fault) = self.perform(now, ready) {
                return Poll::Ready(lost(&fault));
            }
            if polled.is_pending() && !self.socket.wants_polling() && !self.is_due(context) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what there is to send; the fault that ends the session.
    fn perform(&mut self, now: Instant, ready: &mut dyn FnMut()) -> Option<realtime::Fault> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(text) => self.socket.send(&text, false),
                Output::Ready => {
                    self.ready_at = Some(now);
                    ready();
                }
                Output::Fault(fault) if fault.class != FaultClass::Harmless => return Some(fault),
                _ => {}
            }
        }
        None
    }

    /// Whether the session's deadline has come; otherwise the task is woken then.
    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        let at = self.session.poll_timeout().unwrap_or(Instant::now() + NO_DEADLINE);
        self.alarm.as_mut().reset(at.into());
        self.alarm.as_mut().poll(context).is_ready()
    }
}

fn lost(fault: &realtime::Fault) -> Gone {
    Gone::Lost {
        word: "fault",
        detail: format!("{}: {}", fault.code, fault.message),
    }
}
