//! Endpoint: the whole SIP side of the gateway as one machine: admission, transactions, dialogs and legs behind one
//! door.
//!
//! Bytes and flows go in, bytes and events come out. The endpoint answers by itself whatever needs no decision (100,
//! OPTIONS, malformed, unknown or unwelcome requests) and asks the application only whether to take a call, with what
//! media, and when to end it. Calls it places are numbers of the application's on trunks of the settings. Every INVITE it lets in gets exactly one final answer, at the
//! latest when the ring limit ends.
//!
//! - `contract`: settings, events, commands.
//! - `requests`: requests outside a dialog. `in_dialog`: requests inside one, ACK and CANCEL.
//! - `registrations`: what we keep going at other people's. `phones`: who registers here.
//! - `commands`: what the application decides, and the ways a leg ends.
//! - `outgoing`: calls we place, as the application sees them. `invitations`: their INVITEs on the wire. `reoffers`:
//!   re-INVITEs of ours.
//! - `errands`: requests of ours, whatever they are for. `answers`: what comes back.
//! - `deadlines`: what happens when time passes.
//! - `refusals`: what is refused or dropped, and who is told.
//! - `update`, `provisionals`, `refresh`, `messages`, `transfers`, `replacing`: what else lives in a dialog.
//!
//! Deliberately absent: forking on our side, and requests of whom we call before the call is answered (refused with
//! 481). A leg whose connection came to us and has closed is ended when something must be sent on it; a connection of
//! ours is opened again.

mod answers;
mod commands;
mod contract;
mod deadlines;
mod errands;
mod in_dialog;
mod invitations;
mod messages;
mod outgoing;
mod phones;
mod provisionals;
mod refresh;
mod refusals;
mod registrations;
mod reoffers;
mod replacing;
mod requests;
#[cfg(test)]
mod tests;
mod transfers;
mod update;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use refusals::Refusal;

pub use messages::TEXT_BYTES_MAX;

pub use contract::{
    Attempt, Command, Counts, Dropped, Event, Invite, LEGS_MAX, Listener, NotPlaced, Outgoing, Output, QueryId,
    REGISTRAR, RING_MAX, Refused, Settings, TRANSACTIONS_MAX, TrunkReport,
};

use deadlines::Alarm;
use errands::Errands;
use outgoing::Placing;
use registrations::Registrations;

use super::admission::{Admission, Credentials, Peer};
use super::connections::Connections;
use super::defect::ReadError;
use super::defence::{Defence, Opening};
use super::dialog::DialogId;
use super::errand::{ErrandId, OwnContact};
use super::flow::{Flow, Transport};
use super::invitation::Invitation;
use super::leg::{Leg, LegId};
use super::message::{Message, Request, Response};
use super::method::Method;
use super::mint::Mint;
use super::reader::read_datagram;
use super::registrar::Registrar;
use super::repeats::Repeats;
use super::reply::Reply;
use super::session_timer::SESSION_EXPIRES;
use super::target::Hop;
use super::transaction::Key;
use super::transaction::clients::Clients;
use super::transaction::servers::Servers;
use super::transaction::timers::Deadlines;
use super::uri::{Scheme, Uri};

/// Seconds a refused caller is asked to stay away, at least; the peers' returns are spread over as much again.
const RETRY_AFTER_S_MIN: u64 = 5;

/// The SIP side of the gateway.
pub struct Endpoint {
    settings: Settings,
    admission: Admission,
    defence: Defence,
    repeats: Repeats,
    /// When the input being handled came.
    clock: Instant,
    mint: Mint,
    servers: Servers<LegId>,
    clients: Clients<ErrandId>,
    errands: Errands,
    registrations: Registrations,
    registrar: Option<Registrar>,
    connections: Connections,
    placings: HashMap<LegId, Placing>,
    invitations: HashMap<LegId, Invitation>,
    /// The calls whose way is being looked up.
    queries: HashMap<QueryId, LegId>,
    legs: HashMap<LegId, Leg>,
    dialogs: HashMap<DialogId, LegId>,
    deadlines: Deadlines<LegId>,
    alarms: Deadlines<Alarm>,
    outputs: VecDeque<Output>,
    draining: bool,
    last_leg: u64,
    last_query: u64,
}

