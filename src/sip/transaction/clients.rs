//! Every client transaction of one endpoint: found by the branch we made for it and the method (a CANCEL has the branch
//! of its INVITE), woken by one ordered set of deadlines.
//!
//! They are not bounded by themselves: each belongs to an errand, and those are.

use std::collections::HashMap;
use std::time::Instant;

use super::client::{ClientStep, Reception, RequestClient};
use super::invite_client::InviteClient;
use super::timers::Deadlines;
use crate::sip::flow::Flow;
use crate::sip::method::Method;

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<Owner> {
    /// Send these bytes again.
    Send(Flow, Vec<u8>),
    /// Our request was never answered.
    TimedOut(Owner),
    /// No more answers to this INVITE are waited for (timer D or M).
    Over(Owner, ClientKey),
}

/// What a response means.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<Owner> {
    /// Nothing: it belongs to no request of ours, or was heard before.
    Nothing,
    /// A refusal heard before, whose ACK was lost: send it again.
    Acknowledge(Flow, Vec<u8>),
    /// The owner wants to know: a provisional, the first final answer, or any 2xx to an INVITE.
    Fresh(Owner),
}

/// A transaction that lost its connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost<Owner> {
    /// Whose it was.
    pub owner: Owner,
    /// Which it was.
    pub key: ClientKey,
    /// Whether it still waited for its final answer.
    pub pending: bool,
}

/// All client transactions of one endpoint.
#[derive(Debug)]
pub struct Clients<Owner> {
    live: HashMap<u64, Client<Owner>>,
    by_key: HashMap<ClientKey, u64>,
    deadlines: Deadlines<u64>,
    last_id: u64,
}

/// What names a client transaction (RFC 3261 section 17.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The branch of our Via.
    pub branch: String,
    /// The method of the request.
    pub method: Method,
}

#[derive(Debug)]
struct Client<Owner> {
    key: ClientKey,
    flow: Flow,
    owner: Owner,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    Request(RequestClient),
    Invite(InviteClient),
}

impl Machine {
    fn sent(now: Instant, method: &Method, reliable: bool, request: Vec<u8>) -> Self {
        match method {
            Method::Invite => Self::Invite(InviteClient::sent(now, reliable, request)),
            _ => Self::Request(RequestClient::sent(now, reliable, request)),
        }
    }

    fn handle_response(&mut self, now: Instant, status: u16) -> Reception {
        match self {
            Self::Request(machine) => machine.handle_response(now, status),
            Self::Invite(machine) => machine.handle_response(now, status),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> ClientStep<'_> {
        match self {
            Self::Request(machine) => machine.handle_timeout(now),
            Self::Invite(machine) => machine.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Request(machine) => machine.poll_timeout(),
            Self::Invite(machine) => machine.poll_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Self::Request(machine) => machine.is_terminated(),
            Self::Invite(machine) => machine.is_terminated(),
        }
    }

    fn is_pending(&self) -> bool {
        match self {
            Self::Request(machine) => machine.is_pending(),
            Self::Invite(machine) => machine.is_pending(),
        }
    }

    fn repeated_ack(&self) -> Option<&[u8]> {
        match self {
            Self::Request(_) => None,
            Self::Invite(machine) => machine.repeated_ack(),
        }
    }
}

impl<Owner> Default for Clients<Owner> {
    fn default() -> Self {
        Self {
            live: HashMap::new(),
            by_key: HashMap::new(),
            deadlines: Deadlines::default(),
            last_id: 0,
        }
    }
}

impl<Owner: Copy> Clients<Owner> {
    /// How many transactions live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Opens the transaction of a request of ours that is being sent now.
    pub fn open(&mut self, now: Instant, key: ClientKey, flow: Flow, owner: Owner, request: Vec<u8>) {
        let machine = Machine::sent(now, &key.method, flow.transport.is_reliable(), request);
        self.last_id = self.last_id.wrapping_add(1);
        self.by_key.insert(key.clone(), self.last_id);
        self.live.insert(
            self.last_id,
            Client {
                key,
                flow,
                owner,
                machine,
            },
        );
        self.arm(self.last_id);
    }

