//! The media worker threads: each a single-threaded runtime that owns many calls.
//!
//! A call's RTP sockets, playout clock and session socket live on one worker, so a frame crosses no thread. Jobs come
//! in through a bounded queue; a job starts a call's media driver as a local task. A panic in one call's task ends that
//! call alone. When a worker wakes, and for whom, is told in [`beat`].

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use super::beat;
use crate::{
    realtime,
    routing::Lag,
    telemetry::{Held, Level, Metrics},
};

/// Jobs that may wait for a worker; past it new calls are refused with `overloaded`.
const JOBS_MAX: usize = 256;

/// So many calls more than the least loaded may a worker have and still be the one for a call that finds something of
/// its own there.
const NEAR_LOAD: usize = 8;

/// Tasks that a worker runs between two looks at its sockets; a look costs a system call.
const TASKS_PER_LOOK: u32 = 256;

/// Read at a time by a worker, whatever it reads: longer than any datagram, and than most of what a backend sends at once.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// What a worker's calls share, one after the other: nothing is left in it for the next.
pub struct Scratch {
    /// What sockets are read into.
    pub read: Box<[u8]>,
    /// What sessions turn audio in.
    pub session: realtime::Scratch,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            read: vec![0; SCRATCH_BYTES].into(),
            session: realtime::Scratch::default(),
        }
    }
}

/// Lends the thread's scratch.
pub fn with_scratch<R>(read: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Job = Box<dyn FnOnce() -> Task + Send>;

/// All workers. Dropping the last handle ends the threads once their calls have ended.
#[derive(Debug, Clone)]
pub struct Workers {
    workers: Arc<Vec<Worker>>,
    metrics: Metrics,
    signalling: Arc<Probe>,
}

#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
    tasks: Arc<AtomicUsize>,
    lag: Gauge,
}

/// How late a thread is, for others to read.
type Gauge = Arc<Mutex<Lag>>;

/// The probe of the runtime that the workers were started from; ends when dropped.
#[derive(Debug)]
struct Probe {
    gauges: Vec<Gauge>,
    task: tokio::task::AbortHandle,
}

/// The worker's queue is full or the worker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no media worker can take another call now")]
pub struct Overloaded;

