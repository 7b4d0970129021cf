//! A test phone: a small pure user agent, for tests that need somebody to call in or to be called.
//!
//! One phone makes or takes one call. It repeats what is lost, acknowledges what it should, answers challenges and BYEs, and
//! writes down what it saw; every habit can be switched off to misbehave. Bytes come in by [`Phone::handle_bytes`] and
//! go out by [`Phone::poll_output`]; whoever owns it moves them and the time (see [`crate::sip::test_line`]).
//!
//! Unit tests of this crate use it as `crate::sip::test_phone::Phone`.

mod callee;
mod inside;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

pub(crate) use callee::{Called, Manners};
use requests::{beside, with_offer};

use crate::sip::address::NameAddr;
use crate::sip::flow::Flow;
use crate::sip::message::{Message, Request, Response};
use crate::sip::method::Method;
use crate::sip::proof::Algorithm;
use crate::sip::reader::read_datagram;
use crate::sip::transaction::client::{ClientStep, Reception, RequestClient};
use crate::sip::transaction::invite_client::InviteClient;
use crate::sip::uri::Uri;

/// The phone's session description; the endpoint does not read it.
pub(crate) const OFFER: &[u8] = b"v=0\r\no=phone";

/// A method, the status it is answered with (nothing when `None`) and the headers of the answer.
pub(crate) type Answers = (Method, Option<u16>, &'static [(&'static str, &'static str)]);

/// How a phone behaves.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// Whom it calls.
    pub(crate) dials: String,
    /// Asks for `rport`.
    pub(crate) rport: bool,
    /// Acknowledges a 2xx.
    pub(crate) acknowledges: bool,
    /// What it answers a BYE with; nothing when `None`.
    pub(crate) bye_status: Option<u16>,
    /// User name, password and the algorithm it knows.
    pub(crate) login: Option<(&'static str, &'static str, Algorithm)>,
    /// Headers it adds to its INVITEs.
    pub(crate) extra: Vec<(&'static str, &'static str)>,
    /// The host of its Via and Contact, when it does not know its own address.
    pub(crate) claims: Option<&'static str>,
    /// What it answers requests inside a call with, other than BYE: the status (nothing when `None`) and headers. Those
    /// not listed get 200.
    pub(crate) answers: Vec<Answers>,
    /// Agrees to the session timer it is asked for.
    pub(crate) agrees: bool,
    /// Acknowledges each reliable provisional.
    pub(crate) pracks: bool,
    /// Its whole Contact, when it wants to be reached elsewhere.
    pub(crate) contact: Option<String>,
    /// How it behaves when it is called.
    pub(crate) manners: Manners,
}

impl Default for Habits {
    fn default() -> Self {
        let dials = "sip:operator@192.0.2.1".to_owned();
        let (rport, acknowledges) = (true, true);
        Self {
            dials,
            rport,
            acknowledges,
            bye_status: Some(200),
            login: None,
            extra: Vec::new(),
            claims: None,
            answers: Vec::new(),
            agrees: true,
            pracks: true,
            contact: None,
            manners: Manners::default(),
        }
    }
}

/// A phone and everything it saw.
#[derive(Debug)]
pub(crate) struct Phone {
    /// How it behaves.
    pub(crate) habits: Habits,
    /// The way to the endpoint, as the endpoint sees it.
    pub(crate) flow: Flow,
    /// Every response that came, retransmissions included.
    pub(crate) responses: Vec<Response>,
    /// Every request that came, retransmissions included.
    pub(crate) requests: Vec<Request>,
    /// The final statuses each INVITE of ours got, by its branch.
    pub(crate) finals: BTreeMap<String, BTreeSet<u16>>,
    /// The phone considers itself in a call.
    pub(crate) in_call: bool,
    /// What it remembers of being called.
    pub(crate) called: Called,
    name: String,
    count: u32,
    sequence: u32,
    nonce_count: u32,
    peer: Option<Peer>,
    first: Option<Request>,
    invites: Vec<Invite>,
    others: Vec<Other>,
    outputs: VecDeque<Vec<u8>>,
    pracked: BTreeSet<String>,
}

