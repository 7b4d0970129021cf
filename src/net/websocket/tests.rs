//! Tests of the WebSocket client against servers on loopback and in memory.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::net::tcp;

#[tokio::test]
async fn a_server_on_loopback_gets_model_key_and_headers_and_echoes() {
    let (address, listener) = listening();
    let server = tokio::spawn(async move {
        let (mut socket, asked) = accept(listener.accept().await.unwrap().0, LONG, |_| Ok(()))
            .await
            .unwrap();
        echo(&mut socket).await;
        asked
    });
    let mut backend = backend(format!("ws://{address}/v1/realtime?x=1"));
    backend
        .headers
        .push(("OpenAI-Safety-Identifier".to_owned(), Secret::new("abc")));
    let socket = connect(&backend, &tls(None)).await.unwrap();
    assert!(matches!(socket.get_ref(), Stream::Tcp(stream) if stream.nodelay().unwrap()));
    assert_eq!(said_back(socket).await, "hello");
    let asked = server.await.unwrap();
    assert_eq!(
        (asked.path.as_str(), asked.query.as_str()),
        ("/v1/realtime", "x=1&model=m")
    );
    assert_eq!(asked.bearer, Some(Secret::new(KEY)));
}

#[tokio::test]
async fn the_operator_in_memory_is_reached_through_the_same_code() {
    let (ours, theirs) = duplex(64 << 10);
    let server = tokio::spawn(async move {
        let (mut socket, _) = accept(theirs, LONG, |_| Ok(())).await.unwrap();
        echo(&mut socket).await;
    });
    let socket = connect_stream(&backend("ws://operator/v1/realtime".to_owned()), ours)
        .await
        .unwrap();
    assert_eq!(said_back(socket).await, "hello");
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_key_surfaces_as_status_401_without_the_key() {
    let (address, listener) = listening();
    let server = tokio::spawn(async move {
        let refusal = Refusal {
            status: 401,
            body: format!("{{\"error\":\"wrong key {KEY}\"}}"),
        };
        accept(listener.accept().await.unwrap().0, LONG, |_| Err(refusal))
            .await
            .unwrap_err()
    });
    let error = connect(&backend(format!("ws://{address}/")), &tls(None))
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.kind(), error.is_fatal()),
        (Some(401), "refused", true)
    );
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back() {
    let answer = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy";
    let error = connect(&backend(answering(answer)), &tls(None)).await.unwrap_err();
    assert!(!error.is_fatal());
    let ConnectError::Refused {
        status: 503,
        retry_after,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_server_that_is_no_websocket_server_fails_the_handshake() {
    for answer in ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "SSH-2.0-x\r\n\r\n", ""] {
        let error = connect(&backend(answering(answer)), &tls(None)).await.unwrap_err();
        assert_eq!(error.kind(), "handshake", "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_listener_that_never_answers_times_out_at_the_handshake() {
    let (address, _listener) = listening();
    for (scheme, stage) in [("ws", Stage::Handshake), ("wss", Stage::Tls)] {
        let mut backend = backend(format!("{scheme}://{address}/"));
        backend.timeout = Duration::from_millis(60);
        let error = connect(&backend, &tls(None)).await.unwrap_err();
        assert_eq!(
            error,
            ConnectError::Timeout {
                stage,
                timeout: backend.timeout
            }
        );
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_an_unknown_name_is_a_dns_failure() {
    let error = connect(&backend("ws://127.0.0.1:1/".to_owned()), &tls(None))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "unreachable", "{error}");
    let mut nowhere = backend("ws://no-such-host.invalid/".to_owned());
    // Without any network the resolver may take longer than anybody wants to wait.
    nowhere.timeout = Duration::from_secs(2);
    let error = connect(&nowhere, &tls(None)).await.unwrap_err();
    assert!(["dns", "timeout"].contains(&error.kind()), "{error}");
}

#[tokio::test]
async fn a_key_with_a_line_end_is_refused_without_being_shown() {
    let mut backend = backend("ws://127.0.0.1:1/".to_owned());
    backend.bearer = Some(Secret::new(format!("{KEY}\n")));
    let error = connect(&backend, &tls(None)).await.unwrap_err();
    assert_eq!(
        error,
        ConnectError::BadHeader {
            name: "authorization".to_owned()
        }
    );
    assert!(!format!("{backend:?}").contains(KEY));
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted_and_a_stranger_or_a_wrong_name_refused() {
    let ours = Authority::new("localhost");
    let stranger = Authority::new("localhost");
    let misnamed = Authority::new("elsewhere.example");
    for (authority, trusted, expected) in [
        (&ours, &ours, None),
        (&stranger, &ours, Some("tls")),
        (&misnamed, &misnamed, Some("tls")),
    ] {
        let port = secure_echo(authority);
        let connected = connect(&backend(format!("wss://localhost:{port}/")), &tls(Some(trusted.file()))).await;
        match (connected, expected) {
            (Ok(socket), None) => assert_eq!(said_back(socket).await, "hello"),
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind, "{error}"),
            (connected, expected) => panic!("{expected:?}: {connected:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_connection() {
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let (mut socket, _) = accept(theirs, LONG, |_| Ok(())).await.unwrap();
        let _ = socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX))).await;
        let _ = socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))).await;
    });
    let mut socket = connect_stream(&backend("ws://operator/".to_owned()), ours)
        .await
        .unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().len(), MESSAGE_BYTES_MAX);
    assert!(matches!(socket.next().await, Some(Err(SocketError::Capacity(_)))));
}

const KEY: &str = "sk-very-s3cret";
const LONG: Duration = Duration::from_secs(20);

fn backend(url: String) -> Connect {
    Connect {
        url,
        model: Some("m".to_owned()),
        bearer: Some(Secret::new(KEY)),
        headers: Vec::new(),
        timeout: LONG,
    }
}

fn tls(extra: Option<PathBuf>) -> Tls {
    Tls::new(extra.as_deref()).unwrap()
}

fn listening() -> (SocketAddr, tokio::net::TcpListener) {
    let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// A server that answers the first request with these bytes and closes; gives the URL to reach it.
fn answering(answer: &'static str) -> String {
    let (address, listener) = listening();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    format!("ws://{address}/")
}

async fn echo<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let message = socket.next().await.unwrap().unwrap();
    socket.send(message).await.unwrap();
}

async fn said_back(mut socket: WebSocket) -> String {
    socket.send(Message::text("hello")).await.unwrap();
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// A self-signed certificate, which is its own authority.
struct Authority {
    certified: CertifiedKey<rcgen::KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let certified = generate_simple_self_signed([name.to_owned()]).unwrap();
        let unique = getrandom::u64().unwrap();
        let directory = std::env::temp_dir().join(format!("patchcord-tls-{unique:016x}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), certified.cert.pem()).unwrap();
        Self { certified, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A TLS server with this certificate that echoes one message; gives its port.
fn secure_echo(authority: &Authority) -> u16 {
    let key = PrivateKeyDer::try_from(authority.certified.signing_key.serialize_der()).unwrap();
    let certificate = authority.certified.cert.der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (address, listener) = listening();
    tokio::spawn(async move {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            echo(&mut socket).await;
        }
    });
    address.port()
}
