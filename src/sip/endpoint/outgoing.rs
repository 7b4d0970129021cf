//! Calls we place, as the application sees them: from the number to the answer, the refusal or giving up.
//!
//! A call being placed has no dialog yet: it is a [`Placing`] until somebody answers and a leg from then on. What
//! happens to its INVITE on the wire is the business of `invitations`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::deadlines::Alarm;
use super::errands::Purpose;
use super::{Endpoint, Event, NotPlaced, Outgoing, Output, QueryId, REGISTRAR};
use crate::sip::calling;
use crate::sip::errand::{Course, OwnContact, PROOFS_MAX};
use crate::sip::flow::Flow;
use crate::sip::invitation::Invitation;
use crate::sip::leg::LegId;
use crate::sip::message::{Request, Response};
use crate::sip::reply::ACCEPT;
use crate::sip::session_timer::{MIN_SE, Terms};
use crate::sip::target::{Hop, Target};
use crate::sip::uplink::Uplink;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::vocabulary::reason_phrase;

/// How many redirections one call follows; the next one counts as a refusal.
pub const REDIRECTIONS_MAX: usize = 3;
/// Longest time a call may ring, whatever the application allows.
pub const RINGING_MAX: Duration = Duration::from_secs(600);

/// A call that has no dialog yet.
pub(super) struct Placing {
    peer: usize,
    /// The INVITE but for its number, its body, and what each attempt adds.
    invite: Request,
    sequence: u32,
    ring_max: Duration,
    hops: Vec<Hop>,
    /// The way a phone registered, which nothing is looked up for.
    flow: Option<Flow>,
    offer: Option<Vec<u8>>,
    /// Whom it has been sent to, and who is left to try.
    tried: Vec<Uri>,
    redirections: VecDeque<Uri>,
    /// The least session timer somebody on the way wants (422).
    session_min: Option<Duration>,
}

impl Endpoint {
    /// Places a call. The leg it becomes asks for its offer next ([`Event::Located`]).
    pub fn place(&mut self, now: Instant, mut outgoing: Outgoing) -> Result<LegId, NotPlaced> {
        let (peer, uplink, flow) = self.way_of_call(&mut outgoing)?;
        if self.legs.len() + self.placings.len() >= self.settings.legs_max {
            return Err(not_placed("overloaded", "as many legs as allowed are live".to_owned()));
        }
        let invite = self.routed_call(peer, calling::invite(&uplink, &outgoing)?);
        let target = first_target(&invite)?;
        let (tag, call_id) = (self.mint.tag(), self.mint.tag());
        self.last_leg = self.last_leg.wrapping_add(1);
        let id = LegId(self.last_leg);
        let ring_max = outgoing.ring_max.min(RINGING_MAX);
        self.placings.insert(
            id,
            Placing {
                peer,
                tried: vec![invite.uri.clone()],
                invite: identified(invite, &tag, call_id),
                sequence: 0,
                ring_max,
                hops: Vec::new(),
                flow,
                offer: None,
                redirections: VecDeque::new(),
                session_min: None,
            },
        );
        self.alarms.set(Alarm::Ring(id), Some(now + ring_max));
        let query = self.query();
        self.queries.insert(query, id);
        match flow {
            Some(flow) => self.located(query, Ok(vec![hop_of(&flow)])),
            None => self.outputs.push_back(Output::Resolve { query, target }),
        }
        Ok(id)
    }

    /// The Call-ID of a call being placed. It stays the same however often the INVITE is sent.
    pub fn call_id(&self, leg: LegId) -> Option<&str> {
        self.placings.get(&leg)?.invite.headers.call_id().ok()
    }

    /// The peer a call goes to, how it is reached, and the way that is open already: to a phone that registered here it
    /// is the newest one.
    fn way_of_call(&self, outgoing: &mut Outgoing) -> Result<(usize, Uplink, Option<Flow>), NotPlaced> {
        if outgoing.trunk == REGISTRAR && self.registrar.is_some() {
            let (uplink, flow) = self.way_to_phone(&outgoing.to)?;
            outgoing.to = uplink.address.to_string();
            return Ok((self.phones(), uplink, Some(flow)));
        }
        let Some((peer, uplink)) = self.admission.uplink_named(&outgoing.trunk) else {
            let detail = format!("the trunk {:?} is not one that calls can be placed on", outgoing.trunk);
            return Err(not_placed("no_uplink", detail));
        };
        Ok((peer, uplink.clone(), None))
    }

