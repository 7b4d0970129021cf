//! What happens to calls, told to listeners and to webhooks.

use std::time::Instant;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::client::IntoClientRequest};

use crate::{
    control::ask,
    gateway::{TOKEN, TestGateway},
    phone::{Offer, PATIENCE, Phone},
};

#[tokio::test]
async fn a_listener_hears_a_whole_call_in_order_although_it_comes_again_in_another_way() {
    let gateway = TestGateway::start().await;
    let mut all = Listener::open(&gateway, "/v1/events").await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    let id = call_id(&gateway).await;
    let mut first = Listener::open(&gateway, &format!("/v1/calls/{id}/events")).await;
    let mut heard = first.until("turn").await;
    let said = heard.last().unwrap();
    assert_eq!((&said["who"], &said["call_id"]), (&"agent".into(), &id.as_str().into()));
    let last = said["id"].as_u64().unwrap();
    drop(first);
    let mut second = Listener::open(&gateway, &format!("/v1/calls/{id}/events?after={last}")).await;
    phone.hang_up().await;
    heard.extend(second.until("ended").await);
    assert!(second.ends().await, "the stream ends with the call");
    let ids: Vec<u64> = heard.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
    let kinds: Vec<&str> = heard.iter().map(|event| event["event"].as_str().unwrap()).collect();
    for kind in [
        "started",
        "routed",
        "session",
        "ringing",
        "answered",
        "transcript_delta",
        "turn",
        "cost",
        "ended",
    ] {
        assert!(kinds.contains(&kind), "{kind} is none of {kinds:?}");
    }
    let of_all = all.until("ended").await;
    assert_eq!(of_all.len(), heard.len());
    assert!(of_all.iter().all(|event| event["call_id"] == id.as_str()));
    assert_eq!(server_sent(&gateway, &id).await, kinds);
    gateway.settled().await;
}

#[tokio::test]
async fn a_stopping_gateway_says_goodbye_to_its_listeners() {
    let gateway = TestGateway::start().await;
    let mut listener = Listener::open(&gateway, "/v1/events").await;
    gateway.gateway.stop().await;
    assert!(listener.ends().await);
}

#[tokio::test]
async fn a_webhook_is_told_of_a_call_in_order_although_it_fails_first_and_across_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hook = format!(
        "[[webhook]]\nname = \"crm\"\nurl = \"http://{address}/\"\nsecret = \"env:HOOK\"\nretry_first_ms = 10\n\
         retry_ms_max = 100\n"
    );
    drop(listener);
    let gateway = TestGateway::start_with(&hook).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    let id = call_id(&gateway).await;
    phone.hang_up().await;
    gateway.records(1).await;
    gateway
        .until("everything waits", || {
            gateway.sample("patchcord_webhooks_pending{webhook=\"crm\"}") == 3.0
                && gateway.sample("patchcord_webhook_attempts_total{result=\"unreachable\"") > 0.0
        })
        .await;
    gateway.gateway.stop().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (sender, mut heard) = mpsc::channel(16);
    tokio::spawn(take_webhooks(listener, sender));
    let again = gateway.again(&hook).await;
    let mut told = Vec::new();
    // The first is refused once.
    for _ in 0..4 {
        told.push(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap());
    }
    let kinds: Vec<&str> = told.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["call.started", "call.started", "call.answered", "call.ended"]);
    assert_eq!(told[0].0, told[1].0, "the same message has the same id");
    let ended = &told[3].1["data"];
    assert_eq!(
        (&ended["call_id"], &ended["event"]["cause"]),
        (&id.into(), &"caller_hung_up".into())
    );
    assert_eq!(ended["call"]["agent"], "operator");
    again
        .until("nothing waits", || {
            again.sample("patchcord_webhooks_pending{webhook=\"crm\"}") == 0.0
        })
        .await;
    again.gateway.stop().await;
}

/// A WebSocket on which events are told.
struct Listener {
    socket: WebSocketStream<TcpStream>,
}

impl Listener {
    async fn open(gateway: &TestGateway, path: &str) -> Self {
        let address = gateway.gateway.http_address;
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        let token = format!("Bearer {TOKEN}").parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let (socket, _) = client_async(request, stream).await.unwrap();
        Self { socket }
    }

    /// Everything up to this event.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut heard: Vec<Value> = Vec::new();
        while heard.last().is_none_or(|event| event["event"] != kind) {
            let message = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            if message.is_text() {
                heard.push(serde_json::from_str(message.to_text().unwrap()).unwrap());
            }
        }
        heard
    }

    /// Whether it is closed in good order.
    async fn ends(&mut self) -> bool {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(message)) if message.is_close() => return true,
                Some(Ok(_)) => {}
                _ => return false,
            }
        }
    }
}

async fn call_id(gateway: &TestGateway) -> String {
    let (_, list) = ask(gateway, "GET", "/v1/calls", "").await;
    list["calls"][0]["id"].as_str().unwrap().to_owned()
}

/// The kinds of everything that happened to a call that is over, as server-sent events say it.
async fn server_sent(gateway: &TestGateway, id: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(gateway.gateway.http_address).await.unwrap();
    let request = format!(
        "GET /v1/calls/{id}/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let events = answer.lines().filter_map(|line| line.strip_prefix("event: "));
    events.map(str::to_owned).collect()
}

/// Refuses the first webhook, and takes the others.
async fn take_webhooks(listener: TcpListener, heard: mpsc::Sender<(String, Value)>) {
    let mut answers = ["500 Oops"].into_iter();
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap() > 0 {}
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .unwrap()
                .1
                .to_owned()
        };
        let mut body = vec![0; field("content-length").parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let answer = answers.next().unwrap_or("204 Taken");
        let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let told = (field("webhook-id"), serde_json::from_slice(&body).unwrap());
        heard.send(told).await.unwrap();
    }
}
