//! WebSockets to the backends, and the accepting end of them for the embedded operator.
//!
//! A connection is dialled by [`connect`], which owns every step from the name to the upgrade under one deadline, or
//! made over a stream that is there already by [`connect_stream`]: the operator of this process is reached that way,
//! through the same code. What is said over it is the business of the realtime driver.

use std::{fmt, future::Future, io, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        Error as SocketError,
        client::IntoClientRequest,
        handshake::{
            client::{Request, Response},
            server,
        },
        http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
        protocol::WebSocketConfig,
    },
};

use super::{Stream, connect_error::excerpt, dial, target::Target, tls::Tls};

pub use super::connect_error::{ConnectError, Stage};

/// The longest message taken from a backend. A delta of agent audio is some hundred kilobytes at most; a longer message
/// ends the connection.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes that may wait for a slow peer inside the WebSocket; past it a write fails and the connection is lost. Writing
/// stops long before, because every message is offered to the socket at once.
const WRITE_BUFFER_BYTES_MAX: usize = 8 << 20;

/// Read buffer of one connection; it is allocated at once, for every call.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// How we name ourselves to backends.
const USER_AGENT: &str = concat!("patchcord/", env!("CARGO_PKG_VERSION"));

/// An open WebSocket to a backend.
pub type WebSocket = WebSocketStream<Stream>;

/// How to reach a backend.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `ws` or `wss`.
    pub url: String,
    /// Appended to the URL as `model=`, unless it names a model itself.
    pub model: Option<String>,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// More headers, by name; their values are kept as secret as the key.
    pub headers: Vec<(String, Secret)>,
    /// How long everything together may take.
    pub timeout: Duration,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What a client asks for when it opens a WebSocket to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The path, without the query.
    pub path: String,
    /// The query, without the `?`.
    pub query: String,
    /// The key it shows.
    pub bearer: Option<Secret>,
}

/// A refusal of an [`Upgrade`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The JSON text to say why.
    pub body: String,
}

/// Dials a backend. Dropping the future gives up at once.
pub async fn connect(backend: &Connect, tls: &Tls) -> Result<WebSocket, ConnectError> {
    let limit = Limit::new(backend.timeout);
    let target = Target::parse(&backend.url, backend.model.as_deref())?;
    let request = request(backend, &target)?;
    let Target { host, port, .. } = &target;

    let addresses = limit.step(Stage::Dns, dial::resolve(host, *port)).await?;
    let addresses = addresses.map_err(|cause| ConnectError::Dns {
        host: host.clone(),
        cause: cause.to_string(),
    })?;
    let tcp = limit.step(Stage::Tcp, dial::connect(addresses)).await?;
    let unreachable = |cause: io::Error| ConnectError::Unreachable {
        host: host.clone(),
        port: *port,
        cause: cause.to_string(),
    };
    let tcp = tcp.map_err(unreachable)?;
    let stream = if target.secure {
        let tls = limit.step(Stage::Tls, tls.connect(host, tcp)).await?;
        tls.map_err(|cause| ConnectError::Tls {
            host: host.clone(),
            cause: cause.to_string(),
        })?
        .into()
    } else {
        tcp.into()
    };
    upgrade(backend, request, stream, limit).await
}

/// Opens the WebSocket over a stream that is there already; the URL gives the path alone.
pub async fn connect_stream(backend: &Connect, stream: impl Into<Stream>) -> Result<WebSocket, ConnectError> {
    let limit = Limit::new(backend.timeout);
    let target = Target::parse(&backend.url, backend.model.as_deref())?;
    upgrade(backend, request(backend, &target)?, stream.into(), limit).await
}

