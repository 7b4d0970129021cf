//! SIP over TCP: accepting, framing, and a bounded queue to each peer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
};

use super::{refusals, sip::Inbound};
use crate::{
    net::tcp,
    sip::{Flow, Origin, PONG, StreamEvent, StreamReader, Transport},
    telemetry::{Metrics, Queue},
};

/// Connections served at once; one more is closed right after it was accepted.
const CONNECTIONS_MAX: usize = 1024;

/// Messages that may wait for one slow peer; past it the connection is closed.
const OUTBOX_MAX: usize = 64;

/// A connection on which nothing arrives for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(900);

/// How long a peer may take to accept one message.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long a connection that sent something unreadable stays open for our answer to it.
const LINGER: Duration = Duration::from_millis(500);

/// How much is read at once.
const READ_BYTES: usize = 8192;

/// All open connections.
#[derive(Debug, Clone)]
pub struct Connections {
    open: Arc<Mutex<HashMap<u64, mpsc::Sender<Vec<u8>>>>>,
    next: Arc<AtomicU64>,
    inbound: mpsc::Sender<Inbound>,
    metrics: Metrics,
}

impl Connections {
    /// No connections yet; what they read goes to `inbound`.
    pub fn new(inbound: mpsc::Sender<Inbound>, metrics: Metrics) -> Self {
        Self {
            open: Arc::default(),
            next: Arc::new(AtomicU64::new(1)),
            inbound,
            metrics,
        }
    }

    /// Sends on a connection; one that does not drain is closed.
    pub fn send(&self, connection: u64, bytes: Vec<u8>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outbox) = open.get(&connection)
            && outbox.try_send(bytes).is_err()
        {
            self.metrics.queue_drop(Queue::SipConnection);
            open.remove(&connection);
        }
    }

    fn register(&self) -> Option<(u64, mpsc::Receiver<Vec<u8>>)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= CONNECTIONS_MAX {
            return None;
        }
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(OUTBOX_MAX);
        open.insert(connection, sender);
        self.metrics.sip_connections(open.len());
        Some((connection, receiver))
    }

    fn forget(&self, connection: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&connection);
        self.metrics.sip_connections(open.len());
    }
}

/// Accepts connections from sources that may talk to us at all. The connections end with this future.
pub async fn accept(listener: TcpListener, connections: Connections, admits: impl Fn(Origin) -> bool) {
    let mut serving = JoinSet::new();
    loop {
        let (stream, remote) = tokio::select! {
            accepted = tcp::accept(&listener) => accepted,
            Some(_) = serving.join_next() => continue,
        };
        // A connection that is gone already has no local end.
        let Ok(local) = stream.local_addr() else { continue };
        if admits(Origin::of(local.ip(), remote.ip())) {
            serving.spawn(serve(stream, remote, connections.clone()));
        } else {
            refuse(remote, &connections);
        }
    }
}

fn refuse(remote: SocketAddr, connections: &Connections) {
    connections.metrics.sip_refused("unknown_source");
    refusals::connection(remote);
}

async fn serve(stream: TcpStream, remote: SocketAddr, connections: Connections) {
    let Ok(local) = stream.local_addr() else { return };
    let Some((connection, outbox)) = connections.register() else {
        tracing::warn!(%remote, connections_max = CONNECTIONS_MAX, "a SIP connection was closed: too many are open");
        return;
    };
    let flow = Flow {
        transport: Transport::Tcp,
        local,
        remote,
        connection,
    };
    let (reader, writer) = stream.into_split();
    tokio::select! {
        () = read(reader, flow, &connections) => {}
        () = write(writer, outbox) => {}
    }
    connections.forget(connection);
    // The driver is the only receiver; when it is gone there is nobody left to tell.
    let _ = connections.inbound.send(Inbound::Closed(flow)).await;
}

async fn read(mut stream: OwnedReadHalf, flow: Flow, connections: &Connections) {
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
    match connections.inbound.send(Inbound::Message(flow, message)).await {
        Ok(()) => then,
        Err(_) => Stream::Broken,
    }
}

async fn write(mut stream: OwnedWriteHalf, mut outbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = outbox.recv().await {
        let Ok(Ok(())) = tokio::time::timeout(WRITE_MAX, stream.write_all(&bytes)).await else {
            return;
        };
    }
}
