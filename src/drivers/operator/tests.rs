//! Tests of the operator's door and clock, in memory and over TCP.

use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    net::TcpStream,
    sync::oneshot,
    time::{self, advance},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{client::IntoClientRequest, handshake::client::Request},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_is_let_in_and_greeted() {
    let (mut socket, protocol) = connect(Settings::default(), request("/v1/realtime?model=gpt-x", &[]))
        .await
        .unwrap();
    assert_eq!(protocol, None);
    let created = event(&mut socket).await;
    assert_eq!(
        (&created["type"], &created["session"]["model"]),
        (&json!("session.created"), &json!("gpt-x"))
    );
    socket
        .send(Message::text(r#"{"type":"response.create"}"#))
        .await
        .unwrap();
    while event(&mut socket).await["type"] != "response.done" {}
    socket.close(None).await.unwrap();
    let reply = socket.next().await;
    assert!(matches!(reply, Some(Ok(Message::Close(_)))), "{reply:?}");
    assert!(socket.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_path_and_the_headers_choose_the_dialect() {
    for headers in [
        &[("openai-beta", "realtime=v1")][..],
        &[("sec-websocket-protocol", "realtime, openai-beta.realtime-v1")],
    ] {
        let (mut socket, _) = connect(Settings::default(), request(PATH, headers)).await.unwrap();
        assert_eq!(event(&mut socket).await["session"]["input_audio_format"], "pcm16");
    }
    let (mut socket, _) = connect(Settings::default(), request(LIVE_PATH, &[])).await.unwrap();
    let start = json!({ "type": "session.start", "session": { "model": "gpt-live-1" } });
    socket.send(Message::text(start.to_string())).await.unwrap();
    let started = event(&mut socket).await;
    assert_eq!(
        (&started["type"], &started["session"]["model"]),
        (&json!("session.started"), &json!("gpt-live-1"))
    );
}

#[tokio::test(start_paused = true)]
async fn another_path_a_wrong_key_and_a_fault_refuse_the_upgrade() {
    let keyed = Settings {
        key: Some("secret".to_owned()),
        ..Settings::default()
    };
    let wrong = request(PATH, &[("authorization", "Bearer guess")]);
    let right = request(PATH, &[("authorization", "Bearer secret")]);
    let own = request(PATH, &[("api-key", "secret")]);
    assert!(connect(keyed.clone(), own).await.is_ok());
    let browser = request(
        PATH,
        &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.secret")],
    );
    assert_eq!(
        connect(Settings::default(), request("/v1/other", &[])).await.err(),
        Some(404)
    );
    assert_eq!(connect(keyed.clone(), request(PATH, &[])).await.err(), Some(401));
    assert_eq!(connect(keyed.clone(), wrong).await.err(), Some(401));
    assert!(connect(keyed.clone(), right).await.is_ok());
    assert_eq!(connect(keyed, browser).await.unwrap().1.as_deref(), Some("realtime"));
    let faulty = Settings::with_faults("refuse*1,refuse:429*2".parse().unwrap());
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(connect(faulty.clone(), request(PATH, &[])).await.err());
    }
    assert_eq!(statuses, [Some(503), Some(429), None]);
}

#[tokio::test(start_paused = true)]
async fn a_close_has_its_code_and_a_drop_has_none() {
    let closing = Settings::with_faults("close:1013@500".parse().unwrap());
    let (mut socket, _) = connect(closing, request(PATH, &[])).await.unwrap();
    event(&mut socket).await;
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("a close")
    };
    assert_eq!(u16::from(frame.code), 1013);
    let dropping = Settings::with_faults("drop@500".parse().unwrap());
    let (mut socket, _) = connect(dropping, request(PATH, &[])).await.unwrap();
    event(&mut socket).await;
    assert!(matches!(socket.next().await, Some(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn binary_frames_end_the_connection() {
    let (mut socket, _) = connect(Settings::default(), request(PATH, &[])).await.unwrap();
    event(&mut socket).await;
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("a close")
    };
    assert_eq!(u16::from(frame.code), 1003);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_a_ping_is_dropped() {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let served = tokio::spawn(serve_stream(theirs, Settings::default()));
    let (socket, _) = client_async(request(PATH, &[]), ours).await.unwrap();
    for _ in 0..5 {
        assert!(!served.is_finished());
        advance(PING_EVERY).await;
        time::sleep(Duration::from_millis(1)).await;
        if served.is_finished() {
            break;
        }
    }
    served.await.unwrap();
    drop(socket);
}

#[tokio::test]
async fn a_listener_serves_over_tcp_and_says_goodbye() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(listen(listener, Settings::default(), async { drop(stopped.await) }));
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = client_async(request(PATH, &[]), stream).await.unwrap();
    let created = socket.next().await.unwrap().unwrap();
    assert!(created.to_text().unwrap().contains("session.created"));
    stop.send(()).unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("a close")
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert!(socket.next().await.is_none());
    served.await.unwrap();
}

#[tokio::test]
async fn a_drop_over_tcp_is_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings::with_faults("drop@50".parse().unwrap());
    let served = tokio::spawn(listen(listener, settings, future::pending()));
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = client_async(request(PATH, &[]), stream).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    let lost = socket.next().await;
    assert!(
        matches!(&lost, Some(Err(SocketError::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset),
        "{lost:?}"
    );
    served.abort();
}

type Socket = WebSocketStream<DuplexStream>;

/// The socket and the subprotocol, or the HTTP status of the refusal.
async fn connect(settings: Settings, request: Request) -> Result<(Socket, Option<String>), u16> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(serve_stream(theirs, settings));
    match client_async(request, ours).await {
        Ok((socket, response)) => {
            let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            Ok((socket, protocol.map(|value| value.to_str().unwrap().to_owned())))
        }
        Err(SocketError::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn request(path: &str, headers: &[(&'static str, &'static str)]) -> Request {
    let mut request = format!("ws://operator{path}").into_client_request().unwrap();
    for &(name, value) in headers {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

async fn event(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
