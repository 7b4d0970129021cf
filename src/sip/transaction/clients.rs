//! Every client transaction of one endpoint: found by the branch we made for it, woken by one ordered set of deadlines.
//!
//! They are not bounded by themselves: each belongs to a leg, and a leg has at most one.

use std::collections::HashMap;
use std::time::Instant;

use super::client::{ClientStep, Reception, RequestClient};
use super::timers::Deadlines;
use crate::sip::flow::Flow;

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<Owner> {
    /// Send these bytes again.
    Send(Flow, Vec<u8>),
    /// Our request was never answered.
    TimedOut(Owner),
}

/// All client transactions of one endpoint.
#[derive(Debug)]
pub struct Clients<Owner> {
    live: HashMap<u64, Client<Owner>>,
    by_branch: HashMap<String, u64>,
    deadlines: Deadlines<u64>,
    last_id: u64,
}

#[derive(Debug)]
struct Client<Owner> {
    branch: String,
    flow: Flow,
    owner: Owner,
    machine: RequestClient,
}

impl<Owner> Default for Clients<Owner> {
    fn default() -> Self {
        Self {
            live: HashMap::new(),
            by_branch: HashMap::new(),
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
    pub fn open(&mut self, now: Instant, branch: String, flow: Flow, owner: Owner, request: Vec<u8>) {
        let machine = RequestClient::sent(now, flow.transport.is_reliable(), request);
        self.last_id = self.last_id.wrapping_add(1);
        self.by_branch.insert(branch.clone(), self.last_id);
        self.live.insert(
            self.last_id,
            Client {
                branch,
                flow,
                owner,
                machine,
            },
        );
        self.arm(self.last_id);
    }

    /// A response to the request of this branch: its owner, when it is the first final one.
    pub fn handle_response(&mut self, now: Instant, branch: &str, status: u16) -> Option<Owner> {
        let id = *self.by_branch.get(branch)?;
        let client = self.live.get_mut(&id)?;
        let first_final = client.machine.handle_response(now, status) == Reception::Fresh && status >= 200;
        let owner = first_final.then_some(client.owner);
        self.arm(id);
        owner
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

    /// Forgets every transaction on a closed connection; their owners, oldest first.
    pub fn handle_flow_closed(&mut self, flow: &Flow) -> Vec<Owner> {
        let closed = self
            .live
            .iter()
            .filter(|(_, client)| client.flow.shares_connection(flow));
        let mut closed: Vec<_> = closed.map(|(id, client)| (*id, client.owner)).collect();
        closed.sort_unstable_by_key(|(id, _)| *id);
        closed.iter().for_each(|(id, _)| self.forget(*id));
        closed.into_iter().map(|(_, owner)| owner).collect()
    }

    fn handle_due(&mut self, now: Instant, id: u64) -> Option<Due<Owner>> {
        let client = self.live.get_mut(&id)?;
        let due = match client.machine.handle_timeout(now) {
            ClientStep::Send(bytes) => Some(Due::Send(client.flow, bytes.to_vec())),
            ClientStep::TimedOut => Some(Due::TimedOut(client.owner)),
            ClientStep::Nothing => None,
        };
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
            self.by_branch.remove(&client.branch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::timers::{GIVE_UP, T4};
    use super::*;
    use crate::sip::flow::Transport;

    #[test]
    fn the_owner_of_a_request_hears_of_the_first_final_response_only() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, "b".to_owned(), flow(Transport::Udp), 7, b"BYE".to_vec());
        assert_eq!(table.handle_response(now, "other", 200), None);
        assert_eq!(table.handle_response(now, "b", 100), None);
        assert_eq!(table.handle_response(now, "b", 200), Some(7));
        assert_eq!(table.handle_response(now, "b", 200), None);
        assert_eq!(table.handle_timeout(now + T4), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_request_nobody_answers_is_reported_after_64_t1() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, "b".to_owned(), flow(Transport::Tcp), 7, b"BYE".to_vec());
        assert_eq!(table.poll_timeout(), Some(now + GIVE_UP));
        assert_eq!(table.handle_timeout(now + GIVE_UP), Some(Due::TimedOut(7)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_closed_connection_takes_its_requests_along_and_says_whose_they_were() {
        let (mut table, now) = (Clients::default(), Instant::now());
        table.open(now, "b".to_owned(), flow(Transport::Tcp), 7, b"BYE".to_vec());
        table.open(now, "c".to_owned(), flow(Transport::Udp), 8, b"BYE".to_vec());
        assert_eq!(table.handle_flow_closed(&flow(Transport::Tcp)), [7]);
        assert_eq!(table.len(), 1);
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
