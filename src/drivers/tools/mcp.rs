//! An MCP server: started or connected to, asked what it has, asked again when that changes, and kept alive.
//!
//! One task per server. While the server is away its tools stay on the list, and calls of them are answered with an
//! explanation; it is started again after a pause that grows. What a server lists is bounded in number and size.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::{
    ClientHandler, RoleClient,
    model::{CallToolRequestParams, CallToolResult},
    service::{NotificationContext, Peer, RunningService, ServiceExt},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::Value;
use tokio::{
    process::Command,
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::bounded;
use crate::{
    config::{McpServer, McpWay},
    tools::{Errand, External, Reply},
};

/// How long a server may take to start and to say what it has.
const START_MAX: Duration = Duration::from_secs(30);

/// Tools taken from one server; further ones are left out, because a model has to choose among them.
const TOOLS_MAX: usize = 128;

/// Bytes of a tool's description and parameters together; a longer one is left out.
const TOOL_BYTES_MAX: usize = 64 * 1024;

/// The pause before a server is started again; it doubles up to the other.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A server that lasted this long is started again without much of a pause.
const LASTED: Duration = Duration::from_secs(60);

/// A server of tools; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    link: Arc<Link>,
    task: AbortHandle,
}

/// What the task and the callers share.
#[derive(Debug)]
struct Link {
    settings: McpServer,
    state: Mutex<State>,
    listed: watch::Sender<bool>,
    /// Counts the changes of what any server has.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    tools: Vec<Arc<External>>,
    /// None while the server is away.
    peer: Option<Peer<RoleClient>>,
}

/// Hears that the server's list has changed.
#[derive(Debug, Clone)]
struct Ear(Arc<Notify>);

impl ClientHandler for Ear {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.notify_one();
    }
}

impl Server {
    /// Starts it, or connects to it, from now on.
    pub(super) fn start(settings: &McpServer, client: &reqwest::Client, changes: watch::Sender<u64>) -> Self {
        let link = Arc::new(Link {
            settings: settings.clone(),
            state: Mutex::default(),
            listed: watch::Sender::new(false),
            changes,
        });
        let task = tokio::spawn(keep(link.clone(), client.clone())).abort_handle();
        Self { link, task }
    }