#[derive(Debug)]
struct Peer {
    to: NameAddr,
    target: Uri,
    routes: Vec<NameAddr>,
}

#[derive(Debug)]
struct Invite {
    branch: String,
    request: Request,
    machine: InviteClient,
    ack: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Other {
    branch: String,
    machine: RequestClient,
}

impl Phone {
    /// A phone of this name behind this flow.
    pub(crate) fn new(name: &str, flow: Flow, habits: Habits) -> Self {
        Self {
            habits,
            flow,
            responses: Vec::new(),
            requests: Vec::new(),
            finals: BTreeMap::new(),
            in_call: false,
            called: Called::default(),
            name: name.to_owned(),
            count: 0,
            sequence: 0,
            nonce_count: 0,
            peer: None,
            first: None,
            invites: Vec::new(),
            others: Vec::new(),
            outputs: VecDeque::new(),
            pracked: BTreeSet::new(),
        }
    }

    /// Calls, with an offer or without.
    pub(crate) fn invite(&mut self, now: Instant, offer: Option<&[u8]>) {
        let mut invite = self.outside_dialog(Method::Invite);
        for (name, value) in self.habits.extra.clone() {
            invite.headers.push(name, value);
        }
        self.first = Some(invite.clone());
        self.send_invite(now, with_offer(invite, offer));
    }

    /// Gives the pending INVITE up.
    pub(crate) fn cancel(&mut self, now: Instant) {
        let Some(invite) = self.invites.last() else { return };
        let cancel = beside(&invite.request, Method::Cancel);
        self.send_request(now, &cancel);
    }

    /// Offers something else inside the call.
    pub(crate) fn reinvite(&mut self, now: Instant, offer: Option<&[u8]>) {
        if let Some(invite) = self.inside_dialog(Method::Invite) {
            let mut invite = invite.with_header("Contact", format!("<{}>", self.contact()));
            for (name, value) in self.habits.extra.clone() {
                invite.headers.push(name, value);
            }
            self.send_invite(now, with_offer(invite, offer));
        }
    }

    /// Hangs up, or sends any other request inside the call.
    pub(crate) fn request(&mut self, now: Instant, method: Method) {
        self.in_call &= method != Method::Bye;
        if let Some(request) = self.inside_dialog(method) {
            self.send_request(now, &request);
        }
    }

    /// Sends any request outside the call.
    pub(crate) fn ask(&mut self, now: Instant, method: Method) {
        let request = self.outside_dialog(method);
        self.send_request(now, &request);
    }

    /// Takes whatever the endpoint sent.
    pub(crate) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if bytes == b"\r\n\r\n" {
            return;
        }
        match read_datagram(bytes).expect("the endpoint sends messages that can be read") {
            Message::Request(request) => self.handle_request(now, request),
            Message::Response(response) => self.handle_response(now, response),
        }
    }

    /// Repeats what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.called_timeout(now);
        for invite in &mut self.invites {
            if let ClientStep::Send(bytes) = invite.machine.handle_timeout(now) {
                self.outputs.push_back(bytes.to_vec());
            }
        }
        for other in &mut self.others {
            if let ClientStep::Send(bytes) = other.machine.handle_timeout(now) {
                self.outputs.push_back(bytes.to_vec());
            }
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let invites = self.invites.iter().filter_map(|invite| invite.machine.poll_timeout());
        invites
            .chain(self.others.iter().filter_map(|other| other.machine.poll_timeout()))
            .chain(self.called_poll_timeout())
            .min()
    }

    /// What to send to the endpoint.
    pub(crate) fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outputs.pop_front()
    }

    /// The statuses that came, in order, retransmissions included.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(|response| response.status).collect()
    }

    /// Whether it has sent an INVITE.
    pub(crate) fn has_called(&self) -> bool {
        !self.invites.is_empty()
    }

    /// The last INVITE as it was sent.
    pub(crate) fn last_invite(&self) -> Vec<u8> {
        self.invites.last().expect("an INVITE was sent").request.to_bytes()
    }

    /// The last ACK of a 2xx as it was sent.
    pub(crate) fn last_ack(&self) -> Vec<u8> {
        let acks = self.invites.iter().rev().find_map(|invite| invite.ack.clone());
        acks.expect("a 2xx was acknowledged")
    }

    /// The last response.
    pub(crate) fn last(&self) -> &Response {
        self.responses.last().expect("a response came")
    }
}

