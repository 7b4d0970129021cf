//! What an agent may do besides speaking: the tools it is told of, and what a call of one means.
//!
//! A tool call is words from a model, so it is read with suspicion and a mistake is explained to the model in its own
//! terms. Nothing is done here: whoever owns the call performs the [`Action`]. What is done elsewhere and takes its time
//! ([`External`]) is watched over by the [`Desk`], and keys that the model must not see go into the [`Vault`].

pub mod desk;
mod external;
mod schema;
pub mod signature;
mod specs;
pub mod template;
pub mod vault;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    config::{Agent, Tool},
    realtime::ToolSpec,
};

pub use self::{
    desk::Desk,
    external::{Ended, Errand, External, Finished, Origin, Reply},
    vault::{Collected, Concealed, Digits, Plan, Vault},
};

/// The longest reason kept, in bytes; the rest is cut off.
const REASON_BYTES_MAX: usize = 200;

/// The longest target of a transfer, in bytes; a longer one is no number.
const TARGET_BYTES_MAX: usize = 256;

/// Names of tools in an answer; further ones are left out.
const NAMES_MAX: usize = 32;

/// How long a caller waits on hold at most, in seconds, and how long when the model does not say.
const HOLD_S_MAX: u64 = 300;
const HOLD_S: u64 = 30;

/// Most digits sent at once.
pub const DIGITS_MAX: usize = 32;

/// A tool call as the session reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// Its arguments as JSON text.
    pub arguments: &'a str,
}

/// What a tool call asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// End the call once the agent has finished speaking.
    HangUp {
        /// Why, in the model's words; may be empty.
        reason: String,
    },
    /// Hand the other side on to somebody else.
    Transfer {
        /// Whom: a URI, or a number at the call's trunk.
        to: String,
    },
    /// Press keys.
    SendDigits {
        /// Which: 0-9, *, #, A-D.
        digits: String,
    },
    /// Take keys of the caller.
    CollectDigits(Plan),
    /// Have the caller wait for this long.
    Hold(Duration),
    /// Have somebody else do something, with these arguments.
    Run(Arc<External>, Value),
}

/// A tool call that cannot be done. Its text is the answer to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// There is no such tool.
    #[error("There is no tool named \"{name}\". The tools are: {tools}.")]
    NoSuchTool {
        /// The name, shortened.
        name: String,
        /// Those there are.
        tools: String,
    },
    /// The arguments do not fit the tool's parameters.
    #[error("The arguments of {tool} are wrong: {problem}. Call it again with arguments that fit its parameters.")]
    BadArguments {
        /// The tool.
        tool: String,
        /// What is wrong.
        problem: String,
    },
}

/// The tools one agent has.
#[derive(Debug, Clone, PartialEq)]
pub struct Toolbox {
    tools: Vec<Tool>,
    externals: Vec<Arc<External>>,
    targets: BTreeMap<String, String>,
    any_target: bool,
}

impl Default for Toolbox {
    /// Hanging up is all an agent may do unless its settings say otherwise.
    fn default() -> Self {
        Self::new(vec![Tool::HangUp], BTreeMap::new(), false)
    }
}

impl From<&Agent> for Toolbox {
    fn from(agent: &Agent) -> Self {
        Self::new(agent.tools.clone(), agent.transfer_targets.clone(), agent.transfer_any)
    }
}

impl Toolbox {
    /// These tools, with whom `transfer` may hand a call on to.
    pub fn new(tools: Vec<Tool>, targets: BTreeMap<String, String>, any_target: bool) -> Self {
        Self {
            tools,
            externals: Vec::new(),
            targets,
            any_target,
        }
    }

    /// The same with tools that somebody else does. Of two with one name the first counts.
    pub fn with(mut self, externals: impl IntoIterator<Item = Arc<External>>) -> Self {
        for external in externals {
            let taken = self.names().any(|name| name == external.name);
            self.externals.extend((!taken).then_some(external));
        }
        self
    }

