//! One call as the gateway's actors and drivers run it, without them: the Call actor, the Session actor and the media
//! driver are three desks that pass mail to each other, and mail takes its time.

mod desks;
mod media_desk;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use patchcord::{
    call::{
        self, Bridge, Cause, Conductor, Outage, Outcome, Terms,
        bridge::{Report, away},
        conductor, filler,
        machine::{self, Input},
    },
    media,
    realtime::{FaultClass, ReconnectSettings},
    sdp,
    sip::{Command, Event, Invite, LegId},
    tools::Toolbox,
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
    /// For the bridge.
    Bridge(call::Order),
    /// Connect the session.
    Dial,
    /// End.
    Close,
}

/// What a call wants done outside of it.
#[derive(Debug)]
pub enum Act {
    /// Pass this on.
    Post(Desk, Mail),
    /// Pass this on to the Session actor at this time.
    PostAt(Instant, Mail),
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
    /// Now and then the media wakes up far too late.
    pub hiccups: bool,
    /// Without any RTP for so long the caller is gone.
    pub silence_timeout: Duration,
    /// How long a caller without a session hears the tone alone.
    pub filler_after: Duration,
    /// How much of what is said meanwhile is kept.
    pub replay_max: Duration,
    /// How long a session that owes something may be silent.
    pub stall_max: Duration,
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
    /// How long after each loss words of ours were heard.
    pub filled: Vec<Duration>,
    /// How long after each loss the next session was heard.
    pub recovered: Vec<Duration>,
    /// What passes between its parts.
    pub audit: Audit,
    conductor: Conductor,
    outage: Outage,
    held: bool,
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
    pub fn admit(
        now: Instant,
        leg: LegId,
        invite: &Invite,
        rtp_port: u16,
        rules: Rules,
        dice: Dice,
    ) -> Result<Self, Cause> {
        let local = sdp::Local {
            codecs: vec![sdp::Codec::Pcmu, sdp::Codec::Pcma],
            ..sdp::Local::new(invite.advertised_ip, rtp_port, 7)
        };
        let terms = Terms::new(local, invite.offer.as_deref())?;
        Ok(Self::new(now, leg, terms, rules, dice))
    }

    fn new(now: Instant, leg: LegId, terms: Terms, rules: Rules, mut dice: Dice) -> Self {
        let media = media::Settings {
            silence_timeout: rules.silence_timeout,
            ..media::Settings::from_seed(dice.number())
        };
        let mut call = Self {
            leg,
            outcomes: Vec::new(),
            digits: String::new(),
            session_times: Vec::new(),
            filled: Vec::new(),
            recovered: Vec::new(),
            audit: Audit::new(now, Duration::from_millis(rules.lag_ms_max), rules.hiccups),
            conductor: Conductor::answering(now, settings(rules), terms),
            outage: Outage::new(rules.reconnect, 1),
            held: true,
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
            Mail::Report(report) => self.conductor.handle_report(now, report),
            Mail::Session(input) => self.conductor.handle(now, input),
            Mail::Ready => self.session_ready(now),
            Mail::Lost(class) => self.session_lost(now, class),
            Mail::DialAgain => self.order(Order::Dial),
            Mail::Order(order) => self.obey(now, order),
            Mail::Command(..) => {}
        }
        self.perform();
    }

    /// The gateway is stopping.
    pub fn finish(&mut self, now: Instant) {
        self.conductor.handle(now, Input::Finish);
        self.perform();
    }

    /// A datagram on the RTP port; false when there is nobody there any more.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        if self.open {
            self.bridge.handle_rtp(now, from, &mut bytes.to_vec());
            self.carry(now);
        }
        self.open
    }

    /// A connection came about.
    pub fn handle_connected(&mut self, now: Instant, connection: u64) {
        if self.open && connection == self.connection {
            self.connected = true;
            self.audit.session_opened();
            self.bridge.session_opened(now, media_desk::session(self.rules));
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
        if self.conductor.poll_timeout().is_some_and(|at| at <= now) {
            self.conductor.handle_timeout(now);
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
        self.conductor.poll_timeout().into_iter().chain(media).min()
    }

    /// What to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Whether nothing of it is left.
    pub fn is_over(&self) -> bool {
        !self.open && self.conductor.ended() && !self.held
    }
}

fn settings(rules: Rules) -> conductor::Settings {
    conductor::Settings {
        machine: rules.call,
        toolbox: Toolbox::default(),
        voicemail_after: None,
        messages: true,
        keys: patchcord::call::keys::Settings::default(),
        recording: Default::default(),
        turns: Default::default(),
        disclosure: None,
        away: away::Settings {
            filler: filler::Settings {
                after: rules.filler_after,
                words: None,
            },
            replay_max: rules.replay_max,
        },
        failover: conductor::Failover::default(),
        transfers: Default::default(),
    }
}
