//! What is kept going with the peers outside calls: registrations at their registrars, and the questions whether they
//! are there. The machines decide; here their requests are written, and what they learn is told.
//!
//! A call that a registration brings is known in two ways. It has to come the way we registered: over that connection,
//! or from the very address the REGISTER went to. Then our Contact says which of the trunks registered there is meant:
//! its `line` parameter is the trunk's name, and its user part the user of the trunk's identity, so that routes see a
//! number they know. Neither is a secret, and neither lets anybody in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Endpoint, Output, TrunkReport};
use crate::sip::address::NameAddr;
use crate::sip::admission::Source;
use crate::sip::endpoint::errands::{Purpose, TrunkErrand};
use crate::sip::errand::{Course, Outcome, OwnContact};
use crate::sip::flow::Flow;
use crate::sip::message::{MAX_FORWARDS, Request};
use crate::sip::method::Method;
use crate::sip::probe::Probe;
use crate::sip::registration::{Asking, DICE_MAX, Registration, Task};
use crate::sip::reply::{ACCEPT, ALLOW};
use crate::sip::target::Target;
use crate::sip::uplink::Uplink;
use crate::sip::uri::Uri;

/// Between the first requests to two trunks at the start, so that a gateway with many accounts begins gently: 20 a
/// second.
const START_SPACING: Duration = Duration::from_millis(50);

/// A sign of life: a double line end, which a server answers with a single one (RFC 5626 section 4.4.1).
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";

/// The registrations and probes there are, by the index of the peer.
#[derive(Default)]
pub(super) struct Registrations {
    live: BTreeMap<usize, Kept>,
    probes: BTreeMap<usize, Probe>,
}

/// One registration, and what its last REGISTER looked like.
struct Kept {
    machine: Registration,
    sent: Option<(Flow, Request)>,
}

impl Registrations {
    /// When something is next due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let registrations = self.live.values().filter_map(|kept| kept.machine.poll_timeout());
        let probes = self.probes.values().filter_map(Probe::poll_timeout);
        registrations.chain(probes).min()
    }

    /// The peers whose registration wants something now.
    fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |kept: &Kept| kept.machine.poll_timeout().is_some_and(|at| at <= now);
        let due = self.live.iter().filter(|(_, kept)| is_due(kept));
        due.map(|(peer, _)| *peer).collect()
    }

    /// Whether a request that came by this flow came from the registrar of this peer.
    pub(super) fn is_way_of(&self, peer: usize, flow: &Flow) -> bool {
        self.live.get(&peer).is_some_and(|kept| kept.machine.is_way_of(flow))
    }

    /// An attempt of a REGISTER goes out.
    pub(super) fn note_sent(&mut self, peer: usize, flow: Flow, request: &Request) {
        if let Some(kept) = self.live.get_mut(&peer) {
            kept.sent = Some((flow, request.clone()));
        }
    }
}

/// Beginning and ending.
impl Endpoint {
    /// Begins with every peer that is to be registered at or asked, one after the other.
    pub(super) fn begin_registrations(&mut self, now: Instant) {
        let mut first_at = now;
        for (peer, settings) in self.settings.peers.iter().enumerate() {
            let Some(uplink) = &settings.uplink else { continue };
            if let Some(expires) = uplink.register {
                let (call_id, tag) = (self.mint.word(), self.mint.tag());
                let address = uplink.address.clone();
                let machine = Registration::new(address, expires, first_at, call_id, tag);
                self.registrations.live.insert(peer, Kept { machine, sent: None });
                first_at += START_SPACING;
            }
            if let Some(interval) = uplink.probe {
                self.registrations.probes.insert(peer, Probe::new(interval, first_at));
                first_at += START_SPACING;
            }
        }
    }

    /// Takes every registration back and asks nobody any more: the gateway is about to stop. How far that is, tells
    /// [`Self::is_registered`].
    pub fn unregister(&mut self, now: Instant) {
        self.registrations.probes.clear();
        for kept in self.registrations.live.values_mut() {
            kept.machine.leave(now);
        }
        self.handle_registrations(now);
    }

    /// Whether some registration is not over: held, asked for, or not yet taken back.
    pub fn is_registered(&self) -> bool {
        self.registrations.live.values().any(|kept| !kept.machine.is_over())
    }
}

