//! The rules in their order, and what a decision by them looks like.

use std::fmt;

use super::glob::Glob;
use crate::config::Config;

/// The reason word of a call that no route matches.
pub const NO_ROUTE: &str = "no_route";

/// Every rule, ready to decide.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// The agent that answers what it matches.
    pub agent: String,
    to: Glob,
    from: Glob,
    trunk: Glob,
}

/// What a call is routed by. Addresses are `user` or, for patterns that name a host, `user@host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'c> {
    /// The trunk it comes from.
    pub trunk: &'c str,
    /// Who is called.
    pub to: &'c str,
    /// Who calls.
    pub from: &'c str,
}

/// What became of a call. Its text explains it, one line per rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'r, 'c> {
    /// The call.
    pub call: Call<'c>,
    /// The rule that matched; without one the call is refused with [`NO_ROUTE`].
    pub route: Option<&'r Route>,
    /// Every rule that was looked at, in order.
    pub steps: Vec<Step<'r>>,
}

/// What became of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'r> {
    /// The rule.
    pub route: &'r Route,
    /// What became of it.
    pub verdict: Verdict,
}

/// Whether a rule matched, and otherwise which of its patterns did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Matches,
    /// The trunk is another.
    OtherTrunk,
    /// Somebody else is called.
    OtherTo,
    /// Somebody else calls.
    OtherFrom,
}

impl From<&Config> for Routes {
    fn from(config: &Config) -> Self {
        let routes = config.routes.iter().enumerate().map(|(index, route)| Route {
            index,
            agent: route.agent.clone(),
            to: Glob::new(&route.to),
            from: Glob::new(&route.from),
            trunk: Glob::new(&route.trunk),
        });
        Self {
            routes: routes.collect(),
        }
    }
}

impl Routes {
    /// The first rule that matches, and why.
    pub fn decide<'c>(&self, call: &Call<'c>) -> Decision<'_, 'c> {
        let mut decision = Decision {
            call: *call,
            route: None,
            steps: Vec::new(),
        };
        for route in &self.routes {
            let verdict = route.verdict(call);
            decision.steps.push(Step { route, verdict });
            if verdict == Verdict::Matches {
                decision.route = Some(route);
                break;
            }
        }
        decision
    }
}

impl Route {
    fn verdict(&self, call: &Call<'_>) -> Verdict {
        if !self.trunk.matches(call.trunk) {
            Verdict::OtherTrunk
        } else if !self.to.matches(call.to) {
            Verdict::OtherTo
        } else if !self.from.matches(call.from) {
            Verdict::OtherFrom
        } else {
            Verdict::Matches
        }
    }
}

impl fmt::Display for Decision<'_, '_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .try_for_each(|step| writeln!(out, "{}", step.explained(&self.call)))?;
        match (self.route, self.steps.is_empty()) {
            (Some(route), _) => write!(out, "the agent \"{}\" answers", route.agent),
            (None, false) => write!(out, "no route matches: the call is refused with {NO_ROUTE}"),
            (None, true) => write!(out, "there are no routes: the call is refused with {NO_ROUTE}"),
        }
    }
}

impl Step<'_> {
    /// What became of the rule, in words.
    pub fn explained(&self, call: &Call<'_>) -> String {
        let Route {
            index, to, from, trunk, ..
        } = self.route;
        let differs = |key: &str, pattern: &Glob, name: &str| {
            format!(
                "route[{index}]: {key} \"{pattern}\" does not match \"{}\"",
                name.escape_debug()
            )
        };
        match self.verdict {
            Verdict::Matches => format!("route[{index}]: trunk \"{trunk}\", to \"{to}\" and from \"{from}\" match"),
            Verdict::OtherTrunk => differs("trunk", trunk, call.trunk),
            Verdict::OtherTo => differs("to", to, call.to),
            Verdict::OtherFrom => differs("from", from, call.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_first_route_that_matches_decides() {
        let routes = routes(&[
            ("1*", "*", "*", "sales"),
            ("*", "*", "*", "operator"),
            ("12", "*", "*", "never"),
        ]);
        let decision = routes.decide(&call("lan", "12", "bob"));
        let route = decision.route.unwrap();
        assert_eq!(
            (route.index, route.agent.as_str(), decision.steps.len()),
            (0, "sales", 1)
        );
        let decision = routes.decide(&call("lan", "22", "bob"));
        assert_eq!(decision.route.map(|route| route.agent.as_str()), Some("operator"));
    }

    #[test]
    fn a_decision_explains_every_rule_it_looked_at() {
        let routes = routes(&[
            ("*", "*", "wan*", "a"),
            ("9*", "*", "*", "b"),
            ("*", "alice", "*", "c"),
            ("*@x", "*", "*", "d"),
        ]);
        let refused = routes.decide(&call("lan", "100", "bob"));
        assert_eq!(
            refused.to_string(),
            "route[0]: trunk \"wan*\" does not match \"lan\"\nroute[1]: to \"9*\" does not match \"100\"\n\
             route[2]: from \"alice\" does not match \"bob\"\nroute[3]: to \"*@x\" does not match \"100\"\n\
             no route matches: the call is refused with no_route"
        );
        let answered = routes.decide(&call("lan", "100@x", "bob\n@y"));
        assert!(answered.to_string().ends_with(
            "does not match \"bob\\n@y\"\nroute[3]: trunk \"*\", to \"*@x\" and from \"*\" match\n\
             the agent \"d\" answers"
        ));
    }

    #[test]
    fn without_routes_every_call_is_refused() {
        let routes = Routes::default();
        let decision = routes.decide(&call("lan", "100", "bob"));
        assert_eq!(
            decision.to_string(),
            "there are no routes: the call is refused with no_route"
        );
    }

    fn routes(rules: &[(&str, &str, &str, &str)]) -> Routes {
        let route = |(to, from, trunk, agent): &(&str, &str, &str, &str)| config::Route {
            to: (*to).to_owned(),
            from: (*from).to_owned(),
            trunk: (*trunk).to_owned(),
            agent: (*agent).to_owned(),
        };
        Routes::from(&Config {
            routes: rules.iter().map(route).collect(),
            ..Config::default()
        })
    }

    fn call<'c>(trunk: &'c str, to: &'c str, from: &'c str) -> Call<'c> {
        Call { trunk, to, from }
    }
}
