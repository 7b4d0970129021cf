//! WebSockets to the backends.
//!
//! A connection is dialled by [`connect`], which owns every step from the name to the upgrade under one deadline, or
//! made over a stream that is there already by [`connect_stream`]: the operator of this process is reached that way,
//! through the same code. The library does the handshake; the frames behind it are read and written by [`WebSocket`]
//! itself, because every frame of a call passes there. What is said is the business of the realtime driver.

use std::{fmt, future::Future, io, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::{
    Error as SocketError,
    client::IntoClientRequest,
    handshake::client::{Request, Response},
    http::{HeaderName, HeaderValue, header},
};

use super::{Stream, connect_error::excerpt, dial, target::Target, tls::Tls};

pub use self::socket::{Ended, WebSocket};
pub use super::connect_error::{ConnectError, Stage};

mod frames;
mod socket;
mod upgrade;

/// The longest message taken from a backend. A delta of agent audio is some hundred kilobytes at most; a longer message
/// ends the connection.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How we name ourselves to backends.
const USER_AGENT: &str = concat!("patchcord/", env!("CARGO_PKG_VERSION"));

/// How to reach a backend. Names and values here are as they are sent.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `ws` or `wss`.
    pub url: String,
    /// Appended to the URL's query, unless it has a parameter of that name.
    pub query: Vec<(String, Secret)>,
    /// Sent with the handshake.
    pub headers: Vec<(String, Secret)>,
    /// What is cut out of a server's answer before it is quoted.
    pub hidden: Vec<Secret>,
    /// How long everything together may take.
    pub timeout: Duration,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Dials a backend. Dropping the future gives up at once.
pub async fn connect(backend: &Connect, tls: &Tls) -> Result<WebSocket, ConnectError> {
    let limit = Limit::new(backend.timeout);
    let target = Target::parse(&backend.url, &backend.query)?;
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
        limit.step(Stage::Tls, tls.connect(host, tcp)).await??.into()
    } else {
        tcp.into()
    };
    upgrade(backend, request, stream, limit).await
}

/// Opens the WebSocket over a stream that is there already; the URL gives the path alone.
pub async fn connect_stream(backend: &Connect, stream: impl Into<Stream>) -> Result<WebSocket, ConnectError> {
    let limit = Limit::new(backend.timeout);
    let target = Target::parse(&backend.url, &backend.query)?;
    upgrade(backend, request(backend, &target)?, stream.into(), limit).await
}

impl Connect {
    /// Without anything but the URL.
    pub fn new(url: impl Into<String>, timeout: Duration) -> Self {
        Self {
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            hidden: Vec::new(),
            timeout,
        }
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
    for (name, value) in &backend.headers {
        let bad = || ConnectError::BadHeader { name: name.clone() };
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name.as_str()).map_err(|_| bad())?, value);
    }
    Ok(request)
}

async fn upgrade(backend: &Connect, request: Request, stream: Stream, limit: Limit) -> Result<WebSocket, ConnectError> {
    let upgraded = limit.step(Stage::Handshake, upgrade::upgrade(stream, request)).await?;
    upgraded.map_err(|error| failed(error, &backend.hidden))
}

fn failed(error: SocketError, hidden: &[Secret]) -> ConnectError {
    let hidden: Vec<&str> = hidden.iter().map(Secret::reveal).collect();
    match error {
        SocketError::Http(response) => refused(&response, &hidden),
        error => ConnectError::Handshake {
            cause: excerpt(error.to_string().as_bytes(), &hidden),
        },
    }
}

fn refused(response: &Response, hidden: &[&str]) -> ConnectError {
    ConnectError::Refused {
        status: response.status().as_u16(),
        body: excerpt(response.body().as_deref().unwrap_or_default(), hidden),
    }
}

#[cfg(test)]
mod tests;
