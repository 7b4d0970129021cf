//! The Call actor's side of tools that are done elsewhere: has errands done, puts questions to people, and gives up both
//! when the call says so or is gone.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use ractor::{ActorRef, RpcReplyPort};

use super::{Msg, State};
use crate::{
    actors::{
        approvals::{Pending, Ticket},
        board,
        service::random,
    },
    drivers::tools::{Customer, Running},
    http::ApprovalView,
    tools::{
        Errand, Reply,
        desk::{Decision, Work},
    },
};

/// What is under way for one call; dropping it gives it up.
#[derive(Debug, Default)]
pub(super) struct Errands {
    running: BTreeMap<String, Running>,
    asking: BTreeMap<String, Ticket>,
}

impl State {
    pub(super) fn work(&mut self, myself: &ActorRef<Msg>, work: Work) {
        match work {
            Work::Start(errand) => self.run(myself, errand),
            Work::Ask(errand, max) => self.ask(myself, &errand, max),
            Work::Withdraw(call_id, answer) => self.withdraw(&call_id, answer),
            Work::Stop(call_id) => drop(self.errands.running.remove(&call_id)),
        }
    }

    fn run(&mut self, myself: &ActorRef<Msg>, errand: Errand) {
        let customer = Customer {
            call_id: self.ledger.call_id().to_owned(),
            facts: self.facts.clone(),
        };
        let (call, id) = (myself.clone(), errand.call_id.clone());
        // A call that is over does not want to know.
        let done = move |call_id, reply| drop(call.cast(Msg::ToolReplied(call_id, reply)));
        let running = self.service.tools.run(errand, customer, done);
        self.errands.running.insert(id, running);
    }

    fn ask(&mut self, myself: &ActorRef<Msg>, errand: &Errand, max: Duration) {
        let now = Timestamp::now();
        let view = ApprovalView {
            id: format!("approval_{:016x}", random()),
            call_id: self.ledger.call_id().to_owned(),
            agent: self.agent.name.clone(),
            tool: errand.tool.name.clone(),
            arguments: errand.arguments.clone(),
            asked_at: board::time(now),
            expires_at: board::time(now.checked_add(max).unwrap_or(now)),
        };
        self.ledger.approval(&view.id, &view.tool, "asked");
        let ticket = self.service.approvals.ask(Pending {
            view,
            actor: myself.clone(),
            tool_call: errand.call_id.clone(),
        });
        self.errands.asking.insert(errand.call_id.clone(), ticket);
    }

    fn withdraw(&mut self, call_id: &str, answer: Option<bool>) {
        let Some(ticket) = self.errands.asking.remove(call_id) else {
            return;
        };
        let word = match answer {
            Some(true) => "approved",
            Some(false) => "rejected",
            None => "withdrawn",
        };
        self.ledger.approval(ticket.id(), "", word);
    }

    pub(super) fn tool_replied(&mut self, call_id: &str, reply: Reply) {
        self.errands.running.remove(call_id);
        self.conductor.tool_replied(std::time::Instant::now(), call_id, reply);
    }

    pub(super) fn decide(&mut self, call_id: &str, decision: &Decision, port: RpcReplyPort<bool>) {
        let waited = self.conductor.decide(std::time::Instant::now(), call_id, decision);
        // Whoever asked may have stopped waiting.
        let _ = port.send(waited);
    }
}
