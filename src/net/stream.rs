//! What connections run over: TCP, TLS, or a pipe in memory to the operator of this very process.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// A byte stream to a backend or a SIP peer, which counts what passes.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    traffic: Traffic,
}

/// Bytes that have passed through a [`Stream`]: who asks again sees whether anything moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Come from the peer.
    pub read: u64,
    /// Taken by the peer, or by what lies in between.
    pub written: u64,
}

#[derive(Debug)]
enum Kind {
    /// In the clear.
    Tcp(TcpStream),
    /// Secured, to a server.
    Tls(Box<client::TlsStream<TcpStream>>),
    /// Secured, to a client.
    Served(Box<server::TlsStream<TcpStream>>),
    /// Within the process.
    Memory(DuplexStream),
}

impl Stream {
    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            traffic: Traffic::default(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::new(Kind::Tcp(stream))
    }
}

impl From<client::TlsStream<TcpStream>> for Stream {
    fn from(stream: client::TlsStream<TcpStream>) -> Self {
        Self::new(Kind::Tls(Box::new(stream)))
    }
}

impl From<server::TlsStream<TcpStream>> for Stream {
    fn from(stream: server::TlsStream<TcpStream>) -> Self {
        Self::new(Kind::Served(Box::new(stream)))
    }
}

impl From<DuplexStream> for Stream {
    fn from(stream: DuplexStream) -> Self {
        Self::new(Kind::Memory(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = match &mut this.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(context, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_read(context, buf),
            Kind::Served(stream) => Pin::new(stream).poll_read(context, buf),
            Kind::Memory(stream) => Pin::new(stream).poll_read(context, buf),
        };
        this.traffic.read += (buf.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Served(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Memory(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        if let Poll::Ready(Ok(length)) = polled {
            this.traffic.written += length as u64;
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(context),
            Kind::Served(stream) => Pin::new(stream).poll_flush(context),
            Kind::Memory(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Served(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Memory(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
