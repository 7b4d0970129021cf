//! The SIP driver: sockets, connections and the DNS on one side, the [`Endpoint`] machine on the other.
//!
//! One task owns the endpoint. Readers put what arrives into one bounded queue; what the endpoint wants sent goes out
//! without waiting: a datagram the kernel does not take is lost like any datagram, a connection that does not drain is
//! closed. The driver decides nothing about calls.
//!
//! - `sockets`: what is bound. `udp`: datagrams. `ways`: our end of what we send by ourselves.
//! - `accept`, `dial`: how connections come about; `line`: TCP, TLS and WebSocket made ready. `connections`: all of them.
//! - `stream`, `ws`: messages on a connection. `resolve`: looking targets up.

mod accept;
mod connections;
mod dial;
mod line;
mod resolve;
mod sockets;
mod stream;
#[cfg(test)]
mod tests;
mod udp;
mod ways;
mod ws;

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

pub use self::sockets::Sockets;
use self::{accept::Gate, connections::Connections, resolve::Lookups, udp::Datagrams, ways::Ways};
use super::{
    leg::{IncomingLeg, LEG_EVENTS_MAX, LegHandle, OutgoingLeg, SipOrder, post_event},
    post::{Post, post},
    refusals,
};
use crate::{
    net::{resolve::Resolver, sip_tls::SipTls},
    sip::{
        Command, Dropped, Endpoint, Event, Flow, Invite, LegId, Message, NotPlaced, Origin, Outgoing, Output, QueryId,
        ReadError, Refused, Target, Transport, TrunkReport,
    },
    telemetry::{Level, Metrics, Queue, TrunkState},
};

/// Messages that may wait for the endpoint. Past it datagrams are dropped (peers retransmit) and connections wait.
const INBOUND_MAX: usize = 4096;

/// How long a stopping driver waits for the answers to its goodbyes.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// What readers hand to the driver.
#[derive(Debug)]
pub enum Inbound {
    /// A UDP datagram.
    Datagram(Flow, Vec<u8>),
    /// A message, or what stood in its place, from a connection.
    Message(Flow, Result<Box<Message>, ReadError>),
    /// A connection ended.
    Closed(Flow),
}

impl Inbound {
    /// The method of a request as its first line has it, or `response`; nothing for what is neither.
    fn method(&self) -> &str {
        match self {
            Self::Datagram(_, bytes) if bytes.starts_with(b"SIP/") => "response",
            Self::Datagram(_, bytes) => {
                let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
                std::str::from_utf8(word).unwrap_or_default()
            }
            Self::Message(_, Ok(message)) => match message.as_ref() {
                Message::Request(request) => request.method.as_str(),
                Message::Response(_) => "response",
            },
            Self::Message(_, Err(_)) | Self::Closed(_) => "",
        }
    }
}

/// What the driver works with besides the endpoint.
pub struct Means {
    /// Bound sockets.
    pub sockets: Sockets,
    /// How connections are secured.
    pub tls: SipTls,
    /// Who is asked for names.
    pub resolver: Resolver,
    /// Takes what was refused.
    pub recorder: Recorder,
}

/// The SIP side of the gateway, ready to [`run`](Self::run).
pub struct SipDriver {
    endpoint: Endpoint,
    datagrams: Datagrams,
    connections: Connections,
    opened: JoinSet<()>,
    lookups: Lookups,
    tls: Arc<SipTls>,
    orders: mpsc::Receiver<SipOrder>,
    orders_sender: mpsc::Sender<SipOrder>,
    inbound: mpsc::Receiver<Inbound>,
    readers: JoinSet<()>,
    incoming: Option<Post<IncomingLeg>>,
    legs: HashMap<LegId, Post<Event>>,
    /// Who waits until registrations are taken back, and until when.
    leaving: Option<(Instant, oneshot::Sender<()>)>,
    metrics: Metrics,
    recorder: Recorder,
}

/// Takes what was refused, for the call records; must not wait.
pub type Recorder = Box<dyn Fn(&Refused) + Send>;

/// The queue of orders to the driver: twice the legs, because each leg has one slot reserved for its farewell. Past it
/// a command is refused to its call, which then ends.
pub fn orders(legs_max: usize) -> (mpsc::Sender<SipOrder>, mpsc::Receiver<SipOrder>) {
    mpsc::channel(2 * legs_max + 64)
}

