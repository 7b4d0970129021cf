//! The Call actor: one call's lifetime.
//!
//! It owns the leg's handle, that of a second leg, the media driver's handle, the Session actor and the call's ledger, hands what they report
//! to the [`Conductor`], and performs what that decides. Everything it holds is given back by dropping it, so a call that
//! panics still hangs up, frees its ports and leaves a record.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tracing::Span;

use self::spend::Spending;
use super::{
    alarm::Alarm,
    ledger::Ledger,
    service::{Prepared, Service},
    session,
};
use crate::{
    call::{
        Cause, Conductor, Facts, Outcome,
        bridge::{Report as MediaReport, Summary},
        budget::Watch,
        conductor::{Act, NotNow, refuse},
        machine::Input,
        recording::Ask,
        transfer::Asker,
    },
    config::Agent,
    drivers::{
        leg::LegHandle,
        media::{CallReport, MediaHandle, Order, REPORTS_MAX, Start},
        post::{PostBox, Posted, post},
        tools::Running,
        worker::Overloaded,
    },
    http::SessionChange,
    net::ports::{PortPair, Use},
    sip::{Command, Event, LegId},
    store::recording::Report,
    tools::{Reply, desk::Decision},
};

mod recording;
pub mod second_leg;
mod spend;
mod tools;

/// How long the media driver may take to end and hand over its figures; past it the record goes without them.
const MEDIA_CLOSE_MAX: Duration = Duration::from_secs(5);

/// How often a Session actor that failed is started again within one call.
const SESSION_RESTARTS_MAX: u32 = 3;

/// The actor.
pub struct Call;

/// What the actor hears.
#[derive(Debug)]
pub enum Msg {
    /// The SIP driver posted events of the leg.
    LegEvents,
    /// The media driver posted reports.
    MediaReports,
    /// The session changed.
    Session(Input),
    /// The control API has the call go over to another session.
    Renew(Box<SessionChange>, RpcReplyPort<Result<(), NotNow>>),
    /// The Session actor dials this backend.
    Dialled(String),
    /// The conductor's deadline has come.
    Deadline,
    /// The gateway is stopping: finish the sentence and end.
    Finish,
    /// The control API ends the call.
    HangUp,
    /// The control API has the other side call somebody else, perhaps in the place of a leg of ours.
    Transfer(String, Option<LegId>, RpcReplyPort<Result<(), NotNow>>),
    /// The control API has the call recorded, or not any more.
    Record(Ask, RpcReplyPort<Result<(), NotNow>>),
    /// What became of a recording.
    Recorded(Box<Report>),
    /// What came of a tool that was done elsewhere, by the session's id of the call.
    ToolReplied(String, Reply),
    /// What the agent's tools are may have changed.
    ToolsChanged,
    /// A person has decided about a tool call; the answer is whether it still waited.
    Decide(String, Decision, RpcReplyPort<bool>),
    /// The control API presses keys.
    SendDigits(String, RpcReplyPort<Result<(), NotNow>>),
    /// What came of placing a second leg.
    SecondLeg(Box<Result<second_leg::Placed, Cause>>),
    /// The SIP driver posted events of the second leg.
    SecondLegEvents,
    /// Break on purpose: how the tests show what survives.
    Break,
    /// Have the Session actor break on purpose.
    BreakSession,
    /// Have the media driver break on purpose.
    BreakMedia,
}

/// What the actor starts with.
pub struct Args {
    /// What all calls are served with.
    pub service: Arc<Service>,
    /// The agent that speaks.
    pub agent: Arc<Agent>,
    /// What the agent's texts may name.
    pub facts: Arc<Facts>,
    /// The leg.
    pub leg: LegHandle,
    /// What happens to the leg.
    pub events: PostBox<Event>,
    /// Which way the call goes.
    pub way: Way,
    /// The call's record in the making.
    pub ledger: Ledger,
    /// The call's log span.
    pub span: Span,
}

/// Which way a call goes.
pub enum Way {
    /// It came in: ports, and what the offer settled.
    In(Box<Prepared>),
    /// We place it, and it may ring for so long.
    Out(Duration),
}