/// What is due, and what comes back.
impl Endpoint {
    /// Does everything that is due.
    pub(super) fn handle_registrations(&mut self, now: Instant) {
        for peer in self.registrations.due(now) {
            while let Some(task) = self.registration_task(now, peer) {
                match task {
                    Task::Register(asking) => self.send_register(now, peer, &asking),
                    Task::KeepAlive(flow) => self.send(flow, KEEP_ALIVE.to_vec()),
                }
            }
        }
        for peer in self.registrations.live.keys().copied().collect::<Vec<_>>() {
            self.tell_registration(now, peer);
        }
        let due: Vec<usize> = self
            .registrations
            .probes
            .iter_mut()
            .filter_map(|(peer, probe)| probe.handle_timeout(now).then_some(*peer))
            .collect();
        due.into_iter().for_each(|peer| self.send_probe(now, peer));
    }

    /// A connection has closed.
    pub(super) fn registrations_lost(&mut self, now: Instant, flow: &Flow) {
        let dice = self.mint.number(DICE_MAX);
        for kept in self.registrations.live.values_mut() {
            kept.machine.handle_flow_closed(now, flow, dice);
        }
        self.handle_registrations(now);
    }

    /// What became of a request to a peer outside any call.
    pub(super) fn trunk_errand_done(&mut self, now: Instant, peer: usize, errand: TrunkErrand, outcome: Outcome) {
        match errand {
            TrunkErrand::Register => self.registered(now, peer, &outcome),
            TrunkErrand::Probe => self.probed(now, peer, &outcome),
        }
    }

    fn registration_task(&mut self, now: Instant, peer: usize) -> Option<Task> {
        let dice = self.mint.number(DICE_MAX);
        let kept = self.registrations.live.get_mut(&peer)?;
        kept.machine.handle_timeout(now, dice)
    }

    fn registered(&mut self, now: Instant, peer: usize, outcome: &Outcome) {
        let dice = self.mint.number(DICE_MAX);
        let Some(Kept { machine, sent }) = self.registrations.live.get_mut(&peer) else {
            return;
        };
        match (outcome, sent.take()) {
            (Outcome::Response(response), Some((flow, sent))) => {
                machine.handle_answer(now, &sent, flow, response, dice);
            }
            (Outcome::Unreachable(detail), _) => machine.handle_failure(now, detail, dice),
            (Outcome::TimedOut | Outcome::Response(_), _) => machine.handle_failure(now, "nobody answers", dice),
        }
        self.tell_registration(now, peer);
    }

    fn probed(&mut self, now: Instant, peer: usize, outcome: &Outcome) {
        let dice = self.mint.number(DICE_MAX);
        let Some(probe) = self.registrations.probes.get_mut(&peer) else {
            return;
        };
        let answer = match outcome {
            Outcome::Response(response) => Ok(response.status),
            Outcome::Unreachable(detail) => Err(detail.as_str()),
            Outcome::TimedOut => Err("nobody answers OPTIONS"),
        };
        if probe.handle_answer(now, answer, dice) {
            self.tell_trunk(now, peer);
        }
    }

    fn tell_registration(&mut self, now: Instant, peer: usize) {
        let kept = self.registrations.live.get_mut(&peer);
        if kept.is_some_and(|kept| kept.machine.take_change()) {
            self.tell_trunk(now, peer);
        }
    }

    fn tell_trunk(&mut self, now: Instant, peer: usize) {
        let standing = self
            .registrations
            .live
            .get(&peer)
            .map(|kept| kept.machine.standing(now));
        let probe = self.registrations.probes.get(&peer);
        let mut error = standing.as_ref().map_or("", |standing| &standing.error);
        if error.is_empty() {
            error = probe.map_or("", Probe::error);
        }
        let report = TrunkReport {
            trunk: self.admission.name(peer).to_owned(),
            reachable: probe.and_then(Probe::reachable),
            registered: standing.as_ref().map(|standing| standing.registered),
            expires: standing.as_ref().and_then(|standing| standing.expires),
            error: error.to_owned(),
        };
        self.outputs.push_back(Output::Trunk(report));
    }
}

/// What is sent.
impl Endpoint {
    fn send_register(&mut self, now: Instant, peer: usize, asking: &Asking) {
        let Some(uplink) = self.admission.uplink(peer).cloned() else {
            return;
        };
        let contact = OwnContact {
            user: uplink.identity.user().map(str::to_owned),
            line: Some(self.admission.name(peer).to_owned()),
            params: String::new(),
        };
        let routes: Vec<_> = uplink.outbound_proxy.iter().map(loose).collect();
        let first = routes.first().map_or(&asking.address, |route| &route.uri);
        let course = match asking.flow {
            Some(flow) => Ok(Course::Flow(flow)),
            None => Target::of(first).map(|target| Course::Target { target, near: None }),
        };
        let request = Request::new(Method::Register, asking.address.clone().without_user())
            .with_header("Max-Forwards", MAX_FORWARDS.to_string());
        let request = routed(request, &routes)
            .with_header(
                "From",
                NameAddr::new(uplink.identity.clone()).with_tag(&asking.tag).to_string(),
            )
            .with_header("To", NameAddr::new(uplink.identity.clone()).to_string())
            .with_header("Call-ID", &asking.call_id)
            .with_header("CSeq", format!("{} REGISTER", asking.sequence))
            .with_header("Expires", asking.expires.as_secs().to_string())
            .with_header("Supported", "path")
            .with_header("Allow", ALLOW);
        let purpose = Purpose::Trunk(peer, TrunkErrand::Register);
        match course {
            Ok(course) => drop(self.send_request(now, request, Some(contact), course, uplink.login, purpose)),
            Err(error) => self.registered(now, peer, &Outcome::Unreachable(error.to_string())),
        }
    }

