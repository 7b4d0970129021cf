//! Requests to a server of the test's own: what it sees, and what becomes of what it says.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;
use crate::{
    call::Facts,
    config,
    tools::{Concealed, External, Plan, Vault},
};

#[tokio::test]
async fn a_request_carries_what_the_template_says_signed_and_with_a_key() {
    let mut server = Server::start(&["200 OK\r\ncontent-length: 5\r\n\r\nfound"]).await;
    let tool = server.tool(
        "/orders/{{argument.id}}?from={{caller}}",
        "headers = { X-Call = \"{{call_id}}\" }\nbody = '{\"pin\":\"{{digits.pin}}\",\"id\":{{argument.id}}}'\n\
         bearer = \"env:PASSWORD\"\nsigning_secret = \"env:PASSWORD\"\n",
    );
    let reply = ask(&tool, json!({ "id": "a/1", "pin": "digits_1" })).await;
    assert_eq!(reply, Reply::Done("found".to_owned()));
    let request = server.request().await;
    assert!(
        request.starts_with("POST /orders/a%2F1?from=%2B1555 HTTP/1.1\r\n"),
        "{request}"
    );
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{\"pin\":\"4711\",\"id\":\"a/1\"}");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(header("x-call").as_deref(), Some("call_1"));
    assert_eq!(header("authorization").as_deref(), Some("Bearer hunter2"));
    assert_eq!(header("idempotency-key").as_deref(), Some("call_1_t1"));
    assert_eq!(header("webhook-id"), header("idempotency-key"));
    let sent_at = header("webhook-timestamp").unwrap().parse().unwrap();
    let signed = signature::headers("hunter2", "call_1_t1", sent_at, body.as_bytes());
    assert_eq!(header("webhook-signature").unwrap(), signed[2].1);
}

#[tokio::test]
async fn what_passes_is_tried_again_with_the_same_key_and_what_does_not_is_not() {
    let busy = "503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let mut server = Server::start(&[busy, "", "200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let reply = ask(&server.tool("/", "retries = 2\n"), json!({})).await;
    assert_eq!(reply, Reply::Done("ok".to_owned()));
    let key = |request: String| {
        request
            .lines()
            .find(|line| line.starts_with("idempotency-key"))
            .unwrap()
            .to_owned()
    };
    let keys = [server.request().await, server.request().await, server.request().await].map(key);
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");

    let mut server = Server::start(&["404 Not Found\r\ncontent-length: 4\r\n\r\nnone", busy]).await;
    let reply = ask(&server.tool("/", "retries = 2\n"), json!({})).await;
    assert_eq!(reply, Reply::Failed("t answered 404 Not Found: none".to_owned()));
    server.request().await;
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn redirects_are_not_followed_and_answers_are_bounded() {
    let elsewhere = "302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(&[elsewhere]).await;
    let Reply::Failed(why) = ask(&server.tool("/", ""), json!({})).await else {
        panic!("done")
    };
    assert!(why.contains("leads elsewhere"), "{why}");

    let long = format!("200 OK\r\ncontent-length: 100000\r\n\r\n{}", "é".repeat(50_000));
    let server = Server::start(&[&long]).await;
    let Reply::Done(text) = ask(&server.tool("/", "result_bytes_max = 1001\n"), json!({})).await else {
        panic!("failed")
    };
    assert!(
        text.len() < 1100 && text.ends_with("(cut off: the rest is too long)"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_explained_without_what_was_filled_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{{{{digits.pin}}}}", listener.local_addr().unwrap());
    drop(listener);
    let reply = ask(&tool(&url, ""), json!({ "pin": "digits_1" })).await;
    let Reply::Failed(why) = reply else { panic!("done") };
    assert!(why.starts_with("t cannot be reached") && !why.contains("4711"), "{why}");
}

/// Answers one request after the other, each on a connection of its own, and tells what was asked.
struct Server {
    address: std::net::SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Server {
    /// An empty answer breaks the connection off.
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, requests) = mpsc::channel(8);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                told.send(read_request(&mut stream).await).await.unwrap();
                if !answer.is_empty() {
                    let answer = format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1));
                    // A client that has read enough hangs up.
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { address, requests }
    }

    fn tool(&self, path: &str, more: &str) -> HttpTool {
        tool(&format!("http://{}{path}", self.address), more)
    }

    async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let whole = text
            .split_once("\r\n\r\n")
            .is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
        if whole || read == 0 {
            return text;
        }
    }
}

fn tool(url: &str, more: &str) -> HttpTool {
    let text = format!(
        "[agents.a]\nbackends = [\"operator\"]\ntools = [\"t\"]\n[backends.operator]\nkind = \"operator\"\n\
         [tools.t]\ndescription = \"d\"\nurl = \"{url}\"\n{more}"
    );
    let env = [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let config = config::load("f.toml", &text, &env, &none).unwrap_or_else(|problems| panic!("{problems}"));
    config.tools["t"].clone()
}

async fn ask(tool: &HttpTool, arguments: Value) -> Reply {
    let mut vault = Vault::default();
    let now = std::time::Instant::now();
    let plan = Plan {
        length_max: 4,
        end_key: None,
    };
    vault.open(now, String::new(), plan);
    "4711".chars().for_each(|key| drop(vault.key(now, Concealed(key))));
    let errand = Errand {
        session: 1,
        call_id: "t1".to_owned(),
        tool: Arc::new(External::http(tool)),
        digits: vault.referred_to(&arguments),
        arguments,
    };
    let facts = Facts {
        caller: "+1555".to_owned(),
        ..Facts::default()
    };
    let customer = Customer {
        call_id: "call_1".to_owned(),
        facts: Arc::new(facts),
    };
    super::ask(&client(&Tls::new(None).unwrap()).unwrap(), tool, &errand, &customer).await
}
