//! One call as the gateway's actors and drivers run it, without them: the Call actor, the Session actor and the media
//! driver are three desks that pass mail to each other, and mail takes its time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use patchcord::{
    audio::Law,
    call::{
        Bridge, Cause, Machine, Outage, Outcome,
        bridge::Report,
        machine::{self, Input, Output},
        outage::Verdict,
    },
    media::{self, Channel},
    realtime::{self, FaultClass, ReconnectSettings},
    sdp,
    sip::{Command, Event, Invite, LegId},
    tools,
};

use crate::{audit::Audit, dice::Dice};

/// Who reads mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Desk {
    /// The Call actor.
    Call,
    /// The Session actor.
    Session,
    /// The media driver.
    Media,
    /// The SIP driver.
    Sip,
}

/// What is said between desks.
#[derive(Debug)]
pub enum Mail {
    /// To the call: something happened to its leg.
    Leg(Event),
    /// To the call: from the media driver.
    Report(Report),
    /// To the call: from the session.
    Session(Input),
    /// To the session: it is ready.
    Ready,
    /// To the session: it is lost.
    Lost(FaultClass),
    /// To the session: it is time to dial.
    DialAgain,
    /// To the media driver.
    Order(Order),
    /// To the SIP driver.
    Command(LegId, Command),
}

/// What the media driver is told.
#[derive(Debug)]
pub enum Order {
    /// What was negotiated.
    Apply(Box<sdp::Negotiated>),
    /// Connect the session.
    Dial,
    /// Let the agent speak first.
    Greet,
    /// Switch the comfort tone.
    Comfort(bool),
    /// Play the apology.
    Apologise,
    /// Report when nothing is left to be heard.
    AwaitQuiet,
    /// A tool's result.
    ToolResult(String, String, bool),
    /// End.
    Close,
}

/// What a call wants done outside of it.
#[derive(Debug)]
pub enum Act {
    /// Pass this on.
    Post(Desk, Mail),
    /// Pass this on at this time.
    PostAt(Instant, Desk, Mail),
    /// Send a packet from the RTP port.
    Rtp(SocketAddr, Vec<u8>),
    /// Make this connection to the backend; an older one is dropped.
    Connect(u64),
    /// Send this over this connection.
    Text(u64, String),
    /// Drop this connection.
    Disconnect(u64),
}

/// What all calls of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// When to answer, and the limits of a call.
    pub call: machine::Settings,
    /// How to reconnect.
    pub reconnect: ReconnectSettings,
    /// How late the media may wake up.
    pub lag_ms_max: u64,
    /// Without any RTP for so long the caller is gone.
    pub silence_timeout: Duration,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// Its leg.
    pub leg: LegId,
    /// How it ended; exactly one is right.
    pub outcomes: Vec<Outcome>,
    /// The keys heard.
    pub digits: String,
    /// When the session was lost, when it was ready.
    pub session_times: Vec<(Instant, bool)>,
    /// What passes between its parts.
    pub audit: Audit,
    machine: Machine,
    outage: Outage,
    held: bool,
    local: sdp::Local,
    body: Vec<u8>,
    /// What the caller's offer settled, in effect once we answer; nothing while our own offer waits for its answer.
    negotiated: Option<sdp::Negotiated>,
    bridge: Bridge,
    open: bool,
    connection: u64,
    connected: bool,
    wake: Option<(Instant, Instant)>,
    rules: Rules,
    dice: Dice,
    acts: VecDeque<Act>,
}

impl Call {
    /// Takes an INVITE; the cause when it is refused.
    pub fn admit(now: Instant, leg: LegId, invite: &Invite, rtp_port: u16, rules: Rules, dice: Dice) -> Result<Self, Cause> {
        let local = sdp::Local {
            address: invite.advertised_ip,
            rtp_port,
            session_id: 7,
            version: 1,
            codecs: vec![sdp::Codec::Pcmu, sdp::Codec::Pcma],
        };
        let Some(offer) = &invite.offer else {
            let body = sdp::offer(&local);
            return Ok(Self::new(now, leg, local, body, None, rules, dice));
        };
        let (negotiated, body) = sdp::answer(offer, &local)
            .map_err(|refusal| Cause::from_word(refusal.reason()).expect("a refusal has a cause"))?;
        Ok(Self::new(now, leg, local, body, Some(negotiated), rules, dice))
    }