    /// Takes a response to the request of this key. After a fresh refusal of an INVITE comes [`Self::acknowledge`].
    pub fn handle_response(&mut self, now: Instant, key: &ClientKey, status: u16) -> Heard<Owner> {
        let Some(id) = self.by_key.get(key).copied() else {
            return Heard::Nothing;
        };
        let Some(client) = self.live.get_mut(&id) else {
            return Heard::Nothing;
        };
        let heard = match client.machine.handle_response(now, status) {
            Reception::Fresh => Heard::Fresh(client.owner),
            Reception::Repeated if status >= 300 => match client.machine.repeated_ack() {
                Some(ack) => Heard::Acknowledge(client.flow, ack.to_vec()),
                None => Heard::Nothing,
            },
            Reception::Repeated => Heard::Nothing,
        };
        self.arm(id);
        heard
    }

    /// Keeps the ACK of a refused INVITE for as long as the refusal may be repeated; where it goes.
    pub fn acknowledge(&mut self, key: &ClientKey, ack: Vec<u8>) -> Option<Flow> {
        let client = self.live.get_mut(self.by_key.get(key)?)?;
        if let Machine::Invite(machine) = &mut client.machine {
            machine.acknowledge(ack);
        }
        Some(client.flow)
    }

    /// Gives a transaction up: whatever is still answered to it belongs to nobody.
    pub fn abandon(&mut self, key: &ClientKey) {
        if let Some(id) = self.by_key.get(key).copied() {
            self.forget(id);
        }
    }

    /// Takes the next thing that is due; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due<Owner>> {
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

    /// Forgets every transaction on a closed connection; whose they were, oldest first.
    pub fn handle_flow_closed(&mut self, flow: &Flow) -> Vec<Lost<Owner>> {
        let closed = self
            .live
            .iter()
            .filter(|(_, client)| client.flow.shares_connection(flow));
        let lost = |client: &Client<Owner>| Lost {
            owner: client.owner,
            key: client.key.clone(),
            pending: client.machine.is_pending(),
        };
        let mut closed: Vec<_> = closed.map(|(id, client)| (*id, lost(client))).collect();
        closed.sort_unstable_by_key(|(id, _)| *id);
        closed.iter().for_each(|(id, _)| self.forget(*id));
        closed.into_iter().map(|(_, lost)| lost).collect()
    }

    fn handle_due(&mut self, now: Instant, id: u64) -> Option<Due<Owner>> {
        let client = self.live.get_mut(&id)?;
        let due = match client.machine.handle_timeout(now) {
            ClientStep::Send(bytes) => Some(Due::Send(client.flow, bytes.to_vec())),
            ClientStep::TimedOut => Some(Due::TimedOut(client.owner)),
            ClientStep::Nothing => None,
        };
        let over = matches!(&client.machine, Machine::Invite(machine) if machine.is_terminated());
        let due = due.or_else(|| over.then_some(Due::Over(client.owner, client.key.clone())));
        self.arm(id);
        due
    }

    /// Sets the deadline of a transaction, or forgets it when it is over.
    fn arm(&mut self, id: u64) {
        match self.live.get(&id).map(|client| &client.machine) {
            Some(machine) if machine.is_terminated() => self.forget(id),
            Some(machine) => self.deadlines.set(id, machine.poll_timeout()),
            None => {}
        }
    }

