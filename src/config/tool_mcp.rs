//! `[mcp.NAME]`: a server of tools that speaks the Model Context Protocol.

use std::time::Duration;

use super::{effective::Writer, secret::Secret, section::Section, tool_http::read_url, tool_manners::ToolManners};

const REFRESH: Duration = Duration::from_secs(300);

/// A server of tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// Its name; those of its tools begin with it.
    pub name: String,
    /// How it is reached.
    pub way: McpWay,
    /// Those of its tools that are offered, by its own names for them; empty: all.
    pub tools: Vec<String>,
    /// Those a person has to agree to; `*` is every one.
    pub approval: Vec<String>,
    /// How often it is asked what it has.
    pub refresh: Duration,
    /// How long its tools may take, and what the caller hears meanwhile.
    pub manners: ToolManners,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum McpWay {
    /// It is a program that is started, spoken to by its standard input and output.
    Program {
        /// The program and its arguments.
        command: Vec<String>,
        /// Variables of the environment that it gets besides PATH and HOME.
        env: Vec<String>,
    },
    /// It is there, and is spoken to by streamable HTTP.
    Http {
        /// Where.
        url: String,
        /// Sent as `Authorization: Bearer`.
        bearer: Option<Secret>,
    },
}

impl McpServer {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        let command = section.list("command", Vec::new(), |word| Ok(word.to_owned()));
        let env = section.list("env", Vec::new(), |word| Ok(word.to_owned()));
        let url = section.parsed("url", String::new(), |text| match text {
            "" => Ok(String::new()),
            text => read_url(text),
        });
        let bearer = section.secret("bearer");
        if command.is_empty() == url.is_empty() {
            section.wrong_table("needs either \"command\" or \"url\"");
        }
        let way = match command.is_empty() {
            false => McpWay::Program { command, env },
            true => McpWay::Http { url, bearer },
        };
        let names = |word: &str| Ok(word.to_owned());
        let server = Self {
            name: name.to_owned(),
            way,
            tools: section.list("tools", Vec::new(), names),
            approval: section.list("approval", Vec::new(), names),
            refresh: section.seconds("refresh_s", REFRESH, 5..=86_400),
            manners: ToolManners::read(&mut section),
        };
        section.finish();
        server
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[mcp.{}]", self.name));
        let (none, no_url) = (Vec::new(), String::new());
        let (command, env, url, bearer) = match &self.way {
            McpWay::Program { command, env } => (command, env, &no_url, None),
            McpWay::Http { url, bearer } => (&none, &none, url, bearer.as_ref()),
        };
        out.list("command", command);
        out.list("env", env);
        out.text("url", url);
        out.secret("bearer", bearer);
        out.list("tools", &self.tools);
        out.list("approval", &self.approval);
        out.whole("refresh_s", self.refresh.as_secs());
        self.manners.write(out);
    }

    /// Whether a person has to agree to this tool of it.
    pub fn asks_for(&self, tool: &str) -> bool {
        self.approval.iter().any(|name| name == tool || name == "*")
    }

    /// Whether this tool of it is offered.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|name| name == tool)
    }

    /// Its secret.
    pub(super) fn bearer_mut(&mut self) -> Option<&mut Secret> {
        match &mut self.way {
            McpWay::Http { bearer, .. } => bearer.as_mut(),
            McpWay::Program { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn a_server_is_a_program_or_an_address() {
        let config = read("[mcp.files]\ncommand = [\"npx\", \"server\"]\n[mcp.crm]\nurl = \"https://x/mcp\"");
        assert!(matches!(&config.mcp["files"].way, McpWay::Program { command, .. } if command.len() == 2));
        assert!(matches!(&config.mcp["crm"].way, McpWay::Http { url, .. } if url == "https://x/mcp"));
        for both in ["", "command = [\"a\"]\nurl = \"http://x\"\n"] {
            assert_eq!(
                problems(&format!("[mcp.a]\n{both}")),
                ["f.toml:1:1: [mcp.a] needs either \"command\" or \"url\""]
            );
        }
    }

    #[test]
    fn tools_are_offered_and_approved_by_name() {
        let config = read("[mcp.a]\nurl = \"http://x\"\ntools = [\"get\", \"put\"]\napproval = [\"put\"]");
        let server = &config.mcp["a"];
        assert!(server.offers("get") && !server.offers("drop"));
        assert!(server.asks_for("put") && !server.asks_for("get"));
        let all = read("[mcp.a]\nurl = \"http://x\"\napproval = [\"*\"]");
        assert!(all.mcp["a"].offers("x") && all.mcp["a"].asks_for("x"));
    }
}
