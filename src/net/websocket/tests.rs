//! Tests of the WebSocket client against servers on loopback and in memory.

use std::{future::poll_fn, net::SocketAddr, path::PathBuf, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use rcgen::{Certificate, CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream, accept_async, accept_hdr_async,
    tungstenite::{Message, handshake::server, http::HeaderMap},
};

use super::{frames::Violation, *};
use crate::net::tcp;

#[tokio::test]
async fn a_server_on_loopback_gets_model_and_key_and_echoes() {
    let (address, listener) = listening();
    let server = tokio::spawn(async move {
        let mut witness = Witness::default();
        let stream = listener.accept().await.unwrap().0;
        let mut socket = accept_hdr_async(stream, &mut witness).await.unwrap();
        echo(&mut socket).await;
        witness
    });
    let backend = backend(format!("ws://{address}/v1/realtime?x=1"));
    let socket = connect(&backend, &tls(None)).await.unwrap();
    assert_eq!(said_back(socket).await, "hello");
    let Witness { uri, headers } = server.await.unwrap();
    assert_eq!(uri, "/v1/realtime?x=1&model=m");
    assert_eq!(headers[header::AUTHORIZATION], format!("Bearer {KEY}"));
    assert_eq!(headers[header::USER_AGENT], USER_AGENT);
}

#[tokio::test]
async fn the_operator_in_memory_is_reached_through_the_same_code() {
    let (ours, theirs) = duplex(64 << 10);
    let server = tokio::spawn(async move {
        let mut socket = accept_async(theirs).await.unwrap();
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
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 24\r\n\r\nwrong key sk-very-s3cret";
    assert!(answer.ends_with(KEY));
    let error = connect(&backend(answering(answer)), &tls(None)).await.unwrap_err();
    let ConnectError::Refused { status: 401, body } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((body.as_str(), error.is_fatal()), ("wrong key (hidden)", true));
}

#[tokio::test]
async fn an_overloaded_server_is_worth_another_try_and_one_that_moved_is_not() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    let moved = "HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    for (answer, fatal) in [(busy, false), (moved, true)] {
        let error = connect(&backend(answering(answer)), &tls(None)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_fatal()), ("refused", fatal), "{error}");
    }
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
    backend.headers[0].1 = Secret::new(format!("Bearer {KEY}\n"));
    let error = connect(&backend, &tls(None)).await.unwrap_err();
    assert_eq!(
        error,
        ConnectError::BadHeader {
            name: "Authorization".to_owned()
        }
    );
    assert!(!format!("{backend:?}").contains(KEY));
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted_and_a_stranger_a_wrong_name_or_an_old_one_refused_for_good() {
    let ours = Authority::new("localhost");
    let stranger = Authority::new("localhost");
    let misnamed = Authority::new("elsewhere.example");
    let expired = Authority::expired("localhost");
    for (authority, trusted, expected) in [
        (&ours, &ours, None),
        (&stranger, &ours, Some("certificate")),
        (&misnamed, &misnamed, Some("certificate")),
        (&expired, &expired, Some("certificate")),
    ] {
        let port = secure_echo(authority);
        let connected = connect(&backend(format!("wss://localhost:{port}/")), &tls(Some(trusted.file()))).await;
        match (connected, expected) {
            (Ok(socket), None) => assert_eq!(said_back(socket).await, "hello"),
            (Err(error), Some(kind)) => assert_eq!((error.kind(), error.is_fatal()), (kind, true), "{error}"),
            (connected, expected) => panic!("{expected:?}: {connected:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_connection() {
    let (ours, theirs) = duplex(64 << 10);
    let (go_on, heard_one) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut socket = accept_async(theirs).await.unwrap();
        let _ = socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX))).await;
        // Else the end of this one and the head of the next could be read at once, and only the fault would be told.
        heard_one.await.unwrap();
        let _ = socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))).await;
    });
    let mut socket = connect_stream(&backend("ws://operator/".to_owned()), ours)
        .await
        .unwrap();
    assert_eq!(heard(&mut socket).await.unwrap().len(), MESSAGE_BYTES_MAX);
    go_on.send(()).unwrap();
    let ended = heard(&mut socket).await.unwrap_err();
    assert_eq!(ended, Violation::TooLong.into());
}

const KEY: &str = "sk-very-s3cret";
const LONG: Duration = Duration::from_secs(20);

fn backend(url: String) -> Connect {
    Connect {
        query: vec![("model".to_owned(), Secret::new("m"))],
        headers: vec![("Authorization".to_owned(), Secret::new(format!("Bearer {KEY}")))],
        hidden: vec![Secret::new(KEY)],
        ..Connect::new(url, LONG)
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
    socket.push_text("hello");
    poll_fn(|context| socket.poll_flush(context)).await.unwrap();
    heard(&mut socket).await.unwrap()
}

/// The next texts, together.
async fn heard(socket: &mut WebSocket) -> Result<String, Ended> {
    let mut scratch = vec![0; 16 << 10];
    let mut texts = String::new();
    while texts.is_empty() {
        poll_fn(|context| socket.poll_read(context, &mut scratch, &mut |text| texts.push_str(text))).await?;
    }
    Ok(texts)
}

/// What a client asked for.
#[derive(Default)]
struct Witness {
    uri: String,
    headers: HeaderMap,
}

impl server::Callback for &mut Witness {
    fn on_request(
        self,
        request: &server::Request,
        response: server::Response,
    ) -> Result<server::Response, server::ErrorResponse> {
        self.uri = request.uri().to_string();
        self.headers = request.headers().clone();
        Ok(response)
    }
}

/// A self-signed certificate, which is its own authority.
struct Authority {
    key: KeyPair,
    certificate: Certificate,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::certified(CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn expired(name: &str) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(2001, 1, 1);
        params.not_before = date_time_ymd(2000, 1, 1);
        Self::certified(params)
    }

    fn certified(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let unique = getrandom::u64().unwrap();
        let directory = std::env::temp_dir().join(format!("patchcord-tls-{unique:016x}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            key,
            certificate,
            directory,
        }
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
    let key = PrivateKeyDer::try_from(authority.key.serialize_der()).unwrap();
    let certificate = authority.certificate.der().clone();
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
            let mut socket = accept_async(stream).await.unwrap();
            echo(&mut socket).await;
        }
    });
    address.port()
}
