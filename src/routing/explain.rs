//! Explain: what becomes of a call, rule by rule, and why.
//!
//! It asks the same functions that decide about real calls: who somebody is and what has to be shown
//! ([`sip::Peers`]), whether there is room ([`Room::check`]), which route matches ([`Routes::decide`]). A refused call's
//! record holds the same lines. What only happens while the gateway runs (the rate of requests of one source,
//! lock-outs, the offer, the backend) is named, not predicted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::{Call, Direction, Fill, NO_ROUTE, NoRoom, Room, Routes};
use crate::config::{Config, REGISTRAR};
use crate::sip::{self, Door, Origin, Peers, Source, Transport, Uri};

/// Lines of an explanation. Of more rules the first are told, and how many follow.
const LINES_MAX: usize = 64;

/// A call that might be.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who calls.
    pub from: Uri,
    /// Who is called: the Request-URI.
    pub to: Uri,
    /// Where it comes from.
    pub origin: Origin,
    /// What it comes by.
    pub transport: Transport,
    /// The user it logs in as, with the right password.
    pub user: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Why, one line per rule that was looked at, the verdict last.
    pub lines: Vec<String>,
    /// What.
    pub verdict: Verdict,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The final status; 401 asks for a password, 0 is no answer at all.
    pub status: u16,
    /// The reason word; empty when an agent answers.
    pub reason: &'static str,
    /// The trunk it belongs to.
    pub trunk: Option<String>,
    /// The agent that answers.
    pub agent: Option<String>,
}

/// Who knows the rules.
#[derive(Debug)]
pub struct Explainer {
    peers: Peers,
    routes: Routes,
    config: Arc<Config>,
}

/// The lines so far; the question goes through the rules in the order a call does.
struct Walk<'e> {
    explainer: &'e Explainer,
    question: &'e Question,
    lines: Vec<String>,
    trunk: Option<String>,
}

impl Question {
    /// The question that these texts put, or what is wrong with them.
    pub fn read(from: &str, to: &str, source: &str, transport: &str, user: Option<&str>) -> Result<Self, String> {
        let uri = |name: &str, text: &str| {
            let wrong =
                |error| format!("{name}: {text:?} is not a URI ({error}): write it like \"sip:100@example.com\"");
            Uri::read(text).map_err(wrong)
        };
        let address = read_source(source).ok_or_else(|| {
            format!("source: {source:?} is not an address: write \"192.0.2.7\", \"192.0.2.7:5060\" or \"[2001:db8::1]:5060\"")
        })?;
        let known = || format!("transport: {transport:?} is not known: there are udp, tcp, tls, ws and wss");
        Ok(Self {
            from: uri("from", from)?,
            to: uri("to", to)?,
            origin: address.into(),
            transport: Transport::read(transport).ok_or_else(known)?,
            user: user.map(str::to_owned),
        })
    }
}

impl Explainer {
    /// With these rules and these peers, which are those of the trunks.
    pub fn new(config: Arc<Config>, peers: Vec<sip::Peer>) -> Self {
        Self {
            peers: Peers::new(peers),
            routes: Routes::from(config.as_ref()),
            config,
        }
    }

    /// What would become of an INVITE.
    pub fn explain(&self, question: &Question, room: &Room, now: Instant) -> Explanation {
        let mut walk = self.walk(question);
        let verdict = walk.decide(room, now).unwrap_or_else(|verdict| verdict);
        walk.finish(verdict)
    }

    /// How a call that came in by this trunk came as far as it has. What became of it is not in it.
    pub fn explain_call(&self, question: &Question, trunk: &str, room: &Room, full: Option<&NoRoom>) -> Vec<String> {
        let mut walk = self.walk(question);
        walk.at_source();
        walk.say(format!("admitted as a call of the trunk \"{trunk}\""));
        walk.trunk = Some(trunk.to_owned());
        match full {
            Some(full) => walk.say(full.to_string()),
            None => {
                walk.fill(room, trunk);
                // Without a route that is the last line, and the call's own end says the same.
                let _ = walk.routed(trunk);
            }
        }
        walk.lines
    }

    /// Why the SIP side refused a call by itself.
    pub fn explain_refusal(&self, question: &Question, status: u16, reason: &'static str, detail: &str) -> Vec<String> {
        let mut walk = self.walk(question);
        walk.at_source();
        walk.say(detail.escape_debug().to_string());
        let verdict = Verdict {
            status,
            reason,
            ..Verdict::default()
        };
        walk.finish(verdict).lines
    }

