//! The WarmKeeper actor: has sessions made before there are calls for them, as [`Warmth`] says.
//!
//! A session waits on a media worker; here is known only that it does, and where, so that a call can begin beside it.
//! A keeper that fails lets go of all of them and starts anew; calls then dial as they do without one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::{
    alarm::Alarm,
    service::{Service, random},
    session::Changes,
};
use crate::{
    audio::Law,
    call::{
        Facts,
        warm::{AGE_MAX, End, Step, Warmth},
    },
    config::{Agent, Backend, Config, Dialect},
    drivers::{
        post::{Post, PostBox, Posted, post},
        warm::{self, Gone, Told},
    },
};

/// Reports of one session that may wait: that it is ready, and that it is gone. The next takes its place only when both
/// have been read, so that none is ever lost.
const REPORTS_PER_SESSION: usize = 2;

/// The actor.
pub struct WarmKeeper;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// A call of this agent wants its session, on a leg of this law.
    Called(String, Option<Law>),
    /// The sessions posted reports.
    Told,
    /// It is time to look whether there are too many or too few.
    Due,
    /// The gateway is stopping: keep none.
    Drain,
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What others know of the warm sessions.
#[derive(Debug, Default)]
pub struct Stock {
    keeper: Mutex<Option<ActorRef<Msg>>>,
    /// The workers where sessions of an agent wait, one entry for each.
    places: Mutex<BTreeMap<String, Vec<usize>>>,
}

/// What the actor knows.
pub struct State {
    service: Arc<Service>,
    warmth: Warmth,
    sessions: BTreeMap<u64, Session>,
    laws: BTreeMap<String, Option<Law>>,
    told: Arc<Post<Told>>,
    reports: PostBox<Told>,
    alarm: Alarm,
}

struct Session {
    agent: String,
    backend: String,
    worker: usize,
    /// Since when it waits for its call.
    ready_at: Option<Instant>,
    /// The session is closed when this is let go.
    open: Option<oneshot::Sender<()>>,
}

impl Stock {
    /// A call of this agent wants its session.
    pub fn called(&self, agent: &Agent, leg_law: Option<Law>) {
        if agent.warm_sessions_max > 0
            && let Some(keeper) = lock(&self.keeper).as_ref()
        {
            // One that has failed is being started anew.
            let _ = keeper.cast(Msg::Called(agent.name.clone(), leg_law));
        }
    }

    /// The workers where sessions of this agent wait.
    pub fn places(&self, agent: &str) -> Vec<usize> {
        lock(&self.places).get(agent).cloned().unwrap_or_default()
    }

    fn put(&self, agent: &str, worker: usize) {
        lock(&self.places).entry(agent.to_owned()).or_default().push(worker);
    }

    fn remove(&self, agent: &str, worker: usize) {
        if let Some(places) = lock(&self.places).get_mut(agent)
            && let Some(place) = places.iter().position(|place| *place == worker)
        {
            places.swap_remove(place);
        }
    }

