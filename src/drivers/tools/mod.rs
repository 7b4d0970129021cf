//! Tools that are done elsewhere: requests to HTTP servers, calls to MCP servers.
//!
//! An errand becomes a task that brings back one reply. It decides nothing but how to ask: whether and when something is
//! done, how long it may take and what the model is told is the call's [`Desk`](crate::tools::Desk). An errand is written
//! into the journal before it is begun. Dropping its [`Running`] gives it up.

mod http;
mod mcp;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle};

use crate::{
    call::Facts,
    config::{Agent, Config, HttpMethod, HttpTool, Tool},
    net::tls::Tls,
    store::{Journal, JournalKey},
    tools::{Errand, External, Origin, Reply},
};

/// The tools of a gateway.
#[derive(Debug)]
pub struct Tools {
    http: BTreeMap<String, (HttpTool, Arc<External>)>,
    mcp: BTreeMap<String, mcp::Server>,
    /// Counts the changes of what MCP servers have.
    changes: watch::Sender<u64>,
    client: reqwest::Client,
    journal: Journal,
}

/// An errand under way, or a watch; dropping it gives it up.
#[derive(Debug)]
pub struct Running(AbortHandle);

/// The call an errand belongs to.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Our id of the call.
    pub call_id: String,
    /// What is known of it.
    pub facts: Arc<Facts>,
}

impl Tools {
    /// The tools of this configuration that some agent has. MCP servers are started, or connected to, from here on.
    pub fn open(config: &Config, tls: &Tls) -> anyhow::Result<Self> {
        let used = |tool: Tool| config.agents.values().any(|agent| agent.tools.contains(&tool));
        let http: BTreeMap<_, _> = config
            .tools
            .iter()
            .filter(|(name, _)| used(Tool::Http((*name).clone())))
            .map(|(name, tool)| (name.clone(), (tool.clone(), Arc::new(External::http(tool)))))
            .collect();
        let servers: Vec<_> = config
            .mcp
            .iter()
            .filter(|(name, _)| used(Tool::Mcp((*name).clone())))
            .collect();
        // Without anything to write down there is no file.
        let path = config
            .journal
            .path
            .clone()
            .filter(|_| !(http.is_empty() && servers.is_empty()));
        let client = http::client(tls)?;
        let changes = watch::Sender::new(0);
        let mcp = servers.into_iter().map(|(name, server)| {
            let server = mcp::Server::start(server, &client, changes.clone());
            (name.clone(), server)
        });
        Ok(Self {
            http,
            mcp: mcp.collect(),
            changes,
            journal: Journal::open(path, config.journal.bytes_max)?,
            client,
        })
    }

    /// Waits until every MCP server has said what it has, but no longer than this.
    pub async fn listed_within(&self, max: Duration) {
        let all = futures_util::future::join_all(self.mcp.values().map(mcp::Server::listed));
        // A server that is late is there as soon as it is there.
        let _ = tokio::time::timeout(max, all).await;
    }

    /// What an agent has besides the gateway's own tools.
    pub fn of(&self, agent: &Agent) -> Vec<Arc<External>> {
        let mut externals = Vec::new();
        for tool in &agent.tools {
            match tool {
                Tool::Http(name) => externals.extend(self.http.get(name).map(|(_, external)| external.clone())),
                Tool::Mcp(name) => externals.extend(self.mcp.get(name).map(mcp::Server::tools).unwrap_or_default()),
                _ => {}
            }
        }
        externals
    }

    /// Tells of every change of what an agent has, from now on, until `told` answers that nobody wants to know; nothing where
    /// nothing can change.
    pub fn watch(&self, agent: &Agent, told: impl Fn() -> bool + Send + 'static) -> Option<Running> {
        agent.tools.iter().find(|tool| matches!(tool, Tool::Mcp(_)))?;
        let mut changes = self.changes.subscribe();
        let task = tokio::spawn(async move { while changes.changed().await.is_ok() && told() {} });
        Some(Running(task.abort_handle()))
    }

    /// Does an errand; `done` is told what came of it, unless it is given up first.
    pub fn run(
        self: &Arc<Self>,
        errand: Errand,
        customer: Customer,
        done: impl FnOnce(String, Reply) + Send + 'static,
    ) -> Running {
        let tools = self.clone();
        let task = tokio::spawn(async move {
            let reply = tools.perform(&errand, &customer).await;
            done(errand.call_id, reply);
        });
        Running(task.abort_handle())
    }

    /// A call is over.
    pub fn forget(&self, call_id: &str) {
        self.journal.forget(call_id);
    }

    /// The gateway stops: what was done is on the disk when this returns.
    pub async fn close(&self) {
        self.journal.flush().await;
    }

    async fn perform(&self, errand: &Errand, customer: &Customer) -> Reply {
        let key = JournalKey {
            call: customer.call_id.clone(),
            tool_call: errand.call_id.clone(),
        };
        let once = !self.may_be_repeated(errand);
        let begun = match self.journal.begin(key, &errand.tool.name, once).await {
            Ok(begun) => begun,
            Err(not_begun) => return Reply::Failed(format!("{}: {not_begun}.", errand.tool.name)),
        };
        let reply = match &errand.tool.origin {
            Origin::Http => self.ask_http(errand, customer).await,
            Origin::Mcp { server, tool } => match self.mcp.get(server) {
                Some(server) => server.call(tool, errand).await,
                None => Reply::Failed(format!("There is no MCP server {server}.")),
            },
        };
        begun.end(match &reply {
            Reply::Done(_) => "ok",
            Reply::Failed(_) => "failed",
        });
        reply
    }

    /// Whether doing it twice does no harm, so that its beginning need not have reached the disk.
    fn may_be_repeated(&self, errand: &Errand) -> bool {
        let http = self.http.get(&errand.tool.name);
        errand.tool.origin == Origin::Http && http.is_some_and(|(tool, _)| tool.method == HttpMethod::Get)
    }

    async fn ask_http(&self, errand: &Errand, customer: &Customer) -> Reply {
        match self.http.get(&errand.tool.name) {
            Some((tool, _)) => http::ask(&self.client, tool, errand, customer).await,
            None => Reply::Failed(format!("There is no tool {}.", errand.tool.name)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// At most so many bytes of a text, with a word on what is missing.
fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str("… (cut off: the rest is too long)");
    }
    text
}
