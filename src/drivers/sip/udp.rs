//! The UDP sockets: one reader each, and sending without waiting.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use super::Inbound;
use crate::{
    net::udp::LocalAddresses,
    sip::{Flow, Transport},
    telemetry::{Metrics, Queue},
};

/// The largest datagram read; the reader refuses what is longer than its own bound.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// All UDP sockets.
#[derive(Debug)]
pub(super) struct Datagrams {
    sockets: HashMap<SocketAddr, Arc<UdpSocket>>,
    metrics: Metrics,
}

impl Datagrams {
    /// Takes over the sockets and starts a reader for each.
    pub(super) fn start(
        bound: Vec<UdpSocket>,
        inbound: &mpsc::Sender<Inbound>,
        readers: &mut JoinSet<()>,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let mut sockets = HashMap::new();
        for socket in bound {
            let socket = Arc::new(socket);
            let bound = socket.local_addr()?;
            sockets.insert(bound, socket.clone());
            readers.spawn(read(socket, bound, inbound.clone(), metrics.clone()));
        }
        let metrics = metrics.clone();
        Ok(Self { sockets, metrics })
    }

    /// Sends at once or not at all: what the kernel does not take is lost like any datagram.
    pub(super) fn send(&self, flow: Flow, bytes: &[u8]) {
        let mut sockets = self.sockets.iter();
        let Some((_, socket)) = sockets.find(|(bound, _)| serves(**bound, flow)) else {
            return;
        };
        if let Err(error) = socket.try_send_to(bytes, flow.remote) {
            self.metrics.queue_drop(Queue::SipDatagrams);
            tracing::debug!(remote = %flow.remote, %error, "a SIP datagram was not sent");
        }
    }
}

/// Whether the socket bound here is the one a flow came in on; a wildcard socket serves every local address.
fn serves(bound: SocketAddr, flow: Flow) -> bool {
    bound.port() == flow.local.port()
        && (bound.ip() == flow.local.ip() || (bound.ip().is_unspecified() && bound.is_ipv4() == flow.local.is_ipv4()))
}

async fn read(socket: Arc<UdpSocket>, bound: SocketAddr, inbound: mpsc::Sender<Inbound>, metrics: Metrics) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut addresses = LocalAddresses::new(bound);
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let flow = Flow {
                    transport: Transport::Udp,
                    local: addresses.facing(remote),
                    remote,
                    connection: 0,
                };
                let datagram = Inbound::Datagram(flow, buffer[..length].to_vec());
                if inbound.try_send(datagram).is_err() {
                    metrics.queue_drop(Queue::SipInbound);
                }
            }
            // Linux reports a peer's ICMP refusal here; it concerns one peer, not the socket.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::error!(%bound, %error, "the SIP socket cannot be read");
                return;
            }
        }
    }
}
