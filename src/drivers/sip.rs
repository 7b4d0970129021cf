//! The SIP driver: UDP sockets, TCP connections and the [`Endpoint`] machine between them.
//!
//! One task owns the endpoint. Readers put what arrives into one bounded queue; what the endpoint wants sent goes out
//! without waiting: a datagram the kernel does not take is lost like any datagram, a connection that does not drain is
//! closed. The driver decides nothing about calls.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    leg::{IncomingLeg, LEG_EVENTS_MAX, LegHandle, OutgoingLeg, SipOrder},
    post::{Post, post},
    sip_tcp::{self, Connections},
};
use crate::{
    config::Listen,
    net::{
        tcp,
        udp::{self, LocalAddresses},
    },
    sip::{
        Command, Endpoint, Event, Flow, Invite, LegId, Message, NotPlaced, Origin, Outgoing, Output, QueryId,
        ReadError, Refused, Target, Transport,
    },
    telemetry::{Metrics, Queue},
};

/// Messages that may wait for the endpoint. Past it datagrams are dropped (peers retransmit) and connections wait.
const INBOUND_MAX: usize = 4096;

/// How long a stopping driver waits for the answers to its goodbyes.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// The largest datagram read; the reader refuses what is longer than its own bound.
const DATAGRAM_BYTES_MAX: usize = 65_535;

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

/// The bound sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    /// UDP sockets.
    pub udp: Vec<UdpSocket>,
    /// TCP listeners.
    pub tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Binds what the configuration names.
    pub fn bind(listen: &[Listen]) -> io::Result<Self> {
        let mut sockets = Self::default();
        for listen in listen {
            match listen {
                Listen::Udp(address) => sockets.udp.push(udp::bind_sip(*address)?),
                Listen::Tcp(address) => sockets.tcp.push(tcp::listen(*address)?),
            }
        }
        Ok(sockets)
    }

    /// Where the UDP sockets are bound.
    pub fn udp_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp.iter().map(UdpSocket::local_addr).collect()
    }

    /// Where the TCP listeners are bound.
    pub fn tcp_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.tcp.iter().map(TcpListener::local_addr).collect()
    }
}

/// The SIP side of the gateway, ready to [`run`](Self::run).
pub struct SipDriver {
    endpoint: Endpoint,
    udp: HashMap<SocketAddr, Arc<UdpSocket>>,
    connections: Connections,
    orders: mpsc::Receiver<SipOrder>,
    orders_sender: mpsc::Sender<SipOrder>,
    inbound: mpsc::Receiver<Inbound>,
    readers: JoinSet<()>,
    incoming: Option<Post<IncomingLeg>>,
    legs: HashMap<LegId, Post<Event>>,
    metrics: Metrics,
}

/// The queue of orders to the driver: twice the legs, because each leg has one slot reserved for its farewell. Past it
/// a command is refused to its call, which then ends.
pub fn orders(legs_max: usize) -> (mpsc::Sender<SipOrder>, mpsc::Receiver<SipOrder>) {
    mpsc::channel(2 * legs_max + 64)
}

impl SipDriver {
    /// Takes over the sockets and starts their readers.
    pub fn new(
        sockets: Sockets,
        endpoint: Endpoint,
        admits: impl Fn(Origin) -> bool + Clone + Send + 'static,
        orders: (mpsc::Sender<SipOrder>, mpsc::Receiver<SipOrder>),
        metrics: Metrics,
    ) -> io::Result<Self> {
        let (sender, inbound) = mpsc::channel(INBOUND_MAX);
        let mut readers = JoinSet::new();
        let mut udp = HashMap::new();
        for socket in sockets.udp {
            let socket = Arc::new(socket);
            let bound = socket.local_addr()?;
            udp.insert(bound, socket.clone());
            readers.spawn(read_datagrams(socket, bound, sender.clone(), metrics.clone()));
        }
        let connections = Connections::new(sender, metrics.clone());
        for listener in sockets.tcp {
            readers.spawn(sip_tcp::accept(listener, connections.clone(), admits.clone()));
        }
        let (orders_sender, orders) = orders;
        let legs = HashMap::new();
        let incoming = None;
        Ok(Self {
            endpoint,
            udp,
            connections,
            orders,
            orders_sender,
            inbound,
            readers,
            incoming,
            legs,
            metrics,
        })
    }

