//! The transaction table: every live transaction of one endpoint, found by key or branch, woken by one ordered set of
//! deadlines.
//!
//! It is the only place where transactions are created and forgotten. `Owner` is whatever the endpoint wants to be told
//! about; the table only hands it back.

use std::collections::HashMap;
use std::time::Instant;

use super::Key;
use super::client::{ClientStep, Reception, RequestClient};
use super::server::{InviteServer, RequestServer, ServerStep};
use super::timers::Deadlines;
use crate::sip::flow::Flow;
use crate::sip::headers::Headers;

/// Names one server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u64);

/// What two copies of one request that took different ways have in common (RFC 3261 section 8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MergeKey {
    call_id: String,
    from_tag: String,
    sequence: u32,
}

impl MergeKey {
    /// The key of an INVITE outside any dialog; `None` when its headers cannot be read.
    pub fn of(headers: &Headers) -> Option<Self> {
        let from_tag = headers.from().ok()?.tag().unwrap_or_default().to_owned();
        Some(Self {
            call_id: headers.call_id().ok()?.to_owned(),
            from_tag,
            sequence: headers.cseq().ok()?.number,
        })
    }
}

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<Owner> {
    /// Send these bytes again.
    Send(Flow, Vec<u8>),
    /// Our request was never answered.
    RequestTimedOut(Owner),
}

/// All transactions of one endpoint.
#[derive(Debug)]
pub struct Transactions<Owner> {
    servers: HashMap<ServerId, Server<Owner>>,
    by_key: HashMap<Key, ServerId>,
    merges: HashMap<MergeKey, ServerId>,
    clients: HashMap<u64, Client<Owner>>,
    by_branch: HashMap<String, u64>,
    deadlines: Deadlines<Timer>,
    last_id: u64,
}

#[derive(Debug)]
struct Server<Owner> {
    key: Key,
    merge: Option<MergeKey>,
    flow: Flow,
    tag: String,
    owner: Option<Owner>,
    machine: ServerMachine,
}

#[derive(Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Request(RequestServer),
}

#[derive(Debug)]
struct Client<Owner> {
    branch: String,
    flow: Flow,
    owner: Owner,
    machine: RequestClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Server(ServerId),
    Client(u64),
}

impl<Owner> Default for Transactions<Owner> {
    fn default() -> Self {
        Self {
            servers: HashMap::new(),
            by_key: HashMap::new(),
            merges: HashMap::new(),
            clients: HashMap::new(),
            by_branch: HashMap::new(),
            deadlines: Deadlines::default(),
            last_id: 0,
        }
    }
}

impl<Owner: Copy> Transactions<Owner> {
    /// How many transactions live.
    pub fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server transaction of this key.
    pub fn find(&self, key: &Key) -> Option<ServerId> {
        self.by_key.get(key).copied()
    }

    /// Whether a live INVITE is another copy of the one with this merge key.
    pub fn has_merged(&self, merge: &MergeKey) -> bool {
        self.merges.contains_key(merge)
    }

    /// What to repeat for a retransmission of the request of this transaction.
    pub fn handle_retransmission(&self, id: ServerId) -> Option<(Flow, Vec<u8>)> {
        let server = self.servers.get(&id)?;
        let bytes = match &server.machine {
            ServerMachine::Invite(machine) => machine.handle_retransmission()?,
            ServerMachine::Request(machine) => machine.handle_retransmission(),
        };
        Some((server.flow, bytes.to_vec()))
    }

    /// Opens the transaction of an INVITE. `flow` is where its responses go, `tag` the To tag of all of them.
    pub fn open_invite(&mut self, key: Key, merge: Option<MergeKey>, flow: Flow, tag: String) -> ServerId {
        let machine = ServerMachine::Invite(InviteServer::new(flow.transport.is_reliable()));
        let id = ServerId(self.number());
        if let Some(merge) = &merge {
            self.merges.insert(merge.clone(), id);
        }
        self.by_key.insert(key.clone(), id);
        self.servers.insert(
            id,
            Server {
                key,
                merge,
                flow,
                tag,
                owner: None,
                machine,
            },
        );
        id
    }

