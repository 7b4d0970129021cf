//! Webhooks: messages about calls on their way to whoever wants to be told.
//!
//! A message goes through a bounded queue to a thread that writes it to the disk, one file in the folder of each webhook
//! that wants it; from then on it survives whatever becomes of this process. A second thread sends: each webhook has a
//! task of its own, so that a slow one holds up no other. A file is removed when the other side has taken the message, so
//! one that was taken just before a crash is sent again, with the same id. A crash costs what was in the queue, a few
//! milliseconds' worth. No call waits for any of this.

mod schedule;
mod send;
mod sign;
mod spool;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    config,
    net::tls,
    telemetry::{Metrics, Queue},
};
use schedule::{Entry, Patience, Schedule};
use send::Sender;
use spool::Spool;

/// Messages that may wait to be written; past it the newest are lost, counted and logged.
const QUEUE_MAX: usize = 4096;

/// How long writing what waits may take at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The longest message; a longer one is lost and logged. The longest of ours are a tenth of it.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The way to the threads; clones share them.
#[derive(Debug, Clone)]
pub struct Webhooks {
    queue: Option<mpsc::Sender<Job>>,
    wanted: Arc<Vec<config::Webhook>>,
    stop: Arc<watch::Sender<bool>>,
    metrics: Metrics,
}

/// Something to be told.
#[derive(Debug)]
pub struct Message {
    /// What it is about, such as `call.ended`.
    pub kind: String,
    /// The call's id.
    pub call_id: String,
    /// The number of the event among those of the call.
    pub number: u64,
    /// JSON.
    pub body: Vec<u8>,
}

#[derive(Debug)]
enum Job {
    Keep(Message),
    Settle(oneshot::Sender<()>),
}

/// One webhook, as both threads have it.
#[derive(Debug)]
struct Endpoint {
    config: config::Webhook,
    key: Vec<u8>,
    spool: Spool,
    schedule: Mutex<Schedule>,
    /// Something is new in the schedule.
    news: Notify,
    metrics: Metrics,
}

impl Webhooks {
    /// Looks what waits, and starts the threads. Without webhooks there is nothing to do, and no thread.
    pub fn start(webhooks: &[config::Webhook], state: &Path, metrics: Metrics) -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let mut started = Self {
            queue: None,
            wanted: Arc::new(webhooks.to_vec()),
            stop: Arc::new(stop),
            metrics: metrics.clone(),
        };
        if webhooks.is_empty() {
            return Ok(started);
        }
        tls::install_crypto_provider();
        let open = |webhook| Endpoint::open(webhook, state, &metrics).map(Arc::new);
        let endpoints: Vec<Arc<Endpoint>> = webhooks.iter().map(open).collect::<anyhow::Result<_>>()?;
        let senders: Vec<Sender> = endpoints
            .iter()
            .map(|endpoint| Sender::new(endpoint.clone(), stopping.clone()))
            .collect::<anyhow::Result<_>>()?;
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        started.queue = Some(queue);
        thread::Builder::new()
            .name("webhooks-keep".to_owned())
            .spawn(move || keep(inbox, &endpoints))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("webhooks-send".to_owned()).spawn(move || {
            runtime.block_on(async {
                let tasks: Vec<_> = senders.into_iter().map(|sender| tokio::spawn(sender.run())).collect();
                for task in tasks {
                    // One that broke leaves its messages for the next start.
                    if let Err(error) = task.await {
                        tracing::error!(%error, "sending webhooks broke; what waits is sent after a restart");
                    }
                }
            });
        })?;
        Ok(started)
    }

    /// Whether anybody wants to be told of this.
    pub fn want(&self, kind: &str) -> bool {
        self.wanted.iter().any(|webhook| webhook.wants(kind))
    }

    /// Tells whoever wants it. Never waits.
    pub fn tell(&self, message: Message) {
        let Some(queue) = &self.queue else { return };
        if let Err(error) = queue.try_send(Job::Keep(message)) {
            self.metrics.queue_drop(Queue::Webhooks);
            if let Job::Keep(Message { kind, call_id, .. }) = error.into_inner() {
                tracing::error!(kind, call_id, "a webhook was lost: the disk does not keep up");
            }
        }
    }

    /// Waits until everything that was told is on the disk, for a bounded time, and sends nothing more.
    pub async fn close(&self) {
        let (done, settled) = oneshot::channel();
        if let Some(queue) = &self.queue
            && queue.try_send(Job::Settle(done)).is_ok()
            && tokio::time::timeout(CLOSE_MAX, settled).await.is_err()
        {
            tracing::error!("the disk hangs; webhooks may be lost");
        }
        // Without webhooks nobody listens.
        let _ = self.stop.send(true);
    }
}

impl Endpoint {
    fn open(config: &config::Webhook, state: &Path, metrics: &Metrics) -> anyhow::Result<Self> {
        let folder = state.join("webhooks").join(&config.name);
        let unusable = |error: io::Error| {
            anyhow::anyhow!(
                "webhooks cannot be kept in {} ({error}): let [records] state be a folder that may be written",
                folder.display()
            )
        };
        let spool = Spool::open(folder.clone()).map_err(unusable)?;
        let mut schedule = Schedule::new(Patience {
            first_ms: millis(config.retry_first),
            max_ms: millis(config.retry_max),
            keep_ms: millis(config.retry_for),
        });
        spool
            .waiting()
            .map_err(unusable)?
            .into_iter()
            .for_each(|entry| schedule.add(entry));
        metrics.webhooks_pending(&config.name, schedule.entries());
        Ok(Self {
            // Whoever read the configuration has looked at the key.
            key: config.key().map_err(anyhow::Error::msg)?,
            config: config.clone(),
            spool,
            schedule: Mutex::new(schedule),
            news: Notify::new(),
            metrics: metrics.clone(),
        })
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message on the disk, and tells the sender.
    fn keep(&self, sequence: u64, message: &Message) {
        let Message {
            kind,
            call_id,
            number,
            body,
        } = message;
        let full = self.schedule().bytes().saturating_add(body.len() as u64) > self.config.spool_bytes_max;
        if full || body.len() > BODY_BYTES_MAX {
            return self.lost("spool_full", kind, call_id);
        }
        match self.spool.keep(now_ms(), sequence, call_id, *number, body) {
            Ok(entry) => {
                self.schedule().add(entry);
                self.show_pending();
                self.news.notify_one();
            }
            Err(error) => {
                tracing::error!(webhook = self.config.name, %error, "a webhook cannot be written to the disk");
                self.lost("disk", kind, call_id);
            }
        }
    }

    fn lost(&self, reason: &'static str, kind: &str, call_id: &str) {
        tracing::error!(webhook = self.config.name, reason, kind, call_id, "a webhook is lost");
        self.metrics.webhooks_lost(&self.config.name, reason, 1);
    }

    fn show_pending(&self) {
        self.metrics
            .webhooks_pending(&self.config.name, self.schedule().entries());
    }
}

/// The thread that writes.
fn keep(mut inbox: mpsc::Receiver<Job>, endpoints: &[Arc<Endpoint>]) {
    let mut sequence = 0;
    while let Some(job) = inbox.blocking_recv() {
        match job {
            Job::Keep(message) => {
                sequence += 1;
                let wants = |endpoint: &&Arc<Endpoint>| endpoint.config.wants(&message.kind);
                let wanting = endpoints.iter().filter(wants);
                wanting.for_each(|endpoint| endpoint.keep(sequence, &message));
            }
            // Whoever asked may have stopped waiting.
            Job::Settle(done) => drop(done.send(())),
        }
    }
}

/// The wall clock.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
