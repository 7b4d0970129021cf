//! Locate: which addresses a target has, in the order to try them (RFC 3263).
//!
//! A machine that asks the DNS nothing itself: it says what to ask next, takes the answer and ends with places. Which
//! transports and families will do is told by what we listen on. Weights are drawn with numbers given from outside.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::flow::Transport;
use super::target::Target;

/// Most places found for one target; the DNS may name more, and those are never tried.
pub const PLACES_MAX: usize = 8;
/// Most questions asked for one target. Past it what has been found has to do.
const QUESTIONS_MAX: usize = 16;

/// What to ask the DNS. Names have no dot at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The NAPTR records of a name.
    Pointers(String),
    /// The SRV records of a name.
    Services(String),
    /// The A and AAAA records of a name.
    Addresses(String),
}

/// What the DNS said; nothing where it has nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// NAPTR records.
    Pointers(Vec<Pointer>),
    /// SRV records.
    Services(Vec<Service>),
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// It could not be asked, or would not say.
    Failed(String),
}

/// A NAPTR record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Lower ones shadow all higher ones.
    pub order: u16,
    /// Lower ones are tried first.
    pub preference: u16,
    /// `s` where the replacement has SRV records.
    pub flags: String,
    /// What is spoken there, such as `SIP+D2U`.
    pub service: String,
    /// The name to ask about next; empty when a regular expression would make it.
    pub replacement: String,
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower ones are tried first.
    pub priority: u16,
    /// Among equals, how likely it is to come first.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; empty when the service is expressly not there.
    pub host: String,
}

/// One place to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What to speak there.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What we listen on: a transport in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken there.
    pub transport: Transport,
    /// IPv4, else IPv6.
    pub is_ipv4: bool,
}

/// The search for one target's places.
#[derive(Debug)]
pub struct Locator {
    target: Target,
    /// The transport that is settled before the DNS is asked.
    settled: Option<Transport>,
    listening: Vec<Listening>,
    steps: VecDeque<Step>,
    asked: usize,
    has_services: bool,
    tried_host: bool,
    places: Vec<Place>,
    fault: Option<String>,
}

#[derive(Debug, Clone)]
enum Step {
    Pointers,
    Services(String, Transport),
    Addresses(String, u16, Transport),
}

impl Locator {
    /// Begins the search.
    pub fn new(target: Target, listening: Vec<Listening>) -> Self {
        let settled = settled(&target);
        let mut locator = Self {
            target,
            settled: settled.clone().ok().flatten(),
            listening,
            steps: VecDeque::new(),
            asked: 0,
            has_services: false,
            tried_host: false,
            places: Vec::new(),
            fault: settled.err(),
        };
        if locator.fault.is_none() {
            locator.begin();
        }
        locator
    }

    /// What to ask next; `None` when the search is over. It stays the same until it is answered.
    pub fn question(&mut self) -> Option<Question> {
        if self.steps.is_empty() {
            self.try_host();
        }
        if self.places.len() >= PLACES_MAX || self.asked >= QUESTIONS_MAX {
            return None;
        }
        Some(match self.steps.front()? {
            Step::Pointers => Question::Pointers(self.host()),
            Step::Services(name, _) => Question::Services(name.clone()),
            Step::Addresses(host, ..) => Question::Addresses(host.clone()),
        })
    }

    /// The answer to the question. `dice` gives a number from all of its range.
    pub fn answer(&mut self, answer: Answer, dice: impl FnMut() -> u64) {
        let Some(step) = self.steps.pop_front() else { return };
        self.asked += 1;
        match (step, answer) {
            (Step::Pointers, Answer::Pointers(pointers)) => self.follow(pointers),
            (Step::Services(_, transport), Answer::Services(services)) => {
                self.has_services |= !services.is_empty();
                let hosts = drawn(services, dice).into_iter().filter(|one| !one.host.is_empty());
                let steps: Vec<_> = hosts
                    .map(|one| Step::Addresses(one.host, one.port, transport))
                    .collect();
                steps.into_iter().rev().for_each(|step| self.steps.push_front(step));
            }
            (Step::Addresses(_, port, transport), Answer::Addresses(addresses)) => {
                addresses.into_iter().for_each(|ip| self.found(ip, port, transport));
            }
            (Step::Pointers, answer) => {
                self.note(answer);
                self.follow(Vec::new());
            }
            (_, answer) => self.note(answer),
        }
    }

    /// The places, best first, or why there are none.
    pub fn finish(mut self) -> Result<Vec<Place>, String> {
        if !self.places.is_empty() {
            self.places.truncate(PLACES_MAX);
            return Ok(self.places);
        }
        let host = &self.target.host;
        Err(match self.fault.take() {
            Some(fault) => format!("{host}: {fault}"),
            None if self.has_services => format!("{host}: none of its services can be reached from our sockets"),
            None => format!("{host}: it has no address that can be reached from our sockets"),
        })
    }

    fn begin(&mut self) {
        if let Some(ip) = self.target.host.ip() {
            let transport = self.transport();
            let port = self.target.port.unwrap_or(transport.default_port());
            self.tried_host = true;
            return self.found(ip, port, transport);
        }
        match (self.target.port, self.settled) {
            // A name of one label is the local network's, which has no services to ask for (nor has /etc/hosts).
            _ if !self.host().contains('.') => {}
            (Some(_), _) | (None, Some(Transport::Ws | Transport::Wss)) => {}
            (None, Some(transport)) => self.ask_services(transport),
            (None, None) => self.steps.push_back(Step::Pointers),
        }
    }