    fn send_probe(&mut self, now: Instant, peer: usize) {
        let Some(uplink) = self.admission.uplink(peer).cloned() else {
            return;
        };
        let routes = self.preloaded_routes(peer);
        let first = routes.first().map_or(&uplink.address, |route| &route.uri);
        let near = self.registrations.live.get(&peer).and_then(|kept| kept.machine.flow());
        let course = Target::of(first).map(|target| Course::Target { target, near });
        let (call_id, tag) = (self.mint.word(), self.mint.tag());
        let request =
            Request::new(Method::Options, uplink.address.clone()).with_header("Max-Forwards", MAX_FORWARDS.to_string());
        let request = routed(request, &routes)
            .with_header(
                "From",
                NameAddr::new(uplink.identity.clone()).with_tag(&tag).to_string(),
            )
            .with_header("To", NameAddr::new(uplink.address.clone()).to_string())
            .with_header("Call-ID", call_id)
            .with_header("CSeq", "1 OPTIONS")
            .with_header("Accept", ACCEPT);
        let purpose = Purpose::Trunk(peer, TrunkErrand::Probe);
        let contact = Some(OwnContact::default());
        match course {
            Ok(course) => drop(self.send_request(now, request, contact, course, uplink.login, purpose)),
            Err(error) => self.probed(now, peer, &Outcome::Unreachable(error.to_string())),
        }
    }

    /// The routes a request to this peer outside any dialog begins with: the way its registrar told us (RFC 3608 section
    /// 6.1), else the outbound proxy.
    fn preloaded_routes(&self, peer: usize) -> Vec<NameAddr> {
        let told = self.service_routes(peer);
        let proxy = || {
            self.admission
                .uplink(peer)
                .and_then(|uplink| uplink.outbound_proxy.as_ref())
        };
        match told.is_empty() {
            true => proxy().map(loose).into_iter().collect(),
            false => told.to_vec(),
        }
    }

    /// The way the registrar of this peer told us; empty while we are not registered.
    pub(super) fn service_routes(&self, peer: usize) -> &[NameAddr] {
        let kept = self.registrations.live.get(&peer);
        kept.map(|kept| kept.machine.service_routes()).unwrap_or_default()
    }
}

/// Who calls.
impl Endpoint {
    /// Whom a request outside any dialog comes from. Several trunks may be registered at one address, and one more may
    /// list it: our Contact says which is meant, then the list, then the user part of our Contact, then their order.
    pub(super) fn source_of(&self, flow: &Flow, request: &Request) -> Source {
        let here = |peer: &usize| self.registrations.is_way_of(*peer, flow);
        let candidates: Vec<usize> = self.registrations.live.keys().copied().filter(here).collect();
        let line = request.uri.params().get("line");
        let of_line = |peer: &&usize| line == Some(self.admission.name(**peer));
        if let Some(peer) = candidates.iter().find(of_line) {
            return Source::Peer(*peer);
        }
        let listed = self.admission.source(flow.origin());
        if let Source::Peer(_) = listed {
            return listed;
        }
        let user = |uplink: &Uplink| uplink.identity.subscriber();
        let of_user = |peer: &&usize| {
            let own = self.admission.uplink(**peer).and_then(user);
            own.is_some() && own == request.uri.subscriber()
        };
        let found = candidates.iter().find(of_user).or(candidates.first());
        found.map_or(listed, |peer| Source::Peer(*peer))
    }
}

fn routed(mut request: Request, routes: &[NameAddr]) -> Request {
    routes
        .iter()
        .for_each(|route| request.headers.push("Route", route.to_string()));
    request
}

/// A proxy of today, which leaves the Request-URI alone.
fn loose(uri: &Uri) -> NameAddr {
    match uri.params().contains("lr") {
        true => NameAddr::new(uri.clone()),
        false => NameAddr::new(uri.clone().with_param("lr", None)),
    }
}
