//! Serves the embedded operator: the WebSocket handshake and the clock around one [`operator::Machine`] per connection.
//!
//! The same code serves a TCP connection of `patchcord operator` and a pipe in memory to a call of this process. Who may
//! come in is decided here (path, key, the `refuse` fault); everything said afterwards is the machine's business.

use std::{
    convert::Infallible,
    future::{self, Future},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error as SocketError, Message,
        handshake::server,
        http::{HeaderValue, StatusCode, header},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::sleep_until;
use crate::{
    net::tcp,
    operator::{self, Faults, Output},
    realtime::Dialect,
};

/// How connections are served. Clones count their connections together, for faults that strike only the first ones.
#[derive(Clone, Default)]
pub struct Settings {
    /// The key a client must show; none lets everybody in.
    pub key: Option<String>,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Whether a client may order faults itself.
    pub control: bool,
    connections: Arc<AtomicU64>,
}

/// Connections served at the same time; further ones wait in the listener's backlog, unanswered.
const CONNECTIONS_MAX: usize = 2_000;

/// The longest message taken from a client: the official 15 MiB of audio and what is around it. A longer one ends the
/// connection.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes that may wait for a slow client; an event that does not fit ends the connection.
const WRITE_BUFFER_BYTES_MAX: usize = 32 << 20;

/// Allocated at once for every connection.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a client may take nothing before it is dropped.
const SEND_MAX: Duration = Duration::from_secs(10);

/// How long a client has to answer our close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A client is asked this often whether it is still there,
const PING_EVERY: Duration = Duration::from_secs(20);

/// and dropped after this long without any frame of it.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// The paths that are served, of the Realtime API and of the Live API.
const PATH: &str = "/v1/realtime";
const LIVE_PATH: &str = "/v1/live/sessions";

/// The header with which a client asks for the beta dialect, with its value, and what a browser says instead.
const BETA_HEADER: (&str, &str) = ("openai-beta", "realtime=v1");
const BETA_SUBPROTOCOL: &str = "openai-beta.realtime-v1";

/// The subprotocol a browser must see in the answer, and the one that carries its key.
const SUBPROTOCOL: &str = "realtime";
const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// The header that carries the key where it is not a bearer's.
const KEY_HEADER: &str = "api-key";

/// Accepts connections until `shutdown`, then closes them all and returns.
pub async fn listen(listener: TcpListener, settings: Settings, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, _) = tcp::accept(&listener), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(serve_tcp(stream, settings.clone(), stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(stop);
    let closed = async { while connections.join_next().await.is_some() {} };
    // Whoever does not take part in closing is dropped with the set.
    let _ = timeout(CLOSE_MAX * 2, closed).await;
}

/// Serves one client from the handshake to the end, over anything that carries bytes.
pub async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin>(stream: S, settings: Settings) {
    drop(serve(stream, settings, future::pending()).await);
}

async fn serve_tcp(stream: tokio::net::TcpStream, settings: Settings, mut stopped: watch::Receiver<()>) {
    let stopping = async move { while stopped.changed().await.is_ok() {} };
    if let Some(aborted) = serve(stream, settings, stopping).await {
        // With no time to linger the connection is reset instead of shut down.
        if let Err(error) = SockRef::from(&aborted).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a connection cannot be reset");
        }
    }
}

/// Serves one client; a stream that comes back is to be aborted.
async fn serve<S>(stream: S, settings: Settings, stopping: impl Future<Output = ()>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = settings.connections.fetch_add(1, Ordering::Relaxed);
    let mut asked = Asked::default();
    let doorkeeper = Doorkeeper {
        settings: &settings,
        connection,
        asked: &mut asked,
    };
    let handshake = accept_hdr_async_with_config(stream, doorkeeper, Some(limits()));
    let socket = match timeout(HANDSHAKE_MAX, handshake).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client was not let in to the operator");
            return None;
        }
        Err(_) => return None,
    };
    let now = now();
    let machine = operator::Server::new(now, session(&settings, connection, asked));
    let mut client = Client {
        socket,
        machine,
        heard_at: now,
        ping_at: now + PING_EVERY,
    };
    match client.run(stopping).await {
        Ok(never) => match never {},
        Err(End::Abort) => Some(client.socket.into_inner()),
        Err(End::Close(frame)) => {
            client.close(frame).await;
            None
        }
        Err(End::Gone) => None,
    }
}