/// Answers a client's handshake, unless `decide` refuses it; either way within `timeout`.
pub async fn accept(
    stream: impl Into<Stream>,
    timeout: Duration,
    decide: impl FnOnce(&Upgrade) -> Result<(), Refusal> + Unpin,
) -> Result<(WebSocket, Upgrade), ConnectError> {
    let limit = Limit::new(timeout);
    let mut asked = None;
    let doorkeeper = Doorkeeper {
        decide,
        asked: &mut asked,
    };
    let accepted = accept_hdr_async_with_config(stream.into(), doorkeeper, Some(limits()));
    let socket = limit
        .step(Stage::Handshake, accepted)
        .await?
        .map_err(|error| failed(error, &[]))?;
    let asked = asked.ok_or_else(|| ConnectError::Handshake {
        cause: "the client asked for nothing".to_owned(),
    })?;
    Ok((socket, asked))
}

/// Reads what is asked for, and keeps it when it is granted.
struct Doorkeeper<'a, D> {
    decide: D,
    asked: &'a mut Option<Upgrade>,
}

impl<D: FnOnce(&Upgrade) -> Result<(), Refusal>> server::Callback for Doorkeeper<'_, D> {
    fn on_request(
        self,
        request: &server::Request,
        response: server::Response,
    ) -> Result<server::Response, server::ErrorResponse> {
        let upgrade = Upgrade::read(request);
        (self.decide)(&upgrade).map_err(Refusal::into_response)?;
        *self.asked = Some(upgrade);
        Ok(response)
    }
}

impl Secret {
    /// Keeps this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for sending and comparing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}

impl Upgrade {
    fn read(request: &server::Request) -> Self {
        let authorization = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let (_, key) = authorization.and_then(|value| value.split_once(' ')).unzip();
        Self {
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            bearer: key.map(Secret::new),
        }
    }
}

impl Refusal {
    fn into_response(self) -> server::ErrorResponse {
        let mut response = server::ErrorResponse::new(Some(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The one deadline all steps share.
#[derive(Clone, Copy)]
struct Limit {
    timeout: Duration,
    deadline: Instant,
}

impl Limit {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    async fn step<T>(self, stage: Stage, step: impl Future<Output = T>) -> Result<T, ConnectError> {
        timeout_at(self.deadline, step)
            .await
            .map_err(|_| ConnectError::Timeout {
                stage,
                timeout: self.timeout,
            })
    }
}

fn request(backend: &Connect, target: &Target) -> Result<Request, ConnectError> {
    let asked = target.uri.clone().into_client_request();
    let mut request = asked.map_err(|error| ConnectError::Handshake {
        cause: error.to_string(),
    })?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if let Some(bearer) = &backend.bearer {
        insert(headers, "authorization", &format!("Bearer {}", bearer.reveal()))?;
    }
    for (name, value) in &backend.headers {
        insert(headers, name, value.reveal())?;
    }
    Ok(request)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), ConnectError> {
    let bad = || ConnectError::BadHeader { name: name.to_owned() };
    let header = HeaderName::try_from(name).map_err(|_| bad())?;
    let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

async fn upgrade(backend: &Connect, request: Request, stream: Stream, limit: Limit) -> Result<WebSocket, ConnectError> {
    let handshake = client_async_with_config(request, stream, Some(limits()));
    match limit.step(Stage::Handshake, handshake).await? {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(failed(error, &backend.secrets())),
    }
}

impl Connect {
    fn secrets(&self) -> Vec<&str> {
        self.bearer
            .iter()
            .chain(self.headers.iter().map(|(_, value)| value))
            .map(Secret::reveal)
            .collect()
    }
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        // Every message is offered to the socket as it is written, so that a slow peer is noticed at once.
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

fn failed(error: SocketError, secrets: &[&str]) -> ConnectError {
    match error {
        SocketError::Http(response) => refused(&response, secrets),
        error => ConnectError::Handshake {
            cause: excerpt(error.to_string().as_bytes(), secrets),
        },
    }
}

fn refused(response: &Response, secrets: &[&str]) -> ConnectError {
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    ConnectError::Refused {
        status: response.status().as_u16(),
        retry_after: retry_after.map(Duration::from_secs),
        body: excerpt(response.body().as_deref().unwrap_or_default(), secrets),
    }
}

#[cfg(test)]
mod tests;
