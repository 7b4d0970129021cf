//! How many sessions each agent should have waiting, connected and configured, before anybody calls.
//!
//! An agent that is called keeps as many as callers are likely to come while one more is being made, never more than its
//! configuration allows; one that has not been called for ten minutes keeps none. A session that has waited too long
//! gives way to a new one, so that none comes near the age at which it is renewed, or its backend ends it. Who makes
//! them, and where they wait, is not known here.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// How long after its last call an agent keeps warm sessions.
const BUSY: Duration = Duration::from_secs(600);

/// How long a call counts for how often an agent is called.
const MEMORY: Duration = Duration::from_secs(60);

/// How old a warm session may get at most.
pub const AGE_MAX: Duration = Duration::from_secs(600);

/// How often it is looked whether there are too many.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long making a session is taken to last until one has been made.
const MAKING_FIRST: Duration = Duration::from_millis(500);

/// How long nothing is made for an agent after a session that failed; each further failure doubles it, to the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a session for this agent, and tell [`Warmth`] of it by this id.
    Make(u64, String),
    /// Close this one.
    Retire(u64),
}

/// How a warm session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A call has taken it.
    Taken,
    /// It was closed because it was to be.
    Retired,
    /// It could not be made, or was lost while it waited.
    Lost,
}

/// The warm sessions of all agents.
#[derive(Debug, Default)]
pub struct Warmth {
    agents: BTreeMap<String, Demand>,
    last_id: u64,
    closed: bool,
    steps: VecDeque<Step>,
}

/// One agent's.
#[derive(Debug)]
struct Demand {
    max: usize,
    age_max: Duration,
    /// Calls a second, as of the last call.
    rate: f64,
    called: Option<Instant>,
    making: Duration,
    sessions: BTreeMap<u64, Kept>,
    failures: u32,
    wait_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Making(Instant),
    Ready(Instant),
    Retiring,
}

impl Warmth {
    /// These agents, how many sessions each may keep, and how old these may get.
    pub fn new(agents: impl Iterator<Item = (String, usize)>, age_max: Duration) -> Self {
        let agents = agents.filter(|(_, max)| *max > 0);
        Self {
            agents: agents.map(|(name, max)| (name, Demand::new(max, age_max))).collect(),
            ..Self::default()
        }
    }

    /// How many there may ever be at once.
    pub fn most(&self) -> usize {
        self.agents.values().map(|demand| demand.max).sum()
    }

    /// A call of this agent wants its session.
    pub fn called(&mut self, now: Instant, agent: &str) {
        if let Some(demand) = self.agents.get_mut(agent) {
            demand.rate = demand.rate_at(now) + MEMORY.as_secs_f64().recip();
            demand.called = Some(now);
        }
        self.plan(now);
    }

    /// A session that was to be made waits for its call.
    pub fn ready(&mut self, now: Instant, id: u64) {
        for demand in self.agents.values_mut() {
            if let Some(kept @ Kept::Making(_)) = demand.sessions.get_mut(&id) {
                if let Kept::Making(since) = *kept {
                    demand.making = (demand.making + now.saturating_duration_since(since)) / 2;
                }
                *kept = Kept::Ready(now);
            }
        }
        self.plan(now);
    }

    /// A session has ended. `random` spreads out what is tried again.
    pub fn ended(&mut self, now: Instant, id: u64, end: End, random: u64) {
        for demand in self.agents.values_mut() {
            if demand.sessions.remove(&id).is_some() {
                demand.ended(now, end, random);
            }
        }
        self.plan(now);
    }