    /// Waits until it has said what it has.
    pub(super) async fn listed(&self) {
        // The sender lives as long as the link.
        let _ = self.link.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// What it has.
    pub(super) fn tools(&self) -> Vec<Arc<External>> {
        self.link.lock().tools.clone()
    }

    /// Has it do something.
    pub(super) async fn call(&self, tool: &str, errand: &Errand) -> Reply {
        let name = &self.link.settings.name;
        let peer = self.link.lock().peer.clone();
        let Some(peer) = peer else {
            return Reply::Failed(format!(
                "The server {name} is not there now and is being started again. Try again in a minute, or do without."
            ));
        };
        let arguments = errand.arguments.as_object().cloned().unwrap_or_default();
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match peer.call_tool(request).await {
            Ok(result) => self.read(&result),
            Err(error) => {
                let why = bounded(error.to_string(), self.link.settings.manners.result_bytes_max);
                Reply::Failed(format!("The server {name} could not do it: {why}"))
            }
        }
    }

    fn read(&self, result: &CallToolResult) -> Reply {
        let text = bounded(said(result), self.link.settings.manners.result_bytes_max);
        match result.is_error {
            Some(true) => Reply::Failed(text),
            _ => Reply::Done(text),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts of a result; what is no text is named.
fn said(result: &CallToolResult) -> String {
    let blocks = serde_json::to_value(&result.content).unwrap_or_default();
    let texts = blocks
        .as_array()
        .into_iter()
        .flatten()
        .map(|block| match block["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("({})", block["type"].as_str().unwrap_or("something else")),
        });
    let texts: Vec<String> = texts.collect();
    match (&result.structured_content, texts.is_empty()) {
        (Some(value), true) => value.to_string(),
        (None, true) => "Done; the server said nothing more.".to_owned(),
        (_, false) => texts.join("\n"),
    }
}

/// Keeps the server alive for ever.
async fn keep(link: Arc<Link>, client: reqwest::Client) {
    let name = &link.settings.name;
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let why = match tokio::time::timeout(START_MAX, start(&link.settings, &client)).await {
            Ok(Ok((service, changed))) => serve(&link, service, &changed).await,
            Ok(Err(why)) => why,
            Err(_) => format!("it did not start within {} s", START_MAX.as_secs()),
        };
        link.lock().peer = None;
        if began.elapsed() >= LASTED {
            pause = PAUSE_MIN;
        }
        let pause_ms = pause.as_millis();
        tracing::warn!(server = name, why, pause_ms, "an MCP server is not there; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

type Service = RunningService<RoleClient, Ear>;

async fn start(settings: &McpServer, client: &reqwest::Client) -> Result<(Service, Arc<Notify>), String> {
    let changed = Arc::new(Notify::new());
    let ear = Ear(changed.clone());
    let service = match &settings.way {
        McpWay::Program { command, env } => {
            let transport = program(command, env).map_err(|error| format!("it cannot be started: {error}"))?;
            ear.serve(transport).await
        }
        McpWay::Http { url, bearer } => {
            let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str()).max_sse_event_size(
                settings
                    .manners
                    .result_bytes_max
                    .saturating_add(TOOL_BYTES_MAX * TOOLS_MAX),
            );
            if let Some(bearer) = bearer {
                config = config.auth_header(bearer.reveal());
            }
            ear.serve(StreamableHttpClientTransport::with_client(client.clone(), config))
                .await
        }
    };
    match service {
        Ok(service) => Ok((service, changed)),
        Err(error) => Err(bounded(error.to_string(), 512)),
    }
}

/// A program gets the variables it is to have, and nothing else of ours: our environment holds secrets.
fn program(command: &[String], env: &[String]) -> std::io::Result<TokioChildProcess> {
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut child = Command::new(program);
    child.args(arguments).env_clear().kill_on_drop(true);
    for name in ["PATH", "HOME"].into_iter().chain(env.iter().map(String::as_str)) {
        if let Some(value) = std::env::var_os(name) {
            child.env(name, value);
        }
    }
    let (transport, _) = TokioChildProcess::builder(child).stderr(Stdio::null()).spawn()?;
    Ok(transport)
}

/// Serves calls until the server is gone; says why.
async fn serve(link: &Link, service: Service, changed: &Notify) -> String {
    let peer = service.peer().clone();
    let mut over = std::pin::pin!(service.waiting());
    loop {
        let listing = tokio::time::timeout(START_MAX, list(&link.settings, &peer));
        match listing.await {
            Ok(Ok(tools)) => link.take(tools, &peer),
            Ok(Err(why)) => return why,
            Err(_) => return format!("it did not say what it has within {} s", START_MAX.as_secs()),
        }
        tokio::select! {
            ended = &mut over => return match ended {
                Ok(reason) => format!("it ended: {reason:?}"),
                Err(error) => format!("it ended: {error}"),
            },
            () = changed.notified() => {}
            () = tokio::time::sleep(link.settings.refresh) => {}
        }
    }
}

impl Link {
    fn take(&self, tools: Vec<Arc<External>>, peer: &Peer<RoleClient>) {
        let names = |tools: &[Arc<External>]| tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
        let mut state = self.lock();
        if state.peer.is_none() || names(&state.tools) != names(&tools) {
            tracing::info!(server = self.settings.name, tools = ?names(&tools), "an MCP server says what it has");
        }
        // A tool that stayed the same stays the same one, so that calls under way are known again.
        let before = std::mem::take(&mut state.tools);
        let same = |tool: Arc<External>| before.iter().find(|old| **old == tool).cloned().unwrap_or(tool);
        state.tools = tools.into_iter().map(same).collect();
        state.peer = Some(peer.clone());
        let changed = state.tools != before;
        drop(state);
        self.listed.send_replace(true);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }
}

async fn list(settings: &McpServer, peer: &Peer<RoleClient>) -> Result<Vec<Arc<External>>, String> {
    let mut tools = Vec::new();
    let listed = peer
        .list_all_tools()
        .await
        .map_err(|error| bounded(error.to_string(), 512))?;
    for tool in listed {
        let parameters = Value::Object(tool.input_schema.as_ref().clone());
        let description = tool.description.as_deref().unwrap_or_default();
        let size = description.len() + parameters.to_string().len();
        let external = External::mcp(settings, &tool.name, description, parameters);
        match external.filter(|_| size <= TOOL_BYTES_MAX && tools.len() < TOOLS_MAX) {
            Some(external) => tools.push(Arc::new(external)),
            None => tracing::debug!(server = settings.name, tool = %tool.name, "a tool is left out"),
        }
    }
    Ok(tools)
}

#[cfg(test)]
mod tests;
