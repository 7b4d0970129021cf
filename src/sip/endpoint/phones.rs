//! The phones that register here: their REGISTERs, and whose their calls are. Together they are one peer, the one behind
//! all others, called [`REGISTRAR`](super::contract::REGISTRAR).
//!
//! Every REGISTER is challenged, as the user in its To. A call is a phone's when it comes the way one registered, or
//! from where phones are and no trunk is; it is challenged as that user. What comes from the address of a trunk by
//! another way stays the trunk's, so that naming a user in From changes nothing.
//!
//! Where only phones are, anybody may try: wrong passwords lock out there as they do elsewhere.

use std::time::{Duration, Instant};

use super::{Endpoint, NotPlaced, Refusal};
use crate::sip::admission::{Proved, Source, Verdict};
use crate::sip::endpoint::requests::check_extensions;
use crate::sip::flow::Flow;
use crate::sip::message::{Request, Response};
use crate::sip::registrar::{Registrar, Rejected};
use crate::sip::reply::Reply;
use crate::sip::transaction::Key;
use crate::sip::uplink::Uplink;
use crate::sip::uri::Uri;

impl Endpoint {
    /// How many Contacts are registered here.
    pub fn registered_contacts(&self) -> usize {
        self.registrar.as_ref().map_or(0, Registrar::len)
    }

    /// How the phone of a user that registered last is called, and by which way.
    pub(super) fn way_to_phone(&self, to: &str) -> Result<(Uplink, Flow), NotPlaced> {
        let user = Uri::read(to).ok().and_then(|uri| uri.subscriber());
        let user = user.unwrap_or_else(|| to.to_owned());
        let phones = self.registrar.as_ref().map(|registrar| registrar.find(&user));
        let Some((contact, flow)) = phones.unwrap_or_default().into_iter().next() else {
            let detail = format!("no phone of {user:?} is registered here");
            return Err(NotPlaced {
                reason: "not_registered",
                detail,
            });
        };
        let uplink = Uplink {
            address: contact,
            outbound_proxy: None,
            identity: Uri::sip(Some("patchcord"), self.advertised(&flow)),
            login: None,
            register: None,
            probe: None,
        };
        Ok((uplink, flow))
    }

    /// Whether phones may register from there.
    pub(super) fn may_register(&self, flow: &Flow) -> bool {
        self.registrar.is_some() && self.admission.may_send(self.phones(), flow.origin())
    }

    pub(super) fn handle_register(&mut self, now: Instant, flow: &Flow, key: Key, request: &Request) {
        if self.servers.len() >= self.settings.transactions_max {
            let refusal = self.overloaded("as many transactions as allowed are live");
            return self.refuse_stateless(flow, request, &refusal);
        }
        if let Err(refusal) = check_extensions(request) {
            return self.refuse_stateless(flow, request, &refusal);
        }
        let to = request.headers.to().ok().and_then(|to| to.uri.subscriber());
        let users: Vec<String> = to.into_iter().collect();
        match self.check_users(now, flow, request, &users) {
            Proved::User(user) => self.keep_contacts(now, flow, key, request, &user),
            Proved::Challenged(challenges) => self.challenge(flow, request, challenges),
            Proved::Failed(detail) => {
                self.refuse_stateless(flow, request, &Refusal::new(403, "auth_failed", detail));
            }
        }
    }

    /// Whether an INVITE is a phone's, and then whether it is let in.
    pub(super) fn check_phone(
        &mut self,
        now: Instant,
        source: Source,
        flow: &Flow,
        request: &Request,
    ) -> Option<Verdict> {
        let users = self.callers(source, flow, request)?;
        let phones = self.phones();
        Some(match self.check_users(now, flow, request, &users) {
            Proved::User(_) => Verdict::Admitted(phones),
            Proved::Challenged(challenges) => Verdict::Challenged(challenges),
            Proved::Failed(detail) => Verdict::Failed(detail),
        })
    }

    /// The users a call may be of.
    fn callers(&self, source: Source, flow: &Flow, request: &Request) -> Option<Vec<String>> {
        let registrar = self.registrar.as_ref().filter(|_| self.may_register(flow))?;
        let mut users: Vec<String> = registrar.users_at(flow).into_iter().map(str::to_owned).collect();
        let from = request.headers.from().ok().and_then(|from| from.uri.subscriber());
        let is_unlisted = source == Source::Peer(self.phones());
        match from {
            Some(from) if is_unlisted || users.contains(&from) => users = vec![from],
            _ => {}
        }
        (is_unlisted || !users.is_empty()).then_some(users)
    }

    fn check_users(&mut self, now: Instant, flow: &Flow, request: &Request, users: &[String]) -> Proved {
        let Some(registrar) = &self.registrar else {
            return Proved::Failed("nobody registers here".to_owned());
        };
        let known: Vec<_> = users.iter().filter_map(|user| registrar.user(user)).collect();
        // Somebody we do not know is asked like somebody we do.
        let asked: Vec<_> = match known.is_empty() {
            true => registrar.settings().users.iter().collect(),
            false => known.clone(),
        };
        let proved = self.admission.check_users(now, request, &known, &asked);
        match &proved {
            Proved::User(_) => self.note_login(now, flow, true),
            Proved::Failed(_) => self.note_login(now, flow, false),
            Proved::Challenged(_) => {}
        }
        proved
    }

    /// The answer is remembered: the proof of the REGISTER is used up, so that a repeated one would be challenged.
    fn keep_contacts(&mut self, now: Instant, flow: &Flow, key: Key, request: &Request, user: &str) {
        let Some(registrar) = &mut self.registrar else { return };
        let kept = registrar.handle_register(now, user, *flow, &request.headers);
        let reply = Reply::to(request, flow);
        let tag = self.mint.tag();
        let response = match kept {
            Ok(contacts) => listing(reply.response(200, &tag), &contacts),
            Err(rejected) => {
                let refusal = Refusal::of_register(rejected);
                self.report(flow, refusal.status, refusal.reason, refusal.detail.clone());
                refusal.write_into(reply.response(refusal.status, &tag))
            }
        };
        let bytes = response.with_header("Server", &self.settings.user_agent).to_bytes();
        self.servers.remember(now, key, reply.flow(), bytes.clone());
        self.send(reply.flow(), bytes);
    }

    /// The index of the peer that all phones are.
    pub(super) fn phones(&self) -> usize {
        self.settings.peers.len()
    }
}

impl Refusal {
    fn of_register(rejected: Rejected) -> Self {
        let detail = rejected.to_string();
        match rejected {
            Rejected::Bad(_) => Self::new(400, "bad_request", detail),
            Rejected::TooBrief(seconds) => {
                Self::new(423, "bad_request", detail).with_header("Min-Expires", seconds.to_string())
            }
        }
    }
}

fn listing(mut response: Response, contacts: &[(Uri, Duration)]) -> Response {
    for (uri, left) in contacts {
        let expires = left.as_secs().max(1);
        response.headers.push("Contact", format!("<{uri}>;expires={expires}"));
    }
    response
}
