//! The handshake: an HTTP request that turns a stream into a WebSocket (RFC 6455 section 4.1).
//!
//! The library asks and checks the answer. What a server says right behind its answer belongs to the conversation, so
//! the library is shown the answer's head alone and the rest is kept for the socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{Error, handshake::client::Request, protocol::WebSocketConfig},
};

use super::{super::Stream, socket::WebSocket};

/// Read at a time while the answer comes.
const PORTION_BYTES: usize = 2048;

/// Asks for the upgrade, and gives the socket when it is granted.
pub(super) async fn upgrade(stream: Stream, request: Request) -> Result<WebSocket, Error> {
    // Of the library's own socket nothing is used.
    let small = WebSocketConfig::default().read_buffer_size(PORTION_BYTES);
    let (socket, _) = client_async_with_config(request, Answering::new(stream), Some(small)).await?;
    let Answering { stream, seen, shown } = socket.into_inner();
    Ok(WebSocket::new(stream, seen[shown..].to_vec()))
}

/// A stream on which the answer to the request is awaited.
struct Answering {
    stream: Stream,
    seen: Vec<u8>,
    shown: usize,
}

impl Answering {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            seen: Vec::new(),
            shown: 0,
        }
    }

    /// How much of what has come the library may see: of a granted upgrade the head, of a refusal everything.
    fn showable(&self) -> usize {
        let granted = self.seen.starts_with(b"HTTP/1.1 101");
        let end = self.seen.windows(4).position(|four| four == b"\r\n\r\n");
        end.filter(|_| granted).map_or(self.seen.len(), |at| at + 4)
    }
}

impl AsyncRead for Answering {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shown == this.showable() {
            let mut portion = [0; PORTION_BYTES];
            let mut portion = ReadBuf::new(&mut portion);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut portion))?;
            this.seen.extend_from_slice(portion.filled());
        }
        let unseen = &this.seen[this.shown..this.showable()];
        let length = unseen.len().min(buffer.remaining());
        buffer.put_slice(&unseen[..length]);
        this.shown += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answering {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
