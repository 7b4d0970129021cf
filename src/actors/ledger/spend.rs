//! What the ledger notes of money: what backends bill, what it costs, and what budgets come to.

use std::time::Duration;

use serde_json::{Value, json};

use super::Ledger;
use crate::{
    call::{
        budget::{Action, Reached},
        spend::{Account, Cost},
    },
    realtime::Used,
    store::{CostRecord, SpendRecord},
};

impl Ledger {
    /// The backend that serves the call, or did last.
    pub fn backend(&self) -> Option<&str> {
        self.record.backend.as_deref()
    }

    /// A backend counted something; what it costs, and what the call has used altogether.
    pub fn paid(&mut self, used: &Used, cost: Option<&Cost>, account: &Account) {
        self.count(used, cost);
        self.record.tokens = account.usage().into();
        self.record.spend = account.entries().iter().map(spend_record).collect();
        self.record.cost = account.costs().iter().map(cost_record).collect();
        let total = serde_json::to_value(&self.record.cost).unwrap_or_default();
        let mut data = json!({ "backend": used.backend, "tokens": tokens(used), "total": total });
        if let Some(cost) = cost {
            data["cost"] = serde_json::to_value(cost_record(cost)).unwrap_or_default();
        }
        self.tell(|view| view.cost = Some(total), "cost", data);
    }

    fn count(&self, used: &Used, cost: Option<&Cost>) {
        let agent = self.record.agent.as_deref().unwrap_or_default();
        for (kind, tokens) in used.usage.kinds() {
            self.metrics.tokens(agent, &used.backend, kind, tokens);
        }
        let heard = Duration::from_millis(used.usage.transcription.heard_ms);
        self.metrics.transcribed(agent, &used.backend, heard);
        if let Some(Cost { currency, amount }) = cost {
            self.metrics.cost(agent, &used.backend, currency, amount.micros());
        }
    }

    /// A budget has come to something.
    pub fn budget(&mut self, reached: &Reached) {
        let Reached { budget, action, spent } = reached;
        let (name, scope, currency) = (&budget.name, budget.scope.word(), &budget.currency);
        let (action, acts) = (action.word(), *action != Action::Warn);
        self.metrics.budget_action(name, action);
        match acts {
            true => {
                tracing::warn!(budget = name, scope, action, %spent, max = %budget.max, currency, "a budget is spent")
            }
            false => {
                tracing::warn!(budget = name, scope, %spent, max = %budget.max, currency, "a budget is nearly spent")
            }
        }
        let data = json!({
            "budget": name,
            "scope": scope,
            "action": action,
            "currency": currency,
            "spent_micros": spent.micros(),
            "max_micros": budget.max.micros(),
        });
        self.tell(|_| {}, "budget", data);
    }
}

/// What was counted, without what was not.
fn tokens(used: &Used) -> Value {
    let counted = used.usage.kinds().into_iter().filter(|(_, tokens)| *tokens > 0);
    let mut tokens: serde_json::Map<String, Value> =
        counted.map(|(kind, tokens)| (kind.to_owned(), tokens.into())).collect();
    let heard_ms = used.usage.transcription.heard_ms;
    if heard_ms > 0 {
        tokens.insert("transcription_ms".to_owned(), heard_ms.into());
    }
    tokens.into()
}

fn spend_record(entry: &crate::call::spend::Entry) -> SpendRecord {
    SpendRecord {
        backend: entry.backend.clone(),
        tokens: entry.usage.into(),
        cost: entry.cost.as_ref().map(cost_record),
    }
}

fn cost_record(cost: &Cost) -> CostRecord {
    CostRecord {
        currency: cost.currency.clone(),
        micros: cost.amount.micros(),
    }
}