    fn serve(&self, keeper: ActorRef<Msg>) {
        lock(&self.places).clear();
        *lock(&self.keeper) = Some(keeper);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor for WarmKeeper {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Service>;

    async fn pre_start(&self, myself: ActorRef<Msg>, service: Arc<Service>) -> Result<State, ActorProcessingErr> {
        let mut warmth = warmth(&service.config);
        if service.draining() {
            warmth.close(Instant::now());
        }
        let (told, reports) = post(REPORTS_PER_SESSION * warmth.most().max(1));
        let bell = myself.clone();
        // A bell that finds the actor gone has nobody to wake.
        reports.ring_with(move || drop(bell.cast(Msg::Told)));
        service.backends.no_warm();
        service.warm.serve(myself);
        Ok(State {
            service,
            warmth,
            sessions: BTreeMap::new(),
            laws: BTreeMap::new(),
            told: Arc::new(told),
            reports,
            alarm: Alarm::default(),
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        match message {
            Msg::Called(agent, leg_law) => state.called(now, agent, leg_law),
            Msg::Told => state.read_reports(now),
            Msg::Due => state.due(now),
            Msg::Drain => state.warmth.close(now),
            Msg::Break => panic!("the WarmKeeper was told to break"),
        }
        state.perform(&myself, now);
        Ok(())
    }
}

impl State {
    fn called(&mut self, now: Instant, agent: String, leg_law: Option<Law>) {
        self.warmth.called(now, &agent);
        self.laws.insert(agent, leg_law);
    }

    fn due(&mut self, now: Instant) {
        self.alarm.disarm();
        self.warmth.handle_timeout(now);
    }

    fn read_reports(&mut self, now: Instant) {
        self.reports.answer();
        while let Posted::Item(told) = self.reports.take() {
            match told {
                Told::Ready(id) => self.ready(now, id),
                Told::Gone(id, gone) => self.gone(now, id, &gone),
            }
        }
    }

    fn ready(&mut self, now: Instant, id: u64) {
        self.warmth.ready(now, id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.ready_at = Some(now);
            self.service.warm.put(&session.agent, session.worker);
            self.service.backends.warmed(now, &session.backend);
            tracing::debug!(
                agent = session.agent,
                backend = session.backend,
                "a session waits for a call"
            );
        }
    }

    fn gone(&mut self, now: Instant, id: u64, gone: &Gone) {
        if let Some(session) = self.sessions.remove(&id) {
            self.forget(now, &session, gone);
        }
        let end = match gone {
            Gone::Taken => End::Taken,
            Gone::Retired => End::Retired,
            Gone::Lost { .. } => End::Lost,
        };
        self.warmth.ended(now, id, end, random());
    }

    fn forget(&self, now: Instant, session: &Session, gone: &Gone) {
        let Session {
            agent,
            backend,
            ready_at,
            ..
        } = session;
        if ready_at.is_some() {
            self.service.warm.remove(agent, session.worker);
            self.service.backends.cooled(now, backend);
        }
        self.service.metrics.warm_session(backend, word(gone));
        if let Gone::Lost { word, detail } = gone {
            tracing::info!(
                agent,
                backend,
                word,
                detail,
                "a session that waited, or was to wait, for a call is lost"
            );
            match ready_at {
                None => self.service.backends.failed(now, backend, word),
                ready_at => self.service.backends.lost(now, *ready_at, backend, word),
            }
        }
    }

    fn perform(&mut self, myself: &ActorRef<Msg>, now: Instant) {
        while let Some(step) = self.warmth.poll_step() {
            match step {
                Step::Retire(id) => self.retire(id),
                Step::Make(id, agent) => {
                    if !self.make(now, id, &agent) {
                        self.warmth.ended(now, id, End::Lost, random());
                    }
                }
            }
        }
        self.alarm.set(self.warmth.poll_timeout(now), myself, || Msg::Due);
    }

    /// Lets go of what keeps it open; its own report is the end of it.
    fn retire(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.open = None;
        }
    }

    /// Whether a session is being made. It is on the agent's first backend, as a call's first would be; what its call
    /// alone knows it is told when it is taken.
    fn make(&mut self, now: Instant, id: u64, agent: &str) -> bool {
        let Some(agent) = self.service.config.agents.get(agent) else {
            return false;
        };
        let Some(backend) = agent.backends.first() else {
            return false;
        };
        let Some((dial, mut settings)) = self
            .service
            .dial(agent, &Facts::default(), backend, &Changes::default())
        else {
            return false;
        };
        if !self.service.backends.admit(now, backend) {
            return false;
        }
        settings.leg_law = self.laws.get(&agent.name).copied().flatten();
        let (open, retire) = oneshot::channel();
        let start = warm::Start {
            id,
            agent: agent.name.clone(),
            dial,
            settings: Box::new(settings),
            told: self.told.clone(),
            retire,
        };
        let Ok(worker) = warm::start(&self.service.workers, start) else {
            return false;
        };
        let session = Session {
            agent: agent.name.clone(),
            backend: backend.clone(),
            worker,
            ready_at: None,
            open: Some(open),
        };
        self.sessions.insert(id, session);
        true
    }
}

fn warmth(config: &Config) -> Warmth {
    let kept = |agent: &Arc<Agent>| match fits_any_call(config, agent) {
        true => (agent.name.clone(), agent.warm_sessions_max),
        false => (agent.name.clone(), 0),
    };
    // None is so old when its call takes it that it would be renewed soon.
    let renewed = config.session.renew_after.map_or(AGE_MAX, |after| after / 2);
    Warmth::new(config.agents.values().map(kept), renewed.min(AGE_MAX))
}

/// Whether a session that waits can be told what only its call knows, where there is such a thing.
fn fits_any_call(config: &Config, agent: &Agent) -> bool {
    let backend = agent.backends.first().and_then(|name| config.backends.get(name));
    let once = backend
        .and_then(Backend::realtime)
        .is_some_and(|realtime| realtime.dialect == Dialect::Live);
    !once || !agent.instructions.contains("{{")
}

fn word(gone: &Gone) -> &'static str {
    match gone {
        Gone::Taken => "taken",
        Gone::Retired => "retired",
        Gone::Lost { .. } => "lost",
    }
}