impl SipDriver {
    /// Takes over the sockets and starts their readers.
    pub fn new(
        means: Means,
        endpoint: Endpoint,
        admits: impl Fn(Origin) -> bool + Clone + Send + 'static,
        orders: (mpsc::Sender<SipOrder>, mpsc::Receiver<SipOrder>),
        metrics: Metrics,
    ) -> io::Result<Self> {
        let (sender, inbound) = mpsc::channel(INBOUND_MAX);
        let mut readers = JoinSet::new();
        let sockets = means.sockets;
        let bound = sockets.listeners.iter().map(|one| (one.transport, one.bound));
        let lookups = Lookups::new(means.resolver, Ways::new(bound.collect()));
        let datagrams = Datagrams::start(sockets.udp, &sender, &mut readers, &metrics)?;
        let gate = Gate {
            connections: Connections::new(sender, metrics.clone()),
            admits,
            tls: Arc::new(means.tls),
            told: Arc::default(),
        };
        for (transport, listener) in sockets.streams {
            readers.spawn(accept::accept(listener, transport, gate.clone()));
        }
        let (orders_sender, orders) = orders;
        Ok(Self {
            endpoint,
            datagrams,
            connections: gate.connections,
            opened: JoinSet::new(),
            lookups,
            tls: gate.tls,
            orders,
            orders_sender,
            inbound,
            readers,
            incoming: None,
            legs: HashMap::new(),
            leaving: None,
            metrics,
            recorder: means.recorder,
        })
    }