/// What the actor knows.
pub struct State {
    service: Arc<Service>,
    agent: Arc<Agent>,
    facts: Arc<Facts>,
    conductor: Conductor,
    leg: Option<LegHandle>,
    leg_events: PostBox<Event>,
    second_leg: Option<second_leg::SecondLeg>,
    media: Option<Media>,
    /// The media has been started and wants a session.
    session_due: bool,
    session: Option<ActorRef<session::Msg>>,
    session_restarts: u32,
    session_changes: Arc<Mutex<session::Changes>>,
    errands: tools::Errands,
    /// Held for its end.
    _tools_watch: Option<Running>,
    alarm: Alarm,
    closing_by: Option<Instant>,
    /// Recordings of which it has not been told what became of them.
    recordings: u32,
    /// Nothing more comes from the media, so that the record may be written.
    complete: bool,
    ledger: Ledger,
    spending: Spending,
    span: Span,
    _active: crate::telemetry::Held,
}

struct Media {
    handle: MediaHandle,
    reports: PostBox<CallReport>,
}

impl Actor for Call {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let span = args.span.clone();
        let mut state = State::new(&myself, args)?;
        span.in_scope(|| state.perform(&myself));
        state.start_session_if_due(&myself).await?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let span = state.span.clone();
        span.in_scope(|| {
            state.take(&myself, message);
            state.perform(&myself);
        });
        if state.start_session_if_due(&myself).await.is_err() {
            state.hear(Input::SessionGone);
            span.in_scope(|| state.perform(&myself));
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, error) = event {
            tracing::error!(parent: &state.span, actor = %actor.get_id(), %error, "the Session actor failed");
            state.session_failed(&myself).await;
            let span = state.span.clone();
            span.in_scope(|| state.perform(&myself));
        }
        Ok(())
    }
}

impl State {
    fn new(myself: &ActorRef<Msg>, args: Args) -> Result<Self, ActorProcessingErr> {
        let Args {
            service,
            agent,
            facts,
            leg,
            events,
            way,
            mut ledger,
            span,
        } = args;
        ring(&events, myself, || Msg::LegEvents);
        let watcher = myself.clone();
        let tools_watch = service
            .tools
            .watch(&agent, move || watcher.cast(Msg::ToolsChanged).is_ok());
        let now = Instant::now();
        let (conductor, media) = match way {
            Way::Out(ring_max) => {
                let settings = service.call_settings(&agent, ledger.trunk(), ring_max);
                (Conductor::placing(now, settings), None)
            }
            Way::In(prepared) => {
                let Prepared { ports, terms } = *prepared;
                let media = match Media::start(myself, &service, &agent, &span, ports) {
                    Ok(media) => media,
                    Err(overloaded) => {
                        ledger.ended(Outcome::refused(Cause::Overloaded));
                        leg.end(refuse(Cause::Overloaded));
                        return Err(overloaded.into());
                    }
                };
                let settings = service.call_settings(&agent, ledger.trunk(), service.config.limits.ring_max);
                (Conductor::answering(now, settings, terms), Some(media))
            }
        };
        let mut state = Self {
            conductor,
            spending: Spending::new(Watch::new(service.config.budgets_of(&agent.name))),
            leg: Some(leg),
            leg_events: events,
            second_leg: None,
            session_due: media.is_some(),
            media,
            session: None,
            session_restarts: 0,
            session_changes: Arc::default(),
            errands: tools::Errands::default(),
            _tools_watch: tools_watch,
            alarm: Alarm::default(),
            closing_by: None,
            recordings: 0,
            complete: false,
            ledger,
            span,
            _active: service.metrics.hold(crate::telemetry::Level::CallsActive),
            service,
            agent,
            facts,
        };
        state.begin_spending();
        Ok(state)
    }

