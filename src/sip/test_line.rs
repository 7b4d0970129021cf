//! A test line: an endpoint, phones, and a network between them that may lose, double, delay and reorder, all in
//! virtual time and repeatable by its seed.
//!
//! The application's side is open: after [`TestLine::run_for`] read [`TestLine::events`] and call
//! [`TestLine::command`], or give it a [`TestLine::application`] that answers events on its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::admission::Peer;
use super::endpoint::{
    Command, Dropped, Endpoint, Event, NotPlaced, Outgoing, Output, QueryId, Refused, Settings, TrunkReport,
};
use super::flow::{Flow, Transport};
use super::headers::Headers;
use super::leg::LegId;
use super::message::Message;
use super::method::Method;
use super::reader::read_datagram;
use super::repeats::Repeated;
use super::session_timer::SESSION_EXPIRES;
use super::target::{Hop, Target};
use super::test_phone::{Habits, Phone};

/// What the network does to datagrams. TCP is never harmed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Lost, of a hundred.
    pub(crate) lost_percent: u64,
    /// Sent twice, of a hundred.
    pub(crate) doubled_percent: u64,
    /// Longest delay in milliseconds; each datagram draws its own, so they overtake each other.
    pub(crate) delay_ms_max: u64,
}

/// Where the endpoint listens.
const OURS: &str = "192.0.2.1:5060";

/// What an application does about an event, and how much later.
pub(crate) type Application = fn(&Event, &mut Dice) -> Vec<(Duration, Command)>;

/// Small, fast, repeatable numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// The endpoint and everybody around it.
pub(crate) struct TestLine {
    /// The endpoint.
    pub(crate) endpoint: Endpoint,
    /// The phones, by number.
    pub(crate) phones: Vec<Phone>,
    /// The time.
    pub(crate) now: Instant,
    /// When it began.
    pub(crate) start: Instant,
    /// What the endpoint told the application, in order.
    pub(crate) events: Vec<(LegId, Event)>,
    /// What the endpoint refused.
    pub(crate) refused: Vec<Refused>,
    /// What the endpoint dropped unread.
    pub(crate) dropped: Vec<Dropped>,
    /// What the endpoint summed up.
    pub(crate) repeated: Vec<Repeated>,
    /// What the endpoint said of its trunks.
    pub(crate) trunks: Vec<TrunkReport>,
    /// What the endpoint sent: when, where to, the first line.
    pub(crate) sent: Vec<(Duration, Flow, String)>,
    /// Each INVITE that reached the endpoint, by its branch, and the different final statuses the endpoint sent to it.
    pub(crate) finals: BTreeMap<String, BTreeSet<u16>>,
    /// The connections the endpoint asked for, and the names of the peers.
    pub(crate) opened: Vec<(Flow, String)>,
    /// The names that are known, and where they lead.
    pub(crate) names: BTreeMap<String, Vec<(Transport, SocketAddr)>>,
    /// The same for every other request but ACK and CANCEL, by method and branch.
    pub(crate) answers: BTreeMap<(String, String), BTreeSet<u16>>,
    /// What the network does.
    pub(crate) weather: Weather,
    /// Answers events with commands after a delay.
    pub(crate) application: Option<Application>,
    /// Sees every message that the endpoint or a phone sends.
    pub(crate) witness: Option<fn(&[u8])>,
    dice: Dice,
    under_way: BTreeMap<(Instant, u64), Parcel>,
    sent_count: u64,
}

#[derive(Clone)]
enum Parcel {
    ToPhone(usize, Vec<u8>),
    ToEndpoint(Flow, Vec<u8>),
    Command(LegId, Command),
}

impl TestLine {
    /// A line in fair weather with one peer that may call from 192.0.2.0/24.
    pub(crate) fn new() -> Self {
        Self::with_peers(vec![peer("lan", &["192.0.2.0/24"])])
    }