    /// The addresses of the host itself, once everything else has come to nothing (RFC 3263 section 4.2).
    fn try_host(&mut self) {
        if self.tried_host || self.has_services || self.fault_is_final() {
            return;
        }
        self.tried_host = true;
        let transport = self.transport();
        let port = self.target.port.unwrap_or(transport.default_port());
        self.steps.push_back(Step::Addresses(self.host(), port, transport));
    }

    /// A contradiction in the target itself; no answer of the DNS mends it.
    fn fault_is_final(&self) -> bool {
        settled(&self.target).is_err()
    }

    fn follow(&mut self, pointers: Vec<Pointer>) {
        let mut usable: Vec<_> = pointers
            .into_iter()
            .filter(|one| one.flags.eq_ignore_ascii_case("s") && !one.replacement.is_empty())
            .filter_map(|one| Some((self.offered(&one.service)?, one)))
            .collect();
        usable.sort_by_key(|(_, one)| (one.order, one.preference));
        let order = usable.first().map(|(_, one)| one.order);
        usable.retain(|(_, one)| Some(one.order) == order);
        if usable.is_empty() {
            return self.preferred().into_iter().for_each(|one| self.ask_services(one));
        }
        let steps = usable
            .into_iter()
            .map(|(transport, one)| Step::Services(one.replacement, transport));
        self.steps.extend(steps);
    }

    /// The transport a NAPTR service stands for, when it will do.
    fn offered(&self, service: &str) -> Option<Transport> {
        let transport = match service.to_ascii_uppercase().as_str() {
            "SIP+D2U" => Transport::Udp,
            "SIP+D2T" => Transport::Tcp,
            "SIPS+D2T" => Transport::Tls,
            "SIP+D2W" => Transport::Ws,
            "SIPS+D2W" => Transport::Wss,
            _ => return None,
        };
        self.will_do(transport).then_some(transport)
    }

    fn will_do(&self, transport: Transport) -> bool {
        let listens = || self.listening.iter().any(|one| one.transport == transport);
        match self.target.secure {
            true => transport.is_secure(),
            false => listens(),
        }
    }

    /// The transports to ask for when the target and the DNS leave the choice to us.
    fn preferred(&self) -> Vec<Transport> {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        all.into_iter().filter(|one| self.will_do(*one)).collect()
    }

    /// What to speak to an address that nothing says anything about.
    fn transport(&self) -> Transport {
        let default = || self.preferred().first().copied().unwrap_or(Transport::Udp);
        self.settled.unwrap_or_else(default)
    }

    fn ask_services(&mut self, transport: Transport) {
        let service = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
            Transport::Ws | Transport::Wss => return,
        };
        let name = format!("{service}.{}", self.host());
        self.steps.push_back(Step::Services(name, transport));
    }

    fn found(&mut self, ip: IpAddr, port: u16, transport: Transport) {
        let (ip, port) = (
            ip.to_canonical(),
            if port == 0 { transport.default_port() } else { port },
        );
        let place = Place {
            transport,
            address: SocketAddr::new(ip, port),
        };
        if self.can_reach(transport, ip) && !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    /// Datagrams need a socket of the family; a connection can be opened without one when it was asked for.
    fn can_reach(&self, transport: Transport, ip: IpAddr) -> bool {
        let socket = Listening {
            transport,
            is_ipv4: ip.is_ipv4(),
        };
        let asked_for = transport.is_reliable() && (self.settled.is_some() || self.target.secure);
        asked_for || self.listening.contains(&socket)
    }

    fn note(&mut self, answer: Answer) {
        if let Answer::Failed(fault) = answer {
            self.fault = Some(fault);
        }
    }

    fn host(&self) -> String {
        self.target.host.as_str().trim_end_matches('.').to_owned()
    }
}

/// The transport a target settles by itself: `sips:` turns TCP into TLS (RFC 3261 section 26.2.2), and with a port but no
/// transport it is UDP (RFC 3263 section 4.1), which the sockets we have may change.
fn settled(target: &Target) -> Result<Option<Transport>, String> {
    match (target.transport, target.secure) {
        (Some(Transport::Udp), true) => Err("sips: cannot go over UDP".to_owned()),
        (Some(Transport::Tcp), true) => Ok(Some(Transport::Tls)),
        (Some(Transport::Ws), true) => Ok(Some(Transport::Wss)),
        (transport, _) => Ok(transport),
    }
}

/// By priority, and within one priority drawn by weight (RFC 2782).
fn drawn(mut services: Vec<Service>, mut dice: impl FnMut() -> u64) -> Vec<Service> {
    // Those without weight stand first, so that they have a small chance.
    services.sort_by_key(|one| (one.priority, one.weight != 0));
    let mut order = Vec::with_capacity(services.len());
    while let Some(priority) = services.first().map(|one| one.priority) {
        let rivals = services.iter().take_while(|one| one.priority == priority);
        let weights: Vec<u64> = rivals.map(|one| u64::from(one.weight)).collect();
        let mut left = dice() % (weights.iter().sum::<u64>() + 1);
        let at = weights.iter().position(|weight| {
            let here = left <= *weight;
            left = left.saturating_sub(*weight);
            here
        });
        order.push(services.remove(at.unwrap_or_default()));
    }
    order
}

#[cfg(test)]
mod tests;
