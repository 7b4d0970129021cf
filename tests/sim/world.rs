//! One run: phones, networks, the gateway and its backends on one clock.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use patchcord::realtime::FaultClass;

use crate::{
    agenda::{Agenda, Queues},
    backend::Said,
    call::Act,
    caller::Caller,
    dice::Dice,
    gateway::{Gateway, Send},
    mouth::{FRAME_TIME, KEY_TYPE, Mouth},
    phone::News,
    plan::{Line, PhonePlan, Plan},
    rtp::Packet,
};

/// Everything there is.
pub struct World {
    /// When it began.
    pub start: Instant,
    /// The gateway.
    pub gateway: Gateway,
    /// Who calls, by number.
    pub callers: Vec<Caller>,
    now: Instant,
    agenda: Agenda<Happening>,
    queues: Queues<(usize, bool)>,
    dice: Dice,
}

/// What is to come.
#[derive(Debug)]
enum Happening {
    SipAtGateway(usize, Vec<u8>),
    SipAtPhone(usize, Vec<u8>),
    RtpAtGateway(usize, u16, Vec<u8>),
    RtpAtPhone(usize, Vec<u8>),
    Dialled(usize, u64),
    Connected(usize, u64),
    TextAtGateway(usize, u64, String),
    TextAtBackend(usize, u64, String),
    LostAtGateway(usize, u64, FaultClass),
    BackendDown(usize),
    Drain,
    Vanish(usize),
    Stranger(usize, u16),
    Call(usize),
    HangUp(usize),
    GiveUp(usize),
    Line(usize, Line),
}

/// Who has no business with any call.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 4_000);

/// After this long without a call every timer has run out.
const AFTERMATH: Duration = Duration::from_secs(150);

impl World {
    /// The world of this plan.
    pub fn new(plan: &Plan, mut dice: Dice) -> Self {
        let start = Instant::now();
        let gateway = Gateway::new(start, plan.rules, dice.split());
        let mut world = Self {
            start,
            gateway,
            callers: Vec::new(),
            now: start,
            agenda: Agenda::new(),
            queues: Queues::new(),
            dice,
        };
        plan.phones.iter().for_each(|phone| world.add(plan, phone));
        if let Some(ms) = plan.drains_at_ms {
            world.agenda.add(world.ms(ms), Happening::Drain);
        }
        world
    }

    /// Runs until nothing is to come.
    pub fn run(&mut self) {
        while let Some(at) = self.next_at() {
            assert!(at - self.start < self.longest(), "the run does not end");
            self.now = at.max(self.now);
            self.step();
        }
    }

    fn longest(&self) -> Duration {
        let calls = self
            .callers
            .iter()
            .map(|caller| caller.plan.longest_ms())
            .max()
            .unwrap_or_default();
        Duration::from_millis(calls) + AFTERMATH
    }

    fn add(&mut self, plan: &Plan, phone: &PhonePlan) {
        let number = self.callers.len();
        self.agenda.add(self.ms(phone.calls_at_ms), Happening::Call(number));
        if let Some(ms) = phone.gives_up_after_ms {
            self.agenda
                .add(self.ms(phone.calls_at_ms + ms), Happening::GiveUp(number));
        }
        if let Some(ms) = phone.vanishes_after_ms {
            self.agenda
                .add(self.ms(phone.calls_at_ms + ms), Happening::Vanish(number));
        }
        for (from_ms, _) in &phone.backend.down {
            self.agenda.add(self.ms(*from_ms), Happening::BackendDown(number));
        }
        self.callers
            .push(Caller::new(number, self.start, plan.weather, phone, &mut self.dice));
    }