    /// A line with these peers.
    pub(crate) fn with_peers(peers: Vec<Peer>) -> Self {
        Self::with_settings(Settings {
            peers,
            ..Settings::new([7; 32], 1)
        })
    }

    /// A line with these settings.
    pub(crate) fn with_settings(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            endpoint: Endpoint::new(now, settings),
            phones: Vec::new(),
            now,
            start: now,
            events: Vec::new(),
            refused: Vec::new(),
            dropped: Vec::new(),
            repeated: Vec::new(),
            trunks: Vec::new(),
            sent: Vec::new(),
            finals: BTreeMap::new(),
            answers: BTreeMap::new(),
            opened: Vec::new(),
            names: BTreeMap::new(),
            weather: Weather::default(),
            application: None,
            witness: None,
            dice: Dice(1),
            under_way: BTreeMap::new(),
            sent_count: 0,
        }
    }

    /// The same line with another sequence of accidents.
    pub(crate) fn with_weather(mut self, weather: Weather, seed: u64) -> Self {
        (self.weather, self.dice) = (weather, Dice(seed));
        self
    }

    /// Adds a phone at 192.0.2.(10 + number); its number.
    pub(crate) fn add_phone(&mut self, transport: Transport, habits: Habits) -> usize {
        let number = self.phones.len();
        self.add_phone_at(transport, &format!("192.0.2.{}:40000", 10 + number), habits)
    }

    /// Adds a phone at this address; its number.
    pub(crate) fn add_phone_at(&mut self, transport: Transport, address: &str, habits: Habits) -> usize {
        let number = self.phones.len();
        let connection = if transport.is_reliable() { number as u64 + 1 } else { 0 };
        let (local, remote) = (OURS.parse().unwrap(), address.parse().unwrap());
        let flow = Flow {
            transport,
            local,
            remote,
            connection,
        };
        self.phones.push(Phone::new(&format!("p{number}"), flow, habits));
        number
    }

    /// Lets a phone do something and delivers what follows at once.
    pub(crate) fn phone(&mut self, number: usize, act: impl FnOnce(&mut Phone, Instant)) {
        act(&mut self.phones[number], self.now);
        self.settle();
    }

    /// Has the endpoint place a call and delivers what follows at once.
    pub(crate) fn place(&mut self, outgoing: Outgoing) -> Result<LegId, NotPlaced> {
        let placed = self.endpoint.place(self.now, outgoing);
        self.settle();
        placed
    }

    /// Gives the endpoint a command and delivers what follows at once.
    pub(crate) fn command(&mut self, leg: LegId, command: Command) {
        self.endpoint.command(self.now, leg, command);
        self.settle();
    }

    /// Gives the endpoint bytes as if a phone had sent them.
    pub(crate) fn inject(&mut self, flow: Flow, bytes: &[u8]) {
        self.inject_now(flow, bytes);
        self.settle();
    }

    /// Closes the connection of a phone.
    pub(crate) fn close_flow(&mut self, number: usize) {
        self.endpoint.handle_flow_closed(self.now, self.phones[number].flow);
        self.settle();
    }

    /// Lets time pass, event by event.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        self.settle();
        while let Some(next) = self.next_deadline().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.endpoint.handle_timeout(self.now);
            let now = self.now;
            self.phones.iter_mut().for_each(|phone| phone.handle_timeout(now));
            self.settle();
        }
        self.now = until;
    }

    /// The events so far as words, and forgets them.
    pub(crate) fn take_events(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        events.into_iter().map(|(_, event)| word(&event)).collect()
    }

    /// The leg of the last event.
    pub(crate) fn leg(&self) -> LegId {
        self.events.last().expect("an event came").0
    }

    /// The first lines of what the endpoint sent at this time or later.
    pub(crate) fn sent_since(&self, since: Duration) -> Vec<(u128, &str)> {
        let sent = self.sent.iter().filter(|(at, ..)| *at >= since);
        sent.map(|(at, _, line)| (at.as_millis(), line.as_str())).collect()
    }

    fn inject_now(&mut self, flow: Flow, bytes: &[u8]) {
        let message = read_datagram(bytes);
        if let Ok(Message::Request(request)) = &message
            && request.method == Method::Invite
        {
            self.finals
                .entry(invite_branch(&request.headers).unwrap_or_default())
                .or_default();
        }
        if let Ok(Message::Request(request)) = &message
            && let Some(key) = request_key(&request.headers)
        {
            self.answers.entry(key).or_default();
        }
        self.endpoint.handle_message(self.now, flow, message);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let parcels = self.under_way.keys().next().map(|(at, _)| *at);
        let phones = self.phones.iter().filter_map(Phone::poll_timeout).min();
        [parcels, phones, self.endpoint.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Moves everything that moves without time passing.
    fn settle(&mut self) {
        loop {
            self.collect();
            let due = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now);
            match due.map(|entry| entry.remove()) {
                Some(parcel) => self.deliver(parcel),
                None => return,
            }
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            self.take_output(output);
        }
        let mut from_phones = VecDeque::new();
        for phone in &mut self.phones {
            while let Some(bytes) = phone.poll_output() {
                from_phones.push_back((phone.flow, bytes));
            }
        }
        for (flow, bytes) in from_phones {
            self.post(flow.transport, &Parcel::ToEndpoint(flow, bytes));
        }
    }

    fn take_output(&mut self, output: Output) {
        match output {
            Output::Refused(refused) => self.refused.push(refused),
            Output::Dropped(dropped) => self.dropped.push(dropped),
            Output::Repeated(repeated) => self.repeated.push(repeated),
            Output::Event { leg, event } => self.take_event(leg, event),
            Output::Send { flow, bytes } => self.take_send(flow, bytes),
            Output::Resolve { query, target } => self.take_resolve(query, &target),
            // A connection is there as soon as it is asked for; a phone answers at its address.
            Output::Open { flow, name } => self.opened.push((flow, name)),
            Output::Trunk(report) => self.trunks.push(report),
        }
    }

    /// Addresses resolve to themselves; names to what [`Self::names`] says.
    fn take_resolve(&mut self, query: QueryId, target: &Target) {
        let name = target.host.as_str();
        let hop = |transport: Transport, remote: SocketAddr| Hop {
            transport,
            local: OURS.parse().unwrap(),
            remote,
            name: name.to_owned(),
        };
        let known = self.names.get(name).map(|places| {
            let places = places.iter().map(|(transport, remote)| hop(*transport, *remote));
            places.collect()
        });
        let address = || {
            let transport = target.transport.unwrap_or(Transport::Udp);
            let port = target.port.unwrap_or(transport.default_port());
            Some(vec![hop(transport, SocketAddr::new(target.host.ip()?, port))])
        };
        let hops = known.or_else(address).ok_or_else(|| format!("{name} is not known"));
        self.endpoint.handle_resolved(self.now, query, hops);
    }

    fn take_send(&mut self, flow: Flow, bytes: Vec<u8>) {
        let line = String::from_utf8_lossy(&bytes)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        self.sent.push((self.now - self.start, flow, line));
        if let Ok(Message::Response(response)) = read_datagram(&bytes)
            && let Some(branch) = invite_branch(&response.headers).filter(|_| response.status >= 200)
        {
            self.finals.entry(branch).or_default().insert(response.status);
        }
        if let Ok(Message::Response(response)) = read_datagram(&bytes)
            && let Some(key) = request_key(&response.headers).filter(|_| response.status >= 200)
        {
            self.answers.entry(key).or_default().insert(response.status);
        }
        let listener = self.phones.iter().position(|phone| phone.flow.remote == flow.remote);
        if let Some(number) = listener {
            self.post(flow.transport, &Parcel::ToPhone(number, bytes));
        }
    }

    fn take_event(&mut self, leg: LegId, event: Event) {
        if let Some(application) = self.application {
            for (delay, command) in application(&event, &mut self.dice) {
                self.sent_count += 1;
                self.under_way
                    .insert((self.now + delay, self.sent_count), Parcel::Command(leg, command));
            }
        }
        self.events.push((leg, event));
    }

    fn post(&mut self, transport: Transport, parcel: &Parcel) {
        if let (Some(witness), Parcel::ToPhone(_, bytes) | Parcel::ToEndpoint(_, bytes)) = (self.witness, parcel) {
            witness(bytes);
        }
        let weather = if transport.is_reliable() {
            Weather::default()
        } else {
            self.weather
        };
        if self.dice.below(100) < weather.lost_percent {
            return;
        }
        let copies = if self.dice.below(100) < weather.doubled_percent {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.dice.below(weather.delay_ms_max + 1));
            self.sent_count += 1;
            self.under_way
                .insert((self.now + delay, self.sent_count), parcel.clone());
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::ToPhone(number, bytes) => self.phones[number].handle_bytes(self.now, &bytes),
            Parcel::ToEndpoint(flow, bytes) => self.inject_now(flow, &bytes),
            Parcel::Command(leg, command) => self.endpoint.command(self.now, leg, command),
        }
    }
}

