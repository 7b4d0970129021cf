//! The Session actor: keeps one call connected to a backend.
//!
//! It has the media driver dial, hears how that went, and dials again after a loss as [`Outage`] says: exponential
//! backoff with jitter within a budget, then the agent's next backend. The call learns only whether the session is
//! ready, away or gone. The connection itself lives in the media driver, beside the call's RTP.

use std::{sync::Arc, time::Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::Span;

use super::{alarm::Alarm, call, service::Service};
use crate::{
    audio::Law,
    call::{Facts, Outage, machine::Input, outage::Verdict},
    config::Agent,
    drivers::{
        media::{MediaHandle, Order, SESSION_REPORTS_MAX, SessionReport},
        post::{PostBox, Posted, post},
    },
    realtime::FaultClass,
};

/// The actor.
pub struct Session;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// The media driver posted a report.
    Reported,
    /// It is time to dial.
    Dial,
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
}

/// What the actor knows.
pub struct State {
    args: Args,
    reports: PostBox<SessionReport>,
    outage: Outage,
    dials: u32,
    stage: Stage,
    been_ready: bool,
    alarm: Alarm,
}

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
        reports.ring_with(move || drop(myself.cast(Msg::Reported)));
        args.media.order(Order::ReportSession(sender));
        let mut outage = Outage::new(args.service.reconnect(), args.agent.backends.len());
        for _ in 0..args.moves {
            outage.move_on();
        }
        let mut state = State {
            args,
            reports,
            outage,
            dials: 0,
            stage: Stage::Dialling,
            been_ready: false,
            alarm: Alarm::default(),
        };
        let span = state.args.span.clone();
        let _entered = span.enter();
        state.dial();
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let span = state.args.span.clone();
        let _entered = span.enter();
        match message {
            Msg::Reported => state.read_reports(&myself),
            Msg::Dial => state.dial_again(),
            Msg::MoveOn => state.move_on(),
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
                SessionReport::Ready => self.ready(),
                SessionReport::Lost { class, word, detail } => self.lost(myself, class, word, &detail),
            }
        }
    }

    fn backend(&self) -> &str {
        self.args
            .agent
            .backends
            .get(self.outage.backend())
            .map_or("", String::as_str)
    }

    fn dial(&mut self) {
        self.dials += 1;
        self.stage = Stage::Dialling;
        let backend = self.backend().to_owned();
        let Some((dial, mut settings)) = self.args.service.dial(&self.args.agent, &self.args.facts, &backend) else {
            tracing::error!(backend, "the backend is not configured");
            return self.tell(Input::SessionGone);
        };
        settings.leg_law = self.args.leg_law;
        tracing::debug!(backend, attempt = self.dials, "dialling the session");
        self.tell_backend(backend);
        if !self.args.media.order(Order::Dial(dial, Box::new(settings))) {
            self.tell(Input::PartFailed);
        }
    }

    fn dial_again(&mut self) {
        self.alarm.disarm();
        self.dial();
    }

    /// The call is moved although nothing is wrong with its session, which ends with the dial.
    fn move_on(&mut self) {
        if !self.outage.move_on() {
            return tracing::info!(backend = self.backend(), "there is no next backend to move the call to");
        }
        tracing::info!(backend = self.backend(), "the call moves on");
        self.alarm.disarm();
        self.tell(Input::SessionAway);
        self.dial();
    }

    fn ready(&mut self) {
        self.stage = Stage::Ready;
        self.outage.ready(Instant::now());
        self.args.service.metrics.session_connect(self.backend(), "ok");
        if std::mem::replace(&mut self.been_ready, true) {
            self.args.service.metrics.session_reconnect(self.backend());
        }
        tracing::info!(backend = self.backend(), attempt = self.dials, "the session is ready");
        self.tell(Input::SessionReady);
    }

    fn lost(&mut self, myself: &ActorRef<Msg>, class: FaultClass, word: &'static str, detail: &str) {
        if self.stage == Stage::Dialling {
            self.args.service.metrics.session_connect(self.backend(), word);
        }
        let backend = self.backend().to_owned();
        match self.outage.lost(Instant::now(), class, super::service::random()) {
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
