//! A server of tools whose list changes in mid-call: an MCP server of the test's own, over HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use crate::{
    gateway::TestGateway,
    phone::{Offer, Phone},
    request::Request,
    script::ScriptedBackend,
};

#[tokio::test]
async fn a_running_session_learns_of_tools_that_come_and_may_call_them() {
    let (mut backend, server) = (ScriptedBackend::start().await, McpServer::start().await);
    let gateway = TestGateway::start_with(&format!(
        "[agents.operator]\nbackends = [\"test\"]\ntools = [\"hang_up\", \"mcp:lab\"]\n\
         [backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\naudio = \"pcm16\"\n\
         [mcp.lab]\nurl = \"http://{}/mcp\"\nrefresh_s = 5\n[journal]\npath = \"\"\n",
        backend.address, server.address
    ))
    .await;
    let mut phone = Phone::new(gateway.sip()).await;
    let (_, mut session) = tokio::join!(phone.dial("operator", Offer::Pcmu), backend.session());
    assert_eq!(names(&session.configuration), ["hang_up", "lab__add"]);
    session.speak("one", 200).await;
    server.grown.store(true, Ordering::SeqCst);
    server.until_listed_again().await;
    session.end("one", "completed").await;
    let update = session.hear("session.update").await;
    assert_eq!(names(&update["session"]), ["hang_up", "lab__add", "lab__multiply"]);
    session.call_tool("t", "lab__multiply", &json!({})).await;
    assert_eq!(session.tool_result().await["output"], "42");
    phone.hang_up().await;
    gateway.settled().await;
}

fn names(session: &Value) -> Vec<&str> {
    let tools = session["tools"].as_array().expect("tools");
    tools
        .iter()
        .map(|tool| tool["name"].as_str().expect("a name"))
        .collect()
}

/// Has one tool, and another once it has grown.
struct McpServer {
    address: SocketAddr,
    grown: Arc<AtomicBool>,
    listed: Arc<tokio::sync::Notify>,
    task: AbortHandle,
}

impl McpServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (grown, listed) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
        let (has_grown, tells) = (grown.clone(), listed.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let grown = has_grown.load(Ordering::SeqCst);
                if serve(stream, grown).await && grown {
                    tells.notify_one();
                }
            }
        });
        Self {
            address,
            grown,
            listed,
            task: task.abort_handle(),
        }
    }

    async fn until_listed_again(&self) {
        tokio::time::timeout(crate::phone::PATIENCE, self.listed.notified())
            .await
            .expect("the list is asked for again");
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request; whether it asked for the list.
async fn serve(stream: TcpStream, grown: bool) -> bool {
    let mut asked = Request::read(stream).await;
    let request: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let id = request["id"].clone();
    let tool = |name: &str| json!({ "name": name, "description": "Counts.", "inputSchema": { "type": "object" } });
    let method = request["method"].as_str().unwrap_or_default();
    let result = match method {
        "initialize" => json!({
            "protocolVersion": request["params"]["protocolVersion"], "capabilities": { "tools": {} },
            "serverInfo": { "name": "lab", "version": "1" },
        }),
        "tools/list" if grown => json!({ "tools": [tool("add"), tool("multiply")] }),
        "tools/list" => json!({ "tools": [tool("add")] }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "42" }] }),
        // There is no stream to listen to; a notification wants no answer.
        "" => {
            asked.answer("405 Method Not Allowed", "").await;
            return false;
        }
        _ => {
            asked.answer("202 Accepted", "").await;
            return false;
        }
    };
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    asked.answer("200 OK", &body).await;
    method == "tools/list"
}
