//! The gateway without actors and sockets: one SIP endpoint, the calls that came in through it, and the mail between
//! them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use patchcord::{
    call::{Cause, Outcome, conductor::refuse},
    sip::{Command, Counts, Endpoint, Event, Flow, Invite, LegId, Output, Peer, Settings, Transport},
};

use crate::{
    agenda::{Agenda, Queues},
    call::{Act, Call, Desk, Mail, Rules},
    dice::Dice,
};

/// The gateway.
pub struct Gateway {
    /// The calls, by their numbers.
    pub calls: Vec<Call>,
    /// Calls that were refused at once, and why.
    pub refused: Vec<Outcome>,
    endpoint: Endpoint,
    legs: BTreeMap<LegId, LegRecord>,
    draining: bool,
    rules: Rules,
    agenda: Agenda<(Option<usize>, Mail)>,
    queues: Queues<(Option<usize>, Desk)>,
    dice: Dice,
    sends: VecDeque<Send>,
}

/// What the application was told about a leg.
#[derive(Debug, Default)]
struct LegRecord {
    call: Option<usize>,
    gone: bool,
}

/// What leaves the gateway.
#[derive(Debug)]
pub enum Send {
    /// A SIP datagram.
    Sip(SocketAddr, Vec<u8>),
    /// Something a call wants done.
    Call(usize, Act),
}

/// Where the gateway hears SIP.
pub const SIP_ADDRESS: &str = "192.0.2.1:5060";
/// The first call's RTP port; the next call has the next even one.
const RTP_PORT_FIRST: u16 = 20_000;
/// The longest that mail between two desks takes, in milliseconds.
const MAIL_MS_MAX: u64 = 3;

impl Gateway {
    /// A gateway without calls.
    pub fn new(now: Instant, rules: Rules, mut dice: Dice) -> Self {
        let networks = vec!["198.51.100.0/24".parse().expect("a network")];
        let peers = vec![Peer {
            name: "phones".to_owned(),
            networks,
            credentials: None,
            uplink: None,
            session_expires: Some(patchcord::sip::SESSION_EXPIRES),
            transports: Vec::new(),
        }];
        let settings = Settings {
            peers,
            ..Settings::new([9; 32], dice.number())
        };
        Self {
            calls: Vec::new(),
            refused: Vec::new(),
            endpoint: Endpoint::new(now, settings),
            legs: BTreeMap::new(),
            draining: false,
            rules,
            agenda: Agenda::new(),
            queues: Queues::new(),
            dice,
            sends: VecDeque::new(),
        }
    }

    /// Where a call hears RTP.
    pub fn rtp_port(call: usize) -> u16 {
        RTP_PORT_FIRST + 2 * call as u16
    }

    /// The call that hears RTP on this port.
    pub fn call_at(port: u16) -> usize {
        usize::from(port - RTP_PORT_FIRST) / 2
    }