    /// Runs until `stop` says so or a reader fails. Asked to stop, it still says the goodbyes that wait, and repeats them
    /// until they are answered, for at most two seconds.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut stop_by = None;
        loop {
            if stop_by.is_some_and(|by| Instant::now() >= by || self.has_left()) {
                return;
            }
            self.say_when_left();
            let deadline = self.endpoint.poll_timeout();
            let leave_by = self.leaving.as_ref().map(|(by, _)| *by);
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                inbound = self.inbound.recv() => match inbound {
                    Some(inbound) => self.hear(inbound),
                    None => return,
                },
                () = super::sleep_until(deadline) => self.endpoint.handle_timeout(Instant::now()),
                () = super::sleep_until(stop_by) => return,
                () = super::sleep_until(leave_by) => {}
                () = &mut stop, if stop_by.is_none() => stop_by = Some(self.say_farewells()),
                (query, hops) = self.lookups.next() => self.endpoint.handle_resolved(Instant::now(), query, hops),
                Some(_) = self.opened.join_next() => {}
                Some(_) = self.readers.join_next() => {
                    tracing::error!("a SIP socket failed; the endpoint starts again");
                    return;
                }
            }
            self.perform();
        }
    }

    /// Takes the orders that wait, takes registrations back, and says until when the answers are waited for.
    fn say_farewells(&mut self) -> Instant {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        self.endpoint.unregister(Instant::now());
        Instant::now() + FAREWELL_MAX
    }

    /// Answers who waits for the registrations to be taken back. Nobody may listen any more.
    fn say_when_left(&mut self) {
        let is_over = |by: Instant| Instant::now() >= by || !self.endpoint.is_registered();
        if self.leaving.as_ref().is_some_and(|(by, _)| is_over(*by)) {
            self.leaving.take().map(|(_, reply)| reply.send(()));
        }
    }

    /// Whether everybody has been told that we go.
    fn has_left(&self) -> bool {
        self.endpoint.counts().legs == 0 && !self.endpoint.is_registered()
    }

    fn obey(&mut self, order: SipOrder) {
        match order {
            SipOrder::Leg(leg, command) => self.endpoint.command(Instant::now(), leg, command),
            SipOrder::Serve(post) => self.incoming = Some(post),
            SipOrder::Drain => {
                self.endpoint.set_draining(true);
                self.endpoint.unregister(Instant::now());
            }
            SipOrder::Leave(reply) => {
                self.endpoint.unregister(Instant::now());
                self.leaving = Some((Instant::now() + FAREWELL_MAX, reply));
            }
            // An unread answer drops the leg's handle, which ends the call.
            SipOrder::Place(outgoing, reply) => drop(reply.send(self.place(*outgoing))),
        }
    }

    fn place(&mut self, outgoing: Outgoing) -> Result<OutgoingLeg, NotPlaced> {
        let farewell = self.orders_sender.clone().try_reserve_owned();
        let farewell = farewell.map_err(|_| NotPlaced {
            reason: "overloaded",
            detail: "the queue to the SIP side is full; try again later".to_owned(),
        })?;
        let leg = self.endpoint.place(Instant::now(), outgoing)?;
        let call_id = self.endpoint.call_id(leg).unwrap_or_default().to_owned();
        let (post, events) = post(LEG_EVENTS_MAX);
        self.legs.insert(leg, post);
        let leg = LegHandle::new(leg, self.orders_sender.clone(), farewell);
        Ok(OutgoingLeg { leg, events, call_id })
    }

    fn hear(&mut self, inbound: Inbound) {
        let now = Instant::now();
        if !matches!(inbound, Inbound::Closed(_)) {
            self.metrics.sip_received(inbound.method());
        }
        match inbound {
            Inbound::Datagram(flow, bytes) => self.endpoint.handle_datagram(now, flow, &bytes),
            Inbound::Message(flow, message) => self.endpoint.handle_message(now, flow, message.map(|message| *message)),
            Inbound::Closed(flow) => self.endpoint.handle_flow_closed(now, flow),
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.send(flow, bytes),
                Output::Event { leg, event } => self.event(leg, event),
                Output::Refused(refused) => self.refused(&refused),
                Output::Dropped(dropped) => self.dropped(&dropped),
                Output::Repeated(repeated) => refusals::repeated(&repeated),
                Output::Resolve { query, target } => self.resolve(query, target),
                Output::Open { flow, name } => self.open(flow, name),
                Output::Trunk(report) => self.trunk(report),
            }
        }
        let counts = self.endpoint.counts();
        self.metrics
            .sip_counts(counts.legs, counts.dialogs, counts.transactions);
        self.metrics
            .set_level(Level::RegistrarContacts, self.endpoint.registered_contacts());
    }

    fn resolve(&mut self, query: QueryId, target: Target) {
        if let Some(hops) = self.lookups.start(query, target) {
            self.endpoint.handle_resolved(Instant::now(), query, hops);
        }
    }

    fn open(&mut self, flow: Flow, name: String) {
        match self.connections.reserve(flow) {
            Ok(place) => drop(self.opened.spawn(dial::dial(place, name, self.tls.clone()))),
            Err(_) => {
                self.metrics.sip_refused("connections_max");
                tracing::warn!(remote = %flow.remote, name, "a SIP connection is not opened: too many are open");
                self.endpoint.handle_flow_closed(Instant::now(), flow);
            }
        }
    }

    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        match flow.transport {
            Transport::Udp => self.datagrams.send(flow, &bytes),
            _ => self.connections.send(flow.connection, bytes),
        }
    }

    fn event(&mut self, leg: LegId, event: Event) {
        match event {
            Event::Incoming(invite) => self.offer_call(leg, invite),
            Event::Gone => drop(self.legs.remove(&leg)),
            event => self.post_event(leg, event),
        }
    }

    fn offer_call(&mut self, leg: LegId, invite: Box<Invite>) {
        let Ok(farewell) = self.orders_sender.clone().try_reserve_owned() else {
            return self.refuse_overloaded(leg);
        };
        let (post, events) = post(LEG_EVENTS_MAX);
        self.legs.insert(leg, post);
        let leg = LegHandle::new(leg, self.orders_sender.clone(), farewell);
        let call = IncomingLeg { invite, leg, events };
        let refused = match &self.incoming {
            Some(incoming) => incoming.send(call).err(),
            None => Some(call),
        };
        if let Some(call) = refused {
            self.metrics.queue_drop(Queue::IncomingCalls);
            call.leg.end(overloaded());
        }
    }

    fn refuse_overloaded(&mut self, leg: LegId) {
        self.metrics.queue_drop(Queue::SipOrders);
        self.endpoint.command(Instant::now(), leg, overloaded());
    }

    fn post_event(&mut self, leg: LegId, event: Event) {
        let Some(post) = self.legs.get(&leg) else { return };
        if let Err(event) = post_event(post, event) {
            self.metrics.queue_drop(Queue::LegEvents);
            self.answer_unheard(leg, &event);
        }
    }

    /// A re-offer nobody can look at still gets its final answer.
    fn answer_unheard(&mut self, leg: LegId, event: &Event) {
        if matches!(event, Event::Reoffered { .. }) {
            self.endpoint.command(Instant::now(), leg, overloaded());
        }
    }

    /// Notes how a trunk is doing, and logs what changed.
    fn trunk(&self, report: TrunkReport) {
        let TrunkReport {
            trunk,
            reachable,
            registered,
            expires,
            error,
        } = report;
        let state = TrunkState {
            trunk,
            registered,
            registered_until: expires.map(|expires| Instant::now() + expires),
            reachable,
            error,
        };
        let before = self.metrics.trunks().note(state.clone());
        log_trunk(before, state);
    }

    fn refused(&self, refused: &Refused) {
        self.metrics.sip_refused(refused.reason);
        refusals::refused(refused);
        (self.recorder)(refused);
    }

    fn dropped(&self, dropped: &Dropped) {
        self.metrics.sip_dropped(dropped.reason);
        refusals::dropped(dropped);
    }
}

/// A trunk is news when it comes, goes, or fails in another way than before.
fn log_trunk(before: Option<TrunkState>, state: TrunkState) {
    let was = |of: fn(&TrunkState) -> Option<bool>| before.as_ref().and_then(of);
    let TrunkState {
        trunk,
        registered,
        reachable,
        error,
        ..
    } = &state;
    if !error.is_empty() && before.as_ref().is_none_or(|before| before.error != *error) {
        tracing::warn!(trunk, error, registered, reachable, "a trunk fails");
    }
    if *registered == Some(true) && was(|state| state.registered) != Some(true) {
        tracing::info!(trunk, "registered at the trunk");
    }
    if *registered == Some(false) && was(|state| state.registered) == Some(true) && error.is_empty() {
        tracing::info!(trunk, "not registered at the trunk any more");
    }
    if *reachable == Some(true) && was(|state| state.reachable) != Some(true) {
        tracing::info!(trunk, "the trunk is reachable");
    }
}

fn overloaded() -> Command {
    Command::Refuse {
        status: 503,
        reason: "overloaded".into(),
    }
}
