//! `[budgets.NAME]`: how much calls may cost, and what happens when they do.

use super::{
    bounds::PROSE_BYTES_MAX,
    effective::Writer,
    money::{self, Money},
    section::Section,
};

const SCOPES: &[(&str, BudgetScope)] = &[
    ("call", BudgetScope::Call),
    ("agent_day", BudgetScope::AgentDay),
    ("day", BudgetScope::Day),
];

/// What the agent says before it hangs up, unless the budget says otherwise.
const GOODBYE: &str = "I am sorry, I have to end this call now. Goodbye.";

/// How much calls may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub scope: BudgetScope,
    /// The agents whose calls count; empty: every agent.
    pub agents: Vec<String>,
    /// The currency; what costs another does not count.
    pub currency: String,
    /// How much.
    pub max: Money,
    /// At how many hundredths of it somebody is told; 0: never.
    pub warn_percent: u32,
    /// At how many hundredths of it a call moves to the agent's next backend; 0: never.
    pub downgrade_percent: u32,
    /// At how many hundredths of it a call ends, and new ones are refused; 0: never.
    pub end_percent: u32,
    /// What the agent says before it hangs up.
    pub goodbye: String,
}

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BudgetScope {
    /// Each call.
    #[default]
    Call,
    /// All calls of an agent in a day, each agent by itself.
    AgentDay,
    /// All calls in a day.
    Day,
}

impl Budget {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        section.require("max");
        let gives_max = section.gives("max");
        let mut percent = |key, default| {
            let percent = section.optional_whole(key, 0..=1_000, "percent");
            percent.map_or(default, |percent| u32::try_from(percent).unwrap_or(default))
        };
        let (warn_percent, downgrade_percent) = (percent("warn_percent", 80), percent("downgrade_percent", 0));
        let end_percent = percent("end_percent", 100);
        let budget = Self {
            name: name.to_owned(),
            scope: section.choice("scope", SCOPES, BudgetScope::default()),
            agents: section.list("agents", Vec::new(), |name| Ok(name.to_owned())),
            currency: money::read_currency(&mut section),
            max: Money::read(&mut section, "max").unwrap_or_default(),
            warn_percent,
            downgrade_percent,
            end_percent,
            goodbye: match section.gives("goodbye") {
                true => section.prose("goodbye", PROSE_BYTES_MAX),
                false => section.text("goodbye", GOODBYE),
            },
        };
        if budget.max.is_nothing() && gives_max {
            section.wrong("max", "is nothing: no call could be had; leave the budget out");
        }
        section.finish();
        budget
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[budgets.{}]", self.name));
        out.text("scope", self.scope.word());
        out.list("agents", &self.agents);
        out.text("currency", &self.currency);
        out.whole("max", self.max);
        out.whole("warn_percent", self.warn_percent);
        out.whole("downgrade_percent", self.downgrade_percent);
        out.whole("end_percent", self.end_percent);
        out.text("goodbye", &self.goodbye);
    }

    /// Whether calls of this agent count.
    pub fn counts(&self, agent: &str) -> bool {
        self.agents.is_empty() || self.agents.iter().any(|counted| counted == agent)
    }

    /// Whether it is for a day.
    pub fn is_daily(&self) -> bool {
        self.scope != BudgetScope::Call
    }
}

impl BudgetScope {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::AgentDay => "agent_day",
            Self::Day => "day",
        }
    }
}

#[cfg(test)]
impl Budget {
    /// One for tests: in dollars, for every agent, with nothing but an end.
    pub(crate) fn of(scope: BudgetScope, max: Money) -> Self {
        Self {
            name: "b".to_owned(),
            scope,
            agents: Vec::new(),
            currency: "USD".to_owned(),
            max,
            warn_percent: 0,
            downgrade_percent: 0,
            end_percent: 100,
            goodbye: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn a_budget_is_for_every_agent_unless_it_names_some() {
        let config = read("[budgets.b]\nmax = 2.5\n[budgets.o]\nmax = 1\nscope = \"day\"\nagents = [\"operator\"]");
        let budget = &config.budgets["b"];
        assert!(budget.counts("anybody") && !budget.is_daily());
        assert_eq!(budget.max, Money::from_micros(2_500_000));
        assert_eq!(
            (budget.warn_percent, budget.downgrade_percent, budget.end_percent),
            (80, 0, 100)
        );
        assert!(config.budgets["o"].is_daily() && !config.budgets["o"].counts("anybody"));
    }

    #[test]
    fn a_budget_has_an_amount_and_agents_that_there_are() {
        assert_eq!(
            problems("[budgets.b]\nscope = \"day\""),
            ["f.toml:1:1: [budgets.b] needs the key \"max\""]
        );
        assert_eq!(
            problems("[budgets.b]\nmax = 1\nagents = [\"operater\"]"),
            ["f.toml:3:11: budgets.b.agents[0] = \"operater\" names no agent: did you mean \"operator\"?"]
        );
    }
}