    fn ms(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn next_at(&mut self) -> Option<Instant> {
        let callers = self.callers.iter().filter_map(Caller::poll_timeout).min();
        [self.agenda.next_at(), self.gateway.poll_timeout(), callers]
            .into_iter()
            .flatten()
            .min()
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(happening) = self.agenda.due(now) {
            self.happen(happening);
            self.carry();
        }
        self.gateway.handle_timeout(now);
        self.carry();
        for number in 0..self.callers.len() {
            let caller = &mut self.callers[number];
            caller.phone.handle_timeout(now);
            caller.backend.handle_timeout(now);
            if let Some(packet) = caller.mouth.as_mut().and_then(|mouth| mouth.handle_timeout(now)) {
                self.speak(number, packet);
            }
        }
        self.carry();
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::SipAtGateway(number, bytes) => self.sip_at_gateway(number, &bytes),
            Happening::SipAtPhone(number, bytes) => self.callers[number].sip(now, &bytes),
            Happening::RtpAtGateway(number, port, bytes) => self.rtp_at_gateway(number, port, &bytes),
            Happening::RtpAtPhone(number, bytes) => self.callers[number].ear.hear(now, &bytes),
            Happening::Dialled(number, connection) => self.dialled(number, connection),
            Happening::Connected(number, connection) => {
                self.tell(number, |gateway, call| {
                    gateway.call(now, call, |call| call.handle_connected(now, connection))
                });
            }
            Happening::TextAtGateway(number, connection, text) => {
                self.tell(number, |gateway, call| {
                    gateway.call(now, call, |call| call.handle_text(now, connection, &text))
                });
            }
            Happening::TextAtBackend(number, connection, text) => {
                self.callers[number].backend.handle_text(now, connection, &text);
            }
            Happening::LostAtGateway(number, connection, class) => {
                self.tell(number, |gateway, call| {
                    gateway.call(now, call, |call| call.handle_lost(now, connection, class))
                });
            }
            Happening::BackendDown(number) => self.backend_down(number),
            Happening::Drain => self.gateway.drain(now),
            Happening::Vanish(number) => self.callers[number].vanish(),
            Happening::Stranger(number, port) => self.stranger(number, port),
            Happening::Call(number) => self.callers[number].phone.invite(now),
            Happening::HangUp(number) => self.callers[number].phone.hang_up(now),
            Happening::GiveUp(number) => self.callers[number].phone.give_up(now),
            Happening::Line(number, line) => self.line(number, line),
        }
    }

    fn tell(&mut self, number: usize, tell: impl FnOnce(&mut Gateway, usize)) {
        if let Some(call) = self.callers[number].call {
            tell(&mut self.gateway, call);
        }
    }

    fn sip_at_gateway(&mut self, number: usize, bytes: &[u8]) {
        let calls = self.gateway.calls.len();
        self.gateway
            .handle_sip(self.now, self.callers[number].phone.address, bytes);
        if self.gateway.calls.len() > calls {
            assert_eq!(self.callers[number].call, None, "one INVITE became two calls");
            self.callers[number].call = Some(calls);
        }
    }

    fn rtp_at_gateway(&mut self, number: usize, port: u16, bytes: &[u8]) {
        let (now, caller) = (self.now, &mut self.callers[number]);
        let call = Gateway::call_at(port);
        assert_eq!(caller.call, Some(call), "a phone was told another call's port");
        let from = caller.phone.rtp_address();
        let heard = self.gateway.call(now, call, |call| call.handle_rtp(now, from, bytes));
        let packet = Packet::read(bytes);
        if heard && packet.payload_type == KEY_TYPE {
            caller.keys_arrived.insert(packet.timestamp);
        }
    }

    /// Somebody sends loud noise to a call's port for as long as the phone talks.
    fn stranger(&mut self, number: usize, port: u16) {
        if self.callers[number].mouth.is_none() {
            return;
        }
        let (now, call) = (self.now, Gateway::call_at(port));
        let mut packet = vec![0x80, 0];
        packet.extend(self.dice.number().to_be_bytes());
        packet.extend([7, 7]);
        packet.extend((0..160).map(|_| self.dice.below(256) as u8));
        self.gateway
            .call(now, call, |call| call.handle_rtp(now, STRANGER, &packet));
        self.agenda.add(now + FRAME_TIME, Happening::Stranger(number, port));
    }

    fn speak(&mut self, number: usize, packet: Vec<u8>) {
        let caller = &mut self.callers[number];
        let Some(port) = caller.mouth.as_ref().map(|mouth| mouth.to.port()) else {
            return;
        };
        for at in caller.out.carry(self.now) {
            self.agenda
                .add(at, Happening::RtpAtGateway(number, port, packet.clone()));
        }
    }

    fn line(&mut self, number: usize, line: Line) {
        let caller = &mut self.callers[number];
        let Some(mouth) = &mut caller.mouth else { return };
        match line {
            Line::Say { hz, ms } => mouth.say(hz, ms),
            Line::Press(key) => mouth.press(key),
            Line::Hold(on_hold) => caller.phone.hold(self.now, on_hold),
        }
    }

    /// Moves everything that anybody wants moved.
    fn carry(&mut self) {
        while let Some(send) = self.gateway.poll_send() {
            match send {
                Send::Sip(to, bytes) => self.sip_to_phone(to, &bytes),
                Send::Call(call, act) => self.act(call, act),
            }
        }
        for number in 0..self.callers.len() {
            self.carry_phone(number);
            self.carry_backend(number);
        }
    }