    /// Runs until `stop` says so or a reader fails. Asked to stop, it still says the goodbyes that wait, and repeats them
    /// until they are answered, for at most two seconds.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut stop_by = None;
        loop {
            if stop_by.is_some_and(|by| Instant::now() >= by || self.endpoint.counts().legs == 0) {
                return;
            }
            let deadline = self.endpoint.poll_timeout();
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
                () = &mut stop, if stop_by.is_none() => stop_by = Some(self.say_farewells()),
                Some(_) = self.readers.join_next() => {
                    tracing::error!("a SIP socket failed; the endpoint starts again");
                    return;
                }
            }
            self.perform();
        }
    }

    /// Takes the orders that wait, and says until when their answers are waited for.
    fn say_farewells(&mut self) -> Instant {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        Instant::now() + FAREWELL_MAX
    }

    fn obey(&mut self, order: SipOrder) {
        match order {
            SipOrder::Leg(leg, command) => self.endpoint.command(Instant::now(), leg, command),
            SipOrder::Serve(post) => self.incoming = Some(post),
            SipOrder::Drain => self.endpoint.set_draining(true),
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
        let (post, events) = post(LEG_EVENTS_MAX);
        self.legs.insert(leg, post);
        let leg = LegHandle::new(leg, self.orders_sender.clone(), farewell);
        Ok(OutgoingLeg { leg, events })
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
                Output::Resolve { query, target } => self.resolve(query, &target),
                Output::Open { flow, .. } => self.endpoint.handle_flow_closed(Instant::now(), flow),
                Output::Trunk(_) => {}
            }
        }
        let counts = self.endpoint.counts();
        self.metrics
            .sip_counts(counts.legs, counts.dialogs, counts.transactions);
    }

    fn resolve(&mut self, query: QueryId, target: &Target) {
        let host = target.host.as_str();
        self.endpoint
            .handle_resolved(Instant::now(), query, Err(format!("{host} cannot be looked up")));
    }

    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        match flow.transport {
            Transport::Udp => self.send_datagram(flow, &bytes),
            _ => self.connections.send(flow.connection, bytes),
        }
    }

    fn send_datagram(&self, flow: Flow, bytes: &[u8]) {
        let Some(socket) = self
            .udp
            .iter()
            .find(|(bound, _)| serves(**bound, flow))
            .map(|(_, socket)| socket)
        else {
            return;
        };
        if let Err(error) = socket.try_send_to(bytes, flow.remote) {
            self.metrics.queue_drop(Queue::SipDatagrams);
            tracing::debug!(remote = %flow.remote, %error, "a SIP datagram was not sent");
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
        if let Err(event) = post.send(event) {
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

    fn refused(&self, refused: &Refused) {
        let Refused {
            source,
            trunk,
            status,
            reason,
            detail,
        } = refused;
        self.metrics.sip_refused(reason);
        let trunk = trunk.as_deref().unwrap_or_default();
        tracing::info!(%source, trunk, status, reason, detail, "a SIP request was refused");
    }
}

fn overloaded() -> Command {
    Command::Refuse {
        status: 503,
        reason: "overloaded".into(),
    }
}

/// Whether the socket bound here is the one a flow came in on; a wildcard socket serves every local address.
fn serves(bound: SocketAddr, flow: Flow) -> bool {
    bound.port() == flow.local.port()
        && (bound.ip() == flow.local.ip() || (bound.ip().is_unspecified() && bound.is_ipv4() == flow.local.is_ipv4()))
}

async fn read_datagrams(socket: Arc<UdpSocket>, bound: SocketAddr, inbound: mpsc::Sender<Inbound>, metrics: Metrics) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut addresses = LocalAddresses::new(bound);
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let flow = Flow {
                    transport: Transport::Udp,
                    local: addresses.facing(remote),
                    remote,
                    connection: 0,
                };
                if inbound
                    .try_send(Inbound::Datagram(flow, buffer[..length].to_vec()))
                    .is_err()
                {
                    metrics.queue_drop(Queue::SipInbound);
                }
            }
            // Linux reports a peer's ICMP refusal here; it concerns one peer, not the socket.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::error!(%bound, %error, "the SIP socket cannot be read");
                return;
            }
        }
    }
}
