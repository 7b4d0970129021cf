//! Messages over one byte stream, TCP or TLS: framing, keep-alives, and what a slow peer costs.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    Inbound,
    connections::{Connections, Place},
};
use crate::sip::{Flow, PONG, StreamEvent, StreamReader};

/// A connection on which nothing arrives for this long is closed.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(900);

/// How long a peer may take to accept one message.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long a connection that sent something unreadable stays open for our answer to it.
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// How much is read at once.
const READ_BYTES: usize = 8192;

/// Carries messages both ways until the connection ends.
pub(super) async fn carry(stream: impl AsyncRead + AsyncWrite, place: &mut Place) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(reader, place.flow, &place.connections) => {}
        () = write(writer, &mut place.outbox) => {}
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, flow: Flow, connections: &Connections) {
    let mut framer = StreamReader::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let Ok(Ok(length @ 1..)) = tokio::time::timeout(IDLE_MAX, stream.read(&mut buffer)).await else {
            return;
        };
        framer.push(&buffer[..length]);
        while let Some(event) = framer.poll_event() {
            match pass_on(event, flow, connections).await {
                Stream::Follows => {}
                Stream::Broken => return tokio::time::sleep(LINGER).await,
            }
        }
    }
}

/// Whether it is known where the next message starts.
enum Stream {
    Follows,
    Broken,
}

async fn pass_on(event: StreamEvent, flow: Flow, connections: &Connections) -> Stream {
    let (message, then) = match event {
        StreamEvent::Message(message) => (Ok(message), Stream::Follows),
        StreamEvent::Refused(error) => (Err(error), Stream::Follows),
        StreamEvent::Broken(error) => (Err(error), Stream::Broken),
        StreamEvent::Ping => {
            connections.send(flow.connection, PONG.to_vec());
            return Stream::Follows;
        }
    };
    match connections.deliver(Inbound::Message(flow, message)).await {
        true => then,
        false => Stream::Broken,
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, outbox: &mut mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = outbox.recv().await {
        let written = tokio::time::timeout(WRITE_MAX, write_whole(&mut stream, &bytes)).await;
        let Ok(Ok(())) = written else { return };
    }
}

/// TLS keeps what it has sealed until it is flushed.
async fn write_whole(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::time::Instant;

    use super::*;
    use crate::{sip::Transport, telemetry::Metrics};

    #[tokio::test(start_paused = true)]
    async fn the_answer_to_a_sign_of_life_keeps_a_connection_open_and_silence_closes_it() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (inbound, _inbox) = mpsc::channel(1);
        let connections = Connections::new(inbound, Metrics::new());
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut place = connections.admit(Transport::Tcp, at(5060), at(5061)).unwrap();
        let began = Instant::now();
        let carrying = tokio::spawn(async move { carry(ours, &mut place).await });
        let pong = Duration::from_secs(95);
        for _ in 0..40 {
            tokio::time::sleep(pong).await;
            theirs.write_all(PONG).await.unwrap();
        }
        carrying.await.unwrap();
        assert_eq!((Instant::now() - began).as_secs(), (pong * 40 + IDLE_MAX).as_secs());
    }
}
