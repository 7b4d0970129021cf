//! Requests of ours, whatever they are for: sent, repeated, tried elsewhere, proved when asked, and reported when done.
//!
//! To send something new, add a variant to [`Purpose`] (or to [`LegErrand`] or [`TrunkErrand`]), call
//! [`Endpoint::send_in_dialog`] or [`Endpoint::send_request`], and take the outcome in [`Endpoint::errand_done`]. Both
//! may report before they return, when there is no way to go; callers therefore enter their new state first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::deadlines::Alarm;
use super::reoffers::REOFFER_ANSWER_MAX;
use super::{Endpoint, Output, QueryId};
use crate::sip::challenge::{Keyring, Proven};
use crate::sip::errand::{Course, Draft, Errand, ErrandId, Outcome, OwnContact, Sent, Stretch, Way};
use crate::sip::flow::Flow;
use crate::sip::leg::{Leg, LegId};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::target::Hop;
use crate::sip::transaction::clients::ClientKey;
use crate::sip::transaction::timers::GIVE_UP;
use crate::sip::uplink::Login;
use crate::sip::via::Via;
use crate::sip::vocabulary::reason_phrase;
use crate::sip::whereabouts::is_local;

/// Most errands at once. A further one ends as unreachable before it begins: a BYE is then not sent and its peer has to
/// notice by itself.
pub const ERRANDS_MAX: usize = 50_000;

/// Longest life of a re-INVITE of ours: its answer, and that to its CANCEL. It is forgotten then, whatever becomes of the
/// leg.
const REINVITE_MAX: Duration = Duration::from_secs(REOFFER_ANSWER_MAX.as_secs() + 2 * GIVE_UP.as_secs());

/// What a request of ours is for, and so who hears how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It ends a leg.
    Bye(LegId),
    /// It begins the call that becomes this leg.
    Invite(LegId),
    /// It acknowledges a provisional of one phone that the INVITE of this leg rings.
    Prack(LegId),
    /// It gives an INVITE of ours up.
    Cancel,
    /// It confirms the 2xx of one phone, by its place among those that answered the INVITE of this leg.
    Ack(LegId, usize),
    /// It hangs up on a phone that answered the INVITE of this leg and is not wanted.
    Farewell(LegId),
    /// It changes what was agreed on in a leg.
    Reinvite(LegId),
    /// It confirms the 2xx to that.
    Reack(LegId),
    /// Something inside the dialog of a leg.
    Leg(LegId, LegErrand),
    /// Something between us and the peer of this index, outside any call.
    Trunk(usize, TrunkErrand),
}

/// What a request inside a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegErrand {
    /// An UPDATE that refreshes the session.
    Refresh,
    /// A REFER.
    Refer,
    /// A NOTIFY about a transfer.
    Notify,
    /// A digit or a text: the call goes on whatever the peer thinks of it.
    Notice,
}

/// What a request to a peer outside any call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrunkErrand {
    /// It registers us, or takes that back.
    Register,
    /// It asks whether the peer is there.
    Probe,
}

impl Purpose {
    /// The leg inside whose dialog it is.
    pub(super) fn leg(self) -> Option<LegId> {
        match self {
            Purpose::Bye(leg) | Purpose::Reinvite(leg) | Purpose::Leg(leg, _) => Some(leg),
            Purpose::Invite(_) | Purpose::Cancel | Purpose::Ack(..) | Purpose::Farewell(_) => None,
            Purpose::Prack(_) | Purpose::Reack(_) | Purpose::Trunk(..) => None,
        }
    }
}

/// All errands of one endpoint.
#[derive(Default)]
pub(super) struct Errands {
    live: HashMap<ErrandId, Errand<Purpose>>,
    queries: HashMap<QueryId, ErrandId>,
    /// One for each peer, by its index.
    keyrings: HashMap<usize, Keyring>,
    last: u64,
}

impl Errands {
    /// How many names are being looked up for an errand.
    pub(super) fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The errand of this number.
    pub(super) fn get(&self, id: ErrandId) -> Option<&Errand<Purpose>> {
        self.live.get(&id)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, id: ErrandId) -> Option<&mut Errand<Purpose>> {
        self.live.get_mut(&id)
    }

    pub(super) fn insert(&mut self, errand: Errand<Purpose>) -> ErrandId {
        self.last = self.last.wrapping_add(1);
        self.live.insert(ErrandId(self.last), errand);
        ErrandId(self.last)
    }
}

