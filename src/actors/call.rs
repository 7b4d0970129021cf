//! The Call actor: one call's lifetime.
//!
//! It owns the leg's handle, the media driver's handle, the Session actor and the call's ledger, translates what they
//! report into inputs of [`Machine`], and performs what the machine decides. Everything it holds is given back by
//! dropping it, so a call that panics still hangs up, frees its ports and leaves a record.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::Span;

use super::{
    alarm::Alarm,
    ledger::Ledger,
    service::{Prepared, Service},
    session,
};
use crate::{
    call::{
        Cause, Machine, Outcome, Terms,
        bridge::Report,
        machine::{Input, Output},
    },
    config::Agent,
    drivers::{
        leg::LegHandle,
        media::{CallReport, MediaHandle, Order, REPORTS_MAX, Start},
        post::{PostBox, Posted, post},
    },
    sdp,
    sip::{Command, Event},
    tools,
};

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
    /// The Session actor dials this backend.
    Dialled(String),
    /// The machine's deadline has come.
    Deadline,
    /// The gateway is stopping: finish the sentence and end.
    Finish,
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
    /// The agent that answers.
    pub agent: Arc<Agent>,
    /// The leg.
    pub leg: LegHandle,
    /// What happens to the leg.
    pub events: PostBox<Event>,
    /// Ports, and what the offer settled.
    pub prepared: Prepared,
    /// The call's record in the making.
    pub ledger: Ledger,
    /// The call's log span.
    pub span: Span,
}

/// What the actor knows.
pub struct State {
    service: Arc<Service>,
    agent: Arc<Agent>,
    machine: Machine,
    leg: Option<LegHandle>,
    leg_events: PostBox<Event>,
    media: MediaHandle,
    media_reports: PostBox<CallReport>,
    terms: Terms,
    session: Option<ActorRef<session::Msg>>,
    session_restarts: u32,
    alarm: Alarm,
    closing_by: Option<Instant>,
    ledger: Ledger,
    span: Span,
    _active: crate::telemetry::Held,
}