    fn carry_phone(&mut self, number: usize) {
        while let Some(bytes) = self.callers[number].phone.poll_output() {
            for at in self.callers[number].out.carry(self.now) {
                self.agenda.add(at, Happening::SipAtGateway(number, bytes.clone()));
            }
        }
        while let Some(news) = self.callers[number].phone.poll_news() {
            match news {
                News::Answered { to, payload_type } => self.answered(number, to, payload_type),
                News::Over => self.callers[number].be_silent(),
            }
        }
    }

    fn answered(&mut self, number: usize, to: SocketAddr, payload_type: u8) {
        let (now, start) = (self.now, self.dice.number());
        let caller = &mut self.callers[number];
        if !caller.phone.is_busy() {
            return;
        }
        caller.mouth = Some(Mouth::new(now, to, payload_type, start, caller.plan.suppresses_silence));
        if caller.plan.stranger {
            self.agenda
                .add(now + Duration::from_secs(1), Happening::Stranger(number, to.port()));
        }
        for (ms, line) in &caller.plan.lines {
            self.agenda
                .add(now + Duration::from_millis(*ms), Happening::Line(number, *line));
        }
        if let Some(ms) = caller.plan.hangs_up_after_ms {
            self.agenda
                .add(now + Duration::from_millis(ms), Happening::HangUp(number));
        }
    }

    fn carry_backend(&mut self, number: usize) {
        while let Some((connection, said)) = self.callers[number].backend.poll() {
            let at = self.session_arrival(number, false);
            match said {
                Said::Text(text) => self.agenda.add(at, Happening::TextAtGateway(number, connection, text)),
                Said::End(class) => self.agenda.add(at, Happening::LostAtGateway(number, connection, class)),
            }
        }
    }

    fn sip_to_phone(&mut self, to: SocketAddr, bytes: &[u8]) {
        let Some(number) = self.callers.iter().position(|caller| caller.phone.address == to) else {
            return;
        };
        for at in self.callers[number].back.carry(self.now) {
            self.agenda.add(at, Happening::SipAtPhone(number, bytes.to_vec()));
        }
    }

    fn act(&mut self, call: usize, act: Act) {
        let number = self.callers.iter().position(|caller| caller.call == Some(call));
        let number = number.expect("every call is some phone's");
        match act {
            Act::Rtp(to, bytes) => self.rtp_to_phone(to, &bytes),
            Act::Connect(connection) => {
                let at = self.session_arrival(number, true);
                self.agenda.add(at, Happening::Dialled(number, connection));
            }
            Act::Text(connection, text) => {
                let at = self.session_arrival(number, true);
                self.agenda.add(at, Happening::TextAtBackend(number, connection, text));
            }
            Act::Disconnect(connection) => self.callers[number].backend.disconnect(connection),
            Act::Post(..) | Act::PostAt(..) => {}
        }
    }

    fn rtp_to_phone(&mut self, to: SocketAddr, bytes: &[u8]) {
        let Some(number) = self.callers.iter().position(|caller| caller.phone.rtp_address() == to) else {
            return;
        };
        for at in self.callers[number].back.carry(self.now) {
            self.agenda.add(at, Happening::RtpAtPhone(number, bytes.to_vec()));
        }
    }

    fn dialled(&mut self, number: usize, connection: u64) {
        let made = self.callers[number].backend.connect(self.now, connection);
        let at = self.session_arrival(number, false);
        let happening = match made {
            Ok(()) => Happening::Connected(number, connection),
            Err(class) => Happening::LostAtGateway(number, connection, class),
        };
        self.agenda.add(at, happening);
    }

    /// The connection breaks, and what is on its way over it with it.
    fn backend_down(&mut self, number: usize) {
        let Some(connection) = self.callers[number].backend.connection() else {
            return;
        };
        self.callers[number].backend.disconnect(connection);
        let at = self.session_arrival(number, false);
        self.agenda
            .add(at, Happening::LostAtGateway(number, connection, FaultClass::Retryable));
    }

    /// When what is sent now over a call's session connection arrives, one way or the other: in order, sometimes late.
    fn session_arrival(&mut self, number: usize, to_backend: bool) -> Instant {
        let backend = &self.callers[number].backend;
        let (delay_ms, jitter_ms) = (backend.plan.delay_ms, backend.plan.jitter_ms);
        let held = backend
            .stalled_until(self.now)
            .map_or(Duration::ZERO, |until| until - self.now);
        let takes = held + Duration::from_millis(delay_ms) + self.dice.ms(0, jitter_ms);
        self.queues.passes((number, to_backend), self.now, takes)
    }
}
