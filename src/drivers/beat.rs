//! The beat of a media worker: deadlines on a grid of a millisecond, and wake-ups that its calls share.
//!
//! To wake a thread costs more than to serve a packet. A worker with many calls therefore does not wake for every
//! datagram and every deadline: it rests to the next point of the grid and then serves all that came and all that is
//! due. Packets wait at most [`GRID`] for it, and deadlines that lie on the grid are met as exactly as the system can
//! wake a thread. A worker with few calls wakes for every packet, and rests only the last stretch before a deadline,
//! which the runtime's own clock would overshoot.
//!
//! The state is the thread's own: a call's driver arms its deadline here, and the runtime calls [`rest`] before it waits
//! for its sockets.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// The step of the grid, and the longest that a datagram waits for a worker with many calls.
pub const GRID: Duration = Duration::from_millis(1);

/// Grid points ahead that a deadline may be; a later one is looked at again when so many have passed.
const AHEAD_MAX: usize = 64;

/// From so many calls on a worker wakes once for all of them: below, the grid would wake it more often than they do.
const SHARED_FROM: usize = 8;

/// The runtime's clock wakes early by this much, because it may be late by nearly as much.
const NEAR: Duration = Duration::from_millis(2);

thread_local! {
    static BEAT: Beat = Beat::new();
}

struct Beat {
    schedule: RefCell<Schedule<Waker>>,
    due: RefCell<Vec<Waker>>,
    calls: Cell<usize>,
    alarm: RefCell<Option<Waker>>,
    alarm_at: Cell<Option<Instant>>,
}

/// One call's place on the beat of this thread, and its deadline.
pub struct Deadline {
    armed: Option<Instant>,
}

impl Deadline {
    /// A call of this thread, which counts it, with no deadline yet.
    pub fn join() -> Self {
        BEAT.with(|beat| beat.calls.set(beat.calls.get() + 1));
        Self { armed: None }
    }

    /// Has the task polled when this time comes, or earlier. To be armed again after every poll.
    pub fn arm(&mut self, context: &Context<'_>, now: Instant, deadline: Instant) {
        if deadline <= now {
            return context.waker().wake_by_ref();
        }
        if self.armed.is_some_and(|armed| armed > now && armed <= deadline) {
            return;
        }
        let waker = context.waker().clone();
        self.armed = BEAT.with(|beat| Some(beat.schedule.borrow_mut().arm(deadline, waker)));
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // A thread that ends has no beat any more.
        let _ = BEAT.try_with(|beat| beat.calls.set(beat.calls.get() - 1));
    }
}

/// The point of this thread's grid at or before this time: packets that leave at even steps from it leave on the grid.
pub fn on_grid(now: Instant) -> Instant {
    BEAT.with(|beat| beat.schedule.borrow().on_grid(now))
}

/// Called by the worker's runtime before it waits for its sockets.
pub fn rest() {
    BEAT.with(Beat::rest);
}

/// Keeps the runtime from waiting for its sockets beyond the next deadline; to be run as a task of the worker.
pub async fn keep_awake() {
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|context| {
        BEAT.with(|beat| {
            *beat.alarm.borrow_mut() = Some(context.waker().clone());
            // What is to come at once is left to `rest`: a sleep that is over would only have this task polled again.
            let wanted = beat.alarm_wanted().filter(|at| *at > Instant::now());
            if let Some(at) = wanted
                && beat.alarm_at.get() != wanted
            {
                sleep.as_mut().reset(at.into());
            }
            let waits = wanted.is_some() && sleep.as_mut().poll(context).is_pending();
            beat.alarm_at.set(wanted.filter(|_| waits));
            Poll::<()>::Pending
        })
    })
    .await;
}

impl Beat {
    fn new() -> Self {
        Self {
            schedule: RefCell::new(Schedule::new(Instant::now())),
            due: RefCell::default(),
            calls: Cell::new(0),
            alarm: RefCell::default(),
            alarm_at: Cell::new(None),
        }
    }

