//! Learning that nobody listens where our packets go.
//!
//! A socket that is not connected hears of ICMP errors only when it asks to (`IP_RECVERR`), and connecting it would hide
//! packets that come from elsewhere. What it then hears is an error of the next read or write, and a copy of the
//! refused packet in a queue beside, which has to be emptied because it takes room from what comes in.

use std::{
    io::{self, IoSliceMut},
    net::UdpSocket,
    os::fd::AsRawFd,
};

use nix::sys::socket::{MsgFlags, recvmsg, setsockopt, sockopt};

/// Refusals taken off in one go; those beyond wait for the next.
const REFUSALS_MAX: usize = 64;

/// Asks to be told of refusals. Where the system does not do that, nothing is told of them.
pub(super) fn watch(socket: &UdpSocket) {
    let asked = [
        setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    ];
    if asked.iter().all(Result::is_err) {
        tracing::debug!("refused RTP cannot be told: IP_RECVERR is not supported");
    }
}

/// Whether this is the far end's host, or a router on the way, refusing an earlier packet.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// Empties the queue of refusals.
pub(super) fn drain(socket: &impl AsRawFd) {
    let mut byte = [0; 1];
    let mut room = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    for _ in 0..REFUSALS_MAX {
        if recvmsg::<()>(socket.as_raw_fd(), &mut room, None, flags).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_closed_port_refuses_and_what_it_refused_is_forgotten() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        watch(&socket);
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let open = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            // The refusal of the one before may be told here.
            let _ = socket.send_to(&[1; 172], closed);
        }
        let refusals = (0..3).filter(|_| is_refusal(&socket.recv_from(&mut [0; 9]).unwrap_err()));
        assert!(refusals.count() > 0);
        drain(&socket);
        assert!(
            recvmsg::<()>(
                socket.as_raw_fd(),
                &mut [],
                None,
                MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT
            )
            .is_err()
        );
        open.send_to(&[2], socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv_from(&mut [0; 9]).unwrap().0, 1);
    }
}
