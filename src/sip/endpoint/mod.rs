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
//! - `commands`: what the application decides, and the ways a leg ends.
//! - `outgoing`: calls we place, as the application sees them. `invitations`: their INVITEs on the wire. `reoffers`:
//!   re-INVITEs of ours.
//! - `errands`: requests of ours, whatever they are for. `answers`: what comes back.
//! - `deadlines`: what happens when time passes.
//!
//! - `update`, `provisionals`, `refresh`, `messages`, `transfers`, `replacing`: what else lives in a dialog.
//!
//! Deliberately absent: RFC 2543 transaction matching (refused with 400), and requests of whom we call before the call
//! is answered (refused with 481). A leg whose connection came to us and has closed is ended when something must be sent on it; a connection of
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
mod provisionals;
mod refresh;
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

pub use messages::TEXT_BYTES_MAX;

pub use contract::{
    Command, Counts, Event, Invite, LEGS_MAX, NotPlaced, Outgoing, Output, QueryId, RING_MAX, Refused, Settings,
    TRANSACTIONS_MAX, TrunkReport,
};

use deadlines::Alarm;
use errands::Errands;
use outgoing::Placing;

use super::admission::Admission;
use super::connections::Connections;
use super::defect::{Defect, ReadError};
use super::dialog::DialogId;
use super::errand::{ErrandId, OwnContact};
use super::flow::{Flow, Transport};
use super::invitation::Invitation;
use super::leg::{Leg, LegId};
use super::message::{Message, Request, Response};
use super::method::Method;
use super::mint::Mint;
use super::reader::read_datagram;
use super::reason::Reason;
use super::reply::{Reply, stamp};
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
    mint: Mint,
    servers: Servers<LegId>,
    clients: Clients<ErrandId>,
    errands: Errands,
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
        Self {
            admission: Admission::new(now, settings.peers.clone(), &settings.realm, settings.secret),
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
        }
    }

    /// Takes a UDP datagram.
    pub fn handle_datagram(&mut self, now: Instant, flow: Flow, datagram: &[u8]) {
        self.handle_message(now, flow, read_datagram(datagram));
    }

    /// Takes a message read from a connection, or what was wrong with it.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: Result<Message, ReadError>) {
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
        let lost = self.clients.handle_flow_closed(&flow);
        self.errands_lost(now, lost);
        let on_flow = self.legs.iter().filter(|(_, leg)| leg.flow.shares_connection(&flow));
        let mut on_flow: Vec<_> = on_flow.map(|(id, _)| *id).collect();
        on_flow.sort_unstable();
        on_flow.into_iter().for_each(|leg| self.lose_flow(leg));
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
        let Some(key) = Key::of(&request, flow.source_ip()) else {
            return self.refuse_unmatchable(&flow, &request);
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

    /// Strangers get no answer to what cannot be read: there may be no request behind it.
    fn handle_unreadable(&mut self, flow: &Flow, error: &ReadError) {
        if *error.defect() == Defect::KeepAlive {
            return;
        }
        let known = self.admission.knows(flow.origin());
        let reply = error.reply().filter(|_| known);
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let reason = if known { "bad_request" } else { "unknown_source" };
        self.report(flow, status, reason, error.to_string());
        if let Some(mut reply) = reply {
            let to = stamp(&mut reply.headers, flow);
            let tag = self.mint.stateless_tag(&reply.headers);
            self.send(to, reply.with_to_tag(&tag).to_bytes());
        }
    }

    fn refuse_unmatchable(&mut self, flow: &Flow, request: &Request) {
        let known = self.admission.knows(flow.origin());
        match request.method {
            Method::Ack => {}
            _ if known => {
                let detail = "the topmost Via has no branch of RFC 3261 (z9hG4bK...); upgrade the sender".to_owned();
                self.refuse_stateless(flow, request, &Refusal::new(400, "bad_request", detail));
            }
            _ => self.refuse_stranger(flow, request),
        }
    }
}

/// Why a request is refused.
struct Refusal {
    status: u16,
    reason: &'static str,
    detail: String,
    headers: Vec<(&'static str, String)>,
}

impl Refusal {
    fn new(status: u16, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 405 when the method is one of SIP's, else 501.
    fn of_method(method: &Method, allow: &str) -> Self {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        Self::new(status, "bad_request", format!("{method} is not served")).with_header("Allow", allow)
    }

    fn write_into(&self, mut response: Response) -> Response {
        response
            .headers
            .push("Reason", Reason::sip(self.status, self.reason).to_string());
        for (name, value) in &self.headers {
            response.headers.push(name, value);
        }
        response
    }
}

/// Sending and reporting.
impl Endpoint {
    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Send { flow, bytes });
    }

    fn tell(&mut self, leg: LegId, event: Event) {
        self.outputs.push_back(Output::Event { leg, event });
    }

    fn report(&mut self, flow: &Flow, status: u16, reason: &'static str, detail: String) {
        let trunk = self.admission.name_at(flow.origin()).map(str::to_owned);
        self.outputs.push_back(Output::Refused(Refused {
            source: flow.remote,
            trunk,
            status,
            reason,
            detail,
        }));
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

    fn refuse_stateless(&mut self, flow: &Flow, request: &Request, refusal: &Refusal) {
        self.report(flow, refusal.status, refusal.reason, refusal.detail.clone());
        self.reply_stateless(flow, request, |response| refusal.write_into(response), refusal.status);
    }

    fn refuse_stranger(&mut self, flow: &Flow, request: &Request) {
        let detail = format!("no trunk lists this source ({})", request.method);
        self.refuse_stateless(flow, request, &Refusal::new(403, "unknown_source", detail));
    }

    fn retry_after(&mut self) -> String {
        (RETRY_AFTER_S_MIN + self.mint.number(RETRY_AFTER_S_MIN)).to_string()
    }

    /// Our address as the peer behind this flow reaches it.
    fn advertised_ip(&self, flow: &Flow) -> IpAddr {
        let local = flow.local.ip().to_canonical();
        self.settings
            .external_ip
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
        let uri = Uri::own(scheme, contact.user.as_deref(), self.advertised(flow));
        let params = &contact.params;
        match flow.transport {
            Transport::Udp => format!("<{uri}>{params}"),
            other => {
                let transport = other.as_str().to_ascii_lowercase();
                format!("<{}>{params}", uri.with_param("transport", Some(&transport)))
            }
        }
    }
}