    fn take(&mut self, myself: &ActorRef<Msg>, message: Msg) {
        match message {
            Msg::LegEvents => self.read_leg_events(),
            Msg::MediaReports => self.read_media_reports(),
            Msg::Session(input) => self.session_changed(input),
            Msg::Dialled(backend) => self.ledger.dialled(backend),
            Msg::Deadline => self.deadline(),
            Msg::Finish => self.hear(Input::Finish),
            Msg::HangUp => self.hear(Input::HangUpOrdered),
            Msg::Transfer(to, replaces, port) => {
                answer(port, self.conductor.transfer(Instant::now(), Asker::Api, to, replaces));
            }
            Msg::Record(ask, port) => answer(port, self.conductor.record(Instant::now(), ask)),
            Msg::ToolsChanged => self.conductor.retool(self.service.toolbox(&self.agent)),
            Msg::ToolReplied(call_id, reply) => self.tool_replied(&call_id, reply),
            Msg::Decide(call_id, decision, port) => self.decide(&call_id, &decision, port),
            Msg::SecondLeg(placed) => self.second_leg_placed(myself, *placed),
            Msg::SecondLegEvents => self.read_second_leg_events(),
            Msg::Recorded(report) => self.recorded(&report),
            Msg::SendDigits(digits, port) => answer(port, self.conductor.send_digits(&digits)),
            Msg::Break => panic!("the Call actor was told to break"),
            Msg::Renew(change, port) => answer(port, self.renew(*change)),
            Msg::BreakSession => self.break_session(),
            Msg::BreakMedia => self.order(Order::Break),
        }
    }

    async fn start_session_if_due(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        match std::mem::take(&mut self.session_due) && !self.conductor.ended() {
            true => self.start_session(myself).await,
            false => Ok(()),
        }
    }

    async fn start_session(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        let Some(media) = &self.media else { return Ok(()) };
        let args = session::Args {
            service: self.service.clone(),
            agent: self.agent.clone(),
            facts: self.facts.clone(),
            leg_law: self.conductor.leg_law(),
            media: media.handle.clone(),
            call: myself.clone(),
            span: self.span.clone(),
            moves: self.spending.moves,
            changes: self.session_changes.clone(),
        };
        let (session, _) = Actor::spawn_linked(None, session::Session, args, myself.get_cell()).await?;
        self.session = Some(session);
        Ok(())
    }

    /// A Session actor that failed is a lost session: the caller waits while a new one dials.
    async fn session_failed(&mut self, myself: &ActorRef<Msg>) {
        self.session = None;
        self.session_restarts += 1;
        self.hear(Input::SessionAway);
        let wanted = !self.conductor.ended() && !self.conductor.is_joined();
        let allowed = self.session_restarts <= SESSION_RESTARTS_MAX && wanted;
        if !allowed || self.start_session(myself).await.is_err() {
            self.hear(Input::SessionGone);
        }
    }

    fn renew(&self, change: SessionChange) -> Result<(), NotNow> {
        let backend = change.backend.as_ref();
        if backend.is_some_and(|name| !self.agent.backends.contains(name)) {
            return Err(NotNow::NoSuchBackend);
        }
        let session = self.session.as_ref().filter(|_| !self.conductor.ended());
        let asked = session.map(|session| session.cast(session::Msg::Renew(change)));
        // A Session actor that is gone has nothing to renew.
        asked.and_then(Result::ok).ok_or(NotNow::NotTalking)
    }

    fn break_session(&self) {
        if let Some(session) = &self.session {
            // A Session actor that is gone already is as broken as it gets.
            let _ = session.cast(session::Msg::Break);
        }
    }

    fn hear(&mut self, input: Input) {
        self.conductor.handle(Instant::now(), input);
    }

    fn session_changed(&mut self, input: Input) {
        // A session that was closed because the legs were joined is no loss.
        if !self.conductor.is_joined() {
            self.ledger.session(input);
        }
        self.hear(input);
    }

    fn deadline(&mut self) {
        self.alarm.disarm();
        match self.closing_by {
            Some(_) => self.ledger.finish(),
            None => self.conductor.handle_timeout(Instant::now()),
        }
    }

    fn read_leg_events(&mut self) {
        self.leg_events.answer();
        loop {
            match self.leg_events.take() {
                Posted::Item(event) => self.conductor.handle_leg(Instant::now(), event),
                Posted::Empty => return,
                Posted::Closed => return self.conductor.leg_gone(Instant::now()),
            }
        }
    }

    fn read_media_reports(&mut self) {
        if let Some(media) = &self.media {
            media.reports.answer();
        }
        while let Some(media) = &mut self.media {
            match media.reports.take() {
                Posted::Item(CallReport::Bridge(MediaReport::Used(used))) => self.used(&used),
                Posted::Item(CallReport::Bridge(report)) => self.conductor.handle_report(Instant::now(), report),
                Posted::Item(CallReport::Closed(summary)) => self.media_closed(&summary),
                Posted::Empty => return,
                Posted::Closed => return self.media_ended(),
            }
        }
    }

