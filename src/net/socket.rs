//! What all our sockets have in common: how they are opened and how their packets are marked.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// What a socket carries; routers that honour DSCP queue it accordingly (RFC 4594).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Class selector 3.
    Signalling,
    /// Expedited forwarding.
    Voice,
}

impl Traffic {
    /// The type-of-service byte: the DSCP in its upper six bits.
    fn service_byte(self) -> u32 {
        match self {
            Self::Signalling => 0x60,
            Self::Voice => 0xb8,
        }
    }
}

/// A UDP socket: non-blocking, marked, not yet bound.
pub(super) fn udp(address: SocketAddr, traffic: Traffic) -> io::Result<Socket> {
    open(address, Type::DGRAM, Protocol::UDP, traffic)
}

/// A TCP socket: non-blocking, marked, not yet bound.
pub(super) fn tcp(address: SocketAddr, traffic: Traffic) -> io::Result<Socket> {
    open(address, Type::STREAM, Protocol::TCP, traffic)
}

/// Says which address cannot be listened on, and what to do about it. The kind of the error stays.
pub(super) fn unusable(protocol: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program holds it: stop that one, or configure another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have it: configure one of its own",
        io::ErrorKind::PermissionDenied => "grant CAP_NET_BIND_SERVICE, or configure a port above 1023",
        _ => "check the configured address",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on {protocol} {address} ({error}): {advice}"),
    )
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol, traffic: Traffic) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Each family has its own listener, so peers never show up with IPv4-mapped addresses.
        socket.set_only_v6(true)?;
    }
    mark(&socket, address, traffic);
    Ok(socket)
}

/// Marks what is sent. Some containers forbid it, and calls work without, so a refusal is passed over.
fn mark(socket: &Socket, address: SocketAddr, traffic: Traffic) {
    let marked = match address {
        SocketAddr::V4(_) => socket.set_tos_v4(traffic.service_byte()),
        SocketAddr::V6(_) => socket.set_tclass_v6(traffic.service_byte()),
    };
    if let Err(error) = marked {
        tracing::debug!(%error, ?traffic, "packets cannot be marked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_is_marked_for_expedited_forwarding_and_signalling_as_its_class() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(udp(address, Traffic::Voice).unwrap().tos_v4().unwrap() >> 2, 46);
        assert_eq!(tcp(address, Traffic::Signalling).unwrap().tos_v4().unwrap() >> 2, 24);
    }
}