impl Actor for Call {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let span = args.span.clone();
        let mut state = State::new(&myself, args)?;
        state.start_session(&myself).await?;
        let _entered = span.enter();
        state.perform(&myself);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let span = state.span.clone();
        let _entered = span.enter();
        match message {
            Msg::LegEvents => state.read_leg_events(),
            Msg::MediaReports => state.read_media_reports(),
            Msg::Session(input) => state.session_changed(input),
            Msg::Dialled(backend) => state.ledger.dialled(backend),
            Msg::Deadline => state.deadline(),
            Msg::Finish => state.hear(Input::Finish),
            Msg::Break => panic!("the Call actor was told to break"),
            Msg::BreakSession => state.break_session(),
            Msg::BreakMedia => state.order(Order::Break),
        }
        state.perform(&myself);
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
            leg,
            events,
            prepared,
            mut ledger,
            span,
        } = args;
        ring(&events, myself, || Msg::LegEvents);
        let (media_post, media_reports) = post(REPORTS_MAX);
        ring(&media_reports, myself, || Msg::MediaReports);
        let Prepared { ports, terms } = prepared;
        let start = Start {
            ports,
            settings: service.media_settings(),
            call: media_post,
            metrics: service.metrics.clone(),
            span: span.clone(),
        };
        let media = match MediaHandle::start(&service.workers, start) {
            Ok(media) => media,
            Err(overloaded) => {
                ledger.ended(Outcome::refused(Cause::Overloaded));
                leg.end(refuse(Cause::Overloaded));
                return Err(overloaded.into());
            }
        };
        Ok(Self {
            machine: Machine::new(Instant::now(), service.call_settings(&agent)),
            leg: Some(leg),
            leg_events: events,
            media,
            media_reports,
            terms,
            session: None,
            session_restarts: 0,
            alarm: Alarm::default(),
            closing_by: None,
            ledger,
            span,
            _active: service.metrics.hold(crate::telemetry::Level::CallsActive),
            service,
            agent,
        })
    }

    async fn start_session(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        let args = session::Args {
            service: self.service.clone(),
            agent: self.agent.clone(),
            media: self.media.clone(),
            call: myself.clone(),
            span: self.span.clone(),
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
        let allowed = self.session_restarts <= SESSION_RESTARTS_MAX && !self.machine.ended();
        if !allowed || self.start_session(myself).await.is_err() {
            self.hear(Input::SessionGone);
        }
    }

    fn break_session(&self) {
        if let Some(session) = &self.session {
            // A Session actor that is gone already is as broken as it gets.
            let _ = session.cast(session::Msg::Break);
        }
    }

    fn hear(&mut self, input: Input) {
        self.machine.handle(Instant::now(), input);
    }

    fn session_changed(&mut self, input: Input) {
        if input == Input::SessionReady {
            self.ledger.session_ready();
        }
        self.hear(input);
    }

    fn deadline(&mut self) {
        self.alarm.disarm();
        match self.closing_by {
            Some(_) => self.ledger.finish(),
            None => self.machine.handle_timeout(Instant::now()),
        }
    }

    fn read_leg_events(&mut self) {
        self.leg_events.answer();
        loop {
            match self.leg_events.take() {
                Posted::Item(event) => self.leg_event(event),
                Posted::Empty => return,
                // The leg is gone: whatever was to be said about it has been said, unless the driver died.
                Posted::Closed => return self.hear(Input::LegFailed(Cause::Crashed)),
            }
        }
    }

    fn leg_event(&mut self, event: Event) {
        match event {
            Event::Cancelled => self.hear(Input::Cancelled),
            Event::Confirmed { answer } => self.confirmed(answer.as_deref()),
            Event::Reoffered { offer } => self.reoffered(offer.as_deref()),
            Event::ByeReceived { .. } => self.hear(Input::ByeReceived),
            Event::Failed { reason } => self.leg_failed(reason),
            // The INVITE made this call; the end of the leg closes the box.
            Event::Incoming(_) | Event::Gone => {}
            Event::Located { .. }
            | Event::Ringing
            | Event::Progressed { .. }
            | Event::Answered { .. }
            | Event::Rejected { .. }
            | Event::Reanswered { .. }
            | Event::TransferProgress { .. }
            | Event::TransferAsked { .. }
            | Event::Digit { .. }
            | Event::MessageReceived { .. } => {}
        }
    }

    fn leg_failed(&mut self, reason: &str) {
        self.hear(Input::LegFailed(Cause::from_word(reason).unwrap_or(Cause::FlowLost)));
    }

    fn confirmed(&mut self, answer: Option<&[u8]>) {
        match self.terms.acknowledge(answer) {
            Ok(true) => self.apply_terms(),
            Ok(false) => {}
            Err(refusal) => return self.media_refused(refusal),
        }
        self.hear(Input::Confirmed);
    }

    fn media_refused(&mut self, refusal: sdp::Refusal) {
        tracing::warn!(%refusal, "the session description in the ACK cannot be used");
        self.hear(Input::Confirmed);
        self.hear(Input::MediaRefused(refusal.into()));
    }

    /// A re-INVITE: hold, resume, a new address or codec; or, without an offer, a question for ours.
    fn reoffered(&mut self, offer: Option<&[u8]>) {
        match self.terms.reoffer(offer) {
            Ok(()) => {
                self.apply_terms();
                self.command(Command::Answer {
                    sdp: self.terms.body().to_vec(),
                });
            }
            Err(refusal) => {
                tracing::warn!(%refusal, "a re-offer was refused");
                self.command(refuse(refusal.into()));
            }
        }
    }

    /// Puts into effect what has been agreed on; nothing has while our own offer waits for its answer.
    fn apply_terms(&mut self) {
        if let Some(agreed) = self.terms.agreed().cloned() {
            self.ledger.agreed(&agreed);
            self.order(Order::Apply(Box::new(agreed)));
        }
    }

    fn read_media_reports(&mut self) {
        self.media_reports.answer();
        loop {
            match self.media_reports.take() {
                Posted::Item(CallReport::Bridge(report)) => self.media_report(report),
                Posted::Item(CallReport::Closed(summary)) => self.ledger.close_media(&summary),
                Posted::Empty => return,
                Posted::Closed => return self.media_ended(),
            }
        }
    }

    fn media_report(&mut self, report: Report) {
        match report {
            Report::Quiet => self.hear(Input::Quiet),
            Report::CallerSilent => self.hear(Input::CallerSilent),
            Report::ToolCall {
                call_id,
                name,
                arguments,
            } => self.tool_call(call_id, &name, &arguments),
            Report::Digit(_) => self.service.metrics.dtmf_digit(),
            Report::Transcript(transcript) => tracing::debug!(?transcript, "said"),
            // The media driver keeps these for the session and the metrics.
            Report::SessionReady
            | Report::SessionFault(_)
            | Report::Responded(_)
            | Report::BargedIn(_)
            | Report::PlayoutDropped => {}
        }
    }

    /// The media driver has ended: in good order once the call is over, by a failure before.
    fn media_ended(&mut self) {
        if self.machine.ended() {
            self.ledger.finish();
        } else {
            self.hear(Input::PartFailed);
        }
    }

    fn tool_call(&mut self, call_id: String, name: &str, arguments: &str) {
        tracing::info!(tool = name, "the agent calls a tool");
        match (tools::Invocation { name, arguments }).read() {
            Ok(tools::Action::HangUp { reason }) => {
                tracing::info!(reason, "the agent hangs up");
                self.tool_result(call_id, "the call is being ended".to_owned(), false);
                self.hear(Input::HangUpAsked);
            }
            Err(misuse) => self.tool_result(call_id, misuse.to_string(), true),
        }
    }

    fn tool_result(&self, call_id: String, output: String, respond: bool) {
        self.media.order(Order::ToolResult {
            call_id,
            output,
            respond,
        });
    }

    fn perform(&mut self, myself: &ActorRef<Msg>) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Ring => self.command(Command::Ring),
                Output::Answer => self.answer(),
                Output::Refuse(cause) => self.end_leg(refuse(cause)),
                Output::Greet => self.order(Order::Greet),
                Output::Comfort(on) => self.order(Order::Comfort(on)),
                Output::Apologise => self.order(Order::Apologise),
                Output::AwaitQuiet => self.order(Order::AwaitQuiet),
                Output::HangUp(cause) => self.end_leg(Command::HangUp {
                    reason: cause.word().into(),
                }),
                Output::End(outcome) => self.ended(outcome),
            }
        }
        self.alarm
            .set(self.closing_by.or(self.machine.poll_timeout()), myself, || {
                Msg::Deadline
            });
        if self.ledger.written() {
            myself.stop(None);
        }
    }

    fn answer(&mut self) {
        self.ledger.answered();
        // Nothing is sent to the caller's media address while it only rings.
        self.apply_terms();
        self.command(Command::Answer {
            sdp: self.terms.body().to_vec(),
        });
    }

    fn ended(&mut self, outcome: Outcome) {
        self.ledger.ended(outcome);
        // Whatever is left of the leg needs no more of us; a leg that is over ignores this.
        self.end_leg(Command::HangUp {
            reason: outcome.cause.word().into(),
        });
        self.closing_by = Instant::now().checked_add(MEDIA_CLOSE_MAX);
        if !self.media.order(Order::Close) {
            self.ledger.finish();
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
        if !self.media.order(order) {
            self.hear(Input::PartFailed);
        }
    }
}

/// The command that refuses a call for this cause.
pub fn refuse(cause: Cause) -> Command {
    Command::Refuse {
        status: Outcome::refused(cause).sip_code,
        reason: cause.word().into(),
    }
}

fn ring<T>(inbox: &PostBox<T>, myself: &ActorRef<Msg>, message: fn() -> Msg) {
    let actor = myself.clone();
    // A bell that finds the actor gone has nobody to wake.
    inbox.ring_with(move || drop(actor.cast(message())));
}
