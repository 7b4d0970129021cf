//! The control API over real HTTP, and greetings before the answer.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    gateway::{TOKEN, TestGateway},
    phone::{Offer, PATIENCE, Phone},
};

#[tokio::test]
async fn a_call_that_came_in_is_shown_and_ended_by_the_control_api() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    let (status, list) = ask(&gateway, "GET", "/v1/calls", "").await;
    assert_eq!(status, 200, "{list}");
    let call = &list["calls"][0];
    assert_eq!(
        (call["direction"].as_str(), call["state"].as_str()),
        (Some("inbound"), Some("talking"))
    );
    let path = format!("/v1/calls/{}", call["id"].as_str().unwrap());
    assert_eq!(ask(&gateway, "DELETE", &path, "").await.0, 204);
    let bye = phone.bye().await;
    assert!(bye.contains("text=\"api_hung_up\""), "{bye}");
    let record = &gateway.records(1).await[0];
    assert_eq!(
        (&record["outcome"]["cause"], &record["direction"]),
        (&Value::from("api_hung_up"), &Value::from("inbound"))
    );
    gateway.settled().await;
    let (_, ended) = ask(&gateway, "GET", &path, "").await;
    assert_eq!(ended["outcome"]["cause"], "api_hung_up");
}

#[tokio::test]
async fn a_trunk_that_nobody_can_be_called_through_is_said_so() {
    let gateway = TestGateway::start().await;
    let call = r#"{"to":"100","trunk":"lan","agent":"operator"}"#;
    let (status, refused) = ask(&gateway, "POST", "/v1/calls", call).await;
    assert!(
        status == 422 && refused["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
        "{refused}"
    );
    assert_eq!(gateway.records(1).await[0]["direction"], "outbound");
    gateway.settled().await;
}

#[tokio::test]
async fn a_caller_is_greeted_before_the_answer_and_answered_after_the_greeting() {
    let gateway = TestGateway::start_with(
        "[agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello.\"\nearly_media = true\n",
    )
    .await;
    let started = Instant::now();
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    let progress = phone.response(183).await;
    assert!(progress.contains("m=audio "), "{progress}");
    let heard = phone.hear_voice(started).await;
    let answer = phone.final_response().await;
    assert!(
        answer.starts_with("SIP/2.0 200") && Instant::now() - heard > Duration::from_millis(200),
        "{answer}"
    );
    phone.accept(&answer, Offer::Pcmu).await;
    phone.say(440.0, Duration::from_millis(600));
    phone.hear_voice(Instant::now() + Duration::from_millis(700)).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    gateway.settled().await;
}

/// What happened to the only call so far, as server-sent events, up to these words or the end of the call.
pub async fn events_until(gateway: &TestGateway, words: &str) -> String {
    let (_, list) = ask(gateway, "GET", "/v1/calls", "").await;
    let id = list["calls"][0]["id"].as_str().expect("a call").to_owned();
    let mut stream = TcpStream::connect(gateway.gateway.http_address).await.unwrap();
    let request = format!("GET /v1/calls/{id}/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let reading = async {
        while !text.contains(words) && !text.contains("event: ended") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "never: {words} in {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the event comes");
    text
}

/// The status and the body of an answer.
pub async fn ask(gateway: &TestGateway, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(gateway.gateway.http_address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}
