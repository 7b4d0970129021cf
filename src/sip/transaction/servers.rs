//! Every server transaction of one endpoint: found by key, woken by one ordered set of deadlines.
//!
//! It is the only place where they are created and forgotten. `Owner` is whatever the endpoint wants to find again by
//! the transaction of an INVITE; the table only hands it back.

use std::collections::HashMap;
use std::time::Instant;

use super::Key;
use super::server::{InviteServer, RequestServer, ServerStep};
use super::timers::Deadlines;
use crate::sip::flow::Flow;
use crate::sip::headers::Headers;

/// Names one server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u64);

/// What two copies of one INVITE that took different ways have in common (RFC 3261 section 8.2.2.2).
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
        let (call_id, sequence) = (headers.call_id().ok()?.to_owned(), headers.cseq().ok()?.number);
        Some(Self {
            call_id,
            from_tag,
            sequence,
        })
    }
}

/// All server transactions of one endpoint.
#[derive(Debug)]
pub struct Servers<Owner> {
    live: HashMap<ServerId, Server<Owner>>,
    by_key: HashMap<Key, ServerId>,
    merges: HashMap<MergeKey, ServerId>,
    deadlines: Deadlines<ServerId>,
    last_id: u64,
}

#[derive(Debug)]
struct Server<Owner> {
    key: Key,
    merge: Option<MergeKey>,
    flow: Flow,
    tag: String,
    owner: Option<Owner>,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    Request(RequestServer),
}

impl<Owner> Default for Servers<Owner> {
    fn default() -> Self {
        let (live, by_key, merges) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self {
            live,
            by_key,
            merges,
            deadlines: Deadlines::default(),
            last_id: 0,
        }
    }
}

impl<Owner: Copy> Servers<Owner> {
    /// How many transactions live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The transaction of this key.
    pub fn find(&self, key: &Key) -> Option<ServerId> {
        self.by_key.get(key).copied()
    }

    /// Whether a live INVITE is another copy of the one with this merge key.
    pub fn has_merged(&self, merge: &MergeKey) -> bool {
        self.merges.contains_key(merge)
    }

    /// Opens the transaction of an INVITE. `flow` is where its responses go, `tag` the To tag of all of them.
    pub fn open_invite(&mut self, key: Key, merge: Option<MergeKey>, flow: Flow, tag: String) -> ServerId {
        let machine = Machine::Invite(InviteServer::new(flow.transport.is_reliable()));
        let id = self.insert(Server {
            key,
            merge: merge.clone(),
            flow,
            tag,
            owner: None,
            machine,
        });
        merge.and_then(|merge| self.merges.insert(merge, id));
        id
    }

    /// Opens the transaction of any other request, which the application is going to answer.
    pub fn open_request(&mut self, now: Instant, key: Key, flow: Flow) -> ServerId {
        let id = self.insert(Server {
            key,
            merge: None,
            flow,
            tag: String::new(),
            owner: None,
            machine: Machine::Request(RequestServer::waiting(now)),
        });
        self.arm(id);
        id
    }

    /// Remembers the answer to a request other than INVITE, to repeat it. Over TCP there is nothing to remember.
    pub fn remember(&mut self, now: Instant, key: Key, flow: Flow, response: Vec<u8>) {
        if flow.transport.is_reliable() {
            return;
        }
        let machine = Machine::Request(RequestServer::answered(now, response));
        let tag = String::new();
        let id = self.insert(Server {
            key,
            merge: None,
            flow,
            tag,
            owner: None,
            machine,
        });
        self.arm(id);
    }

    /// Says who is to be told about this transaction.
    pub fn set_owner(&mut self, id: ServerId, owner: Owner) {
        if let Some(server) = self.live.get_mut(&id) {
            server.owner = Some(owner);
        }
    }

    /// Who is to be told about this transaction, when it is an INVITE still without a final answer.
    pub fn pending_owner(&self, id: ServerId) -> Option<Owner> {
        let server = self.live.get(&id)?;
        match &server.machine {
            Machine::Invite(machine) if machine.is_proceeding() => server.owner,
            Machine::Invite(_) | Machine::Request(_) => None,
        }
    }

    /// The To tag of this transaction's responses.
    pub fn tag(&self, id: ServerId) -> Option<&str> {
        self.live.get(&id).map(|server| server.tag.as_str())
    }

    /// Responds to an INVITE or to a request of [`Self::open_request`]; the flow to send the bytes to, unless it has
    /// its final answer already.
    pub fn respond(&mut self, now: Instant, id: ServerId, status: u16, bytes: &[u8]) -> Option<Flow> {
        let server = self.live.get_mut(&id)?;
        let flow = server.flow;
        let passes = match &mut server.machine {
            Machine::Invite(machine) => machine.respond(now, status, bytes),
            Machine::Request(machine) => machine.respond(now, bytes),
        };
        let answered_for_good = flow.transport.is_reliable() && matches!(server.machine, Machine::Request(_));
        match answered_for_good {
            true => self.forget(id),
            false => self.arm(id),
        }
        passes.then_some(flow)
    }

    /// What to repeat for a retransmission of the request of this transaction.
    pub fn handle_retransmission(&self, id: ServerId) -> Option<(Flow, Vec<u8>)> {
        let server = self.live.get(&id)?;
        let bytes = match &server.machine {
            Machine::Invite(machine) => machine.handle_retransmission()?,
            Machine::Request(machine) => machine.handle_retransmission()?,
        };
        Some((server.flow, bytes.to_vec()))
    }