    /// While we are registered a call begins on the way the registrar told us.
    fn routed_call(&self, peer: usize, mut invite: Request) -> Request {
        let routes = self.service_routes(peer);
        if !routes.is_empty() {
            invite.headers.remove("Route");
        }
        routes
            .iter()
            .for_each(|route| invite.headers.push("Route", route.to_string()));
        invite
    }

    /// The way to a call we place is known, or there is none.
    pub(super) fn located(&mut self, query: QueryId, hops: Result<Vec<Hop>, String>) {
        let Some(id) = self.queries.remove(&query) else { return };
        let first = hops.as_ref().ok().and_then(|hops| hops.first()).cloned();
        let Some(placing) = self.placings.get_mut(&id) else {
            return;
        };
        let (Ok(hops), Some(first)) = (hops, first) else {
            return self.reject(id, 503, "the trunk cannot be found".to_owned(), None);
        };
        placing.hops = hops;
        let local_ip = first.local.ip().to_canonical();
        let advertised_ip = self.advertised_ip(&Flow {
            transport: first.transport,
            local: first.local,
            remote: first.remote,
            connection: 0,
        });
        let located = Event::Located {
            local_ip,
            advertised_ip,
        };
        self.tell(id, located);
    }

    /// The offer is here: the INVITE leaves.
    pub(super) fn offer(&mut self, now: Instant, id: LegId, sdp: Vec<u8>) {
        let Some(placing) = self.placings.get_mut(&id) else {
            return self.offer_again(now, id, sdp);
        };
        if placing.offer.is_some() || placing.hops.is_empty() {
            return;
        }
        placing.offer = Some(sdp);
        let ring_until = now + placing.ring_max;
        let course = match placing.flow {
            Some(flow) => Course::Flow(flow),
            None => Course::Hops(placing.hops.clone()),
        };
        self.alarms.set(Alarm::Ring(id), Some(ring_until));
        self.send_invitation(now, id, course);
    }

    fn send_invitation(&mut self, now: Instant, id: LegId, course: Course) {
        let Some(placing) = self.placings.get_mut(&id) else {
            return;
        };
        placing.sequence += 1;
        let invite = placing.invite.clone();
        let invite = invite.with_header("CSeq", format!("{} INVITE", placing.sequence));
        let invite = invite.with_body(ACCEPT, placing.offer.clone().unwrap_or_default());
        let (peer, min) = (placing.peer, placing.session_min);
        let invite = self.with_timer(peer, min, invite);
        let login = self.login(peer);
        self.invitations.insert(id, Invitation::new(peer));
        let contact = Some(OwnContact::default());
        let errand = self.send_request(now, invite, contact, course, login, Purpose::Invite(id));
        if let Some(invitation) = self.invitations.get_mut(&id) {
            invitation.errand = errand;
        }
    }

    /// The INVITE of a call was turned down with this response, whose number was `sequence`.
    pub(super) fn turned_down(&mut self, now: Instant, id: LegId, response: &Response, sequence: u32) {
        let Some(placing) = self.placings.get_mut(&id) else {
            return;
        };
        // It rose by the challenges answered and no further, whatever the response says.
        let highest = placing.sequence.saturating_add(PROOFS_MAX as u32);
        placing.sequence = sequence.clamp(placing.sequence, highest);
        if response.status == 422 && self.ask_for_longer_session(now, id, response) {
            return;
        }
        if (300..=399).contains(&response.status) {
            self.note_redirections(id, response);
        }
        if response.status < 600 && self.follow_redirection(now, id) {
            return;
        }
        let phrase = match response.reason.is_empty() {
            true => reason_phrase(response.status),
            false => response.reason.clone(),
        };
        self.reject(id, response.status, phrase, calling::retry_after(response));
    }

    /// Somebody on the way wants a longer session timer (RFC 4028 section 7.3): the INVITE goes there once more.
    fn ask_for_longer_session(&mut self, now: Instant, id: LegId, response: &Response) -> bool {
        let peer = self.placings.get(&id).map(|placing| placing.peer);
        let floor = peer.map_or(MIN_SE, |peer| self.timer_floor(peer));
        let Some(placing) = self
            .placings
            .get_mut(&id)
            .filter(|placing| placing.session_min.is_none())
        else {
            return false;
        };
        let Ok(terms) = Terms::read(&response.headers, floor) else {
            return false;
        };
        placing.session_min = Some(terms.min);
        let redirected = placing.tried.len() > 1 && !placing.invite.headers.contains("Route");
        let course = match Target::of(&placing.invite.uri) {
            Ok(target) if redirected => Course::Target { target, near: None },
            _ => Course::Hops(placing.hops.clone()),
        };
        self.send_invitation(now, id, course);
        true
    }