impl Phone {
    fn handle_response(&mut self, now: Instant, response: Response) {
        self.responses.push(response.clone());
        let branch = response.headers.via().unwrap().branch().unwrap().to_owned();
        match response.headers.cseq().unwrap().method {
            Method::Invite => self.handle_invite_response(now, &branch, response),
            _ => {
                if let Some(other) = self.others.iter_mut().find(|other| other.branch == branch) {
                    other.machine.handle_response(now, response.status);
                }
            }
        }
    }

    fn handle_invite_response(&mut self, now: Instant, branch: &str, response: Response) {
        if response.status >= 200 {
            self.finals
                .entry(branch.to_owned())
                .or_default()
                .insert(response.status);
        }
        let Some(index) = self.invites.iter().position(|invite| invite.branch == branch) else {
            return;
        };
        match (
            self.invites[index].machine.handle_response(now, response.status),
            response.status,
        ) {
            (Reception::Fresh, 101..=199) => {
                self.learn_peer(&response);
                if self.habits.pracks && response.headers.contains("RSeq") {
                    self.prack_once(now, &response);
                }
            }
            (Reception::Fresh, 200..=299) => self.handle_accepted(index, &response),
            (Reception::Fresh, 300..) => self.handle_refused(now, index, &response),
            (Reception::Repeated, _) => {
                let ack = self.invites[index].machine.repeated_ack().map(<[u8]>::to_vec);
                self.outputs.extend(ack);
            }
            _ => {}
        }
    }

    fn handle_accepted(&mut self, index: usize, response: &Response) {
        self.learn_peer(response);
        if self.invites[index].ack.is_none() {
            self.in_call = true;
        }
        if !self.habits.acknowledges {
            return;
        }
        if self.invites[index].ack.is_none() {
            let sequence = self.invites[index].request.headers.cseq().unwrap().number;
            let mut ack = self
                .inside_dialog_numbered(Method::Ack, sequence)
                .expect("a 2xx has made a dialog");
            if self.invites[index].request.body.is_empty() {
                ack = ack.with_body("application/sdp", OFFER.to_vec());
            }
            self.invites[index].ack = Some(ack.to_bytes());
        }
        self.outputs.extend(self.invites[index].ack.clone());
    }

    fn handle_refused(&mut self, now: Instant, index: usize, response: &Response) {
        let refused = self.invites[index].request.clone();
        let mut ack = beside(&refused, Method::Ack);
        ack.headers.set("To", response.headers.first("To").unwrap());
        self.invites[index].machine.acknowledge(ack.to_bytes());
        self.outputs.push_back(ack.to_bytes());
        if response.status == 401 && self.habits.login.is_some() && !refused.headers.contains("Authorization") {
            self.invite_with_proof(now, refused, response);
        }
    }

    fn learn_peer(&mut self, response: &Response) {
        let Ok(contact) = response.headers.contact() else {
            return;
        };
        let mut routes = response.headers.record_routes().unwrap();
        routes.reverse();
        self.peer = Some(Peer {
            to: response.headers.to().unwrap(),
            target: contact.uri,
            routes,
        });
    }

    fn send_invite(&mut self, now: Instant, request: Request) {
        let bytes = request.to_bytes();
        let machine = InviteClient::sent(now, self.flow.transport.is_reliable(), bytes.clone());
        let branch = request.headers.via().unwrap().branch().unwrap().to_owned();
        self.finals.entry(branch.clone()).or_default();
        self.invites.push(Invite {
            branch,
            request,
            machine,
            ack: None,
        });
        self.outputs.push_back(bytes);
    }

    fn send_request(&mut self, now: Instant, request: &Request) {
        let bytes = request.to_bytes();
        let machine = RequestClient::sent(now, self.flow.transport.is_reliable(), bytes.clone());
        let branch = request.headers.via().unwrap().branch().unwrap().to_owned();
        self.others.push(Other { branch, machine });
        self.outputs.push_back(bytes);
    }
}