    fn rest(&self) {
        let now = Instant::now();
        if self.calls.get() == 0 || self.wake_due(now) {
            return;
        }
        if let Some(until) = self.rest_until(now) {
            thread::sleep(until.saturating_duration_since(now));
        }
        let now = Instant::now();
        // When nothing is due, the sockets are looked at all the same, and not waited for beyond the next deadline.
        if !self.wake_due(now) && (self.is_shared() || self.alarm_is_late(now)) {
            self.ring_alarm();
        }
    }

    fn rest_until(&self, now: Instant) -> Option<Instant> {
        let schedule = self.schedule.borrow();
        match self.is_shared() {
            true => Some(schedule.on_grid(now) + GRID),
            false => schedule.next().filter(|next| *next <= now + NEAR),
        }
    }

    /// Whether there are so many calls that one wake-up serves several.
    fn is_shared(&self) -> bool {
        self.calls.get() >= SHARED_FROM
    }

    /// Whether anything was due.
    fn wake_due(&self, now: Instant) -> bool {
        let mut due = self.due.borrow_mut();
        self.schedule.borrow_mut().take_due(now, &mut due);
        let any = !due.is_empty();
        due.drain(..).for_each(Waker::wake);
        any
    }

    fn alarm_wanted(&self) -> Option<Instant> {
        if self.is_shared() {
            return None;
        }
        self.schedule
            .borrow()
            .next()
            .map(|next| next.checked_sub(NEAR).unwrap_or(next))
    }

    fn alarm_is_late(&self, now: Instant) -> bool {
        let set = self.alarm_at.get().filter(|at| *at > now);
        self.alarm_wanted()
            .is_some_and(|wanted| set.is_none_or(|set| set > wanted))
    }

    fn ring_alarm(&self) {
        if let Some(alarm) = &*self.alarm.borrow() {
            alarm.wake_by_ref();
        }
    }
}

/// Who is to be woken at which point of the grid.
struct Schedule<T> {
    origin: Instant,
    /// The last point that was served.
    served: u64,
    points: [Vec<T>; AHEAD_MAX],
}

impl<T> Schedule<T> {
    fn new(origin: Instant) -> Self {
        Self {
            origin,
            served: 0,
            points: std::array::from_fn(|_| Vec::new()),
        }
    }

    /// Arms the first point at or after the deadline, or the last there is. When that is.
    fn arm(&mut self, deadline: Instant, who: T) -> Instant {
        let since = deadline.saturating_duration_since(self.origin);
        let point = since.as_nanos().div_ceil(GRID.as_nanos()) as u64;
        let point = point.clamp(self.served + 1, self.served + AHEAD_MAX as u64);
        self.points[point as usize % AHEAD_MAX].push(who);
        self.time(point)
    }

    /// Moves everybody whose point has come.
    fn take_due(&mut self, now: Instant, due: &mut Vec<T>) {
        let current = self.point(now);
        if current <= self.served {
            return;
        }
        for point in self.served + 1..=current.min(self.served + AHEAD_MAX as u64) {
            due.append(&mut self.points[point as usize % AHEAD_MAX]);
        }
        self.served = current;
    }

    /// The first point that anybody waits for.
    fn next(&self) -> Option<Instant> {
        (self.served + 1..=self.served + AHEAD_MAX as u64)
            .find(|point| !self.points[*point as usize % AHEAD_MAX].is_empty())
            .map(|point| self.time(point))
    }

    fn on_grid(&self, now: Instant) -> Instant {
        self.time(self.point(now))
    }

    fn point(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        (since.as_nanos() / GRID.as_nanos()) as u64
    }