/// What comes of errands.
impl Endpoint {
    /// An errand is done. A 2xx to an INVITE comes here as often as it arrives, also from several phones.
    pub(super) fn errand_done(&mut self, now: Instant, id: ErrandId, purpose: Purpose, outcome: Outcome) {
        match purpose {
            // Whatever the peer thinks of our BYE (401, 481, nothing at all), the call is over.
            Purpose::Bye(leg) => self.finish(leg),
            Purpose::Invite(leg) => self.invite_done(now, id, leg, outcome),
            Purpose::Reinvite(leg) => self.reinvite_done(now, id, leg, outcome),
            // An ACK has no answer, so this one found no way.
            Purpose::Ack(leg, fork) => self.ack_failed(leg, fork),
            Purpose::Reack(leg) => self.reack_failed(leg),
            Purpose::Cancel | Purpose::Farewell(_) | Purpose::Prack(_) => {}
            Purpose::Leg(leg, LegErrand::Refresh) => self.refresh_done(now, leg, outcome),
            Purpose::Leg(leg, LegErrand::Refer) => self.refer_done(leg, outcome),
            Purpose::Leg(leg, LegErrand::Notify) => self.notify_done(leg, &outcome),
            Purpose::Leg(_, LegErrand::Notice) => {}
            Purpose::Trunk(peer, errand) => self.trunk_errand_done(now, peer, errand, outcome),
        }
    }

    /// A provisional answer came.
    pub(super) fn errand_progress(&mut self, now: Instant, id: ErrandId, purpose: Purpose, response: &Response) {
        if let Purpose::Invite(leg) = purpose {
            self.invite_progress(now, id, leg, response);
        }
    }

    /// No further 2xx to this INVITE is waited for.
    pub(super) fn errand_over(&mut self, purpose: Purpose) {
        if let Purpose::Invite(leg) = purpose {
            self.invitations.remove(&leg);
            self.reject(leg, 408, reason_phrase(408), None);
        }
    }

    /// Whether an errand of this purpose is still worth an attempt.
    pub(super) fn is_wanted(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Invite(leg) => self.invitations.get(&leg).is_some_and(|known| !known.cancelled),
            _ => true,
        }
    }

    /// An ACK is out: there is no answer to wait for, but it may have to be sent again.
    fn ack_sent(&mut self, purpose: Purpose, flow: Flow, bytes: &[u8]) {
        match purpose {
            Purpose::Ack(leg, fork) => self.keep_ack(leg, fork, flow, bytes.to_vec()),
            Purpose::Reack(leg) => self.keep_reack(leg, flow, bytes.to_vec()),
            _ => {}
        }
    }
}

/// The hops that lead out of our own network: nobody outside may point us at what is inside, by whatever name.
fn outside(hops: Result<Vec<Hop>, String>) -> Result<Vec<Hop>, String> {
    let (inside, outside): (Vec<_>, Vec<_>) = hops?.into_iter().partition(|hop| is_local(hop.remote.ip()));
    match outside.is_empty() && !inside.is_empty() {
        true => Err("a peer elsewhere has named an address of a local network".to_owned()),
        false => Ok(outside),
    }
}

/// Sending.
impl Endpoint {
    /// Sends a request inside the dialog of a leg.
    pub(super) fn send_in_dialog(&mut self, now: Instant, leg: LegId, draft: Draft, purpose: Purpose) -> ErrandId {
        let course = self.legs.get(&leg).and_then(Leg::course);
        let Some(known) = self.legs.get_mut(&leg) else {
            return self.stillborn(now, purpose, "the call is over");
        };
        let mut request = known.dialog.draft(draft.method);
        draft
            .headers
            .iter()
            .for_each(|header| request.headers.push(header.name.as_str(), &header.value));
        request.body = draft.body;
        let peer = known.peer;
        let errand = Errand {
            contact: draft.contact,
            login: self.login(peer),
            ..Errand::new(purpose, request)
        };
        match course {
            Some(course) => self.begin_errand(now, errand, course),
            None => self.stillborn(now, purpose, "the connection of the call has closed"),
        }
    }

    /// Sends a request outside any dialog of a leg. It has everything but Via, Max-Forwards, Contact, User-Agent and
    /// proofs.
    pub(super) fn send_request(
        &mut self,
        now: Instant,
        request: Request,
        contact: Option<OwnContact>,
        course: Course,
        login: Option<Login>,
        purpose: Purpose,
    ) -> ErrandId {
        let errand = Errand {
            contact,
            login,
            ..Errand::new(purpose, request)
        };
        self.begin_errand(now, errand, course)
    }