impl Endpoint {
    /// An endpoint that holds nothing yet.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let mut endpoint = Self {
            admission: Admission::new(now, known_peers(&settings), &settings.realm, settings.secret),
            defence: Defence::new(settings.defence),
            repeats: Repeats::default(),
            clock: now,
            registrations: Registrations::default(),
            registrar: settings.registrar.clone().map(Registrar::new),
            mint: Mint::new(&settings.secret, settings.seed),
            settings,
            servers: Servers::default(),
            clients: Clients::default(),
            errands: Errands::default(),
            connections: Connections::default(),
            placings: HashMap::new(),
            invitations: HashMap::new(),
            queries: HashMap::new(),
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            deadlines: Deadlines::default(),
            alarms: Deadlines::default(),
            outputs: VecDeque::new(),
            draining: false,
            last_leg: 0,
            last_query: 0,
        };
        endpoint.begin_registrations(now);
        endpoint
    }

    /// Takes a UDP datagram.
    pub fn handle_datagram(&mut self, now: Instant, flow: Flow, datagram: &[u8]) {
        if self.lets_in(now, &flow, Opening::of(datagram)) {
            self.take_message(now, flow, read_datagram(datagram));
        }
    }

    /// Takes a message read from a connection, or what was wrong with it.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: Result<Message, ReadError>) {
        if self.lets_in(now, &flow, Opening::of_message(&message)) {
            self.take_message(now, flow, message);
        }
    }

    fn take_message(&mut self, now: Instant, flow: Flow, message: Result<Message, ReadError>) {
        self.connections.heard(&flow);
        match message {
            Ok(Message::Request(request)) => self.handle_request(now, flow, request),
            Ok(Message::Response(response)) => self.handle_response(now, response),
            Err(error) => self.handle_unreadable(&flow, &error),
        }
    }

    /// A connection has closed. Calls being set up over it end; established ones wait for the caller to come back on
    /// another connection and end when something must be sent to them before.
    pub fn handle_flow_closed(&mut self, now: Instant, flow: Flow) {
        self.connections.closed(&flow);
        self.servers.handle_flow_closed(&flow);
        if let Some(registrar) = &mut self.registrar {
            registrar.handle_flow_closed(&flow);
        }
        let lost = self.clients.handle_flow_closed(&flow);
        self.errands_lost(now, lost);
        let on_flow = self.legs.iter().filter(|(_, leg)| leg.flow.shares_connection(&flow));
        let mut on_flow: Vec<_> = on_flow.map(|(id, _)| *id).collect();
        on_flow.sort_unstable();
        on_flow.into_iter().for_each(|leg| self.lose_flow(leg));
        self.registrations_lost(now, &flow);
    }

    /// The hops of an [`Output::Resolve`], best first, or why there are none.
    pub fn handle_resolved(&mut self, now: Instant, query: QueryId, hops: Result<Vec<Hop>, String>) {
        match self.queries.contains_key(&query) {
            true => self.located(query, hops),
            false => self.errand_resolved(now, query, hops),
        }
    }

    /// Takes the application's decision about a leg.
    pub fn command(&mut self, now: Instant, leg: LegId, command: Command) {
        match command {
            Command::Ring => self.ring(now, leg),
            Command::Answer { sdp } => self.answer(now, leg, sdp),
            Command::Refuse { status, reason } => self.refuse(now, leg, status, &reason),
            Command::HangUp { reason } => self.hang_up(now, leg, reason),
            Command::Progress { sdp } => self.progress(now, leg, sdp),
            Command::AnswerTransfer { accept } => self.answer_transfer(now, leg, accept),
            Command::Transfer { to, replaces } => self.transfer(now, leg, &to, replaces),
            Command::NotifyTransfer { status } => self.notify_transfer(now, leg, status),
            Command::SendDigit { digit, duration } => self.send_digit(now, leg, digit, duration),
            Command::SendMessage { text } => self.send_text(now, leg, text),
            Command::Offer { sdp } => self.offer(now, leg, sdp),
        }
    }

    /// While draining, OPTIONS is refused with 503 `draining`, which tells load balancers. New calls are the application's
    /// to refuse, so that they leave a record.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// What to do next; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How much the endpoint holds.
    pub fn counts(&self) -> Counts {
        Counts {
            legs: self.legs.len() + self.placings.len(),
            dialogs: self.dialogs.len(),
            transactions: self.servers.len() + self.clients.len() + self.errands.queries() + self.queries.len(),
        }
    }

    fn handle_request(&mut self, now: Instant, flow: Flow, request: Request) {
        // The reader has made sure that there is one.
        let Some(key) = Key::of(&request, flow.source_ip()) else {
            return;
        };
        match request.method {
            Method::Ack => self.handle_ack(now, flow, key, &request),
            Method::Cancel => self.handle_cancel(now, flow, key, &request),
            _ => match self.servers.find(&key) {
                Some(known) => {
                    let repeat = self.servers.handle_retransmission(known);
                    repeat.into_iter().for_each(|(flow, bytes)| self.send(flow, bytes));
                }
                None => self.handle_new_request(now, flow, key, request),
            },
        }
    }

    fn handle_new_request(&mut self, now: Instant, flow: Flow, key: Key, request: Request) {
        match DialogId::of_request(&request.headers) {
            Some(dialog) => self.handle_in_dialog(now, flow, key, request, &dialog),
            None => self.handle_out_of_dialog(now, flow, key, request),
        }
    }
}