/// Decides on a handshake.
struct Doorkeeper<'a> {
    settings: &'a Settings,
    connection: u64,
    asked: &'a mut Asked,
}

/// What a client wants.
#[derive(Default)]
struct Asked {
    dialect: Dialect,
    model: Option<String>,
}

impl server::Callback for Doorkeeper<'_> {
    fn on_request(
        self,
        request: &server::Request,
        mut response: server::Response,
    ) -> Result<server::Response, server::ErrorResponse> {
        if let Some(status) = self.settings.faults.refusal(self.connection) {
            return Err(refusal(status, "server_error", "The operator was told to refuse."));
        }
        let Some(dialect) = dialect(request) else {
            let message = "There is nothing here; connect to /v1/realtime or /v1/live/sessions.";
            return Err(refusal(404, "not_found", message));
        };
        if !self.settings.lets_in(request) {
            return Err(refusal(401, "invalid_api_key", "Incorrect API key provided."));
        }
        if subprotocols(request).any(|word| word == SUBPROTOCOL) {
            let chosen = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        *self.asked = Asked {
            dialect,
            model: parameter(request, "model").map(str::to_owned),
        };
        Ok(response)
    }
}

impl Settings {
    /// Serves with these faults; everything else as by default.
    pub fn with_faults(faults: Faults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    fn lets_in(&self, request: &server::Request) -> bool {
        let Some(key) = &self.key else { return true };
        let header = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let shown = bearer.map(|(_, shown)| shown.trim());
        let own = request.headers().get(KEY_HEADER).and_then(|value| value.to_str().ok());
        let shown = shown
            .or(own)
            .or_else(|| subprotocols(request).find_map(|word| word.strip_prefix(KEY_SUBPROTOCOL)));
        shown.is_some_and(|shown| shown.as_bytes().ct_eq(key.as_bytes()).into())
    }
}

/// One connection after its handshake.
struct Client<S> {
    socket: WebSocketStream<S>,
    machine: operator::Server,
    heard_at: Instant,
    ping_at: Instant,
}

/// Why a connection ends.
enum End {
    /// The machine wants it cut.
    Abort,
    /// It is to be closed properly.
    Close(CloseFrame),
    /// The client closed it, or is not there any more.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn run(&mut self, stopping: impl Future<Output = ()>) -> Result<Infallible, End> {
        let mut stopping = std::pin::pin!(stopping);
        loop {
            self.machine.handle_timeout(now());
            self.send().await?;
            tokio::select! {
                message = self.socket.next() => self.take(message).await?,
                () = sleep_until(self.machine.poll_timeout()) => {}
                () = sleep_until(Some(self.ping_at)) => self.ping().await?,
                () = &mut stopping => return Err(closing(1001, "the server is stopping")),
            }
        }
    }