    /// Keeps none from now on.
    pub fn close(&mut self, now: Instant) {
        self.closed = true;
        self.plan(now);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.plan(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let open = self.agents.values().filter(|_| !self.closed);
        open.filter_map(|demand| demand.look_at(now)).min()
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn plan(&mut self, now: Instant) {
        for (agent, demand) in &mut self.agents {
            let wanted = if self.closed { 0 } else { demand.wanted(now) };
            while let Some(id) = demand.surplus(now, wanted) {
                demand.sessions.insert(id, Kept::Retiring);
                self.steps.push_back(Step::Retire(id));
            }
            while demand.sessions.len() < wanted && demand.may_make(now) {
                self.last_id += 1;
                demand.sessions.insert(self.last_id, Kept::Making(now));
                self.steps.push_back(Step::Make(self.last_id, agent.clone()));
            }
        }
    }
}

impl Demand {
    fn new(max: usize, age_max: Duration) -> Self {
        Self {
            max,
            age_max,
            rate: 0.0,
            called: None,
            making: MAKING_FIRST,
            sessions: BTreeMap::new(),
            failures: 0,
            wait_until: None,
        }
    }

    fn rate_at(&self, now: Instant) -> f64 {
        let since = self
            .called
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.rate * (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// As many as come while one is made, and twice their usual scatter.
    fn wanted(&self, now: Instant) -> usize {
        let busy = self.called.is_some_and(|at| now.saturating_duration_since(at) < BUSY);
        let coming = self.rate_at(now) * self.making.as_secs_f64();
        let enough = (coming + 2.0 * coming.sqrt()).ceil().max(1.0);
        if busy { (enough as usize).min(self.max) } else { 0 }
    }

    /// One that is too old or one too many: the one that has waited longest.
    fn surplus(&self, now: Instant, wanted: usize) -> Option<u64> {
        let kept = self.sessions.values().filter(|kept| **kept != Kept::Retiring).count();
        let ready = self.sessions.iter().filter_map(|(id, kept)| match kept {
            Kept::Ready(since) => Some((*since, *id)),
            Kept::Making(_) | Kept::Retiring => None,
        });
        let (since, id) = ready.min()?;
        (kept > wanted || now.saturating_duration_since(since) >= self.age_max).then_some(id)
    }

    fn may_make(&self, now: Instant) -> bool {
        self.wait_until.is_none_or(|until| now >= until)
    }

    fn ended(&mut self, now: Instant, end: End, random: u64) {
        match end {
            End::Taken => self.failures = 0,
            End::Retired => {}
            End::Lost => {
                let longest = WAIT_FIRST.saturating_mul(1 << self.failures.min(6)).min(WAIT_MAX);
                let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
                self.wait_until = now.checked_add(longest.mul_f64((1.0 + share) / 2.0));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    fn look_at(&self, now: Instant) -> Option<Instant> {
        let waiting = self.wait_until.filter(|until| *until > now);
        let kept = !self.sessions.is_empty();
        let next = waiting.filter(|_| self.wanted(now) > 0);
        let look = now.checked_add(LOOK_EVERY).filter(|_| kept);
        next.into_iter().chain(look).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_waits_for_an_agent_that_nobody_calls_or_that_keeps_none() {
        let (mut warmth, now) = (warmth(2), Instant::now());
        warmth.handle_timeout(now);
        warmth.called(now, "other");
        warmth.called(now, "unknown");
        assert_eq!((warmth.poll_step(), warmth.poll_timeout(now)), (None, None));
    }

    #[test]
    fn an_agent_that_is_called_keeps_one_and_has_another_made_when_it_is_taken() {
        let (mut warmth, now) = (warmth(4), Instant::now());
        warmth.called(now, "busy");
        assert_eq!(steps(&mut warmth), [make(1)]);
        warmth.ready(now + SECOND / 10, 1);
        warmth.called(now + SECOND, "busy");
        assert_eq!(steps(&mut warmth), []);
        warmth.ended(now + SECOND, 1, End::Taken, 0);
        assert_eq!(steps(&mut warmth), [make(2)]);
    }

    #[test]
    fn the_more_calls_come_while_one_is_made_the_more_wait_up_to_the_most() {
        let kept = |calls_per_second: u32, max: usize| {
            let (mut warmth, start) = (warmth(max), Instant::now());
            for n in 0..calls_per_second * 300 {
                warmth.called(start + SECOND / calls_per_second * n, "busy");
            }
            steps(&mut warmth).len()
        };
        assert_eq!([kept(1, 64), kept(4, 64), kept(20, 64), kept(20, 8)], [2, 5, 17, 8]);
    }

    #[test]
    fn when_calls_become_rare_what_is_too_much_is_closed_and_at_last_all() {
        let (mut warmth, start) = (warmth(64), Instant::now());
        let mut now = start;
        let mut making = VecDeque::new();
        for _ in 0..1_200 {
            now += SECOND / 20;
            warmth.called(now, "busy");
            while let Some((_, id)) = making.pop_front_if(|(at, _)| *at <= now) {
                warmth.ready(now, id);
            }
            for step in steps(&mut warmth) {
                match step {
                    Step::Make(id, _) => making.push_back((now + SECOND / 2, id)),
                    Step::Retire(id) => warmth.ended(now, id, End::Retired, 0),
                }
            }
        }
        let mut left = warmth.agents["busy"].sessions.len();
        let mut history = vec![left];
        while let Some(at) = warmth.poll_timeout(now) {
            now = at;
            warmth.handle_timeout(now);
            for step in steps(&mut warmth) {
                match step {
                    Step::Retire(id) => warmth.ended(now, id, End::Retired, 0),
                    Step::Make(id, _) => warmth.ready(now, id),
                }
            }
            left = warmth.agents["busy"].sessions.len();
            history.push(left);
        }
        assert!(history.is_sorted_by(|earlier, later| earlier >= later), "{history:?}");
        assert!(history[0] > 8 && history.contains(&1) && left == 0, "{history:?}");
        assert!((now - start).as_secs() < 60 + 600 + 10);
    }

    #[test]
    fn one_that_has_waited_long_gives_way_to_a_new_one() {
        let (mut warmth, start) = (warmth(1), Instant::now());
        warmth.called(start, "busy");
        warmth.ready(start, 1);
        steps(&mut warmth);
        let (later, aged) = (start + AGE_MAX / 2, start + AGE_MAX);
        warmth.called(later, "busy");
        assert_eq!(steps(&mut warmth), []);
        warmth.handle_timeout(aged);
        assert_eq!(steps(&mut warmth), [Step::Retire(1)]);
        warmth.ended(aged, 1, End::Retired, 0);
        assert_eq!(steps(&mut warmth), [make(2)]);
    }

    #[test]
    fn a_backend_that_is_away_is_tried_less_and_less_often() {
        let (mut warmth, mut now) = (warmth(1), Instant::now());
        warmth.called(now, "busy");
        let mut waits = Vec::new();
        for id in 1..=8 {
            assert_eq!(steps(&mut warmth), [make(id)]);
            warmth.ended(now, id, End::Lost, u64::MAX);
            assert_eq!(steps(&mut warmth), []);
            let at = warmth.poll_timeout(now).unwrap();
            waits.push((at - now).as_secs_f64().round() as u64);
            now = at;
            warmth.handle_timeout(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_gateway_that_stops_keeps_none() {
        let (mut warmth, now) = (warmth(2), Instant::now());
        warmth.called(now, "busy");
        warmth.ready(now, 1);
        steps(&mut warmth);
        warmth.ended(now, 1, End::Taken, 0);
        warmth.close(now);
        warmth.called(now, "busy");
        // The one that is being made is let go as soon as it is there.
        assert_eq!(steps(&mut warmth), [make(2)]);
        warmth.ready(now, 2);
        assert_eq!(steps(&mut warmth), [Step::Retire(2)]);
        assert_eq!(warmth.poll_timeout(now), None);
    }

    fn warmth(max: usize) -> Warmth {
        let agents = [("busy".to_owned(), max), ("other".to_owned(), 0)];
        Warmth::new(agents.into_iter(), AGE_MAX)
    }

    fn make(id: u64) -> Step {
        Step::Make(id, "busy".to_owned())
    }

    fn steps(warmth: &mut Warmth) -> Vec<Step> {
        std::iter::from_fn(|| warmth.poll_step()).collect()
    }
}