    /// What we prove to this peer.
    pub(super) fn login(&self, peer: usize) -> Option<Login> {
        self.admission.uplink(peer)?.login.clone()
    }

    /// An errand that ends before it begins.
    fn stillborn(&mut self, now: Instant, purpose: Purpose, why: &str) -> ErrandId {
        self.errands.last = self.errands.last.wrapping_add(1);
        let id = ErrandId(self.errands.last);
        self.errand_done(now, id, purpose, Outcome::Unreachable(why.to_owned()));
        id
    }

    fn begin_errand(&mut self, now: Instant, mut errand: Errand<Purpose>, course: Course) -> ErrandId {
        if self.errands.live.len() >= ERRANDS_MAX {
            return self.stillborn(now, errand.purpose, "as many requests of ours as allowed are under way");
        }
        match course {
            Course::Flow(flow) => errand.way = Way::flow(flow),
            Course::Hops(hops) => errand.way = Way::hops(hops, errand.request.to_bytes().len()),
            Course::Target { target, near } => {
                errand.near = near;
                let id = self.errands.insert(errand);
                let query = self.query();
                self.errands.queries.insert(query, id);
                self.outputs.push_back(Output::Resolve { query, target });
                return id;
            }
        }
        let id = self.errands.insert(errand);
        self.attempt(now, id);
        id
    }

    /// The number of a new question.
    pub(super) fn query(&mut self) -> QueryId {
        self.last_query = self.last_query.wrapping_add(1);
        QueryId(self.last_query)
    }

    /// The hops of an errand's target. Without any, a flow that is open already is the last resort.
    pub(super) fn errand_resolved(&mut self, now: Instant, query: QueryId, hops: Result<Vec<Hop>, String>) {
        let Some(id) = self.errands.queries.remove(&query) else {
            return;
        };
        let hops = match self.errands.live.get(&id) {
            Some(errand) if self.is_told_from_elsewhere(errand) => outside(hops),
            _ => hops,
        };
        let Some(errand) = self.errands.live.get_mut(&id) else {
            return;
        };
        match hops {
            Ok(hops) if !hops.is_empty() => errand.way = Way::hops(hops, errand.request.to_bytes().len()),
            none => {
                errand.way = errand.near.map(Way::flow).unwrap_or_default();
                let why = none.err().unwrap_or_else(|| "the name has no address".to_owned());
                errand.failure = Some(Outcome::Unreachable(why));
            }
        }
        self.attempt(now, id);
    }

    /// Whether the place an errand goes to was named by a peer in another network: in a Contact, a Record-Route or a
    /// redirection. What the settings name may be anywhere.
    fn is_told_from_elsewhere(&self, errand: &Errand<Purpose>) -> bool {
        let peer = match errand.purpose {
            Purpose::Trunk(..) => None,
            Purpose::Invite(call) => self.first_place(call),
            purpose => {
                let leg = purpose.leg().and_then(|leg| self.legs.get(&leg));
                let flow = errand.near.or_else(|| leg.map(|leg| leg.flow));
                flow.map(|flow| flow.source_ip())
            }
        };
        peer.is_some_and(|ip| !is_local(ip))
    }

    /// Tries the next place, if there is one.
    pub(super) fn attempt(&mut self, now: Instant, id: ErrandId) {
        loop {
            let Some(errand) = self.errands.live.get_mut(&id) else {
                return;
            };
            let (next, near, purpose) = (errand.way.next(), errand.near, errand.purpose);
            let Some(stretch) = next.filter(|_| self.is_wanted(purpose)) else {
                return self.give_errand_up(now, id);
            };
            match self.flow_for(stretch, near) {
                Some(flow) => return self.send_attempt(now, id, flow),
                None => self.note_failure(id, Outcome::Unreachable("too many connections are open".to_owned())),
            }
        }
    }

    fn give_errand_up(&mut self, now: Instant, id: ErrandId) {
        let Some(errand) = self.remove_errand(id) else { return };
        let nowhere = || Outcome::Unreachable("there is no way to the peer".to_owned());
        let outcome = errand.failure.unwrap_or_else(nowhere);
        self.errand_done(now, id, errand.purpose, outcome);
    }

    pub(super) fn remove_errand(&mut self, id: ErrandId) -> Option<Errand<Purpose>> {
        self.alarms.clear(Alarm::Abandon(id));
        self.errands.live.remove(&id)
    }

