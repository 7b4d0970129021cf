//! Tests of connections over real sockets: one side accepts, the other is dialled, both as in the driver.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    Inbound,
    accept::{Gate, accept},
    connections::Connections,
    dial::dial,
};
use crate::{
    config,
    net::{
        sip_tls::SipTls,
        sip_websocket::{self, Frame},
        tcp,
        test_authority::TestAuthority,
    },
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

#[tokio::test]
async fn tls_and_websockets_are_opened_and_carry_messages_both_ways() {
    let files = Files::new("both");
    for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
        let mut server = Side::new(files.server(false));
        let address = server.listen(transport);
        let mut client = Side::new(files.client(false));
        let flow = client.dial(transport, address, "localhost");
        client.send(flow, &options("there"));
        let (theirs, call_id) = server.message().await;
        assert_eq!((theirs.transport, call_id.as_str()), (transport, "there"));
        server.send(theirs, &options("back"));
        assert_eq!(client.message().await, (flow, "back".to_owned()));
    }
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_gets_nothing() {
    let files = Files::new("name");
    let mut server = Side::new(files.server(false));
    let address = server.listen(Transport::Tls);
    let mut client = Side::new(files.client(false));
    let flow = client.dial(Transport::Tls, address, "pbx.example.com");
    client.send(flow, &options("secret"));
    client.closed(flow).await;
    assert!(client.metrics.render().contains("reason=\"tls_handshake\"} 1"));
    let mut stranger = Side::new(no_tls());
    let flow = stranger.dial(Transport::Tls, address, "localhost");
    stranger.closed(flow).await;
}

#[tokio::test]
async fn our_certificate_is_shown_to_a_server_that_demands_one() {
    let files = Files::new("mutual");
    let mut server = Side::new(files.server(true));
    let address = server.listen(Transport::Tls);
    let mut known = Side::new(files.client(true));
    let flow = known.dial(Transport::Tls, address, "localhost");
    known.send(flow, &options("proved"));
    assert_eq!(server.message().await.1, "proved");
    let mut unknown = Side::new(files.client(false));
    let flow = unknown.dial(Transport::Tls, address, "localhost");
    unknown.closed(flow).await;
}

#[tokio::test]
async fn messages_in_one_piece_or_byte_by_byte_come_out_one_by_one() {
    let mut server = Side::new(no_tls());
    let address = server.listen(Transport::Tcp);
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.set_nodelay(true).unwrap();
    let all = format!("\r\n\r\n{}\r\n{}", options("one"), options("two"));
    peer.write_all(all.as_bytes()).await.unwrap();
    let mut pong = [0; 2];
    peer.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, *b"\r\n");
    for byte in options("three").bytes() {
        peer.write_all(&[byte]).await.unwrap();
    }
    for call_id in ["one", "two", "three"] {
        assert_eq!(server.message().await.1, call_id);
    }
}

#[tokio::test]
async fn a_websocket_answers_keep_alives_and_takes_binary_frames() {
    let mut server = Side::new(no_tls());
    let address = server.listen(Transport::Ws);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut peer = sip_websocket::connect(stream.into(), "localhost", address.port())
        .await
        .unwrap();
    peer.send(Frame::text("\r\n\r\n")).await.unwrap();
    assert_eq!(peer.next().await.unwrap().unwrap(), Frame::text("\r\n"));
    peer.send(Frame::Ping(b"x".to_vec().into())).await.unwrap();
    peer.send(Frame::binary(options("binary").into_bytes())).await.unwrap();
    let (flow, call_id) = server.message().await;
    assert_eq!(call_id, "binary");
    assert!(matches!(peer.next().await.unwrap().unwrap(), Frame::Pong(_)));
    peer.close(None).await.unwrap();
    assert!(matches!(peer.next().await, Some(Ok(Frame::Close(_)))));
    server.closed(flow).await;
}

#[tokio::test]
async fn a_websocket_message_of_any_size_costs_at_most_its_connection() {
    let mut server = Side::new(no_tls());
    let address = server.listen(Transport::Ws);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut peer = sip_websocket::connect(stream.into(), "localhost", address.port())
        .await
        .unwrap();
    let large = options("large").replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(17_000)));
    peer.send(Frame::text(large)).await.unwrap();
    let Inbound::Message(flow, Err(error)) = server.next().await else {
        panic!("it is too large")
    };
    assert_eq!(error.reply().unwrap().status, 513);
    // The gateway may have cut it before all of it is written.
    let _ = peer.send(Frame::text("x".repeat(70_000))).await;
    server.closed(flow).await;
}

/// Certificates in files of one test's own: an authority, and a pair of `localhost` that both sides may show.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("patchcord-sip-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = TestAuthority::new();
        let (certificate, key) = authority.localhost();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("pair.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("pair.key"), key.serialize_pem()).unwrap();
        Self(folder)
    }

    fn server(&self, demands: bool) -> config::SipTls {
        let client_ca = if demands { "client_ca" } else { "ca" };
        self.settings(&[client_ca, "certificate", "key"])
    }

    fn client(&self, shows: bool) -> config::SipTls {
        match shows {
            true => self.settings(&["ca", "certificate", "key"]),
            false => self.settings(&["ca"]),
        }
    }

    fn settings(&self, keys: &[&str]) -> config::SipTls {
        let mut text = "[sip.tls]\n".to_owned();
        for key in keys {
            let value = match *key {
                "certificate" => self.0.join("pair.pem").display().to_string(),
                "key" => format!("file:{}", self.0.join("pair.key").display()),
                _ => self.0.join("ca.pem").display().to_string(),
            };
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
        let read = |path: &str| std::fs::read_to_string(path);
        config::load("f.toml", &text, &BTreeMap::new(), &read).unwrap().sip.tls
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Left over in the temporary directory it would only be litter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
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