    /// An ACK arrived for the INVITE of this transaction.
    pub fn handle_ack(&mut self, now: Instant, id: ServerId) {
        let Some(Server {
            machine: Machine::Invite(machine),
            ..
        }) = self.live.get_mut(&id)
        else {
            return;
        };
        machine.handle_ack(now);
        self.arm(id);
    }

    /// Takes the next response that is to be repeated; call until `None`. A refusal that was never acknowledged
    /// (timer H) ends here without a word: the caller has long gone.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<(Flow, Vec<u8>)> {
        while let Some(id) = self.deadlines.pop_due(now) {
            let due = self.handle_due(now, id);
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

    /// Forgets every transaction on a closed connection.
    pub fn handle_flow_closed(&mut self, flow: &Flow) {
        let closed = self
            .live
            .iter()
            .filter(|(_, server)| server.flow.shares_connection(flow));
        for id in closed.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.forget(id);
        }
    }

    fn insert(&mut self, server: Server<Owner>) -> ServerId {
        self.last_id = self.last_id.wrapping_add(1);
        let id = ServerId(self.last_id);
        self.by_key.insert(server.key.clone(), id);
        self.live.insert(id, server);
        id
    }

    fn handle_due(&mut self, now: Instant, id: ServerId) -> Option<(Flow, Vec<u8>)> {
        let Server {
            machine: Machine::Invite(machine),
            flow,
            ..
        } = self.live.get_mut(&id)?
        else {
            self.forget(id);
            return None;
        };
        let due = match machine.handle_timeout(now) {
            ServerStep::Send(bytes) => Some((*flow, bytes.to_vec())),
            ServerStep::Nothing | ServerStep::TimedOut => None,
        };
        self.arm(id);
        due
    }

    /// Sets the deadline of a transaction, or forgets it when it is over.
    fn arm(&mut self, id: ServerId) {
        match self.live.get(&id).map(|server| &server.machine) {
            Some(Machine::Invite(machine)) if machine.is_terminated() => self.forget(id),
            Some(Machine::Invite(machine)) => self.deadlines.set(id, machine.poll_timeout()),
            Some(Machine::Request(machine)) => self.deadlines.set(id, Some(machine.until())),
            None => {}
        }
    }

    fn forget(&mut self, id: ServerId) {
        self.deadlines.clear(id);
        let Some(server) = self.live.remove(&id) else { return };
        self.by_key.remove(&server.key);
        server.merge.and_then(|merge| self.merges.remove(&merge));
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
        let (mut table, now, flow) = (Servers::<u8>::default(), Instant::now(), flow(Transport::Udp));
        let merge = MergeKey::of(&request(Method::Invite).headers).unwrap();
        let id = table.open_invite(key(Method::Invite), Some(merge.clone()), flow, "tag".to_owned());
        assert_eq!(
            (table.find(&key(Method::Invite)), table.tag(id)),
            (Some(id), Some("tag"))
        );
        assert!(table.has_merged(&merge));
        assert_eq!(table.respond(now, id, 486, b"486"), Some(flow));
        assert_eq!(table.handle_timeout(now + T1), Some((flow, b"486".to_vec())));
        table.handle_ack(now + T1, id);
        assert_eq!(table.handle_timeout(now + T1 + T4), None);
        assert!(table.is_empty() && table.find(&key(Method::Invite)).is_none() && !table.has_merged(&merge));
        assert_eq!(table.poll_timeout(), None);
    }

    #[test]
    fn an_owner_is_told_of_an_invite_only_while_it_has_no_final_answer() {
        let (mut table, now) = (Servers::default(), Instant::now());
        let id = table.open_invite(key(Method::Invite), None, flow(Transport::Udp), String::new());
        assert_eq!(table.pending_owner(id), None);
        table.set_owner(id, 7);
        assert_eq!(table.pending_owner(id), Some(7));
        table.respond(now, id, 200, b"200");
        assert_eq!(table.pending_owner(id), None);
        assert_eq!(table.respond(now, id, 487, b"487"), None);
    }

    #[test]
    fn an_answer_is_remembered_over_udp_and_needs_no_memory_over_tcp() {
        let (mut table, now) = (Servers::<u8>::default(), Instant::now());
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
    fn a_request_that_waits_is_answered_once_and_silent_until_then() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (mut table, now, flow) = (Servers::<u8>::default(), Instant::now(), flow(transport));
            let id = table.open_request(now, key(Method::Update), flow);
            assert_eq!(table.handle_retransmission(id), None);
            assert_eq!(table.respond(now, id, 200, b"200"), Some(flow));
            assert_eq!(table.respond(now, id, 488, b"488"), None);
            assert_eq!(table.is_empty(), transport.is_reliable());
            assert_eq!(table.handle_timeout(now + GIVE_UP), None);
            assert!(table.is_empty());
        }
    }

    #[test]
    fn a_request_nobody_answers_is_forgotten_when_its_sender_has_given_up() {
        let (mut table, now) = (Servers::<u8>::default(), Instant::now());
        table.open_request(now, key(Method::Refer), flow(Transport::Tcp));
        assert_eq!(table.handle_timeout(now + GIVE_UP), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_closed_connection_takes_its_transactions_along() {
        let mut table = Servers::<u8>::default();
        table.open_invite(key(Method::Invite), None, flow(Transport::Tcp), String::new());
        table.open_invite(key(Method::Bye), None, flow(Transport::Udp), String::new());
        table.handle_flow_closed(&flow(Transport::Tcp));
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
