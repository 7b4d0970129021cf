//! Requests outside a dialog: who may ask, what is refused at once, and the INVITE that becomes a leg.

use std::time::{Duration, Instant};

use super::{Endpoint, Event, Invite, Refusal};
use crate::sip::admission::{Source, Verdict};
use crate::sip::defect::HeaderError;
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::leg::{Asked, Leg, LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::reply::{ACCEPT, ACCEPT_ALL, ALLOW, ALLOW_OUTSIDE, EVENTS, Reply, SUPPORTED};
use crate::sip::session_timer::Agreed;
use crate::sip::transaction::Key;
use crate::sip::transaction::servers::{MergeKey, ServerId};
use crate::sip::usages::Usages;
use crate::sip::via::Via;
use crate::sip::whereabouts::Whereabouts;

/// How long the application may leave a re-INVITE without an answer; the caller then keeps what it had.
const REOFFER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Most bytes of extensions named in a 420; what is required beyond them is refused without being named.
const UNSUPPORTED_BYTES_MAX: usize = 1024;

impl Endpoint {
    pub(super) fn handle_out_of_dialog(&mut self, now: Instant, flow: Flow, key: Key, request: Request) {
        let source = self.source_of(&flow, &request);
        if request.method == Method::Register && self.may_register(&flow) {
            return self.handle_register(now, &flow, key, &request);
        }
        if source == Source::Unknown {
            return self.refuse_stranger(&flow, &request);
        }
        if let Err(refusal) = self.check_transport(source, &flow) {
            return self.refuse_stateless(&flow, &request, &refusal);
        }
        match request.method {
            Method::Invite => self.handle_invite(now, flow, key, request, source),
            Method::Options => self.handle_options(&flow, &request),
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => {
                self.refuse_stateless(&flow, &request, &Refusal::no_dialog());
            }
            _ => self.refuse_stateless(&flow, &request, &Refusal::of_method(&request.method, ALLOW_OUTSIDE)),
        }
    }

    /// A stateless answer, so that a flood of them costs no memory. While draining it is the answer an INVITE would get
    /// (RFC 3261 section 11.2).
    fn handle_options(&mut self, flow: &Flow, request: &Request) {
        let refusal = check_destination(request)
            .and_then(|()| check_extensions(request))
            .err();
        match refusal.or_else(|| self.refusal_when_draining()) {
            Some(refusal) => self.refuse_stateless(flow, request, &refusal),
            None => self.reply_stateless(flow, request, capabilities, 200),
        }
    }

    fn handle_invite(&mut self, now: Instant, flow: Flow, key: Key, request: Request, source: Source) {
        if self.servers.len() >= self.settings.transactions_max {
            let refusal = self.overloaded("as many transactions as allowed are live");
            return self.refuse_stateless(&flow, &request, &refusal);
        }
        let verdict = match self.check_phone(now, source, &flow, &request) {
            Some(verdict) => verdict,
            None => self.authenticate(now, &flow, source, &request),
        };
        match verdict {
            Verdict::Admitted(peer) => match self.check_transport(Source::Peer(peer), &flow) {
                Ok(()) => self.handle_admitted(now, flow, key, request, peer),
                Err(refusal) => self.refuse_stateless(&flow, &request, &refusal),
            },
            Verdict::Challenged(challenges) => self.challenge(&flow, &request, challenges),
            Verdict::Failed(detail) => {
                self.refuse_stateless(&flow, &request, &Refusal::new(403, "auth_failed", detail));
            }
        }
    }

    pub(super) fn challenge(&mut self, flow: &Flow, request: &Request, challenges: Vec<String>) {
        let write = |mut response: Response| {
            challenges
                .into_iter()
                .for_each(|challenge| response.headers.push("WWW-Authenticate", challenge));
            response
        };
        self.reply_stateless(flow, request, write, 401);
    }

    /// From here on the INVITE has a transaction, whatever becomes of it.
    fn handle_admitted(&mut self, now: Instant, flow: Flow, key: Key, request: Request, peer: usize) {
        let merge = MergeKey::of(&request.headers).filter(|merge| !self.servers.has_merged(merge));
        // The reader has made sure that there is a key, so none means that it is taken.
        let merged = merge.is_none();
        let (reply, tag) = (Reply::to(&request, &flow), self.mint.tag());
        let transaction = self.servers.open_invite(key, merge, reply.flow(), tag.clone());
        let checked = match merged {
            true => Err(Refusal::new(
                482,
                "bad_request",
                "the same INVITE came by another way already",
            )),
            false => self.check_invite(&request, &tag, peer),
        };
        let arrival = Arrival {
            flow,
            request,
            reply,
            transaction,
        };
        match checked {
            Ok(welcome) => self.begin_leg(now, arrival, peer, welcome),
            Err(refusal) => self.refuse_arrival(now, &arrival, &tag, &refusal),
        }
    }

    fn check_invite(&mut self, request: &Request, tag: &str, peer: usize) -> Result<Welcome, Refusal> {
        check_destination(request)?;
        self.check_loop(request)?;
        check_extensions(request)?;
        check_body(request)?;
        check_accept(request)?;
        if self.legs.len() >= self.settings.legs_max {
            return Err(self.overloaded("as many legs as allowed are live"));
        }
        let dialog = Dialog::begin(request, tag);
        Ok(Welcome {
            replaces: self.replaced_by(request, peer)?,
            timer: self.timer_offered(peer, request)?,
            dialog: dialog.map_err(|error| Refusal::new(400, "bad_request", error.to_string()))?,
        })
    }

    /// An INVITE of ours that finds its way back to us would be answered by another call to the same place (RFC 3261
    /// section 16.3).
    fn check_loop(&self, request: &Request) -> Result<(), Refusal> {
        let vias = request.headers.vias().unwrap_or_default();
        let ours = |via: &Via| via.branch().is_some_and(|branch| self.mint.made(branch));
        match vias.iter().any(ours) {
            true => Err(Refusal::new(
                482,
                "loop",
                "the INVITE was sent by this gateway and came back",
            )),
            false => Ok(()),
        }
    }

    fn begin_leg(&mut self, now: Instant, arrival: Arrival, peer: usize, welcome: Welcome) {
        let Ok(mut invite) = self.invite(&arrival, peer) else {
            return;
        };
        invite.replaces = welcome.replaces;
        let dialog = welcome.dialog;
        let mut usages = Usages {
            provisionals: self.provisionals_for(&arrival.request),
            timer_offered: welcome.timer,
            ..Usages::default()
        };
        usages.learn(&arrival.request.headers);
        self.last_leg = self.last_leg.wrapping_add(1);
        let id = LegId(self.last_leg);
        self.servers.set_owner(arrival.transaction, id);
        self.dialogs.insert(dialog.id().clone(), id);
        let flow = arrival.reply.flow();
        let whereabouts = Whereabouts::of(&arrival.request, &arrival.flow);
        let phase = Phase::Asked(self.asked(now, arrival, true));
        self.legs.insert(
            id,
            Leg {
                whereabouts,
                usages,
                ..Leg::new(peer, dialog, flow, phase)
            },
        );
        self.arm(id);
        self.tell(id, Event::Incoming(Box::new(invite)));
    }

    /// Sends 100 and notes what waits for the application.
    pub(super) fn asked(&mut self, now: Instant, arrival: Arrival, first: bool) -> Asked {
        let Arrival {
            request,
            reply,
            transaction,
            ..
        } = arrival;
        self.respond(now, transaction, reply.trying());
        let wait_max = if first {
            self.settings.ring_max
        } else {
            REOFFER_WAIT_MAX
        };
        Asked {
            transaction,
            sequence: sequence(&request),
            first,
            offered: !request.body.is_empty(),
            give_up_at: now + wait_max,
            reply,
        }
    }

    pub(super) fn refuse_arrival(&mut self, now: Instant, arrival: &Arrival, tag: &str, refusal: &Refusal) {
        self.report_refusal(&arrival.flow, &arrival.request, refusal);
        let response = refusal.write_into(arrival.reply.response(refusal.status, tag));
        self.respond(now, arrival.transaction, response);
    }

    fn invite(&self, arrival: &Arrival, peer: usize) -> Result<Invite, HeaderError> {
        let Arrival { flow, request, .. } = arrival;
        let mut headers = request.headers.clone();
        headers.remove("Authorization");
        headers.remove("Proxy-Authorization");
        Ok(Invite {
            trunk: self.admission.name(peer).to_owned(),
            from: headers.from()?,
            to: headers.to()?,
            request_uri: request.uri.clone(),
            call_id: headers.call_id()?.to_owned(),
            flow: *flow,
            advertised_ip: self.advertised_ip(flow),
            offer: offer_of(request),
            headers,
            replaces: None,
        })
    }

    fn refusal_when_draining(&mut self) -> Option<Refusal> {
        if !self.draining {
            return None;
        }
        let refusal = Refusal::new(503, "draining", "the gateway is shutting down");
        Some(refusal.with_header("Retry-After", self.retry_after()))
    }

    pub(super) fn overloaded(&mut self, detail: &str) -> Refusal {
        Refusal::new(503, "overloaded", detail).with_header("Retry-After", self.retry_after())
    }
}

/// What becomes of an INVITE that is let in.
struct Welcome {
    dialog: Dialog,
    replaces: Option<LegId>,
    timer: Option<Agreed>,
}

/// An INVITE that has its transaction.
pub(super) struct Arrival {
    pub(super) flow: Flow,
    pub(super) request: Request,
    pub(super) reply: Reply,
    pub(super) transaction: ServerId,
}

impl Refusal {
    pub(super) fn no_dialog() -> Self {
        Self::new(481, "bad_request", "the request belongs to no call that is known here")
    }
}

/// The body of an INVITE or ACK as a session description.
pub(super) fn offer_of(request: &Request) -> Option<Vec<u8>> {
    (!request.body.is_empty()).then(|| request.body.clone())
}

/// The reader has accepted CSeq, so there is a number.
pub(super) fn sequence(request: &Request) -> u32 {
    request.headers.cseq().map_or(0, |cseq| cseq.number)
}

/// Whether the request may go on from here, and to whom. A gateway ends the hop count of the one side and begins that
/// of the other; to stop loops through it, a spent count is refused (RFC 7332), except in OPTIONS, which may
/// be meant for us.
fn check_destination(request: &Request) -> Result<(), Refusal> {
    if request.method != Method::Options && request.headers.max_forwards() == Ok(Some(0)) {
        return Err(Refusal::new(483, "bad_request", "Max-Forwards is used up"));
    }
    match request.uri.scheme() {
        served if served.is_served() => Ok(()),
        other => Err(Refusal::new(
            416,
            "bad_request",
            format!("the scheme {other} of the Request-URI is not served"),
        )),
    }
}

/// What is required beyond what we support is refused by name (RFC 3261 section 8.2.2.3).
pub(super) fn check_extensions(request: &Request) -> Result<(), Refusal> {
    let supported = |token: &str| SUPPORTED.split(", ").any(|one| one.eq_ignore_ascii_case(token));
    let required = request.headers.tokens("Require");
    let required: Vec<_> = required.filter(|token| !supported(token)).collect();
    if required.is_empty() {
        return Ok(());
    }
    let required = joined(&required);
    let refusal = Refusal::new(
        420,
        "bad_request",
        format!("the extensions {required} are required but not supported"),
    );
    Err(refusal.with_header("Unsupported", required))
}

/// As many of the words as fit; the request may hold more than a response should repeat.
fn joined(words: &[&str]) -> String {
    let mut list = String::new();
    for word in words {
        if list.len() + word.len() > UNSUPPORTED_BYTES_MAX {
            break;
        }
        list.extend([if list.is_empty() { "" } else { ", " }, word]);
    }
    list
}

/// An INVITE that says what it takes must take the session description of our answer (RFC 3261 section 20.1).
fn check_accept(request: &Request) -> Result<(), Refusal> {
    let takes =
        |range: &str| ["application/sdp", "application/*", "*/*"].contains(&range.to_ascii_lowercase().as_str());
    let mut ranges = request
        .headers
        .tokens("Accept")
        .map(|range| range.split(';').next().unwrap_or_default().trim_end());
    match !request.headers.contains("Accept") || ranges.any(takes) {
        true => Ok(()),
        false => Err(
            Refusal::new(406, "bad_request", "the caller does not accept a session description")
                .with_header("Accept", ACCEPT),
        ),
    }
}

/// Only plain session descriptions are understood (RFC 3261 section 8.2.3).
pub(super) fn check_body(request: &Request) -> Result<(), Refusal> {
    if request.body.is_empty() {
        return Ok(());
    }
    let kind = request.headers.content_type().unwrap_or_default();
    let encoding = request.headers.first("Content-Encoding").unwrap_or("identity");
    if kind == ACCEPT && encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let refusal = Refusal::new(
        415,
        "bad_request",
        format!("a body of type {kind:?} coded as {encoding:?} is not read"),
    );
    Err(refusal
        .with_header("Accept", ACCEPT)
        .with_header("Accept-Encoding", "identity"))
}

/// What OPTIONS wants to know.
pub(super) fn capabilities(response: Response) -> Response {
    response
        .with_header("Allow", ALLOW)
        .with_header("Accept", ACCEPT_ALL)
        .with_header("Allow-Events", EVENTS)
        .with_header("Supported", SUPPORTED)
}