    fn media_closed(&mut self, summary: &Summary) {
        self.settle(summary);
        self.ledger.close_media(summary);
    }

    /// The media driver has ended: in good order once the call is over, by a failure before.
    fn media_ended(&mut self) {
        if self.conductor.ended() {
            self.completed();
        } else {
            self.hear(Input::PartFailed);
        }
    }

    fn perform(&mut self, myself: &ActorRef<Msg>) {
        while let Some(act) = self.conductor.poll_act() {
            match act {
                Act::Leg(command) => self.command(command),
                Act::EndLeg(command) => self.end_leg(command),
                Act::Media(order) => self.order(Order::Bridge(order)),
                Act::StartMedia {
                    local_ip,
                    advertised_ip,
                } => self.locate(myself, local_ip, advertised_ip),
                Act::Record(step) => self.record(myself, step),
                Act::Tool(work) => self.work(myself, work),
                Act::SecondLeg(step) => self.second_leg(myself, step),
                Act::Note(note) => self.ledger.note(note),
                Act::End(outcome) => self.ended(outcome),
            }
        }
        let deadline = self.closing_by.or(self.conductor.poll_timeout());
        self.alarm.set(deadline, myself, || Msg::Deadline);
        if self.ledger.written() {
            myself.stop(None);
        }
    }

    /// The call we place has found its way: from here on there can be media, and a session to speak.
    fn locate(&mut self, myself: &ActorRef<Msg>, local_ip: IpAddr, advertised_ip: IpAddr) {
        let trunk = self.ledger.trunk();
        let taken = self.service.take_ports(trunk, local_ip, advertised_ip, Use::Outbound);
        let local = taken.and_then(|(ports, local)| {
            let started = Media::start(myself, &self.service, &self.agent, &self.span, ports);
            self.media = Some(started.map_err(|_| Cause::Overloaded)?);
            self.session_due = true;
            self.ledger.located(&local);
            Ok(local)
        });
        self.conductor.located(Instant::now(), local);
    }

    fn ended(&mut self, outcome: Outcome) {
        self.ledger.ended(outcome);
        self.service.tools.forget(self.ledger.call_id());
        self.closing_by = Instant::now().checked_add(MEDIA_CLOSE_MAX);
        let closing = self
            .media
            .as_ref()
            .is_some_and(|media| media.handle.order(Order::Close));
        if !closing {
            self.completed();
        }
    }

    fn command(&mut self, command: Command) {
        if let Some(leg) = &self.leg
            && !leg.command(command)
        {
            self.hear(Input::PartFailed);
        }
    }

    fn end_leg(&mut self, command: Command) {
        if let Some(leg) = self.leg.take() {
            leg.end(command);
        }
    }

    fn order(&mut self, order: Order) {
        if let Some(media) = &self.media
            && !media.handle.order(order)
        {
            self.hear(Input::PartFailed);
        }
    }
}

impl Media {
    fn start(
        myself: &ActorRef<Msg>,
        service: &Service,
        agent: &Agent,
        span: &Span,
        ports: PortPair,
    ) -> Result<Self, Overloaded> {
        let (call, reports) = post(REPORTS_MAX);
        ring(&reports, myself, || Msg::MediaReports);
        let start = Start {
            ports,
            settings: service.media_settings(),
            call,
            metrics: service.metrics.clone(),
            near: service.warm.places(&agent.name),
            span: span.clone(),
        };
        let handle = MediaHandle::start(&service.workers, start)?;
        Ok(Self { handle, reports })
    }
}

fn answer(port: RpcReplyPort<Result<(), NotNow>>, done: Result<(), NotNow>) {
    // Whoever asked may have stopped waiting.
    let _ = port.send(done);
}

fn ring<T>(inbox: &PostBox<T>, myself: &ActorRef<Msg>, message: fn() -> Msg) {
    let actor = myself.clone();
    // A bell that finds the actor gone has nobody to wake.
    inbox.ring_with(move || drop(actor.cast(message())));
}