    pub(super) fn note_failure(&mut self, id: ErrandId, failure: Outcome) {
        if let Some(errand) = self.errands.live.get_mut(&id) {
            errand.failure = Some(failure);
        }
    }

    /// The flow to a place: one that is open, or a new one.
    fn flow_for(&mut self, stretch: Stretch, near: Option<Flow>) -> Option<Flow> {
        let hop = match stretch {
            Stretch::Flow(flow) => return Some(flow),
            Stretch::Hop(hop) => hop,
        };
        let leads_there = |flow: &Flow| flow.transport == hop.transport && flow.remote == hop.remote;
        if let Some(flow) = near.filter(leads_there) {
            return Some(flow);
        }
        if !hop.transport.is_reliable() {
            return Some(Flow {
                transport: hop.transport,
                local: hop.local,
                remote: hop.remote,
                connection: 0,
            });
        }
        if let Some(flow) = self.connections.find(&hop) {
            return Some(flow);
        }
        let flow = self.connections.open(&hop)?;
        let name = hop.name;
        self.outputs.push_back(Output::Open { flow, name });
        Some(flow)
    }

    /// Writes what an attempt adds, and sends it in a transaction of its own.
    pub(super) fn send_attempt(&mut self, now: Instant, id: ErrandId, flow: Flow) {
        let branch = self.mint.branch();
        let Some(errand) = self.errands.live.get(&id) else {
            return;
        };
        let (purpose, contact) = (errand.purpose, errand.contact.clone());
        let mut request = errand.request.clone();
        request.headers.set_top_via(&self.via(&flow, &branch));
        if let Some(contact) = contact {
            request
                .headers
                .push("Contact", self.own_contact(&flow, request.uri.scheme(), &contact));
        }
        request.headers.push("User-Agent", &self.settings.user_agent);
        self.prove(id, &mut request);
        let bytes = request.to_bytes();
        if let Some(Purpose::Trunk(peer, TrunkErrand::Register)) = self.errands.get(id).map(|errand| errand.purpose) {
            self.registrations.note_sent(peer, flow, &request);
        }
        if request.method == Method::Ack {
            self.remove_errand(id);
            self.ack_sent(purpose, flow, &bytes);
            return self.send(flow, bytes);
        }
        let key = ClientKey {
            branch,
            method: request.method.clone(),
        };
        if let Some(errand) = self.errands.live.get_mut(&id) {
            let key = key.clone();
            errand.sent = Some(Sent { key, flow, request });
            errand.provisional = false;
        }
        if matches!(purpose, Purpose::Reinvite(_)) {
            self.alarms.set(Alarm::Abandon(id), Some(now + REINVITE_MAX));
        }
        self.clients.open(now, key, flow, id, bytes.clone());
        self.send(flow, bytes);
    }

    /// Our Via on this flow.
    pub(super) fn via(&self, flow: &Flow, branch: &str) -> Via {
        Via::new(flow.transport.as_str(), self.advertised(flow), branch)
    }

    /// Adds the proofs of everyone who has asked for one in this call, or at this trunk.
    fn prove(&mut self, id: ErrandId, request: &mut Request) {
        let cnonce = self.mint.tag();
        let Some(errand) = self.errands.live.get(&id) else {
            return;
        };
        let (purpose, login) = (errand.purpose, errand.login.clone());
        let (Some(login), Some(keyring)) = (login, self.keyring(purpose)) else {
            return;
        };
        let proven = Proven {
            method: request.method.as_str(),
            uri: request.uri.as_str(),
            body: &request.body,
            cnonce: &cnonce,
            count: 0,
        };
        let proofs = keyring.prove(&login, &proven);
        proofs
            .into_iter()
            .for_each(|(header, proof)| request.headers.push(header, proof));
    }

    /// Where the challenges met on errands of this purpose are remembered.
    pub(super) fn keyring(&mut self, purpose: Purpose) -> Option<&mut Keyring> {
        match purpose {
            Purpose::Invite(leg) | Purpose::Farewell(leg) | Purpose::Prack(leg) => {
                Some(&mut self.invitations.get_mut(&leg)?.keyring)
            }
            Purpose::Trunk(peer, _) => Some(self.errands.keyrings.entry(peer).or_default()),
            _ => Some(&mut self.legs.get_mut(&purpose.leg()?)?.keyring),
        }
    }
}
