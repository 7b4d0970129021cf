//! `[agents.NAME]`: what the agent may do besides speaking, and what is told of it.

use std::fmt;

use super::{nearest::suggestion, section::one_of};

const BUILT_IN: &[(&str, BuiltIn)] = &[
    ("hang_up", BuiltIn::HangUp),
    ("transfer", BuiltIn::Transfer),
    ("send_dtmf", BuiltIn::SendDtmf),
    ("collect_digits", BuiltIn::CollectDigits),
    ("hold", BuiltIn::Hold),
];

/// What stands before the name of an MCP server.
const MCP: &str = "mcp:";

/// What an agent may do besides speaking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// End the call.
    HangUp,
    /// Hand the other side on to somebody else.
    Transfer,
    /// Press keys.
    SendDtmf,
    /// Take keys of the caller that the model is not told.
    CollectDigits,
    /// Have the caller wait.
    Hold,
    /// A request to an HTTP server, `[tools.NAME]`.
    Http(String),
    /// All that an MCP server has, `[mcp.NAME]`.
    Mcp(String),
}

#[derive(Clone, Copy)]
enum BuiltIn {
    HangUp,
    Transfer,
    SendDtmf,
    CollectDigits,
    Hold,
}

impl Tool {
    /// Reads a word of the list; whether there is a tool or a server of that name only the whole can tell.
    pub(super) fn read(word: &str) -> Result<Self, String> {
        match (one_of(word, BUILT_IN), word.strip_prefix(MCP)) {
            (Ok(BuiltIn::HangUp), _) => Ok(Self::HangUp),
            (Ok(BuiltIn::Transfer), _) => Ok(Self::Transfer),
            (Ok(BuiltIn::SendDtmf), _) => Ok(Self::SendDtmf),
            (Ok(BuiltIn::CollectDigits), _) => Ok(Self::CollectDigits),
            (Ok(BuiltIn::Hold), _) => Ok(Self::Hold),
            (Err(_), Some(server)) => Ok(Self::Mcp(server.to_owned())),
            (Err(_), None) => Ok(Self::Http(word.to_owned())),
        }
    }

    /// The name the model calls it by; of an MCP server its own name.
    pub fn name(&self) -> &str {
        match self {
            Self::HangUp => "hang_up",
            Self::Transfer => "transfer",
            Self::SendDtmf => "send_dtmf",
            Self::CollectDigits => "collect_digits",
            Self::Hold => "hold",
            Self::Http(name) | Self::Mcp(name) => name,
        }
    }

    /// Whether a tool of ours has this name.
    pub(super) fn is_built_in(name: &str) -> bool {
        BUILT_IN.iter().any(|(word, _)| *word == name)
    }

    /// What is near a name that is not known.
    pub(super) fn nearest<'n>(name: &str, tools: impl Iterator<Item = &'n str>) -> String {
        suggestion(name, BUILT_IN.iter().map(|(word, _)| *word).chain(tools))
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mcp(server) => write!(out, "{MCP}{server}"),
            other => out.write_str(other.name()),
        }
    }
}