/// A peer that is known by its networks.
pub(crate) fn peer(name: &str, networks: &[&str]) -> Peer {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Peer {
        name: name.to_owned(),
        networks,
        credentials: None,
        uplink: None,
        session_expires: Some(SESSION_EXPIRES),
        transports: Vec::new(),
    }
}

fn invite_branch(headers: &Headers) -> Option<String> {
    headers.cseq().ok().filter(|cseq| cseq.method == Method::Invite)?;
    Some(headers.via().ok()?.branch()?.to_owned())
}

/// What a request that is no INVITE, ACK or CANCEL is known by.
fn request_key(headers: &Headers) -> Option<(String, String)> {
    let method = headers.cseq().ok()?.method;
    let counted = !matches!(method, Method::Invite | Method::Ack | Method::Cancel);
    let branch = headers.via().ok()?.branch()?.to_owned();
    counted.then(|| (method.to_string(), branch))
}

/// An event as one word and what matters of it.
fn word(event: &Event) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_ref()
            .map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned())
    };
    match event {
        Event::Incoming(invite) => format!("Incoming from {} by {}", invite.from.uri, invite.trunk),
        Event::Cancelled => "Cancelled".to_owned(),
        Event::Confirmed { answer: None } => "Confirmed".to_owned(),
        Event::Confirmed { answer } => format!("Confirmed {}", text(answer).lines().next().unwrap_or_default()),
        Event::Reoffered { offer } => format!("Reoffered {}", text(offer).lines().next().unwrap_or_default()),
        Event::ByeReceived { .. } => "ByeReceived".to_owned(),
        Event::Failed { reason } => format!("Failed {reason}"),
        Event::Gone => "Gone".to_owned(),
        Event::Located { advertised_ip, .. } => format!("Located {advertised_ip}"),
        Event::Ringing => "Ringing".to_owned(),
        Event::Progressed { answer } => {
            format!(
                "Progressed {}",
                String::from_utf8_lossy(answer).lines().last().unwrap_or_default()
            )
        }
        Event::Answered { answer: None } => "Answered".to_owned(),
        Event::Answered { answer } => format!("Answered {}", text(answer).lines().last().unwrap_or_default()),
        Event::Rejected { status, phrase, .. } => format!("Rejected {status} {phrase}"),
        Event::Reanswered { answer: Ok(_) } => "Reanswered".to_owned(),
        Event::Reanswered { answer: Err(status) } => format!("Reanswered {status}"),
        Event::TransferProgress { status } => format!("TransferProgress {status}"),
        Event::TransferAsked { to, .. } => format!("TransferAsked {to}"),
        Event::Digit { digit, .. } => format!("Digit {digit}"),
        Event::MessageReceived { text } => format!("MessageReceived {text}"),
    }
}