    fn new(
        now: Instant,
        leg: LegId,
        local: sdp::Local,
        body: Vec<u8>,
        negotiated: Option<sdp::Negotiated>,
        rules: Rules,
        mut dice: Dice,
    ) -> Self {
        let media = media::Settings { silence_timeout: rules.silence_timeout, ..media::Settings::from_seed(dice.number()) };
        let mut call = Self {
            leg,
            outcomes: Vec::new(),
            digits: String::new(),
            session_times: Vec::new(),
            audit: Audit::new(now, Duration::from_millis(rules.lag_ms_max)),
            machine: Machine::new(now, rules.call),
            outage: Outage::new(rules.reconnect, 1),
            held: true,
            local,
            body,
            negotiated,
            bridge: Bridge::new(now, media),
            open: true,
            connection: 0,
            connected: false,
            wake: None,
            rules,
            dice,
            acts: VecDeque::new(),
        };
        call.order(Order::Dial);
        call.perform();
        call
    }

    /// Mail for a desk of this call.
    pub fn handle_mail(&mut self, now: Instant, mail: Mail) {
        match mail {
            Mail::Leg(event) => self.leg_event(now, event),
            Mail::Report(report) => self.report(now, report),
            Mail::Session(input) => self.machine.handle(now, input),
            Mail::Ready => self.session_ready(now),
            Mail::Lost(class) => self.session_lost(now, class),
            Mail::DialAgain => self.order(Order::Dial),
            Mail::Order(order) => self.obey(now, order),
            Mail::Command(..) => {}
        }
        self.perform();
    }