    fn forget(&mut self, id: u64) {
        self.deadlines.clear(id);
        if let Some(client) = self.live.remove(&id) {
            self.by_key.remove(&client.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::timers::{GIVE_UP, T1, T4, TIMER_D};
    use super::*;
    use crate::sip::flow::Transport;

    #[test]
    fn the_owner_of_a_request_hears_of_the_first_final_response_only() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, bye("b"), flow(Transport::Udp), 7, b"BYE".to_vec());
        assert_eq!(table.handle_response(now, &bye("other"), 200), Heard::Nothing);
        assert_eq!(table.handle_response(now, &bye("b"), 100), Heard::Fresh(7));
        assert_eq!(table.handle_response(now, &bye("b"), 200), Heard::Fresh(7));
        assert_eq!(table.handle_response(now, &bye("b"), 200), Heard::Nothing);
        assert_eq!(table.handle_timeout(now + T4), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_request_nobody_answers_is_reported_after_64_t1() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, bye("b"), flow(Transport::Tcp), 7, b"BYE".to_vec());
        assert_eq!(table.poll_timeout(), Some(now + GIVE_UP));
        assert_eq!(table.handle_timeout(now + GIVE_UP), Some(Due::TimedOut(7)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_closed_connection_takes_its_requests_along_and_says_whose_they_were() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, bye("b"), flow(Transport::Tcp), 7, b"BYE".to_vec());
        table.open(now, bye("c"), flow(Transport::Udp), 8, b"BYE".to_vec());
        table.open(now, invite("d"), flow(Transport::Tcp), 9, b"INVITE".to_vec());
        table.handle_response(now, &invite("d"), 200);
        let lost =
            [(7, bye("b"), true), (9, invite("d"), false)].map(|(owner, key, pending)| Lost { owner, key, pending });
        assert_eq!(table.handle_flow_closed(&flow(Transport::Tcp)), lost);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_cancel_and_its_invite_share_a_branch_and_are_told_apart_by_their_method() {
        let (mut table, now) = (Clients::default(), Instant::now());
        let cancel = ClientKey {
            method: Method::Cancel,
            ..invite("b")
        };
        table.open(now, invite("b"), flow(Transport::Udp), 1, b"INVITE".to_vec());
        table.open(now, cancel.clone(), flow(Transport::Udp), 2, b"CANCEL".to_vec());
        assert_eq!(table.handle_response(now, &cancel, 200), Heard::Fresh(2));
        assert_eq!(table.handle_response(now, &invite("b"), 487), Heard::Fresh(1));
    }

    #[test]
    fn a_repeated_refusal_of_an_invite_gets_its_ack_again_until_it_is_over() {
        let (mut table, now, udp) = (Clients::default(), Instant::now(), flow(Transport::Udp));
        table.open(now, invite("b"), udp, 1, b"INVITE".to_vec());
        assert_eq!(table.handle_timeout(now + T1), Some(Due::Send(udp, b"INVITE".to_vec())));
        assert_eq!(table.handle_response(now, &invite("b"), 486), Heard::Fresh(1));
        assert_eq!(table.handle_response(now, &invite("b"), 486), Heard::Nothing);
        assert_eq!(table.acknowledge(&invite("b"), b"ACK".to_vec()), Some(udp));
        let again = Heard::Acknowledge(udp, b"ACK".to_vec());
        assert_eq!(table.handle_response(now, &invite("b"), 486), again);
        assert_eq!(table.handle_timeout(now + TIMER_D), Some(Due::Over(1, invite("b"))));
        assert!(table.is_empty());
    }

    #[test]
    fn every_2xx_of_an_invite_is_heard_until_timer_m() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, invite("b"), flow(Transport::Tcp), 1, b"INVITE".to_vec());
        for _ in 0..3 {
            assert_eq!(table.handle_response(now, &invite("b"), 200), Heard::Fresh(1));
        }
        assert_eq!(table.handle_timeout(now + GIVE_UP), Some(Due::Over(1, invite("b"))));
        assert_eq!(table.handle_response(now, &invite("b"), 200), Heard::Nothing);
    }

    fn bye(branch: &str) -> ClientKey {
        ClientKey {
            branch: branch.to_owned(),
            method: Method::Bye,
        }
    }

    fn invite(branch: &str) -> ClientKey {
        ClientKey {
            method: Method::Invite,
            ..bye(branch)
        }
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
