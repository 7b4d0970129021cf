//! What a call costs while it goes on, and what its budgets make of that.

use std::time::Instant;

use ractor::ActorRef;

use super::{State, session};
use crate::{
    call::{
        bridge::Summary,
        budget::{Action, Reached, Watch},
        spend::Account,
    },
    config::Money,
    realtime::Used,
};

/// What the call has cost, and may cost.
#[derive(Debug, Default)]
pub(super) struct Spending {
    account: Account,
    watch: Watch,
    /// How often the call was moved to the agent's next backend to spend less; a Session actor that is started again
    /// begins there.
    pub(super) moves: usize,
}

impl Spending {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            watch,
            ..Self::default()
        }
    }
}

impl State {
    /// What the days before the call make of it.
    pub(super) fn begin_spending(&mut self) {
        let (purses, agent) = (self.service.purses.clone(), self.agent.name.clone());
        let begun = self.spending.watch.begin(&|budget| purses.spent(budget, &agent));
        self.obey_budgets(begun);
    }

    /// A backend counted something.
    pub(super) fn used(&mut self, used: &Used) {
        let Some((currency, amount)) = self.pay(used) else {
            return;
        };
        let (purses, agent) = (self.service.purses.clone(), self.agent.name.clone());
        let mut purse = |budget: &_| purses.charge(budget, &agent, amount);
        let reached = self.spending.watch.charge(&currency, amount, &mut purse);
        self.obey_budgets(reached);
    }

    /// The media is over: what was counted and has not been told is paid for now. Nothing is left to be ended.
    pub(super) fn settle(&mut self, summary: &Summary) {
        let untold = summary.usage - self.spending.account.usage();
        if untold.is_nothing() {
            return;
        }
        let backend = self.ledger.backend().unwrap_or_default().to_owned();
        self.used(&Used { backend, usage: untold });
    }

    fn pay(&mut self, used: &Used) -> Option<(String, Money)> {
        let prices = self.service.config.prices_of(&used.backend);
        let cost = self.spending.account.charge(&used.backend, prices, used.usage);
        self.ledger.paid(used, cost.as_ref(), &self.spending.account);
        cost.map(|cost| (cost.currency, cost.amount))
    }

    fn obey_budgets(&mut self, reached: Vec<Reached>) {
        for reached in reached {
            self.ledger.budget(&reached);
            match reached.action {
                Action::Warn => {}
                Action::Downgrade => self.move_on(),
                Action::End => self.conductor.budget_spent(Instant::now(), &reached.budget.goodbye),
            }
        }
    }

    fn move_on(&mut self) {
        self.spending.moves += 1;
        // A Session actor that is not there begins where it should.
        let _ = self
            .session
            .as_ref()
            .map(|session: &ActorRef<session::Msg>| session.cast(session::Msg::MoveOn));
    }
}
