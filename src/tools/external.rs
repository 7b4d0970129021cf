//! Tools that somebody else does: what the model is told of them, and what one call of one asks for.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::vault::Digits;
use crate::{
    config::{HttpTool, McpServer, ToolManners},
    realtime::ToolSpec,
};

/// Letters of a tool's name; the protocol takes no longer one.
const NAME_CHARS_MAX: usize = 64;

/// A tool that is done elsewhere and takes its time.
#[derive(Debug, Clone, PartialEq)]
pub struct External {
    /// The name the model calls it by.
    pub name: String,
    /// When to call it.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// Who does it.
    pub origin: Origin,
    /// Whether a person has to agree.
    pub approval: bool,
    /// How long it may take, and what the caller hears meanwhile.
    pub manners: ToolManners,
}

/// Who does a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An HTTP server, as `[tools.NAME]` says.
    Http,
    /// An MCP server.
    Mcp {
        /// Its name in the configuration.
        server: String,
        /// The server's own name for the tool.
        tool: String,
    },
}

/// One call of a tool, to be done once.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// The how manieth session of the call asks for it.
    pub session: u32,
    /// The session's id of the call.
    pub call_id: String,
    /// The tool.
    pub tool: Arc<External>,
    /// Its arguments, which fit its parameters.
    pub arguments: Value,
    /// What the caller typed and the arguments refer to.
    pub digits: Digits,
}

/// What came of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was done; what the tool says.
    Done(String),
    /// It was not; why, for the model.
    Failed(String),
}

/// How a tool call ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It was done.
    Ok,
    /// It could not be done.
    Failed,
    /// It took too long.
    Timeout,
    /// A person said no, or nobody said anything.
    Rejected,
    /// The call was over first.
    Cancelled,
}

impl Ended {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A tool call that is over, for the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The session's id of the call.
    pub call_id: String,
    /// The tool, as the model called it.
    pub name: String,
    /// Its name in the configuration; that of the server where it is one of an MCP server's.
    pub configured: String,
    /// Its arguments as JSON text.
    pub arguments: String,
    /// How it ended.
    pub ended: Ended,
    /// How long it took, thinking people included.
    pub took: Duration,
}

impl External {
    /// The tool of `[tools.NAME]`.
    pub fn http(tool: &HttpTool) -> Self {
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            origin: Origin::Http,
            approval: tool.approval,
            manners: tool.manners.clone(),
        }
    }

    /// A tool that an MCP server lists; none when the server's settings leave it out, or no model could call it.
    pub fn mcp(server: &McpServer, tool: &str, description: &str, parameters: Value) -> Option<Self> {
        let name = format!("{}__{tool}", server.name);
        let sound = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let callable = name.len() <= NAME_CHARS_MAX && name.chars().all(sound) && !tool.is_empty();
        (callable && server.offers(tool)).then(|| Self {
            name,
            description: description.to_owned(),
            parameters,
            origin: Origin::Mcp {
                server: server.name.clone(),
                tool: tool.to_owned(),
            },
            approval: server.asks_for(tool),
            manners: server.manners.clone(),
        })
    }

    /// What the session is told of it.
    pub fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
        }
    }

    /// Its name in the configuration; that of the server where it is one of an MCP server's.
    pub fn configured(&self) -> &str {
        match &self.origin {
            Origin::Http => &self.name,
            Origin::Mcp { server, .. } => server,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::McpWay;

    #[test]
    fn tools_of_a_server_are_named_after_it_and_what_no_model_can_call_is_left_out() {
        let server = McpServer {
            name: "crm".to_owned(),
            way: McpWay::Program {
                command: Vec::new(),
                env: Vec::new(),
            },
            tools: vec!["get".to_owned(), "a b".to_owned()],
            approval: vec!["get".to_owned()],
            refresh: Duration::from_secs(1),
            manners: ToolManners::default(),
        };
        let tool = |name: &str| External::mcp(&server, name, "", json!({}));
        let get = tool("get").unwrap();
        assert_eq!(
            (get.name.as_str(), get.configured(), get.approval),
            ("crm__get", "crm", true)
        );
        assert_eq!((tool("put"), tool("a b"), tool("")), (None, None, None));
    }
}