    /// What the session is told of the tools.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let own = self.tools.iter().filter_map(|tool| self.spec(tool));
        own.chain(self.externals.iter().map(|tool| tool.spec())).collect()
    }

    fn spec(&self, tool: &Tool) -> Option<ToolSpec> {
        Some(match tool {
            Tool::HangUp => specs::hang_up(),
            Tool::Transfer => specs::transfer(self.targets.keys(), self.any_target),
            Tool::SendDtmf => specs::send_dtmf(),
            Tool::CollectDigits => specs::collect_digits(),
            Tool::Hold => specs::hold(),
            // These come as externals.
            Tool::Http(_) | Tool::Mcp(_) => return None,
        })
    }

    /// The name of a tool in the configuration, for a metric; nothing when there is none of this name.
    pub fn configured<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let external = self.externals.iter().find(|external| external.name == name);
        let own = || self.names().any(|own| own == name).then_some(name);
        external.map(|external| external.configured()).or_else(own)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let own = self
            .tools
            .iter()
            .filter(|tool| !matches!(tool, Tool::Http(_) | Tool::Mcp(_)));
        own.map(Tool::name)
            .chain(self.externals.iter().map(|tool| tool.name.as_str()))
    }

    /// What this call asks for.
    pub fn read(&self, invocation: Invocation<'_>) -> Result<Action, Misuse> {
        match self.tools.iter().find(|tool| tool.name() == invocation.name) {
            Some(Tool::HangUp) => invocation.hang_up(),
            Some(Tool::Transfer) => self.transfer(invocation),
            Some(Tool::SendDtmf) => invocation.send_dtmf(),
            Some(Tool::CollectDigits) => invocation.collect_digits(),
            Some(Tool::Hold) => invocation.hold(),
            Some(Tool::Http(_) | Tool::Mcp(_)) | None => self.external(invocation),
        }
    }

    fn external(&self, invocation: Invocation<'_>) -> Result<Action, Misuse> {
        let named = |tool: &&Arc<External>| tool.name == invocation.name;
        let Some(tool) = self.externals.iter().find(named) else {
            return Err(self.no_such_tool(invocation.name));
        };
        let arguments: Value = invocation.arguments(&tool.name)?;
        match schema::check(&tool.parameters, &arguments) {
            Ok(()) => Ok(Action::Run(tool.clone(), arguments)),
            Err(problem) => Err(misuse(&tool.name, shortened(&problem))),
        }
    }

    fn no_such_tool(&self, name: &str) -> Misuse {
        let tools: Vec<&str> = self.names().take(NAMES_MAX).collect();
        Misuse::NoSuchTool {
            name: shortened(name),
            tools: if tools.is_empty() {
                "none".to_owned()
            } else {
                tools.join(", ")
            },
        }
    }

    fn transfer(&self, invocation: Invocation<'_>) -> Result<Action, Misuse> {
        let tool = Tool::Transfer.name();
        let Transfer { target } = invocation.arguments(tool)?;
        let target = target.trim();
        if let Some(to) = self.targets.get(target) {
            return Ok(Action::Transfer { to: to.clone() });
        }
        let free = self.any_target && is_dialable(target);
        let problem = || match (self.any_target, self.targets.is_empty()) {
            (true, _) => "target is neither a known name nor a telephone number".to_owned(),
            (false, true) => "nobody can be transferred to".to_owned(),
            (false, false) => format!("target must be one of: {}", self.target_names()),
        };
        match free {
            true => Ok(Action::Transfer { to: target.to_owned() }),
            false => Err(misuse(tool, problem())),
        }
    }

    fn target_names(&self) -> String {
        let names: Vec<&str> = self.targets.keys().map(String::as_str).collect();
        names.join(", ")
    }
}

/// A number, or a SIP URI, that a model may have taken from what was said.
fn is_dialable(target: &str) -> bool {
    let number = target.strip_prefix('+').unwrap_or(target);
    let is_number = !number.is_empty()
        && number
            .chars()
            .all(|letter| letter.is_ascii_digit() || matches!(letter, '*' | '#'));
    let is_uri = ["sip:", "sips:"].iter().any(|scheme| target.starts_with(scheme)) && !target.contains([' ', '<', '>']);
    target.len() <= TARGET_BYTES_MAX && (is_number || is_uri)
}

/// Whether these are keys of a telephone, and not too many of them.
pub fn are_digits(digits: &str) -> bool {
    let is_key = |key: char| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D');
    (1..=DIGITS_MAX).contains(&digits.len()) && digits.chars().all(is_key)
}

