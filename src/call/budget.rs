//! Budgets: what is to happen when a call, or a day, has cost so much.
//!
//! A [`Watch`] goes with each call and hears of everything that is paid for in it; [`Purses`] hold what days have cost,
//! for all calls together. Neither does anything: whoever has them warns, moves the call on or ends it.

use std::collections::BTreeMap;

use crate::config::{Budget, BudgetScope, Money};

/// What a budget asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Somebody is to be told.
    Warn,
    /// The call moves on to the agent's next backend.
    Downgrade,
    /// The call ends.
    End,
}

impl Action {
    /// The word in events and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Downgrade => "downgrade",
            Self::End => "end",
        }
    }
}

/// A budget that has come to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub budget: Budget,
    /// What it asks for.
    pub action: Action,
    /// What has been spent of it.
    pub spent: Money,
}

/// The budgets of one call.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    budget: Budget,
    /// By this call.
    spent: Money,
    downgraded: bool,
    ended: bool,
}

impl Watch {
    /// Watches these.
    pub fn new<'b>(budgets: impl Iterator<Item = &'b Budget>) -> Self {
        let line = |budget: &Budget| Line {
            budget: budget.clone(),
            spent: Money::default(),
            downgraded: false,
            ended: false,
        };
        Self {
            lines: budgets.map(line).collect(),
        }
    }

    /// The call has cost this much more. `purse` puts the amount into the purse of a daily budget and says what is in it
    /// then. Returns what that comes to, in the order of the budgets, each action once a call.
    pub fn charge(&mut self, currency: &str, amount: Money, purse: &mut dyn FnMut(&Budget) -> Money) -> Vec<Reached> {
        let concerned = |line: &&mut Line| line.budget.currency == currency && !amount.is_nothing();
        let lines = self.lines.iter_mut().filter(concerned);
        lines.flat_map(|line| line.charge(amount, purse)).collect()
    }

    /// What days have cost before the call: what comes to something already.
    pub fn begin(&mut self, spent: &dyn Fn(&Budget) -> Money) -> Vec<Reached> {
        let daily = self.lines.iter_mut().filter(|line| line.budget.is_daily());
        daily
            .flat_map(|line| {
                let spent = spent(&line.budget);
                line.act(spent)
            })
            .collect()
    }
}

impl Line {
    fn charge(&mut self, amount: Money, purse: &mut dyn FnMut(&Budget) -> Money) -> Vec<Reached> {
        self.spent += amount;
        let spent = match self.budget.scope {
            BudgetScope::Call => self.spent,
            BudgetScope::AgentDay | BudgetScope::Day => purse(&self.budget),
        };
        // Told by the call that passes the mark, so that of all the calls of a day one tells.
        let mark = self.budget.max.percent(self.budget.warn_percent);
        let passes = self.budget.warn_percent > 0 && spent >= mark && spent < mark + amount;
        let warned = passes.then(|| self.reached(Action::Warn, spent));
        warned.into_iter().chain(self.act(spent)).collect()
    }

    /// What is to be done now that so much is spent. A call that is to end need not move on first.
    fn act(&mut self, spent: Money) -> Option<Reached> {
        let Budget {
            max,
            end_percent,
            downgrade_percent,
            ..
        } = self.budget;
        let is_at = |percent: u32| percent > 0 && spent >= max.percent(percent);
        if is_at(end_percent) && !self.ended {
            (self.ended, self.downgraded) = (true, true);
            return Some(self.reached(Action::End, spent));
        }
        if is_at(downgrade_percent) && !self.downgraded {
            self.downgraded = true;
            return Some(self.reached(Action::Downgrade, spent));
        }
        None
    }

    fn reached(&self, action: Action, spent: Money) -> Reached {
        Reached {
            budget: self.budget.clone(),
            action,
            spent,
        }
    }
}

/// What one day has cost, by budget, and by agent where the budget is for each agent by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purses {
    day: String,
    spent: BTreeMap<(String, String), Money>,
}

impl Purses {
    /// What a day had cost when it was last written down.
    pub fn of(day: String, spent: impl IntoIterator<Item = ((String, String), Money)>) -> Self {
        Self {
            day,
            spent: spent.into_iter().collect(),
        }
    }

    /// A call of this agent has cost this much more, on this day. Returns what the purse holds then.
    pub fn charge(&mut self, day: &str, budget: &Budget, agent: &str, amount: Money) -> Money {
        self.turn(day);
        let spent = self.spent.entry(key(budget, agent)).or_default();
        *spent += amount;
        *spent
    }