/// The peers, and behind them the phones that register here, when there are any.
fn known_peers(settings: &Settings) -> Vec<Peer> {
    let phones = settings.registrar.as_ref().map(|registrar| Peer {
        name: REGISTRAR.to_owned(),
        networks: registrar.networks.clone(),
        // Nobody is let in as this peer without being asked who it is: [`Endpoint::check_phone`].
        credentials: Some(Credentials {
            username: String::new(),
            password: String::new(),
            algorithms: Vec::new(),
        }),
        uplink: None,
        session_expires: Some(SESSION_EXPIRES),
        transports: Vec::new(),
    });
    settings.peers.iter().cloned().chain(phones).collect()
}

/// Sending.
impl Endpoint {
    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Send { flow, bytes });
    }

    fn tell(&mut self, leg: LegId, event: Event) {
        self.outputs.push_back(Output::Event { leg, event });
    }

    /// Answers a request without remembering that it was there: the same request would get the same answer again.
    fn reply_stateless(
        &mut self,
        flow: &Flow,
        request: &Request,
        write: impl FnOnce(Response) -> Response,
        status: u16,
    ) {
        let reply = Reply::to(request, flow);
        let tag = self.mint.stateless_tag(&request.headers);
        let response = write(reply.response(status, &tag));
        self.send(reply.flow(), response.to_bytes());
    }

    fn retry_after(&mut self) -> String {
        (RETRY_AFTER_S_MIN + self.mint.number(RETRY_AFTER_S_MIN)).to_string()
    }

    /// Our address as the peer behind this flow reaches it.
    fn advertised_ip(&self, flow: &Flow) -> IpAddr {
        let local = flow.local.ip().to_canonical();
        let mut listeners = self.settings.listeners.iter();
        let external = match listeners.find(|one| one.serves(flow.transport, flow.local)) {
            Some(listener) => listener.external_ip,
            None => self.settings.external_ip,
        };
        external
            .filter(|external| external.is_ipv4() == local.is_ipv4())
            .unwrap_or(local)
    }

    fn advertised(&self, flow: &Flow) -> SocketAddr {
        SocketAddr::new(self.advertised_ip(flow), flow.local.port())
    }

    fn contact(&self, flow: &Flow) -> String {
        self.own_contact(flow, &Scheme::Sip, &OwnContact::default())
    }

    /// Where the peer behind this flow reaches us. A request to a `sips:` URI names a `sips:` one (RFC 3261 section
    /// 8.1.1.8).
    fn own_contact(&self, flow: &Flow, scheme: &Scheme, contact: &OwnContact) -> String {
        let mut uri = Uri::own(scheme, contact.user.as_deref(), self.advertised(flow));
        if let Some(line) = &contact.line {
            uri = uri.with_param("line", Some(line));
        }
        let params = &contact.params;
        let transport = match flow.transport {
            Transport::Udp => return format!("<{uri}>{params}"),
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            // RFC 7118 section 5.2.4 knows no other word; whether it is encrypted is for the scheme to say.
            Transport::Ws | Transport::Wss => "ws",
        };
        format!("<{}>{params}", uri.with_param("transport", Some(transport)))
    }
}
