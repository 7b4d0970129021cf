//! TCP to a named host: resolve, then try the addresses, each with a small head start over the next (RFC 8305).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};

use super::tcp;

/// How long an address is tried alone before the next joins in (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Addresses of one host that are tried at most.
const ADDRESSES_MAX: usize = 8;

/// How long bytes we sent may stay unacknowledged before the kernel gives the connection up; by default it goes on for
/// a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// The addresses of a host, the families taking turns.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let addresses = alternate(lookup_host((host, port)).await?.collect());
    if addresses.is_empty() {
        Err(io::Error::other("it has no address"))
    } else {
        Ok(addresses)
    }
}

/// The first connection that comes about, or the last failure.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::other("it has no address");
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => {
                    tune(&stream);
                    return Ok(stream);
                }
                Err(error) => failure = error,
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
            else => return Err(failure),
        }
    }
}

/// A backend that vanished should be noticed while the caller is still on the line. Where the system cannot be told,
/// the session's own pings find out.
fn tune(stream: &TcpStream) {
    tcp::tune(stream);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)) {
        tracing::debug!(%error, "a connection cannot be told when to give up");
    }
}

/// Keeps the resolver's order within each family, which is RFC 6724's, and lets the families take turns.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else {
        return addresses;
    };
    let (mut ours, mut others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|one| one.is_ipv4() == first);
    ours.truncate(ADDRESSES_MAX);
    others.truncate(ADDRESSES_MAX);
    let mut others = others.into_iter();
    let mut turns: Vec<_> = ours
        .into_iter()
        .flat_map(|one| [Some(one), others.next()])
        .flatten()
        .collect();
    turns.extend(others);
    turns.truncate(ADDRESSES_MAX);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_preferred_one() {
        let [a, b, c] = [1, 2, 3].map(|n| SocketAddr::from(([192, 0, 2, n], 80)));
        let [x, y] = [1, 2].map(|n| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80)));
        assert_eq!(alternate(vec![a, b, c, x]), [a, x, b, c]);
        assert_eq!(alternate(vec![x, a, y]), [x, a, y]);
        assert_eq!(alternate(vec![x, a, b, c]), [x, a, b, c]);
        assert!(alternate(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let open = listener.local_addr().unwrap();
        let stream = connect(vec![closed(), open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(stream.nodelay().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_gives_up_on_a_backend_that_acknowledges_nothing() {
        let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let stream = connect(vec![listener.local_addr().unwrap()]).await.unwrap();
        assert_eq!(
            SockRef::from(&stream).tcp_user_timeout().unwrap(),
            Some(UNACKNOWLEDGED_MAX)
        );
    }

    #[tokio::test]
    async fn when_every_address_refuses_the_system_says_why() {
        let error = connect(vec![closed(), closed()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        connect(vec![]).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        let expected: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(resolve("::1", 80).await.unwrap(), [expected]);
    }

    /// Port 1, tcpmux: closed wherever tests run.
    fn closed() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
}