    /// A SIP datagram of a phone.
    pub fn handle_sip(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) {
        let local = SIP_ADDRESS.parse().expect("an address");
        let flow = Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
        };
        self.endpoint.handle_datagram(now, flow, bytes);
        self.carry(now);
    }

    /// Takes no new calls, and has those there are finish their sentences.
    pub fn drain(&mut self, now: Instant) {
        self.endpoint.set_draining(true);
        self.draining = true;
        (0..self.calls.len()).for_each(|call| self.call(now, call, |call| call.finish(now)));
    }

    /// Lets a call take something in.
    pub fn call<T>(&mut self, now: Instant, call: usize, take: impl FnOnce(&mut Call) -> T) -> T {
        let taken = take(&mut self.calls[call]);
        self.collect(now, call);
        taken
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
            self.carry(now);
        }
        while let Some((call, mail)) = self.agenda.due(now) {
            self.deliver(now, call, mail);
        }
        for call in 0..self.calls.len() {
            if self.calls[call].poll_timeout().is_some_and(|at| at <= now) {
                self.call(now, call, |call| call.handle_timeout(now));
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let calls = self.calls.iter_mut().filter_map(Call::poll_timeout).min();
        [self.endpoint.poll_timeout(), self.agenda.next_at(), calls]
            .into_iter()
            .flatten()
            .min()
    }

    /// What leaves.
    pub fn poll_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    /// Fails unless every leg was said to be gone and nothing is held any more.
    pub fn check_nothing_left(&self) {
        assert_eq!(
            self.endpoint.counts(),
            Counts::default(),
            "the endpoint still holds something"
        );
        assert_eq!(
            self.endpoint.poll_timeout(),
            None,
            "the endpoint still waits for something"
        );
        assert_eq!(self.agenda.next_at(), None, "mail was not delivered");
        assert!(
            self.legs.values().all(|leg| leg.gone),
            "a leg is not gone: {:?}",
            self.legs
        );
        assert!(self.calls.iter().all(Call::is_over), "a call is not over");
    }

    fn deliver(&mut self, now: Instant, call: Option<usize>, mail: Mail) {
        match (call, mail) {
            (_, Mail::Command(leg, command)) => {
                self.endpoint.command(now, leg, command);
                self.carry(now);
            }
            (Some(call), mail) => self.call(now, call, |call| call.handle_mail(now, mail)),
            (None, _) => {}
        }
    }

    /// Moves what the endpoint wants moved.
    fn carry(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.sends.push_back(Send::Sip(flow.remote, bytes)),
                Output::Event { leg, event } => self.leg_event(now, leg, event),
                other @ (Output::Dropped(_) | Output::Open { .. } | Output::Trunk(_)) => panic!("{other:?}"),
                // There are no names here, so what has to leave takes the flow that is there.
                Output::Resolve { query, .. } => self.endpoint.handle_resolved(now, query, Err("unknown".to_owned())),
                // Requests that crossed a BYE, and re-INVITEs ahead of an ACK that is still under way.
                Output::Repeated(_) => {}
                Output::Refused(refused) => assert!([481, 491].contains(&refused.status), "{refused:?}"),
            }
        }
    }

    fn leg_event(&mut self, now: Instant, leg: LegId, event: Event) {
        if let Event::Incoming(invite) = event {
            assert!(
                self.legs.insert(leg, LegRecord::default()).is_none(),
                "a leg came twice"
            );
            return self.admit(now, leg, &invite);
        }
        let record = self.legs.get_mut(&leg).expect("the first event of a leg is its INVITE");
        assert!(!record.gone, "an event of a leg that is gone: {event:?}");
        record.gone = matches!(event, Event::Gone);
        if let Some(call) = record.call {
            self.post(now, Some(call), Desk::Call, Mail::Leg(event));
        }
    }

    fn admit(&mut self, now: Instant, leg: LegId, invite: &Invite) {
        if self.draining {
            return self.refuse(now, leg, Cause::Draining);
        }
        let number = self.calls.len();
        let dice = self.dice.split();
        match Call::admit(now, leg, invite, Self::rtp_port(number), self.rules, dice) {
            Ok(call) => {
                self.calls.push(call);
                self.legs.entry(leg).or_default().call = Some(number);
                self.collect(now, number);
            }
            Err(cause) => self.refuse(now, leg, cause),
        }
    }

    fn refuse(&mut self, now: Instant, leg: LegId, cause: Cause) {
        let command: Command = refuse(cause);
        self.refused.push(Outcome::refused(cause));
        self.post(now, None, Desk::Sip, Mail::Command(leg, command));
    }

    fn collect(&mut self, now: Instant, call: usize) {
        while let Some(act) = self.calls[call].poll_act() {
            match act {
                Act::Post(desk, mail) => self.post(now, Some(call), desk, mail),
                Act::PostAt(at, mail) => self.agenda.add(at, (Some(call), mail)),
                act => self.sends.push_back(Send::Call(call, act)),
            }
        }
    }

    fn post(&mut self, now: Instant, call: Option<usize>, desk: Desk, mail: Mail) {
        let at = self.queues.passes((call, desk), now, self.dice.ms(0, MAIL_MS_MAX));
        self.agenda.add(at, (call, mail));
    }
}