    /// The INVITE of a call got no answer.
    pub(super) fn unanswered(&mut self, now: Instant, id: LegId, status: u16, phrase: String) {
        if !self.follow_redirection(now, id) {
            self.reject(id, status, phrase, None);
        }
    }

    /// An address that was tried before is not tried again, so that there is no going round in circles.
    fn note_redirections(&mut self, id: LegId, response: &Response) {
        let Some(placing) = self.placings.get_mut(&id) else {
            return;
        };
        let Some(uplink) = self.admission.uplink(placing.peer) else {
            return;
        };
        let secure = *placing.invite.uri.scheme() == Scheme::Sips;
        let found = calling::redirections(response, &uplink.address, secure);
        placing.redirections = found.into();
    }

    /// Sends the INVITE to the next address of a redirection, if there is one.
    fn follow_redirection(&mut self, now: Instant, id: LegId) -> bool {
        let Some(placing) = self.placings.get_mut(&id) else {
            return false;
        };
        while placing.tried.len() <= REDIRECTIONS_MAX {
            let Some(next) = placing.redirections.pop_front() else {
                return false;
            };
            if placing.tried.iter().any(|tried| tried.same_resource(&next)) {
                continue;
            }
            let course = match placing.invite.headers.contains("Route") {
                true => Course::Hops(placing.hops.clone()),
                false => match Target::of(&next) {
                    Ok(target) => Course::Target { target, near: None },
                    Err(_) => continue,
                },
            };
            placing.tried.push(next.clone());
            placing.invite.uri = next;
            self.send_invitation(now, id, course);
            return true;
        }
        false
    }

    /// Where a call that has no answer yet was sent first.
    pub(super) fn first_place(&self, id: LegId) -> Option<IpAddr> {
        let hop = self.placings.get(&id)?.hops.first()?;
        Some(hop.remote.ip())
    }

    /// The application does not want the call any more.
    pub(super) fn give_up_placing(&mut self, now: Instant, id: LegId, reason: &str) {
        self.end_placing(id, None);
        self.cancel_invitation(now, id, reason);
    }

    /// It has rung for long enough.
    pub(super) fn ring_timeout(&mut self, now: Instant, id: LegId) {
        if self.placings.contains_key(&id) {
            self.reject(id, 408, reason_phrase(408), None);
            self.cancel_invitation(now, id, "no_answer");
        }
    }

    pub(super) fn reject(&mut self, id: LegId, status: u16, phrase: String, retry_after: Option<Duration>) {
        let rejected = Event::Rejected {
            status,
            phrase,
            retry_after,
        };
        self.end_placing(id, Some(rejected));
    }

    fn end_placing(&mut self, id: LegId, last_word: Option<Event>) {
        if self.placings.remove(&id).is_none() {
            return;
        }
        self.alarms.clear(Alarm::Ring(id));
        last_word.into_iter().for_each(|event| self.tell(id, event));
        self.tell(id, Event::Gone);
    }
}

/// Where the INVITE goes first: through the trunk's proxy, or to whom it is for.
fn hop_of(flow: &Flow) -> Hop {
    Hop {
        transport: flow.transport,
        local: flow.local,
        remote: flow.remote,
        name: String::new(),
    }
}

/// Where a call goes first: to the first of its routes, else to whom it is for.
fn first_target(invite: &Request) -> Result<Target, NotPlaced> {
    let routes = invite.headers.routes().unwrap_or_default();
    let first = routes.first().map_or(&invite.uri, |route| &route.uri);
    Target::of(first).map_err(|error| not_placed("bad_request", format!("{first} cannot be called: {error}")))
}

fn identified(mut invite: Request, tag: &str, call_id: String) -> Request {
    if let Ok(from) = invite.headers.from() {
        invite.headers.set("From", from.with_tag(tag).to_string());
    }
    invite.with_header("Call-ID", call_id)
}

fn not_placed(reason: &'static str, detail: String) -> NotPlaced {
    NotPlaced { reason, detail }
}
