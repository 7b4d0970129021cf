//! TCP sockets: listening, and connecting to SIP peers.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::socket::{self, Traffic};

/// Connections the kernel holds until they are accepted; past it a peer's attempt waits for its own retransmission.
const BACKLOG: i32 = 1024;

/// How long accepting pauses when the process is out of file descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a silent connection stays unquestioned; peers that vanished without a word are found out after about two
/// minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Starts listening; what is accepted is marked as signalling. Needs a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    open(address).map_err(|error| socket::unusable("TCP", address, &error))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket::tcp(address, Traffic::Signalling)?;
    // A restarted gateway may bind while connections of the one before linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. Never gives up: a peer that was gone before it was accepted is passed over, and when the
/// process is out of file descriptors it pauses, once logged, until there are some again. Cancel-safe.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tune(&stream);
                return (stream, peer);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if !logged {
                    tracing::error!(%error, "connections cannot be accepted: raise the limit of open files");
                    logged = true;
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Connects from this address of ours, marked as signalling. How long it may take is for the caller to bound.
pub async fn connect(local: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let local = match (local, remote) {
        // A link-local address means nothing without its link.
        (IpAddr::V6(local), SocketAddr::V6(remote)) => SocketAddrV6::new(local, 0, 0, remote.scope_id()).into(),
        (local, _) => SocketAddr::new(local, 0),
    };
    let socket = socket::tcp(remote, Traffic::Signalling)?;
    socket.bind(&local.into())?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(remote).await?;
    tune(&stream);
    Ok(stream)
}

/// Small messages leave at once, and a dead peer is noticed. Neither is worth losing the connection for.
pub fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_AFTER / 4)
        .with_retries(4);
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection cannot be tuned");
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_sends_small_messages_at_once() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, (server, peer)) = tokio::join!(TcpStream::connect(address), accept(&listener));
        assert_eq!(client.unwrap().local_addr().unwrap(), peer);
        assert!(server.nodelay().unwrap());
        assert!(SockRef::from(&server).keepalive().unwrap());
    }

    #[tokio::test]
    async fn a_connection_leaves_from_the_address_it_is_told() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let local = IpAddr::from([127, 0, 0, 5]);
        let (client, (_server, peer)) = tokio::join!(connect(local, address), accept(&listener));
        assert_eq!((client.unwrap().local_addr().unwrap(), peer.ip()), (peer, local));
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused_and_named() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let error = listen(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(
            text.contains(&format!("TCP {address}")) && text.contains("another port"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn both_families_listen_on_one_port() {
        let Ok(six) = listen((std::net::Ipv6Addr::LOCALHOST, 0).into()) else {
            return;
        };
        let port = six.local_addr().unwrap().port();
        drop(six);
        let six = listen((std::net::Ipv6Addr::UNSPECIFIED, port).into());
        let four = listen((std::net::Ipv4Addr::new(127, 77, 3, 2), port).into());
        assert_eq!((six.is_ok(), four.is_ok()), (true, true));
    }
}
