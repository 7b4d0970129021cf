//! What a test phone speaks over: UDP, TCP, TLS, WebSocket or secure WebSocket, one message at a time.
//!
//! Connections frame their messages by hand here, so that the gateway's framing is judged by something else than itself.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// Messages that may wait either way.
const WAITING_MAX: usize = 64;

/// The way to a gateway.
#[derive(Debug, Clone)]
pub enum Way {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A secured connection.
    Tls(Proof),
    /// A WebSocket.
    Ws,
    /// A secured WebSocket.
    Wss(Proof),
}

/// Whom the phone believes, and what it shows.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The authority it believes.
    pub ca: CertificateDer<'static>,
    /// Its own certificate and key, DER.
    pub identity: Option<(CertificateDer<'static>, Vec<u8>)>,
}

/// An open way to the gateway.
pub struct Wire {
    /// The phone's end.
    pub local: SocketAddr,
    /// The transport as in Via.
    pub via: &'static str,
    outgoing: mpsc::Sender<String>,
    incoming: mpsc::Receiver<String>,
    task: AbortHandle,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Wire {
    /// Opens a way, or says why the gateway does not let it.
    pub async fn open(way: Way, gateway: SocketAddr) -> Result<Self, String> {
        let (outgoing, to_send) = mpsc::channel(WAITING_MAX);
        let (received, incoming) = mpsc::channel(WAITING_MAX);
        let via = match way {
            Way::Udp => "UDP",
            Way::Tcp => "TCP",
            Way::Tls(_) => "TLS",
            Way::Ws => "WS",
            Way::Wss(_) => "WSS",
        };
        let (local, task) = match &way {
            Way::Udp => {
                let socket = UdpSocket::bind(SocketAddr::new(gateway.ip(), 0)).await.map_err(text)?;
                let local = socket.local_addr().map_err(text)?;
                (local, tokio::spawn(datagrams(socket, gateway, to_send, received)))
            }
            _ => {
                let stream = TcpStream::connect(gateway).await.map_err(text)?;
                let local = stream.local_addr().map_err(text)?;
                let stream: Box<dyn Stream> = match &way {
                    Way::Tls(proof) | Way::Wss(proof) => Box::new(secure(stream, proof).await?),
                    _ => Box::new(stream),
                };
                let task = match way {
                    Way::Ws | Way::Wss(_) => {
                        let mut request = format!("ws://{gateway}/").into_client_request().map_err(text)?;
                        let offer = HeaderValue::from_static("sip");
                        request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
                        let (socket, response) = client_async(request, stream).await.map_err(text)?;
                        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
                        tokio::spawn(frames(socket, to_send, received))
                    }
                    _ => tokio::spawn(bytes(stream, to_send, received)),
                };
                (local, task)
            }
        };
        let task = task.abort_handle();
        Ok(Self {
            local,
            via,
            outgoing,
            incoming,
            task,
        })
    }

    /// Sends one message.
    pub async fn send(&self, message: String) {
        self.outgoing.send(message).await.expect("the way is open");
    }

    /// The next message; `None` when the gateway closed the way.
    pub async fn receive(&mut self) -> Option<String> {
        self.incoming.recv().await
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn secure(stream: TcpStream, proof: &Proof) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(proof.ca.clone()).map_err(text)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(text)?
        .with_root_certificates(roots);
    let config = match &proof.identity {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.clone()).map_err(text)?;
            builder
                .with_client_auth_cert(vec![certificate.clone()], key)
                .map_err(text)?
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").map_err(text)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(text)
}

async fn datagrams(
    socket: UdpSocket,
    gateway: SocketAddr,
    mut to_send: mpsc::Receiver<String>,
    received: mpsc::Sender<String>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            Some(message) = to_send.recv() => drop(socket.send_to(message.as_bytes(), gateway).await),
            Ok((length, _)) = socket.recv_from(&mut buffer) => {
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                received.send(message).await.expect("the phone reads");
            }
        }
    }
}

async fn bytes(stream: Box<dyn Stream>, mut to_send: mpsc::Receiver<String>, received: mpsc::Sender<String>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut unread, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        tokio::select! {
            Some(message) = to_send.recv() => {
                writer.write_all(message.as_bytes()).await.unwrap();
                writer.flush().await.unwrap();
            }
            read = reader.read(&mut buffer) => match read {
                Ok(length @ 1..) => unread.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        }
        while let Some(message) = next_message(&mut unread) {
            received.send(message).await.expect("the phone reads");
        }
    }
}

fn next_message(unread: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8(unread.clone()).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    let end = head.len() + 4 + length.parse::<usize>().ok()?;
    let message = text.get(..end)?.to_owned();
    unread.drain(..end);
    Some(message)
}

async fn frames(
    mut socket: tokio_tungstenite::WebSocketStream<Box<dyn Stream>>,
    mut to_send: mpsc::Receiver<String>,
    received: mpsc::Sender<String>,
) {
    loop {
        tokio::select! {
            Some(message) = to_send.recv() => socket.send(Message::text(message)).await.unwrap(),
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => received.send(text.to_string()).await.expect("the phone reads"),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