    /// Says who is to be told about this transaction.
    pub fn set_owner(&mut self, id: ServerId, owner: Owner) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.owner = Some(owner);
        }
    }

    /// Who is to be told about this transaction, when it is an INVITE still without a final answer.
    pub fn pending_owner(&self, id: ServerId) -> Option<Owner> {
        let server = self.servers.get(&id)?;
        match &server.machine {
            ServerMachine::Invite(machine) if machine.is_proceeding() => server.owner,
            _ => None,
        }
    }

    /// The To tag of this transaction's responses.
    pub fn tag(&self, id: ServerId) -> Option<&str> {
        self.servers.get(&id).map(|server| server.tag.as_str())
    }

    /// Responds to an INVITE; the flow to send the bytes to, unless it has its final answer already.
    pub fn respond(&mut self, now: Instant, id: ServerId, status: u16, bytes: &[u8]) -> Option<Flow> {
        let server = self.servers.get_mut(&id)?;
        let ServerMachine::Invite(machine) = &mut server.machine else {
            return None;
        };
        let flow = machine.respond(now, status, bytes).then_some(server.flow);
        self.arm_server(id);
        flow
    }

    /// An ACK arrived for the INVITE of this transaction.
    pub fn handle_ack(&mut self, now: Instant, id: ServerId) {
        if let Some(Server {
            machine: ServerMachine::Invite(machine),
            ..
        }) = self.servers.get_mut(&id)
        {
            machine.handle_ack(now);
            self.arm_server(id);
        }
    }

    /// Remembers the answer to a request other than INVITE, to repeat it. Over TCP there is nothing to remember.
    pub fn remember(&mut self, now: Instant, key: Key, flow: Flow, response: Vec<u8>) {
        if flow.transport.is_reliable() {
            return;
        }
        let machine = ServerMachine::Request(RequestServer::answered(now, false, response));
        let id = ServerId(self.number());
        self.by_key.insert(key.clone(), id);
        self.servers.insert(
            id,
            Server {
                key,
                merge: None,
                flow,
                tag: String::new(),
                owner: None,
                machine,
            },
        );
        self.arm_server(id);
    }

    /// Opens the transaction of a request of ours that is being sent now.
    pub fn open_client(&mut self, now: Instant, branch: String, flow: Flow, owner: Owner, request: Vec<u8>) {
        let machine = RequestClient::sent(now, flow.transport.is_reliable(), request);
        let id = self.number();
        self.by_branch.insert(branch.clone(), id);
        self.clients.insert(
            id,
            Client {
                branch,
                flow,
                owner,
                machine,
            },
        );
        self.arm_client(id);
    }

    /// A response to the request of this branch: its owner, when it is the first final one.
    pub fn handle_response(&mut self, now: Instant, branch: &str, status: u16) -> Option<Owner> {
        let id = *self.by_branch.get(branch)?;
        let client = self.clients.get_mut(&id)?;
        let first_final = client.machine.handle_response(now, status) == Reception::Fresh && status >= 200;
        let owner = first_final.then_some(client.owner);
        self.arm_client(id);
        owner
    }

    /// Takes the next thing that is due; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due<Owner>> {
        while let Some(timer) = self.deadlines.pop_due(now) {
            let due = match timer {
                Timer::Server(id) => self.server_due(now, id),
                Timer::Client(id) => self.client_due(now, id),
            };
            if due.is_some() {
                return due;
            }
        }
        None
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Forgets every transaction on a closed connection; the owners of the requests of ours among them.
    pub fn handle_flow_closed(&mut self, flow: &Flow) -> Vec<Owner> {
        let servers = self
            .servers
            .iter()
            .filter(|(_, server)| server.flow.shares_connection(flow));
        for id in servers.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.forget_server(id);
        }
        let clients = self
            .clients
            .iter()
            .filter(|(_, client)| client.flow.shares_connection(flow));
        let clients: Vec<_> = clients.map(|(id, client)| (*id, client.owner)).collect();
        clients.iter().for_each(|(id, _)| self.forget_client(*id));
        clients.into_iter().map(|(_, owner)| owner).collect()
    }

    fn server_due(&mut self, now: Instant, id: ServerId) -> Option<Due<Owner>> {
        let server = self.servers.get_mut(&id)?;
        let due = match &mut server.machine {
            ServerMachine::Request(_) => None,
            ServerMachine::Invite(machine) => match machine.handle_timeout(now) {
                ServerStep::Send(bytes) => Some(Due::Send(server.flow, bytes.to_vec())),
                ServerStep::Nothing | ServerStep::TimedOut => None,
            },
        };
        match server.machine {
            ServerMachine::Request(_) => self.forget_server(id),
            ServerMachine::Invite(_) => self.arm_server(id),
        }
        due
    }

    fn client_due(&mut self, now: Instant, id: u64) -> Option<Due<Owner>> {
        let client = self.clients.get_mut(&id)?;
        let due = match client.machine.handle_timeout(now) {
            ClientStep::Send(bytes) => Some(Due::Send(client.flow, bytes.to_vec())),
            ClientStep::TimedOut => Some(Due::RequestTimedOut(client.owner)),
            ClientStep::Nothing => None,
        };
        self.arm_client(id);
        due
    }

    /// Sets the deadline of a server transaction, or forgets the transaction when it is over.
    fn arm_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(&id) else { return };
        match &server.machine {
            ServerMachine::Invite(machine) if machine.is_terminated() => self.forget_server(id),
            ServerMachine::Invite(machine) => self.deadlines.set(Timer::Server(id), machine.poll_timeout()),
            ServerMachine::Request(machine) => self.deadlines.set(Timer::Server(id), Some(machine.until())),
        }
    }

    fn arm_client(&mut self, id: u64) {
        let Some(client) = self.clients.get(&id) else { return };
        match client.machine.is_terminated() {
            true => self.forget_client(id),
            false => self.deadlines.set(Timer::Client(id), client.machine.poll_timeout()),
        }
    }

    fn forget_server(&mut self, id: ServerId) {
        self.deadlines.clear(Timer::Server(id));
        let Some(server) = self.servers.remove(&id) else { return };
        self.by_key.remove(&server.key);
        if let Some(merge) = server.merge
            && self.merges.get(&merge) == Some(&id)
        {
            self.merges.remove(&merge);
        }
    }

    fn forget_client(&mut self, id: u64) {
        self.deadlines.clear(Timer::Client(id));
        if let Some(client) = self.clients.remove(&id) {
            self.by_branch.remove(&client.branch);
        }
    }

    fn number(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use super::super::timers::{GIVE_UP, T1, T4};
    use super::*;
    use crate::sip::flow::Transport;
    use crate::sip::message::Request;
    use crate::sip::method::Method;
    use crate::sip::uri::Uri;

    #[test]
    fn a_refused_invite_is_found_repeated_and_forgotten() {
        let (mut table, now) = (Transactions::<u8>::default(), Instant::now());
        let (key, merge) = (
            key(Method::Invite),
            MergeKey::of(&request(Method::Invite).headers).unwrap(),
        );
        let id = table.open_invite(key.clone(), Some(merge.clone()), flow(Transport::Udp), "tag".to_owned());
        assert_eq!((table.find(&key), table.tag(id)), (Some(id), Some("tag")));
        assert!(table.has_merged(&merge));
        assert_eq!(table.respond(now, id, 486, b"486"), Some(flow(Transport::Udp)));
        assert_eq!(
            table.handle_timeout(now + T1),
            Some(Due::Send(flow(Transport::Udp), b"486".to_vec()))
        );
        table.handle_ack(now + T1, id);
        assert_eq!(table.handle_timeout(now + T1 + T4), None);
        assert!(table.is_empty() && table.find(&key).is_none() && !table.has_merged(&merge));
        assert_eq!(table.poll_timeout(), None);
    }

    #[test]
    fn an_owner_is_told_of_an_invite_only_while_it_has_no_final_answer() {
        let (mut table, now) = (Transactions::default(), Instant::now());
        let id = table.open_invite(key(Method::Invite), None, flow(Transport::Udp), String::new());
        assert_eq!(table.pending_owner(id), None);
        table.set_owner(id, 7);
        assert_eq!(table.pending_owner(id), Some(7));
        table.respond(now, id, 200, b"200");
        assert_eq!(table.pending_owner(id), None);
        assert_eq!(table.respond(now, id, 487, b"487"), None);
    }

    #[test]
    fn the_owner_of_a_request_hears_of_the_first_final_response_only() {
        let (mut table, now) = (Transactions::default(), Instant::now());
        table.open_client(now, "b".to_owned(), flow(Transport::Udp), 7, b"BYE".to_vec());
        assert_eq!(table.handle_response(now, "other", 200), None);
        assert_eq!(table.handle_response(now, "b", 100), None);
        assert_eq!(table.handle_response(now, "b", 200), Some(7));
        assert_eq!(table.handle_response(now, "b", 200), None);
        assert_eq!(table.handle_timeout(now + T4), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_request_nobody_answers_is_reported_after_64_t1() {
        let (mut table, now) = (Transactions::default(), Instant::now());
        table.open_client(now, "b".to_owned(), flow(Transport::Tcp), 7, b"BYE".to_vec());
        assert_eq!(table.poll_timeout(), Some(now + GIVE_UP));
        assert_eq!(table.handle_timeout(now + GIVE_UP), Some(Due::RequestTimedOut(7)));
        assert!(table.is_empty());
    }

    #[test]
    fn an_answer_is_remembered_over_udp_and_needs_no_memory_over_tcp() {
        let (mut table, now) = (Transactions::<u8>::default(), Instant::now());
        table.remember(now, key(Method::Bye), flow(Transport::Tcp), b"200".to_vec());
        assert!(table.is_empty());
        table.remember(now, key(Method::Bye), flow(Transport::Udp), b"200".to_vec());
        let id = table.find(&key(Method::Bye)).unwrap();
        assert_eq!(
            table.handle_retransmission(id),
            Some((flow(Transport::Udp), b"200".to_vec()))
        );
        assert_eq!(table.handle_timeout(now + GIVE_UP), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_closed_connection_takes_its_transactions_along() {
        let (mut table, now) = (Transactions::default(), Instant::now());
        table.open_invite(key(Method::Invite), None, flow(Transport::Tcp), String::new());
        table.open_client(now, "b".to_owned(), flow(Transport::Tcp), 7, b"BYE".to_vec());
        table.open_client(now, "c".to_owned(), flow(Transport::Udp), 8, b"BYE".to_vec());
        assert_eq!(table.handle_flow_closed(&flow(Transport::Tcp)), [7]);
        assert_eq!(table.len(), 1);
    }

    fn request(method: Method) -> Request {
        let cseq = format!("1 {method}");
        Request::new(method, Uri::read("sip:h").unwrap())
            .with_header("Via", "SIP/2.0/UDP h;branch=z9hG4bKa")
            .with_header("From", "<sip:a@h>;tag=1")
            .with_header("Call-ID", "c1")
            .with_header("CSeq", cseq)
    }

    fn key(method: Method) -> Key {
        Key::of(&request(method), "192.0.2.7".parse().unwrap()).unwrap()
    }

    fn flow(transport: Transport) -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40000"].map(|address| address.parse().unwrap());
        Flow {
            transport,
            local,
            remote,
            connection: 3,
        }
    }
}