    fn walk<'e>(&'e self, question: &'e Question) -> Walk<'e> {
        Walk {
            explainer: self,
            question,
            lines: Vec::new(),
            trunk: None,
        }
    }
}

impl Walk<'_> {
    fn decide(&mut self, room: &Room, now: Instant) -> Result<Verdict, Verdict> {
        let source = self.at_source();
        let phone = self.may_be_phone(source);
        self.defended(source);
        if source == Source::Unknown && !phone {
            let status = if self.explainer.config.defence.silent { 0 } else { 403 };
            return Err(self.refused(status, "unknown_source"));
        }
        let trunk = match phone {
            true => self.as_phone()?,
            false => self.through_the_door(source)?,
        };
        if !self.question.to.scheme().is_served() {
            self.say(format!(
                "the scheme {} of the Request-URI is not served",
                self.question.to.scheme()
            ));
            return Err(self.refused(416, "bad_request"));
        }
        self.fill(room, &trunk);
        if let Err(full) = room.check(Direction::Inbound, &trunk, now) {
            self.say(full.to_string());
            return Err(self.refused(503, full.reason()));
        }
        self.routed(&trunk)
    }

    fn at_source(&mut self) -> Source {
        let lines = self.explainer.peers.explained(self.question.origin);
        let (told, more) = (lines.len().min(LINES_MAX), lines.len().saturating_sub(LINES_MAX));
        self.lines.extend(lines.into_iter().take(told));
        if more > 0 {
            self.say(format!("and {more} more trunks that it is not"));
        }
        self.explainer.peers.source(self.question.origin)
    }

    /// What strangers may do depends on what came before, so it is only named.
    fn defended(&mut self, source: Source) {
        let defence = &self.explainer.config.defence;
        let line = match source {
            Source::Peer(_) => "defence: a trunk lists this source, so it is neither counted nor locked out".to_owned(),
            Source::Anyone | Source::Unknown => {
                let rate = match defence.requests_per_s {
                    0 => "any number of requests".to_owned(),
                    rate => format!("{rate} requests a second"),
                };
                let locked = match defence.lockout_failures {
                    0 => "it is never locked out".to_owned(),
                    failures => format!(
                        "{failures} failed logins within {} s lock it out for {} s",
                        defence.lockout_window.as_secs(),
                        defence.lockout.as_secs()
                    ),
                };
                format!("defence: no trunk lists this source: it may send {rate}, and {locked}")
            }
        };
        self.say(line);
    }

    fn through_the_door(&mut self, source: Source) -> Result<String, Verdict> {
        self.by_transport(source)?;
        let peers = &self.explainer.peers;
        let (peer, line) = match (peers.door(source), &self.question.user) {
            (Door::Open(peer), _) => (peer, "digest: not asked for, the address is enough".to_owned()),
            (Door::Login(_), None) => {
                self.say("digest: a user name and a password are asked for; name the user to go on".to_owned());
                return Err(self.refused(401, "challenged"));
            }
            (Door::Login(candidates), Some(user)) => match peers.account(&candidates, user) {
                Some((peer, _)) => (
                    peer,
                    format!("digest: asked for; \"{}\" is its user", user.escape_debug()),
                ),
                None => {
                    self.say(format!(
                        "digest: asked for; \"{}\" is nobody's user there",
                        user.escape_debug()
                    ));
                    return Err(self.refused(403, "auth_failed"));
                }
            },
        };
        self.say(line);
        self.by_transport(Source::Peer(peer))?;
        let trunk = peers.name(peer).to_owned();
        self.say(format!("admitted as a call of the trunk \"{trunk}\""));
        self.trunk = Some(trunk.clone());
        Ok(trunk)
    }

    /// Whether phones that register here may call from there. A trunk that lists the address goes first.
    fn may_be_phone(&self, source: Source) -> bool {
        let registrar = &self.explainer.config.registrar;
        let listed = matches!(source, Source::Peer(_));
        let mut addresses = self.question.origin.addresses();
        !listed && registrar.is_open() && addresses.any(|address| registrar.admits(address))
    }

    fn as_phone(&mut self) -> Result<String, Verdict> {
        self.say("registrar: phones may register and call from there".to_owned());
        let Some(user) = &self.question.user else {
            self.say("digest: a user name and a password are asked for; name the user to go on".to_owned());
            return Err(self.refused(401, "challenged"));
        };
        // A phone calls as itself.
        let is_caller = self.question.from.subscriber().as_ref() == Some(user);
        let known = is_caller && self.explainer.config.registrar.users.contains_key(user);
        let user = user.escape_debug();
        let line = match known {
            true => format!("digest: asked for; \"{user}\" is a user of the registrar"),
            false => format!("digest: asked for; \"{user}\" is no user of the registrar, or From names another"),
        };
        self.say(line);
        if !known {
            return Err(self.refused(403, "auth_failed"));
        }
        self.say(format!("admitted as a call of the trunk \"{}\"", REGISTRAR));
        self.trunk = Some(REGISTRAR.to_owned());
        Ok(REGISTRAR.to_owned())
    }

    fn by_transport(&mut self, source: Source) -> Result<(), Verdict> {
        let transport = self.question.transport;
        if self.explainer.peers.allows(source, transport) {
            return Ok(());
        }
        self.say(format!("transport: this trunk may not use {transport}"));
        Err(self.refused(403, "transport_not_allowed"))
    }

    fn fill(&mut self, room: &Room, trunk: &str) {
        let line = |whose: &str, fill: Fill, rate: Option<u32>| {
            let max = limit(fill.calls_max, "calls");
            let rate = limit(rate.unwrap_or(0) as usize, "new calls a second");
            format!("limits of {whose}: {} calls now, {max}, {rate}", fill.calls_active)
        };
        let (whole_rate, trunk_rate) = room.rates(trunk);
        self.say(line("the gateway", room.fill(), whole_rate));
        if let Some(fill) = room.trunk_fill(trunk) {
            self.say(line(&format!("the trunk \"{trunk}\""), fill, trunk_rate));
        }
    }

    fn routed(&mut self, trunk: &str) -> Result<Verdict, Verdict> {
        let (to, from) = (called_name(&self.question.to), called_name(&self.question.from));
        let call = Call {
            trunk,
            to: &to,
            from: &from,
        };
        let decision = self.explainer.routes.decide(&call);
        let skipped = decision.steps.len().saturating_sub(LINES_MAX);
        if skipped > 0 {
            self.say(format!("{skipped} routes before these do not match"));
        }
        let steps = decision.steps.iter().skip(skipped);
        self.lines.extend(steps.map(|step| step.explained(&call)));
        let agent = decision
            .route
            .and_then(|route| self.explainer.config.agents.get(&route.agent));
        let Some(agent) = agent else {
            return Err(self.refused(404, NO_ROUTE));
        };
        let line = format!(
            "agent \"{}\": its sessions run on {}",
            agent.name,
            agent.backends.join(", then ")
        );
        self.say(line);
        self.say(format!("media: {}", self.explainer.config.media_of(trunk)));
        Ok(Verdict {
            status: 200,
            reason: "",
            trunk: self.trunk.clone(),
            agent: Some(agent.name.clone()),
        })
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn refused(&self, status: u16, reason: &'static str) -> Verdict {
        Verdict {
            status,
            reason,
            trunk: self.trunk.clone(),
            agent: None,
        }
    }

    fn finish(mut self, verdict: Verdict) -> Explanation {
        self.say(verdict.to_string());
        Explanation {
            lines: self.lines,
            verdict,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.agent) {
            (_, Some(agent)) => write!(out, "verdict: the agent \"{agent}\" answers"),
            (0, None) => write!(out, "verdict: no answer, {}", self.reason),
            (401, None) => write!(out, "verdict: 401, the caller has to log in"),
            (status, None) => write!(out, "verdict: refused with {status} {}", self.reason),
        }
    }
}

/// What routes look at: `user@host`, or what there is of it. A `tel:` URI has only the number.
pub fn called_name(uri: &Uri) -> String {
    match (uri.subscriber(), uri.host()) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (Some(user), None) => user,
        (None, Some(host)) => host.to_string(),
        (None, None) => String::new(),
    }
}

fn limit(max: usize, what: &str) -> String {
    match max {
        0 => format!("any number of {what}"),
        max => format!("at most {max} {what}"),
    }
}

fn read_source(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests;
