//! WebSockets that HTTP connections of ours are upgraded to: the answer to the question, and the frames behind it. Who
//! may ask is not decided here.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// The longest message taken; a longer one ends the connection. Listeners have nothing to say.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Bytes that may wait for a slow client inside the WebSocket; past it a write fails and the connection is lost.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Read buffer of one connection; it is allocated at once.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// What passes on it.
pub type Frame = Message;

/// The `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// The WebSocket on a connection that has been upgraded.
pub async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await
}

/// The last frame.
pub fn close(code: u16, reason: &'static str) -> Frame {
    Message::Close(Some(CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    }))
}
