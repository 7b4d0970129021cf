//! Whether the backend is still there: it takes what we write, and something comes from it, if only answers to pings.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::Loss;
use crate::net::Traffic;

/// How long a backend may take nothing of what waits for it before the session counts as lost.
pub(super) const STALL_MAX: Duration = Duration::from_secs(5);

/// How often a backend is asked whether it is still there.
pub(super) const PING_EVERY: Duration = Duration::from_secs(20);

/// How long nothing at all may come from a backend before the session counts as lost: two pings went unanswered.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(45);

/// What was last seen moving, and the alarm for when nothing moves.
pub(super) struct Pulse {
    seen: Traffic,
    read_at: Instant,
    /// Since when bytes wait of which none is taken.
    stalled_since: Option<Instant>,
    ping: Ping,
    /// Never later than the next thing to look at; moved only when that comes sooner, so that it costs nothing while
    /// all is well.
    alarm: Pin<Box<Sleep>>,
}

enum Ping {
    At(Instant),
    Due,
}

impl Pulse {
    pub(super) fn new(seen: Traffic) -> Self {
        let now = Instant::now();
        Self {
            seen,
            read_at: now,
            stalled_since: None,
            ping: Ping::At(now + PING_EVERY),
            alarm: Box::pin(sleep_until(now + PING_EVERY)),
        }
    }

    /// Whether a ping is to be sent now; it then counts as sent.
    pub(super) fn take_ping(&mut self) -> bool {
        let due = matches!(self.ping, Ping::Due);
        if due {
            self.ping = Ping::At(Instant::now() + PING_EVERY);
        }
        due
    }

    /// Takes in what has moved. Ready when a ping is due or the backend is gone.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        traffic: Traffic,
        all_taken: bool,
    ) -> Poll<Result<(), Loss>> {
        self.see(traffic, all_taken);
        loop {
            let deadline = self.deadline();
            if deadline < self.alarm.deadline() || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(deadline);
            }
            ready!(self.alarm.as_mut().poll(context));
            let now = Instant::now();
            self.check(now)?;
            if let Ping::At(at) = self.ping
                && now >= at
            {
                self.ping = Ping::Due;
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn see(&mut self, traffic: Traffic, all_taken: bool) {
        if traffic.read != self.seen.read {
            self.read_at = Instant::now();
        }
        if all_taken {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() || traffic.written != self.seen.written {
            self.stalled_since = Some(Instant::now());
        }
        self.seen = traffic;
    }

    fn deadline(&self) -> Instant {
        let silent = self.read_at + SILENT_MAX;
        let stalled = self.stalled_since.map(|since| since + STALL_MAX);
        let ping = match self.ping {
            Ping::At(at) => Some(at),
            Ping::Due => None,
        };
        [stalled, ping].into_iter().flatten().fold(silent, Instant::min)
    }

    fn check(&self, now: Instant) -> Result<(), Loss> {
        if self.stalled_since.is_some_and(|since| now >= since + STALL_MAX) {
            return Err(Loss::Stalled);
        }
        if now >= self.read_at + SILENT_MAX {
            let text = format!("the backend has said nothing for {} s", SILENT_MAX.as_secs());
            return Err(Loss::Broken(text));
        }
        Ok(())
    }
}