    /// A datagram on the RTP port; false when there is nobody there any more.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        if self.open {
            self.bridge.handle_rtp(now, from, bytes);
            self.carry(now);
        }
        self.open
    }

    /// A connection came about.
    pub fn handle_connected(&mut self, now: Instant, connection: u64) {
        if self.open && connection == self.connection {
            self.connected = true;
            self.audit.session_opened();
            self.bridge.session_opened(now, session());
            self.carry(now);
        }
    }

    /// A text frame of the session.
    pub fn handle_text(&mut self, now: Instant, connection: u64, text: &str) {
        if self.open && self.connected && connection == self.connection {
            self.audit.heard(text);
            self.bridge.handle_session(now, text);
            self.carry(now);
        }
    }

    /// A connection broke, or could not be made.
    pub fn handle_lost(&mut self, now: Instant, connection: u64, class: FaultClass) {
        if self.open && connection == self.connection {
            self.drop_session(now, class);
            self.carry(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
            self.perform();
        }
        if self.open && self.wake().is_some_and(|at| at <= now) {
            self.wake = None;
            self.bridge.handle_timeout(now);
            self.carry(now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let media = if self.open { self.wake() } else { None };
        self.machine.poll_timeout().into_iter().chain(media).min()
    }

    /// What to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Whether nothing of it is left.
    pub fn is_over(&self) -> bool {
        !self.open && self.machine.ended() && !self.held
    }
}

/// The Call actor.
impl Call {
    fn leg_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Cancelled => self.machine.handle(now, Input::Cancelled),
            Event::Confirmed { answer } => self.confirmed(now, answer.as_deref()),
            Event::ByeReceived { .. } => self.machine.handle(now, Input::ByeReceived),
            Event::Failed { reason } => {
                let cause = Cause::from_word(reason).unwrap_or(Cause::FlowLost);
                self.machine.handle(now, Input::LegFailed(cause));
            }
            Event::Gone => self.machine.handle(now, Input::LegFailed(Cause::Crashed)),
            Event::Reoffered { offer } => self.reoffered(offer.as_deref()),
            Event::Incoming(_) => {}
        }
    }

    fn reoffered(&mut self, offer: Option<&[u8]>) {
        self.local.version += 1;
        match sdp::answer(offer.unwrap_or_default(), &self.local) {
            Ok((negotiated, sdp)) => {
                self.settle(negotiated);
                self.command(Command::Answer { sdp });
            }
            Err(refusal) => self.command(Command::Refuse { status: 488, reason: refusal.reason().into() }),
        }
    }

    fn confirmed(&mut self, now: Instant, answer: Option<&[u8]>) {
        if self.negotiated.is_none() {
            match sdp::read_answer(answer.unwrap_or_default(), &self.local) {
                Ok(negotiated) => self.settle(negotiated),
                Err(refusal) => {
                    let cause = Cause::from_word(refusal.reason()).unwrap_or(Cause::BadSdp);
                    self.machine.handle(now, Input::Confirmed);
                    return self.machine.handle(now, Input::MediaRefused(cause));
                }
            }
        }
        self.machine.handle(now, Input::Confirmed);
    }

    fn report(&mut self, now: Instant, report: Report) {
        match report {
            Report::Quiet => self.machine.handle(now, Input::Quiet),
            Report::CallerSilent => self.machine.handle(now, Input::CallerSilent),
            Report::ToolCall { call_id, name, arguments } => self.tool_call(now, call_id, &name, &arguments),
            _ => {}
        }
    }

    fn tool_call(&mut self, now: Instant, call_id: String, name: &str, arguments: &str) {
        match (tools::Invocation { name, arguments }).read() {
            Ok(tools::Action::HangUp { .. }) => {
                self.order(Order::ToolResult(call_id, "the call is being ended".to_owned(), false));
                self.machine.handle(now, Input::HangUpAsked);
            }
            Err(misuse) => self.order(Order::ToolResult(call_id, misuse.to_string(), true)),
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Ring => self.command(Command::Ring),
                Output::Answer => self.answer(),
                Output::Refuse(cause) => self.end_leg(refusal(cause)),
                Output::Greet => self.order(Order::Greet),
                Output::Comfort(on) => self.order(Order::Comfort(on)),
                Output::Apologise => self.order(Order::Apologise),
                Output::AwaitQuiet => self.order(Order::AwaitQuiet),
                Output::HangUp(cause) => self.end_leg(Command::HangUp { reason: cause.word().into() }),
                Output::End(outcome) => self.ended(outcome),
            }
        }
    }

    fn answer(&mut self) {
        if let Some(negotiated) = self.negotiated.clone() {
            self.settle(negotiated);
        }
        let sdp = std::mem::take(&mut self.body);
        self.command(Command::Answer { sdp });
    }

    fn settle(&mut self, negotiated: sdp::Negotiated) {
        self.negotiated = Some(negotiated.clone());
        self.order(Order::Apply(Box::new(negotiated)));
    }

    fn ended(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.end_leg(Command::HangUp { reason: outcome.cause.word().into() });
        self.order(Order::Close);
    }

    fn command(&mut self, command: Command) {
        if self.held {
            self.acts.push_back(Act::Post(Desk::Sip, Mail::Command(self.leg, command)));
        }
    }

    fn end_leg(&mut self, command: Command) {
        self.command(command);
        self.held = false;
    }

    fn order(&mut self, order: Order) {
        self.acts.push_back(Act::Post(Desk::Media, Mail::Order(order)));
    }
}

/// The Session actor.
impl Call {
    fn session_ready(&mut self, now: Instant) {
        self.outage.ready(now);
        self.tell(Input::SessionReady);
    }

    fn session_lost(&mut self, now: Instant, class: FaultClass) {
        match self.outage.lost(now, class, self.dice.number()) {
            Verdict::Dial { after, .. } => {
                self.tell(Input::SessionAway);
                self.acts.push_back(Act::PostAt(now + after, Desk::Session, Mail::DialAgain));
            }
            Verdict::GiveUp => self.tell(Input::SessionGone),
        }
    }

    fn tell(&mut self, input: Input) {
        self.acts.push_back(Act::Post(Desk::Call, Mail::Session(input)));
    }
}

/// The media driver.
impl Call {
    fn obey(&mut self, now: Instant, order: Order) {
        if !self.open {
            return;
        }
        match order {
            Order::Apply(negotiated) => self.apply(now, &negotiated),
            Order::Dial => self.dial(),
            Order::Greet => self.bridge.greet(now),
            Order::Comfort(on) => self.comfort(on),
            Order::Apologise => self.apologise(now),
            Order::AwaitQuiet => self.bridge.await_quiet(now),
            Order::ToolResult(call_id, output, respond) => self.bridge.tool_result(now, &call_id, &output, respond),
            Order::Close => return self.close(now),
        }
        self.carry(now);
    }

