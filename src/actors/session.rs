//! The Session actor: keeps one call connected to a backend.
//!
//! It has the media driver dial, hears how that went, and dials again after a loss as [`Outage`] says: exponential
//! backoff with jitter within a budget, then the agent's next backend. The call learns only whether the session is
//! ready, away or gone. The connection itself lives in the media driver, beside the call's RTP.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::Span;

use super::{alarm::Alarm, call, service::Service};
use crate::{
    audio::Law,
    call::{Facts, Outage, machine::Input, outage::Verdict},
    config::Agent,
    drivers::{
        media::{Dialling, MediaHandle, Order, SESSION_REPORTS_MAX, SessionReport},
        post::{PostBox, Posted, post},
    },
    http::SessionChange,
    realtime::FaultClass,
};

mod changes;

pub use changes::Changes;

/// The actor.
pub struct Session;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// The media driver posted a report.
    Reported,
    /// It is time to dial.
    Dial,
    /// Make the next session behind the one that serves the call, with this changed about it.
    Renew(SessionChange),
    /// Move to the agent's next backend, if there is one.
    MoveOn,
    /// Break on purpose: how the tests show what survives.
    Break,
}

/// What the actor starts with.
pub struct Args {
    /// What all calls are served with.
    pub service: Arc<Service>,
    /// The agent that answers.
    pub agent: Arc<Agent>,
    /// What the agent's texts may name.
    pub facts: Arc<Facts>,
    /// The law of the leg, when it speaks G.711.
    pub leg_law: Option<Law>,
    /// The call's media driver.
    pub media: MediaHandle,
    /// The call.
    pub call: ActorRef<call::Msg>,
    /// The call's log span.
    pub span: Span,
    /// How many of the agent's first backends are not to be used.
    pub moves: usize,
    /// What has been changed about the call's sessions.
    pub changes: Arc<Mutex<Changes>>,
}

/// What the actor knows.
pub struct State {
    args: Args,
    reports: PostBox<SessionReport>,
    outage: Outage,
    dials: u32,
    stage: Stage,
    /// Since when the session that serves the call does.
    ready_at: Option<Instant>,
    been_ready: bool,
    alarm: Alarm,
    renewal: Renewal,
}

/// The next session, behind the one that serves the call.
#[derive(Default)]
struct Renewal {
    alarm: Alarm,
    /// The backend that the control API, or a budget, wants the call on.
    wanted: Option<String>,
    /// Something was changed since the session that is being dialled was told what to be.
    changed: bool,
    failures: u32,
}

/// How long after a renewal that failed the next is tried, and how often; a session that cannot be renewed ends when its
/// backend ends it, and that is a loss.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
const RENEWALS_FAILED_MAX: u32 = 10;

/// Where the connection stands, for telling a dial that failed from a session that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialling,
    Ready,
}

impl Actor for Session {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let (sender, reports) = post(SESSION_REPORTS_MAX);
        // A bell that finds the actor gone has nobody to wake.
        let bell = myself.clone();
        reports.ring_with(move || drop(bell.cast(Msg::Reported)));
        args.media.order(Order::ReportSession(sender));
        let mut outage = Outage::new(args.service.reconnect(), args.agent.backends.len());
        outage.moved(args.moves.min(args.agent.backends.len().saturating_sub(1)));
        let mut state = State {
            args,
            reports,
            outage,
            dials: 0,
            stage: Stage::Dialling,
            ready_at: None,
            been_ready: false,
            alarm: Alarm::default(),
            renewal: Renewal::default(),
        };
        let span = state.args.span.clone();
        let _entered = span.enter();
        state.dial(&myself);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let span = state.args.span.clone();
        let _entered = span.enter();
        match message {
            Msg::Reported => state.read_reports(&myself),
            Msg::Dial => state.dial_again(&myself),
            Msg::Renew(change) => state.renew(&myself, change),
            Msg::MoveOn => state.move_on(&myself),
            Msg::Break => panic!("the Session actor was told to break"),
        }
        Ok(())
    }
}