    /// What the purse of this agent's budget holds on this day.
    pub fn spent(&self, day: &str, budget: &Budget, agent: &str) -> Money {
        let today = Some(&self.spent).filter(|_| self.day == day);
        today
            .and_then(|spent| spent.get(&key(budget, agent)))
            .copied()
            .unwrap_or_default()
    }

    /// The day, and what is in each purse.
    pub fn contents(&self) -> (&str, impl Iterator<Item = (&(String, String), &Money)>) {
        (&self.day, self.spent.iter())
    }

    /// A new day begins with empty purses. A clock that is set back keeps those of the later day.
    fn turn(&mut self, day: &str) {
        if day > self.day.as_str() {
            day.clone_into(&mut self.day);
            self.spent.clear();
        }
    }
}

/// A budget for a day as a whole has one purse.
fn key(budget: &Budget, agent: &str) -> (String, String) {
    let agent = match budget.scope {
        BudgetScope::Day | BudgetScope::Call => "",
        BudgetScope::AgentDay => agent,
    };
    (budget.name.clone(), agent.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_warns_moves_on_and_ends_once_each() {
        let mut watch = Watch::new([&budget(BudgetScope::Call)].into_iter());
        let mut seen = Vec::new();
        for _ in 0..15 {
            seen.extend(watch.charge("USD", micros(10), &mut none).into_iter().map(told));
        }
        assert_eq!(seen, [(Action::Warn, 80), (Action::Downgrade, 90), (Action::End, 100)]);
    }

    #[test]
    fn one_large_amount_warns_and_ends_without_moving_on() {
        let mut watch = Watch::new([&budget(BudgetScope::Call)].into_iter());
        let seen: Vec<_> = watch
            .charge("USD", micros(500), &mut none)
            .into_iter()
            .map(told)
            .collect();
        assert_eq!(seen, [(Action::Warn, 500), (Action::End, 500)]);
    }

    #[test]
    fn another_currency_and_what_costs_nothing_do_not_count() {
        let mut watch = Watch::new([&budget(BudgetScope::Call)].into_iter());
        assert_eq!(watch.charge("EUR", micros(500), &mut none), []);
        assert_eq!(watch.charge("USD", Money::default(), &mut none), []);
    }

    #[test]
    fn of_all_the_calls_of_a_day_one_warns_and_all_end() {
        let budget = budget(BudgetScope::AgentDay);
        let mut purses = Purses::default();
        let mut watches = [1, 2, 3].map(|_| Watch::new([&budget].into_iter()));
        let mut seen = Vec::new();
        for _ in 0..3 {
            for watch in &mut watches {
                let mut purse = |budget: &Budget| purses.charge("2026-01-02", budget, "a", micros(15));
                seen.extend(
                    watch
                        .charge("USD", micros(15), &mut purse)
                        .into_iter()
                        .map(|reached| reached.action),
                );
            }
        }
        let count = |action| seen.iter().filter(|seen| **seen == action).count();
        assert_eq!((count(Action::Warn), count(Action::End)), (1, 3));
        assert_eq!(
            purses.spent("2026-01-02", &budget, "b"),
            Money::default(),
            "another agent's purse"
        );
        let mut late = Watch::new([&budget].into_iter());
        let begun = late.begin(&|budget| purses.spent("2026-01-02", budget, "a"));
        assert_eq!(begun[0].action, Action::End);
        assert_eq!(late.begin(&|budget| purses.spent("2026-01-03", budget, "a")), []);
    }

    #[test]
    fn a_new_day_begins_with_empty_purses_and_a_clock_set_back_does_not() {
        let budget = budget(BudgetScope::Day);
        let mut purses = Purses::default();
        purses.charge("2026-01-02", &budget, "a", micros(5));
        assert_eq!(purses.charge("2026-01-02", &budget, "b", micros(5)), micros(10));
        assert_eq!(purses.charge("2026-01-01", &budget, "b", micros(1)), micros(11));
        assert_eq!(purses.charge("2026-01-03", &budget, "b", micros(1)), micros(1));
        assert_eq!(purses.spent("2026-01-02", &budget, "a"), Money::default());
    }

    fn budget(scope: BudgetScope) -> Budget {
        Budget {
            warn_percent: 80,
            downgrade_percent: 90,
            ..Budget::of(scope, micros(100))
        }
    }

    fn micros(micros: u64) -> Money {
        Money::from_micros(micros)
    }

    fn told(reached: Reached) -> (Action, u64) {
        (reached.action, reached.spent.micros())
    }

    fn none(_: &Budget) -> Money {
        unreachable!("a call's own budget has no purse")
    }
}
