//! Receives with the time at which the kernel got each packet, so that a reader which comes late measures no lateness
//! of its own.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    cmsg_space,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
};

use super::clock;

/// What a receive buffer should hold: hundreds of packets while the reader is off the core. The kernel gives less where
/// it is told to.
const BUFFER_BYTES: usize = 2 << 20;

/// Receives from sockets that [`prepare`] was called for.
#[derive(Debug)]
pub struct Receiver {
    control: Vec<u8>,
}

/// What came.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// How much of the buffer it fills.
    pub bytes: usize,
    /// The port it came from; 0 on a connection.
    pub port: u16,
    /// When the kernel got it, in nanoseconds of the wall clock; of a connection, the last of it.
    pub at: u64,
}

/// Has the kernel stamp what comes to this socket.
pub fn prepare(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(())
}

/// Has the kernel keep more for this socket.
pub fn widen(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
    Ok(())
}

impl Receiver {
    /// A receiver, for any number of sockets.
    pub fn new() -> Self {
        Self {
            control: cmsg_space!(TimeSpec),
        }
    }

    /// Takes what has come, without waiting.
    pub fn receive(&mut self, socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Received> {
        let mut slices = [IoSliceMut::new(buffer)];
        let control = Some(&mut self.control[..]);
        let got = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, control, MsgFlags::MSG_DONTWAIT)?;
        let stamps = got.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        });
        Ok(Received {
            bytes: got.bytes,
            port: got.address.map_or(0, |address| address.port()),
            at: stamps.map_or_else(clock::now, |time| {
                time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_packet_carries_the_time_it_came_however_late_it_is_read() {
        let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mouth = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare(&ear).unwrap();
        let mut buffer = [0; 100];
        // The kernel begins to take times a little after it was asked to; what came before has that of its reading.
        let in_time = (0..100).any(|_| {
            let before = clock::now();
            mouth.send_to(b"hello", ear.local_addr().unwrap()).unwrap();
            let after = clock::now();
            clock::sleep_until(after + 30 * clock::MS);
            let got = Receiver::new().receive(&ear, &mut buffer).unwrap();
            assert_eq!(
                (&buffer[..got.bytes], got.port),
                (&b"hello"[..], mouth.local_addr().unwrap().port())
            );
            (before..=after).contains(&got.at)
        });
        assert!(in_time, "every packet has the time of its reading");
        let nothing = Receiver::new().receive(&ear, &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}