impl Invocation<'_> {
    fn hang_up(&self) -> Result<Action, Misuse> {
        let arguments: HangUp = self.arguments(Tool::HangUp.name())?;
        Ok(Action::HangUp {
            reason: shortened(arguments.reason.unwrap_or_default().trim()),
        })
    }

    fn send_dtmf(&self) -> Result<Action, Misuse> {
        let tool = Tool::SendDtmf.name();
        let SendDtmf { digits } = self.arguments(tool)?;
        match are_digits(&digits) {
            true => Ok(Action::SendDigits { digits }),
            false => {
                let problem = format!("digits must be 1 to {DIGITS_MAX} of 0-9, *, # and A-D");
                Err(misuse(tool, problem))
            }
        }
    }

    fn collect_digits(&self) -> Result<Action, Misuse> {
        let tool = Tool::CollectDigits.name();
        let CollectDigits { length, end_key } = self.arguments(tool)?;
        let length_max = length.unwrap_or(vault::LENGTH_MAX);
        let end_key = end_key.unwrap_or_else(|| "#".to_owned());
        let end_key = Some(end_key).filter(|key| !key.is_empty());
        let fits = end_key.as_ref().is_none_or(|key| key.len() == 1 && are_digits(key));
        if !(1..=vault::LENGTH_MAX).contains(&length_max) || !fits {
            let problem = format!("length must be 1 to {} and end_key one key or empty", vault::LENGTH_MAX);
            return Err(misuse(tool, problem));
        }
        Ok(Action::CollectDigits(Plan {
            length_max,
            end_key: end_key.and_then(|key| key.chars().next()),
        }))
    }

    fn hold(&self) -> Result<Action, Misuse> {
        let tool = Tool::Hold.name();
        let seconds = self.arguments::<Hold>(tool)?.seconds.unwrap_or(HOLD_S);
        match (1..=HOLD_S_MAX).contains(&seconds) {
            true => Ok(Action::Hold(Duration::from_secs(seconds))),
            false => Err(misuse(tool, format!("seconds must be 1 to {HOLD_S_MAX}"))),
        }
    }

    /// Models leave the arguments of a call without any empty as often as they write `{}`.
    fn arguments<'de, T: Deserialize<'de>>(&'de self, tool: &str) -> Result<T, Misuse> {
        let text = if self.arguments.trim().is_empty() {
            "{}"
        } else {
            self.arguments
        };
        serde_json::from_str(text).map_err(|error| misuse(tool, shortened(&error.to_string())))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HangUp {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    target: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendDtmf {
    digits: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectDigits {
    length: Option<usize>,
    end_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    seconds: Option<u64>,
}

fn misuse(tool: &str, problem: String) -> Misuse {
    Misuse::BadArguments {
        tool: tool.to_owned(),
        problem,
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hang_up_is_understood_with_and_without_a_reason() {
        assert_eq!(read("hang_up", r#"{"reason":" done "}"#), Ok(hang_up("done")));
        for arguments in ["", "{}", r#"{"reason":null}"#] {
            assert_eq!(read("hang_up", arguments), Ok(hang_up("")), "{arguments}");
        }
    }

    #[test]
    fn a_mistake_tells_the_model_what_is_wrong() {
        let text = read("order_pizza", "{}").unwrap_err().to_string();
        assert_eq!(
            text,
            "There is no tool named \"order_pizza\". The tools are: hang_up, transfer, send_dtmf."
        );
        let text = read("hang_up", r#"{"cause":1}"#).unwrap_err().to_string();
        assert!(
            text.contains("unknown field `cause`") && text.contains("`reason`"),
            "{text}"
        );
        assert!(read("hang_up", "[1").is_err());
        let text = read("transfer", r#"{"target":"boss"}"#).unwrap_err().to_string();
        assert!(text.contains("target must be one of: desk"), "{text}");
    }

    #[test]
    fn what_a_model_writes_is_kept_within_bounds() {
        let long = "é".repeat(5_000);
        let Ok(Action::HangUp { reason }) = read("hang_up", &format!(r#"{{"reason":"{long}"}}"#)) else {
            panic!("not understood")
        };
        assert!(reason.len() <= REASON_BYTES_MAX);
        assert!(read(&long, "{}").unwrap_err().to_string().len() < 300);
        assert!(read("send_dtmf", &format!(r#"{{"digits":"{}"}}"#, "1".repeat(33))).is_err());
    }

    #[test]
    fn every_tool_offered_is_understood() {
        for spec in toolbox(false).specs() {
            let arguments = r#"{"target":"desk","digits":"12#"}"#;
            let fitting = match spec.name.as_str() {
                "transfer" => r#"{"target":"desk"}"#,
                "send_dtmf" => r#"{"digits":"12#"}"#,
                _ => "{}",
            };
            assert!(read(&spec.name, fitting).is_ok(), "{}", spec.name);
            assert!(read(&spec.name, arguments).is_err(), "{}", spec.name);
        }
    }

    #[test]
    fn a_tool_the_agent_does_not_have_is_no_tool() {
        let invocation = Invocation {
            name: "send_dtmf",
            arguments: r#"{"digits":"1"}"#,
        };
        let misuse = Toolbox::default().read(invocation).unwrap_err();
        assert!(misuse.to_string().ends_with("The tools are: hang_up."), "{misuse}");
    }

    #[test]
    fn free_numbers_are_transferred_to_only_where_that_is_allowed() {
        let transfer = |any, target: &str| {
            let arguments = format!(r#"{{"target":"{target}"}}"#);
            let name = "transfer";
            toolbox(any).read(Invocation {
                name,
                arguments: &arguments,
            })
        };
        let to = |to: &str| Ok(Action::Transfer { to: to.to_owned() });
        assert_eq!(transfer(false, "desk"), to("sip:desk@example.com"));
        assert!(transfer(false, "+15550100").is_err());
        assert_eq!(transfer(true, "+15550100"), to("+15550100"));
        assert_eq!(transfer(true, "sip:a@b"), to("sip:a@b"));
        for target in ["", "my mother", "sip:a@b>;x", "tel:1"] {
            assert!(transfer(true, target).is_err(), "{target}");
        }
    }

    fn toolbox(any_target: bool) -> Toolbox {
        let targets = BTreeMap::from([("desk".to_owned(), "sip:desk@example.com".to_owned())]);
        Toolbox::new(vec![Tool::HangUp, Tool::Transfer, Tool::SendDtmf], targets, any_target)
    }

    fn read(name: &str, arguments: &str) -> Result<Action, Misuse> {
        toolbox(false).read(Invocation { name, arguments })
    }

    fn hang_up(reason: &str) -> Action {
        Action::HangUp {
            reason: reason.to_owned(),
        }
    }
}