impl Workers {
    /// Starts this many workers, from within the runtime that does the signalling; 0 means one per core. `ended` is called when a worker's thread ends, however it ends.
    pub fn start(count: usize, metrics: &Metrics, ended: impl Fn() + Clone + Send + 'static) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let workers = (0..count)
            .map(|index| Worker::start(index, metrics.clone(), ended.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let gauges = workers.iter().map(|worker| worker.lag.clone()).collect();
        Ok(Self {
            workers: Arc::new(workers),
            metrics: metrics.clone(),
            signalling: Arc::new(Probe::start(gauges, metrics.clone())),
        })
    }

    /// How late the latest of all these threads is, the signalling's included.
    pub fn lag(&self) -> Duration {
        worst(&self.signalling.gauges)
    }

    /// Runs a call's task on the least loaded worker, or near what waits for it on another that has not much more to do.
    /// The closure runs on the worker's thread, so its future need not be `Send`.
    pub fn run<F>(&self, near: &[usize], start: impl FnOnce() -> F + Send + 'static) -> Result<(), Overloaded>
    where
        F: Future<Output = ()> + 'static,
    {
        let least = self.least_loaded()?;
        let load_max = self.load(least).saturating_add(NEAR_LOAD);
        let near = near.iter().copied().filter(|index| self.load(*index) <= load_max);
        let worker = &self.workers[near.min_by_key(|index| self.load(*index)).unwrap_or(least)];
        let counted = Counted::new(worker.tasks.clone(), &self.metrics);
        worker.send(move || {
            let task = start();
            async move {
                let _counted = counted;
                task.await;
            }
        })
    }

    /// Runs a task that is no call's on the worker that serves the fewest calls, and says which that is.
    pub fn run_aside<F>(&self, start: impl FnOnce() -> F + Send + 'static) -> Result<usize, Overloaded>
    where
        F: Future<Output = ()> + 'static,
    {
        let least = self.least_loaded()?;
        self.workers[least].send(start).map(|()| least)
    }

    fn least_loaded(&self) -> Result<usize, Overloaded> {
        let workers = self.workers.iter().enumerate();
        let open = workers.filter(|(_, worker)| !worker.jobs.is_closed());
        let least = open.min_by_key(|(_, worker)| worker.tasks.load(Ordering::Relaxed));
        least.map(|(index, _)| index).ok_or(Overloaded)
    }

    /// Calls of one worker; more than there can be when there is no such worker any more.
    fn load(&self, index: usize) -> usize {
        let worker = self.workers.get(index).filter(|worker| !worker.jobs.is_closed());
        worker.map_or(usize::MAX, |worker| worker.tasks.load(Ordering::Relaxed))
    }
}

impl Worker {
    fn send<F>(&self, start: impl FnOnce() -> F + Send + 'static) -> Result<(), Overloaded>
    where
        F: Future<Output = ()> + 'static,
    {
        let job: Job = Box::new(move || Box::pin(start()));
        self.jobs.try_send(job).map_err(|_| Overloaded)
    }

    fn start(index: usize, metrics: Metrics, ended: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let lag = Arc::new(Mutex::new(Lag::new(Instant::now())));
        let gauge = lag.clone();
        // The runtime stays on its thread, so whether it can be built is told from there.
        let (built, told) = std::sync::mpsc::sync_channel(1);
        thread::Builder::new().name(format!("media-{index}")).spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .event_interval(TASKS_PER_LOOK)
                .on_thread_park(beat::rest)
                .build_local(LocalOptions::default());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Whoever started the worker waits for this.
            let _ = built.send(outcome);
            let _told = OnDrop(ended);
            if let Some(runtime) = runtime {
                runtime.block_on(work(inbox, metrics, gauge));
            }
        })?;
        told.recv().map_err(io::Error::other)??;
        Ok(Self {
            jobs,
            tasks: Arc::default(),
            lag,
        })
    }
}

/// Calls back when it goes out of scope, by a panic too.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Counts a task for as long as it lives, whether it returns or panics.
struct Counted {
    tasks: Arc<AtomicUsize>,
    _shown: Held,
}

impl Counted {
    fn new(tasks: Arc<AtomicUsize>, metrics: &Metrics) -> Self {
        tasks.fetch_add(1, Ordering::Relaxed);
        Self {
            tasks,
            _shown: metrics.hold(Level::WorkerTasks),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn work(mut inbox: mpsc::Receiver<Job>, metrics: Metrics, gauge: Gauge) {
    let lag = tokio::task::spawn_local(measure_lag(metrics, gauge));
    let awake = tokio::task::spawn_local(beat::keep_awake());
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            job = inbox.recv() => match job {
                Some(job) => drop(tasks.spawn_local(job())),
                None => break,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
    lag.abort();
    awake.abort();
}

async fn measure_lag(metrics: Metrics, gauge: Gauge) {
    *lock(&gauge) = Lag::new(Instant::now());
    loop {
        metrics.worker_lag(tick(&gauge).await);
    }
}

/// Waits for the next tick. How late it came.
async fn tick(gauge: &Gauge) -> Duration {
    let due = lock(gauge).due();
    tokio::time::sleep_until(due.into()).await;
    lock(gauge).fired(Instant::now())
}

fn worst(gauges: &[Gauge]) -> Duration {
    let now = Instant::now();
    let lags = gauges.iter().map(|gauge| lock(gauge).get(now));
    lags.max().unwrap_or_default()
}

fn lock(gauge: &Gauge) -> std::sync::MutexGuard<'_, Lag> {
    gauge.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probe {
    /// Measures this runtime beside the workers, and shows the worst of all.
    fn start(mut gauges: Vec<Gauge>, metrics: Metrics) -> Self {
        let own = Arc::new(Mutex::new(Lag::new(Instant::now())));
        gauges.push(own.clone());
        let all = gauges.clone();
        let probe = async move {
            loop {
                tick(&own).await;
                metrics.lag(worst(&all));
            }
        };
        let task = tokio::spawn(probe).abort_handle();
        Self { gauges, task }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_ends_alone_and_is_no_longer_counted() {
        let metrics = Metrics::new();
        let workers = Workers::start(1, &metrics, || {}).unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel();
        workers.run(&[], || async { panic!("one call breaks") }).unwrap();
        workers
            .run(&[], || async move {
                answer.send(7).unwrap();
            })
            .unwrap();
        assert_eq!(answered.await, Ok(7));
        while metrics.level(Level::WorkerTasks) != 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_begins_near_what_waits_for_it_unless_that_worker_has_far_more_to_do() {
        let workers = Workers::start(2, &Metrics::new(), || {}).unwrap();
        let place = |near: &[usize]| {
            let before = [workers.load(0), workers.load(1)];
            workers.run(near, std::future::pending::<()>).unwrap();
            usize::from(workers.load(1) > before[1])
        };
        let placed: Vec<_> = (0..10).map(|_| place(&[1])).collect();
        assert_eq!(placed, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!([place(&[]), place(&[7]), place(&[0, 1])], [0, 0, 0]);
    }
}
