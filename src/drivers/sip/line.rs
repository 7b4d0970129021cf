//! Line: a connection made ready to carry messages, whichever way it came about.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{connections::Place, stream, ws};
use crate::{
    net::{
        Stream,
        sip_tls::SipTls,
        sip_websocket::{self, SipWebSocket},
        tcp,
    },
    sip::{Flow, Transport},
};

/// How long a peer that connected may take to be secured and upgraded.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long opening a connection may take altogether.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// A connection that carries messages.
pub(super) enum Line {
    /// One message behind the other.
    Bytes(Stream),
    /// One message in each frame.
    Frames(Box<SipWebSocket>),
}

/// Why a connection did not come about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Nobody takes it.
    #[error("it takes no connection ({0})")]
    Tcp(String),
    /// It cannot be secured.
    #[error("the TLS handshake failed ({0})")]
    Tls(String),
    /// It is not a WebSocket for SIP.
    #[error("the WebSocket handshake failed ({0})")]
    WebSocket(String),
    /// It took too long.
    #[error("it was not ready within {} s", .0.as_secs())]
    Slow(Duration),
}

impl Fault {
    /// The reason word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp_connect",
            Self::Tls(_) => "tls_handshake",
            Self::WebSocket(_) => "ws_handshake",
            Self::Slow(_) => "handshake_timeout",
        }
    }
}

impl Line {
    /// Makes a connection that came to us ready.
    pub(super) async fn accept(transport: Transport, stream: TcpStream, tls: &SipTls) -> Result<Self, Fault> {
        let readying = async {
            let stream = match transport.is_secure() {
                true => tls.accept(stream).await.map_err(Fault::Tls)?,
                false => stream.into(),
            };
            match is_framed(transport) {
                true => Ok(Self::frames(sip_websocket::accept(stream).await)?),
                false => Ok(Self::Bytes(stream)),
            }
        };
        let ready = tokio::time::timeout(HANDSHAKE_MAX, readying).await;
        ready.unwrap_or(Err(Fault::Slow(HANDSHAKE_MAX)))
    }

    /// Opens a connection to the peer of this flow, who has to prove to be `name` where proof is to be had.
    pub(super) async fn open(flow: &Flow, name: &str, tls: &SipTls) -> Result<Self, Fault> {
        let opening = async {
            let stream = tcp::connect(flow.local.ip(), flow.remote).await;
            let stream = stream.map_err(|error| Fault::Tcp(error.to_string()))?;
            let stream = match flow.transport.is_secure() {
                true => tls.connect(name, stream).await.map_err(Fault::Tls)?,
                false => stream.into(),
            };
            match is_framed(flow.transport) {
                true => Ok(Self::frames(
                    sip_websocket::connect(stream, name, flow.remote.port()).await,
                )?),
                false => Ok(Self::Bytes(stream)),
            }
        };
        let open = tokio::time::timeout(DIAL_MAX, opening).await;
        open.unwrap_or(Err(Fault::Slow(DIAL_MAX)))
    }

    /// Carries messages both ways until the connection ends.
    pub(super) async fn carry(self, place: &mut Place) {
        match self {
            Self::Bytes(stream) => stream::carry(stream, place).await,
            Self::Frames(socket) => ws::carry(*socket, place).await,
        }
    }

    fn frames(socket: Result<SipWebSocket, String>) -> Result<Self, Fault> {
        socket.map(Box::new).map(Self::Frames).map_err(Fault::WebSocket)
    }
}

fn is_framed(transport: Transport) -> bool {
    matches!(transport, Transport::Ws | Transport::Wss)
}
