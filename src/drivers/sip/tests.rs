//! Tests of connections over real sockets: one side accepts, the other is dialled, both as in the driver.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use super::{
    Inbound,
    accept::{Gate, accept},
    connections::Connections,
    dial::dial,
};
use crate::{
    config,
    net::{sip_tls::SipTls, tcp},
    sip::{Flow, Message, Transport, flow::OPENED_BY_US},
    telemetry::Metrics,
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_is_opened_and_what_was_sent_before_arrives_in_order() {
    let mut server = Side::new(no_tls());
    let address = server.listen(Transport::Tcp);
    let mut client = Side::new(no_tls());
    let flow = client.dial(Transport::Tcp, address, "127.0.0.1");
    client.send(flow, &options("first"));
    client.send(flow, &options("second"));
    let (theirs, call_id) = server.message().await;
    assert_eq!((theirs.transport, call_id.as_str()), (Transport::Tcp, "first"));
    assert_eq!(server.message().await.1, "second");
    server.send(theirs, &options("back"));
    assert_eq!(client.message().await, (flow, "back".to_owned()));
}

#[tokio::test]
async fn a_connection_nobody_takes_is_told_like_a_closed_one() {
    let mut client = Side::new(no_tls());
    let flow = client.dial(Transport::Tcp, ([127, 0, 0, 1], 1).into(), "127.0.0.1");
    client.send(flow, &options("lost"));
    client.closed(flow).await;
    assert!(client.metrics.render().contains("reason=\"tcp_connect\"} 1"));
}

#[tokio::test]
async fn both_sides_are_told_when_a_connection_ends() {
    let mut server = Side::new(no_tls());
    let address = server.listen(Transport::Tcp);
    let mut client = Side::new(no_tls());
    let flow = client.dial(Transport::Tcp, address, "127.0.0.1");
    client.send(flow, &options("hello"));
    let (theirs, _) = server.message().await;
    client.tasks.shutdown().await;
    server.closed(theirs).await;
    assert_eq!(server.metrics.level(crate::telemetry::Level::SipConnections), 0);
}

/// One side of connections, with what its driver would hold.
struct Side {
    connections: Connections,
    tls: Arc<SipTls>,
    inbound: mpsc::Receiver<Inbound>,
    metrics: Metrics,
    tasks: JoinSet<()>,
    opened: u64,
}

impl Side {
    fn new(tls: config::SipTls) -> Self {
        let (sender, inbound) = mpsc::channel(64);
        let metrics = Metrics::new();
        Self {
            connections: Connections::new(sender, metrics.clone()),
            tls: Arc::new(SipTls::new(tls).unwrap()),
            inbound,
            metrics,
            tasks: JoinSet::new(),
            opened: OPENED_BY_US,
        }
    }

    fn listen(&mut self, transport: Transport) -> SocketAddr {
        let listener: TcpListener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate {
            connections: self.connections.clone(),
            admits: |_| true,
            tls: self.tls.clone(),
            told: Arc::default(),
        };
        self.tasks.spawn(accept(listener, transport, gate));
        address
    }

    fn dial(&mut self, transport: Transport, remote: SocketAddr, name: &str) -> Flow {
        self.opened += 1;
        let flow = Flow {
            transport,
            local: ([127, 0, 0, 1], transport.default_port()).into(),
            remote,
            connection: self.opened,
        };
        let place = self.connections.reserve(flow).unwrap();
        self.tasks.spawn(dial(place, name.to_owned(), self.tls.clone()));
        flow
    }

    fn send(&self, flow: Flow, message: &str) {
        self.connections.send(flow.connection, message.as_bytes().to_vec());
    }

    /// The next message: the way it came and its Call-ID.
    async fn message(&mut self) -> (Flow, String) {
        match self.next().await {
            Inbound::Message(flow, Ok(message)) => match *message {
                Message::Request(request) => (flow, request.headers.call_id().unwrap().to_owned()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self, expected: Flow) {
        match self.next().await {
            Inbound::Closed(flow) => assert_eq!(flow, expected),
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> Inbound {
        let next = tokio::time::timeout(PATIENCE, self.inbound.recv()).await;
        next.expect("nothing came").expect("the readers are there")
    }
}

fn no_tls() -> config::SipTls {
    config::SipTls::default()
}

fn options(call_id: &str) -> String {
    format!(
        "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}