    /// Writes all there is to say, in as few packets as it fits.
    async fn send(&mut self) -> Result<(), End> {
        let mut fed = false;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(text) => self.write(Message::text(text), false).await?,
                Output::Close { code, reason } => return Err(closing(code, &reason)),
                Output::Drop => {
                    self.flush().await?;
                    return Err(End::Abort);
                }
            }
            fed = true;
        }
        if fed { self.flush().await } else { Ok(()) }
    }

    async fn take(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), End> {
        self.heard_at = now();
        match message {
            Some(Ok(Message::Text(text))) => self.machine.handle_text(self.heard_at, &text),
            Some(Ok(Message::Binary(_))) => return Err(closing(1003, "events are text frames")),
            Some(Ok(Message::Close(_))) => {
                self.finish().await;
                return Err(End::Gone);
            }
            // Pings are answered by the socket itself.
            Some(Ok(_)) => {}
            Some(Err(SocketError::Capacity(_))) => return Err(closing(1009, "the message is too long")),
            Some(Err(_)) | None => return Err(End::Gone),
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), End> {
        let now = now();
        if now.duration_since(self.heard_at) >= SILENT_MAX {
            return Err(End::Abort);
        }
        self.ping_at = now + PING_EVERY;
        self.write(Message::Ping(Default::default()), true).await
    }

    async fn write(&mut self, message: Message, flush: bool) -> Result<(), End> {
        let written = async {
            self.socket.feed(message).await?;
            if flush { self.socket.flush().await } else { Ok(()) }
        };
        in_time(written).await
    }

    async fn flush(&mut self) -> Result<(), End> {
        in_time(self.socket.flush()).await
    }

    async fn close(&mut self, frame: CloseFrame) {
        // What was to be said before the close is on its way first.
        if self.flush().await.is_ok() && in_time(self.socket.close(Some(frame))).await.is_ok() {
            self.finish().await;
        }
    }

    /// Reads until the closing handshake is over.
    async fn finish(&mut self) {
        let over = async { while let Some(Ok(_)) = self.socket.next().await {} };
        // A client that does not answer loses only its answer.
        let _ = timeout(CLOSE_MAX, over).await;
    }
}

async fn in_time(writing: impl Future<Output = Result<(), SocketError>>) -> Result<(), End> {
    match timeout(SEND_MAX, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Abort),
    }
}

fn closing(code: u16, reason: &str) -> End {
    End::Close(CloseFrame {
        code: CloseCode::from(code),
        reason: reason.to_owned().into(),
    })
}

fn session(settings: &Settings, connection: u64, asked: Asked) -> operator::Settings {
    let defaults = operator::Settings::default();
    operator::Settings {
        dialect: asked.dialect,
        // Freshly keyed for every process, so ids differ from those before a restart.
        seed: RandomState::new().hash_one(connection),
        model: asked.model.unwrap_or(defaults.model),
        unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        faults: settings.faults.on_connection(connection).collect(),
        control: settings.control,
    }
}

/// The runtime's clock, which tests may hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

fn subprotocols(request: &server::Request) -> impl Iterator<Item = &str> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|words| words.split(','))
        .map(str::trim)
}

/// What a path and its headers ask for, or none when there is nothing at this path.
fn dialect(request: &server::Request) -> Option<Dialect> {
    let (name, value) = BETA_HEADER;
    let said = request.headers().get(name).and_then(|value| value.to_str().ok());
    let beta =
        said.is_some_and(|said| said.trim() == value) || subprotocols(request).any(|word| word == BETA_SUBPROTOCOL);
    match request.uri().path().trim_end_matches('/') {
        PATH if beta => Some(Dialect::Beta),
        PATH => Some(Dialect::Ga),
        LIVE_PATH => Some(Dialect::Live),
        _ => None,
    }
}

/// A parameter of the URL. The model's name is only ever echoed, so an escaped one stays escaped.
fn parameter<'r>(request: &'r server::Request, name: &str) -> Option<&'r str> {
    let pairs = request.uri().query()?.split('&');
    let mut named = pairs.filter_map(|pair| pair.split_once('=').filter(|(known, _)| *known == name));
    named.next().map(|(_, value)| value).filter(|value| !value.is_empty())
}

fn refusal(status: u16, code: &str, message: &str) -> server::ErrorResponse {
    let error = serde_json::json!({"error": {"type": "invalid_request_error", "code": code, "message": message}});
    let mut response = server::ErrorResponse::new(Some(error.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