impl State {
    fn read_reports(&mut self, myself: &ActorRef<Msg>) {
        self.reports.answer();
        while let Posted::Item(report) = self.reports.take() {
            match report {
                SessionReport::Ready { warm } => self.ready(myself, warm),
                SessionReport::Renewed { backend, lost } => self.renewed(myself, backend, lost),
                SessionReport::NotRenewed { backend, word, detail } => {
                    self.not_renewed(myself, &backend, word, &detail);
                }
                SessionReport::Lost { class, word, detail } => self.lost(myself, class, word, &detail),
            }
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.args.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backend(&self) -> &str {
        self.args
            .agent
            .backends
            .get(self.outage.backend())
            .map_or("", String::as_str)
    }

    fn dial(&mut self, myself: &ActorRef<Msg>) {
        self.dials += 1;
        self.stage = Stage::Dialling;
        self.renewal.changed = false;
        let backend = self.backend().to_owned();
        if !self.args.service.backends.admit(Instant::now(), &backend) {
            return self.passed_over(myself, &backend);
        }
        let Some(dialling) = self.dialling(&backend) else {
            tracing::error!(backend, "the backend is not configured");
            return self.tell(Input::SessionGone);
        };
        tracing::debug!(backend, attempt = self.dials, "dialling the session");
        self.tell_backend(backend);
        if !self.args.media.order(Order::Dial(dialling)) {
            self.tell(Input::PartFailed);
        }
    }

    fn dialling(&self, backend: &str) -> Option<Dialling> {
        let Args {
            service, agent, facts, ..
        } = &self.args;
        let (dial, mut settings) = service.dial(agent, facts, backend, &self.changes())?;
        settings.leg_law = self.args.leg_law;
        // What waits speaks with the model of the configuration, and cannot change that.
        let warm = agent.warm_sessions_max > 0 && !self.changes().model_of(backend);
        Some(Dialling {
            dial,
            settings: Box::new(settings),
            agent: Some(&agent.name).filter(|_| warm).cloned(),
        })
    }

    fn dial_again(&mut self, myself: &ActorRef<Msg>) {
        self.alarm.disarm();
        self.dial(myself);
    }

    /// Nobody dials the backend now, for it has not been there lately.
    fn passed_over(&mut self, myself: &ActorRef<Msg>, backend: &str) {
        self.args.service.metrics.session_connect(backend, "passed_over");
        let verdict = self.outage.refused(Instant::now(), super::service::random());
        self.follow(myself, verdict, backend, "passed_over", "its circuit breaker is open");
    }

    /// The call moves to the agent's next backend although nothing is wrong: behind its session, where it has one.
    fn move_on(&mut self, myself: &ActorRef<Msg>) {
        let next = self.outage.backend() + 1;
        let Some(name) = self.args.agent.backends.get(next).cloned() else {
            return tracing::info!(backend = self.backend(), "there is no next backend to move the call to");
        };
        tracing::info!(backend = self.backend(), next = name, "the call moves on");
        match self.stage {
            Stage::Ready => self.renew(myself, onto(name)),
            Stage::Dialling => {
                self.renewal.wanted = None;
                self.outage.moved(next);
                self.alarm.disarm();
                self.dial(myself);
            }
        }
    }

    fn ready(&mut self, myself: &ActorRef<Msg>, warm: Option<Duration>) {
        self.stage = Stage::Ready;
        let now = Instant::now();
        let backend = self.backend().to_owned();
        self.ready_at = Some(now);
        self.outage.ready(now);
        self.args.service.metrics.session_connect(self.backend(), "ok");
        self.args.service.backends.connected(now, self.backend());
        match std::mem::replace(&mut self.been_ready, true) {
            true => self.args.service.metrics.session_reconnect(self.backend()),
            // Not before: the caller's own dial goes first.
            false => self.args.service.warm.called(&self.args.agent, self.args.leg_law),
        }
        let warm_s = warm.map(|waited| waited.as_secs());
        tracing::info!(
            backend = self.backend(),
            attempt = self.dials,
            warm_s,
            "the session is ready"
        );
        self.tell(Input::SessionReady);
        // It is older than its part in the call.
        let renew_after = self.args.service.config.session.renew_after;
        let renew_in = renew_after.map(|after| after.saturating_sub(warm.unwrap_or_default()));
        self.renew_later(myself, renew_in);
        self.renewal.wanted.take_if(|wanted| *wanted == backend);
        if self.renewal.wanted.is_some() || std::mem::take(&mut self.renewal.changed) {
            self.renew(myself, SessionChange::default());
        }
    }

    fn renew_later(&mut self, myself: &ActorRef<Msg>, after: Option<Duration>) {
        let at = after.and_then(|after| Instant::now().checked_add(after));
        self.renewal
            .alarm
            .set(at, myself, || Msg::Renew(SessionChange::default()));
    }

    /// Has the next session made behind the one that serves the call; without one there is nothing to renew.
    fn renew(&mut self, myself: &ActorRef<Msg>, mut change: SessionChange) {
        self.renewal.alarm.disarm();
        self.renewal.wanted = change.backend.take().or(self.renewal.wanted.take());
        let name = self.renewal.wanted.clone().unwrap_or(self.backend().to_owned());
        if self.stage != Stage::Ready {
            // The one being dialled is as it was to be; this one follows it.
            self.renewal.changed |= change != SessionChange::default();
            return self.changes().add(change, &name);
        }
        self.changes().add(change, &name);
        let known = self.args.agent.backends.contains(&name);
        let (true, Some(dialling)) = (known, self.dialling(&name)) else {
            return tracing::warn!(backend = name, "the agent has no such backend to renew its session on");
        };
        if !self.args.service.backends.admit(Instant::now(), &name) {
            return self.not_renewed(myself, &name, "passed_over", "its circuit breaker is open");
        }
        tracing::info!(backend = name, "the next session is being made");
        if !self.args.media.order(Order::Renew(dialling)) {
            self.tell(Input::PartFailed);
        }
    }

    fn renewed(&mut self, myself: &ActorRef<Msg>, backend: String, lost: Option<&'static str>) {
        let now = Instant::now();
        let ready_at = self.ready_at.replace(now);
        if let Some(word) = lost {
            self.args.service.backends.lost(now, ready_at, self.backend(), word);
        }
        if let Some(place) = self.args.agent.backends.iter().position(|name| *name == backend) {
            self.outage.moved(place);
        }
        self.renewal.failures = 0;
        self.renewal.wanted.take_if(|wanted| *wanted == backend);
        self.args.service.backends.connected(now, &backend);
        self.args.service.metrics.session_renewal(&backend, "ok");
        self.tell_backend(backend);
        self.renew_later(myself, self.args.service.config.session.renew_after);
    }

    fn not_renewed(&mut self, myself: &ActorRef<Msg>, backend: &str, word: &'static str, detail: &str) {
        tracing::warn!(backend, word, detail, "the next session could not be made");
        self.args.service.metrics.session_renewal(backend, word);
        if !matches!(word, "passed_over" | "away") {
            self.args.service.backends.failed(Instant::now(), backend, word);
        }
        self.renewal.failures += 1;
        if self.renewal.failures < RENEWALS_FAILED_MAX {
            self.renew_later(myself, Some(RENEW_AGAIN));
        } else {
            self.renewal.wanted = None;
        }
    }

    fn lost(&mut self, myself: &ActorRef<Msg>, class: FaultClass, word: &'static str, detail: &str) {
        self.renewal.alarm.disarm();
        self.renewal.failures = 0;
        let ready_at = self.ready_at.take();
        self.args
            .service
            .backends
            .lost(Instant::now(), ready_at, self.backend(), word);
        if self.stage == Stage::Dialling {
            self.args.service.metrics.session_connect(self.backend(), word);
            self.args.service.backends.failed(Instant::now(), self.backend(), word);
        }
        self.stage = Stage::Dialling;
        let backend = self.backend().to_owned();
        let verdict = self.outage.lost(Instant::now(), class, super::service::random());
        self.follow(myself, verdict, &backend, word, detail);
    }

    fn follow(&mut self, myself: &ActorRef<Msg>, verdict: Verdict, backend: &str, word: &str, detail: &str) {
        match verdict {
            Verdict::Dial { after } => {
                let retry_ms = after.as_millis();
                tracing::warn!(
                    backend,
                    word,
                    detail,
                    retry_ms,
                    "the session is not there; dialling again"
                );
                self.tell(Input::SessionAway);
                self.alarm.set(Instant::now().checked_add(after), myself, || Msg::Dial);
            }
            Verdict::GiveUp => {
                tracing::error!(backend, word, detail, "the session is not there and no backend is left");
                self.tell(Input::SessionGone);
            }
        }
    }

    fn tell(&self, input: Input) {
        // The call may have ended first; then there is nobody to tell.
        let _ = self.args.call.cast(call::Msg::Session(input));
    }

    fn tell_backend(&self, backend: String) {
        let _ = self.args.call.cast(call::Msg::Dialled(backend));
    }
}

/// Nothing else is different.
fn onto(backend: String) -> SessionChange {
    SessionChange {
        backend: Some(backend),
        ..SessionChange::default()
    }
}
