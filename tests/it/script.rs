//! A session server that says what the test says: for what the embedded operator would never say of itself.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::phone::PATIENCE;

/// Listens for sessions; ends when dropped.
pub struct ScriptedBackend {
    /// Where it listens.
    pub address: SocketAddr,
    sessions: mpsc::Receiver<ScriptedSession>,
    task: AbortHandle,
}

/// One session, configured; ends when dropped.
pub struct ScriptedSession {
    socket: WebSocketStream<TcpStream>,
    /// What the session was configured with.
    pub configuration: Value,
    responses: u32,
}

impl ScriptedBackend {
    /// One on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sessions) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = ScriptedSession::open(stream).await;
                if sender.send(session).await.is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            sessions,
            task: task.abort_handle(),
        }
    }

    /// The next session.
    pub async fn session(&mut self) -> ScriptedSession {
        let waiting = tokio::time::timeout(PATIENCE, self.sessions.recv());
        waiting.await.expect("a session in time").expect("a session")
    }
}

impl Drop for ScriptedBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedSession {
    async fn open(stream: TcpStream) -> Self {
        let socket = accept_async(stream).await.expect("an upgrade");
        let mut session = Self {
            socket,
            configuration: Value::Null,
            responses: 0,
        };
        session.say(json!({ "type": "session.created", "session": {} })).await;
        session.configuration = session.hear("session.update").await["session"].take();
        let updated = json!({ "type": "session.updated", "session": session.configuration });
        session.say(updated).await;
        session
    }

    /// Sends an event.
    pub async fn say(&mut self, event: Value) {
        self.socket
            .send(Message::text(event.to_string()))
            .await
            .expect("the session is open");
    }

    /// The next event of this type; others, and audio above all, are passed over.
    pub async fn hear(&mut self, kind: &str) -> Value {
        self.hear_where(|event| event["type"] == kind).await
    }

    /// Breaks the connection off.
    pub async fn close(&mut self) {
        // It may be closed already.
        let _ = self.socket.close(None).await;
    }

    /// Waits until the other side has closed the connection.
    pub async fn until_closed(&mut self) {
        let closing = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(PATIENCE, closing)
            .await
            .expect("the session is closed");
    }

    /// The next event whatever it is.
    pub async fn hear_any(&mut self) -> Value {
        self.hear_where(|_| true).await
    }

    /// The next result of a tool.
    pub async fn tool_result(&mut self) -> Value {
        let found = |event: &Value| event["item"]["type"] == "function_call_output";
        self.hear_where(found).await["item"].take()
    }

    async fn hear_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let listening = async {
            loop {
                let message = self.socket.next().await.expect("the session is open").expect("a frame");
                if let Message::Text(text) = message {
                    let event: Value = serde_json::from_str(&text).expect("an event is JSON");
                    if wanted(&event) {
                        return event;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("never heard")
    }

    /// Begins a response and speaks for so long: a tone, all at once.
    pub async fn speak(&mut self, response: &str, ms: usize) {
        self.say(json!({ "type": "response.created", "response": { "id": response } }))
            .await;
        let pcm: Vec<u8> = (0..ms * 24)
            .flat_map(|sample| (if sample / 30 % 2 == 0 { 8_000_i16 } else { -8_000 }).to_le_bytes())
            .collect();
        self.say(json!({
            "type": "response.output_audio.delta", "response_id": response, "item_id": format!("item_{response}"),
            "output_index": 0, "content_index": 0, "delta": base64_simd::STANDARD.encode_to_string(pcm),
        }))
        .await;
    }

    /// Ends it.
    pub async fn end(&mut self, response: &str, status: &str) {
        self.say(json!({ "type": "response.done", "response": { "id": response, "status": status } }))
            .await;
    }

    /// Calls a tool, in a response of its own.
    pub async fn call_tool(&mut self, call_id: &str, name: &str, arguments: &Value) {
        self.responses += 1;
        let response = format!("resp_{}", self.responses);
        let arguments = arguments.to_string();
        self.say(json!({ "type": "response.created", "response": { "id": response } }))
            .await;
        for delta in [&arguments[..1], &arguments[1..]] {
            let event = json!({
                "type": "response.function_call_arguments.delta", "response_id": response, "item_id": "item",
                "call_id": call_id, "delta": delta,
            });
            self.say(event).await;
        }
        let event = json!({
            "type": "response.function_call_arguments.done", "response_id": response, "item_id": "item",
            "call_id": call_id, "name": name, "arguments": arguments,
        });
        self.say(event).await;
        self.say(json!({ "type": "response.done", "response": { "id": response } }))
            .await;
    }
}