    fn apply(&mut self, now: Instant, negotiated: &sdp::Negotiated) {
        self.audit.settled(now, law(negotiated.codec), negotiated.direction.sends());
        self.bridge.apply(now, negotiated);
    }

    fn dial(&mut self) {
        self.connection += 1;
        self.connected = false;
        self.acts.push_back(Act::Connect(self.connection));
    }

    fn comfort(&mut self, on: bool) {
        self.audit.comfort(on);
        self.bridge.comfort(on);
    }

    fn apologise(&mut self, now: Instant) {
        self.audit.prompt();
        self.bridge.apologise(now);
    }

    fn close(&mut self, now: Instant) {
        self.audit.session_lost(now);
        self.bridge.session_lost(now);
        self.bridge.bye(now);
        self.carry(now);
        self.open = false;
        self.acts.push_back(Act::Disconnect(self.connection));
    }

    /// Moves what the bridge wants moved.
    fn carry(&mut self, now: Instant) {
        while let Some(packet) = self.bridge.poll_transmit() {
            if packet.channel == Channel::Rtp {
                self.audit.packet(now, packet.bytes);
                self.acts.push_back(Act::Rtp(packet.to, packet.bytes.to_vec()));
            }
        }
        let mut lost = None;
        while let Some(report) = self.bridge.poll_report() {
            lost = lost.or(self.bridge_report(now, report));
        }
        while let Some(message) = self.bridge.poll_message() {
            self.audit.said(now, &message.text);
            self.acts.push_back(Act::Text(self.connection, message.text));
        }
        self.audit.settle(now);
        if let Some(class) = lost {
            self.acts.push_back(Act::Disconnect(self.connection));
            self.drop_session(now, class);
        }
    }

    /// Handles a report; the class of a fault that ends the session.
    fn bridge_report(&mut self, now: Instant, report: Report) -> Option<FaultClass> {
        match report {
            Report::SessionReady => {
                self.session_times.push((now, true));
                self.audit.session_ready(now);
                self.acts.push_back(Act::Post(Desk::Session, Mail::Ready));
            }
            Report::SessionFault(fault) => return Some(fault.class).filter(|class| *class != FaultClass::Harmless),
            Report::Responded(_) | Report::BargedIn(_) | Report::Transcript(_) => {}
            Report::Digit(digit) => {
                self.digits.push(digit);
                self.audit.key();
            }
            report => self.acts.push_back(Act::Post(Desk::Call, Mail::Report(report))),
        }
        None
    }

    fn drop_session(&mut self, now: Instant, class: FaultClass) {
        self.connected = false;
        self.connection += 1;
        self.session_times.push((now, false));
        self.audit.session_lost(now);
        self.bridge.session_lost(now);
        self.acts.push_back(Act::Post(Desk::Session, Mail::Lost(class)));
    }

    /// When the media wakes up for its next deadline: a busy machine is never quite in time.
    fn wake(&mut self) -> Option<Instant> {
        let deadline = self.bridge.poll_timeout()?;
        match self.wake {
            Some((ordered, wake)) if ordered == deadline => Some(wake),
            _ => {
                let wake = deadline + self.dice.ms(0, self.rules.lag_ms_max);
                self.wake = Some((deadline, wake));
                Some(wake)
            }
        }
    }
}

/// The command that refuses a call for this cause.
pub fn refusal(cause: Cause) -> Command {
    Command::Refuse { status: Outcome::refused(cause).sip_code, reason: cause.word().into() }
}

fn session() -> realtime::Settings {
    realtime::Settings {
        instructions: "Repeat what you hear.".to_owned(),
        voice: "marin".to_owned(),
        turn_detection: serde_json::json!({"type": "server_vad"}),
        tools: tools::specs(),
        greeting: Some("Hello.".to_owned()),
        ..realtime::Settings::default()
    }
}

fn law(codec: sdp::Codec) -> Law {
    match codec {
        sdp::Codec::Pcmu => Law::Mu,
        sdp::Codec::Pcma => Law::A,
    }
}