    fn time(&self, point: u64) -> Instant {
        self.origin + Duration::from_nanos(GRID.as_nanos() as u64 * point)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    #[test]
    fn a_worker_rests_between_deadlines_with_few_calls_and_with_many() {
        for calls in [1, SHARED_FROM * 2] {
            let rests = Arc::new(AtomicUsize::new(0));
            let counter = rests.clone();
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_park(move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    rest();
                })
                .build_local(LocalOptions::default())
                .unwrap();
            let began = Instant::now();
            let polls = runtime.block_on(async {
                tokio::task::spawn_local(keep_awake());
                let talking: Vec<_> = (0..calls).map(|_| tokio::task::spawn_local(pace(10))).collect();
                let mut polls = 0;
                for call in talking {
                    polls += call.await.unwrap();
                }
                polls
            });
            // The first step begins at the point of the grid before.
            assert!(began.elapsed() >= Duration::from_millis(200) - GRID);
            // A deadline is a poll, but for a few that come early; a thread that is late meets several in one.
            assert!(polls <= 25 * calls, "{calls}: {polls}");
            let points = began.elapsed().as_millis() as usize;
            let rests = rests.load(Ordering::Relaxed);
            assert!(rests <= 3 * points, "{calls}: {rests} rests in {points} ms");
        }
    }

    /// Waits for so many deadlines 20 ms apart; how often it was polled.
    async fn pace(deadlines: u32) -> usize {
        let mut deadline = Deadline::join();
        let start = on_grid(Instant::now());
        let (mut met, mut polls) = (0, 0);
        poll_fn(|context| {
            polls += 1;
            let now = Instant::now();
            let due = |met: u32| start + Duration::from_millis(20) * (met + 1);
            while met < deadlines && due(met) <= now {
                met += 1;
            }
            if met == deadlines {
                return Poll::Ready(());
            }
            deadline.arm(context, now, due(met));
            Poll::Pending
        })
        .await;
        polls
    }

    #[test]
    fn everybody_is_woken_at_the_first_point_after_the_deadline_and_never_before() {
        let origin = Instant::now();
        let mut schedule = Schedule::new(origin);
        let deadlines: Vec<_> = (0..400_u64).map(|n| n * 137 % 60_000).collect();
        for us in &deadlines {
            schedule.arm(origin + Duration::from_micros(*us), *us);
        }
        let mut due = Vec::new();
        for ms in 1..=60_u64 {
            schedule.take_due(origin + Duration::from_millis(ms), &mut due);
            assert!(due.iter().all(|us| *us <= ms * 1000), "{ms}: {due:?}");
            assert!(due.iter().all(|us| *us > (ms - 1) * 1000 || ms == 1), "{ms}: {due:?}");
            due.clear();
        }
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_deadline_beyond_the_last_point_is_looked_at_there() {
        let origin = Instant::now();
        let mut schedule = Schedule::new(origin);
        let armed = schedule.arm(origin + Duration::from_secs(60), ());
        assert_eq!(armed, origin + GRID * AHEAD_MAX as u32);
        assert_eq!(schedule.next(), Some(armed));
    }

    #[test]
    fn a_thread_that_stood_still_wakes_everybody_once() {
        let origin = Instant::now();
        let mut schedule = Schedule::new(origin);
        for ms in 1..=AHEAD_MAX as u64 {
            schedule.arm(origin + Duration::from_millis(ms), ms);
        }
        let mut due = Vec::new();
        schedule.take_due(origin + Duration::from_secs(1), &mut due);
        assert_eq!(due.len(), AHEAD_MAX);
        schedule.take_due(origin + Duration::from_secs(2), &mut due);
        assert_eq!(due.len(), AHEAD_MAX);
        // A deadline that has passed comes at the next point.
        let late = schedule.arm(origin, 0);
        assert_eq!(late, origin + Duration::from_secs(2) + GRID);
    }

    #[test]
    fn even_steps_from_a_point_stay_on_the_grid() {
        let schedule = Schedule::<()>::new(Instant::now());
        let start = schedule.on_grid(schedule.origin + Duration::from_micros(7_654_321));
        assert_eq!(start, schedule.origin + Duration::from_millis(7_654));
        let later = start + Duration::from_millis(20) * 1_000;
        assert_eq!(schedule.on_grid(later), later);
    }
}
