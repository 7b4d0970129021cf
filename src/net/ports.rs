//! The pool of RTP ports: an even port for RTP with the odd one above it for RTCP (RFC 3550 section 11).
//!
//! A pair comes with its sockets bound, so a port that another program holds is found out here and passed over. Pairs
//! are handed out longest-free first, starting in a random order, so the next port cannot be guessed from the last. A
//! pair that comes back rests for [`REST`]: late packets of an ended call meet a closed port rather than somebody else's
//! call. Only when nothing but resting pairs is left does the one that rested longest serve again, with a warning: to
//! refuse a call is certain harm, and a stranger's packets are dropped by the new call's latch in nearly every case.
//! Some pairs may be kept for calls that come in: calls of ours leave them alone.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::socket::{self, Traffic};

/// Pairs tried for one call before giving up; each that is held by another program costs two system calls.
const TRIES_MAX: usize = 64;

/// How long a pair that came back is not handed out again: as long as a BYE is repeated towards a far end that does not
/// hear it (64 × T1, RFC 3261 section 17.1.2.2), and may go on sending meanwhile.
pub const REST: Duration = Duration::from_secs(32);

/// Who wants ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A call that came in.
    Inbound,
    /// A call of ours, which leaves the inbound reserve alone.
    Outbound,
}

/// The pool; clones share it.
#[derive(Debug, Clone)]
pub struct PortPool {
    shared: Arc<Shared>,
}

/// A pair with its sockets, bound and non-blocking. The ports go back to the pool when the lease is dropped.
#[derive(Debug)]
pub struct PortPair {
    /// The even port.
    pub rtp: UdpSocket,
    /// The odd port.
    pub rtcp: UdpSocket,
    /// Gives the ports back; drop it after the sockets.
    pub lease: PortLease,
}

/// The right to use one pair of ports.
#[derive(Debug)]
pub struct PortLease {
    shared: Arc<Shared>,
    port: u16,
}

/// No pair of ports could be had.
#[derive(Debug, thiserror::Error)]
pub enum NoPorts {
    /// All are in use by calls.
    #[error("all {pairs} RTP port pairs are in use: widen [media] ports")]
    Exhausted {
        /// How many there are.
        pairs: usize,
    },
    /// Those that are left are for calls that come in.
    #[error(
        "the last {reserve} RTP port pairs are kept for inbound calls: widen [media] ports, or lower inbound_reserve"
    )]
    Reserved {
        /// How many are kept.
        reserve: usize,
    },
    /// Other programs hold too many of them.
    #[error("{tried} RTP port pairs in a row are held by other programs: choose another range for [media] ports")]
    Taken {
        /// How many were tried.
        tried: usize,
    },
    /// The address or the process does not allow it.
    #[error("RTP sockets cannot be bound to {address}: {cause}")]
    Bind {
        /// Where.
        address: IpAddr,
        /// What the system says.
        cause: io::Error,
    },
}

#[derive(Debug)]
struct Shared {
    /// The longest free in front.
    free: Mutex<VecDeque<Free>>,
    pairs: usize,
    inbound_reserve: usize,
    in_use: AtomicUsize,
}

/// A pair that no call holds.
#[derive(Debug, Clone, Copy)]
struct Free {
    /// The even port.
    port: u16,
    /// When its last call gave it back; none had it yet.
    since: Option<Instant>,
}

impl PortPool {
    /// All whole pairs inside this range, so many of them kept for inbound calls.
    pub fn new(ports: RangeInclusive<u16>, inbound_reserve: usize) -> Self {
        let is_pair = |port: &u16| *port > 0 && port.is_multiple_of(2) && ports.contains(&(port | 1));
        let mut free: Vec<u16> = ports.clone().filter(is_pair).collect();
        shuffle(&mut free);
        let pairs = free.len();
        let free = free.into_iter().map(|port| Free { port, since: None });
        Self {
            shared: Arc::new(Shared {
                free: Mutex::new(free.collect()),
                pairs,
                inbound_reserve,
                in_use: AtomicUsize::new(0),
            }),
        }
    }

    /// A pair bound to this address.
    pub fn take(&self, address: IpAddr, purpose: Use) -> Result<PortPair, NoPorts> {
        let mut tried = 0;
        while tried < TRIES_MAX.min(self.pairs()) {
            let Some(lease) = self.lease(Instant::now(), purpose)? else {
                break;
            };
            match lease.bind(address) {
                Ok((rtp, rtcp)) => return Ok(PortPair { rtp, rtcp, lease }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => tried += 1,
                Err(cause) => return Err(NoPorts::Bind { address, cause }),
            }
        }
        Err(if tried == 0 {
            NoPorts::Exhausted { pairs: self.pairs() }
        } else {
            NoPorts::Taken { tried }
        })
    }

    /// How many pairs calls hold now.
    pub fn in_use(&self) -> usize {
        self.shared.in_use.load(Ordering::Relaxed)
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.shared.pairs
    }

    fn lease(&self, now: Instant, purpose: Use) -> Result<Option<PortLease>, NoPorts> {
        let mut pairs = self.shared.free();
        let reserve = self.shared.inbound_reserve;
        if purpose == Use::Outbound && (1..=reserve).contains(&pairs.len()) {
            return Err(NoPorts::Reserved { reserve });
        }
        let Some(Free { port, since }) = pairs.pop_front() else {
            return Ok(None);
        };
        drop(pairs);
        let rested = since.map_or(REST, |since| now.saturating_duration_since(since));
        if rested < REST {
            tracing::warn!(
                port,
                rested_ms = rested.as_millis() as u64,
                "an RTP port serves again before it has rested: widen [media] ports"
            );
        }
        self.shared.in_use.fetch_add(1, Ordering::Relaxed);
        Ok(Some(PortLease {
            shared: self.shared.clone(),
            port,
        }))
    }
}

impl PortLease {
    /// The even port.
    pub fn rtp_port(&self) -> u16 {
        self.port
    }

    fn bind(&self, address: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
        Ok((
            bind((address, self.port).into())?,
            bind((address, self.port | 1).into())?,
        ))
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let since = Some(Instant::now());
        self.shared.free().push_back(Free { port: self.port, since });
        self.shared.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, VecDeque<Free>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket::udp(address, Traffic::Voice)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Fisher and Yates. Without randomness from the system the order stays as it is, which costs only predictability.
fn shuffle(ports: &mut [u16]) {
    for last in (1..ports.len()).rev() {
        if let Ok(random) = getrandom::u32() {
            ports.swap(last, random as usize % (last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::Ipv4Addr};

    use super::*;

    /// An address of the loopback network that nobody else binds, with ports below those the kernel gives away.
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 77, 3, 1));

    #[test]
    fn a_pair_is_an_even_port_and_the_odd_one_above_it() {
        let pool = PortPool::new(11_001..=11_006, 0);
        assert_eq!(pool.pairs(), 2);
        let (first, second) = (
            pool.take(LOOPBACK, Use::Inbound).unwrap(),
            pool.take(LOOPBACK, Use::Inbound).unwrap(),
        );
        for pair in [&first, &second] {
            let (rtp, rtcp) = (port(&pair.rtp), port(&pair.rtcp));
            assert!(rtp % 2 == 0 && rtcp == rtp + 1 && (11_001..=11_006).contains(&rtp));
            assert_eq!(pair.lease.rtp_port(), rtp);
        }
        assert_ne!(port(&first.rtp), port(&second.rtp));
    }

    #[test]
    fn an_exhausted_pool_says_so_and_recovers_when_a_pair_comes_back() {
        let pool = PortPool::new(11_010..=11_013, 0);
        let first = pool.take(LOOPBACK, Use::Inbound).unwrap();
        let _second = pool.take(LOOPBACK, Use::Inbound).unwrap();
        assert!(matches!(
            pool.take(LOOPBACK, Use::Inbound),
            Err(NoPorts::Exhausted { pairs: 2 })
        ));
        assert_eq!(pool.in_use(), 2);
        drop(first);
        assert_eq!(pool.in_use(), 1);
        pool.take(LOOPBACK, Use::Inbound).unwrap();
    }

    #[test]
    fn the_pair_freed_last_is_used_last() {
        let pool = PortPool::new(11_020..=11_027, 0);
        let freed = port(&pool.take(LOOPBACK, Use::Inbound).unwrap().rtp);
        let pairs: Vec<_> = (0..4).map(|_| pool.take(LOOPBACK, Use::Inbound).unwrap()).collect();
        assert_eq!(port(&pairs[3].rtp), freed);
    }

    #[test]
    fn a_pair_that_came_back_is_not_taken_while_another_is_left() {
        let pool = PortPool::new(11_050..=11_057, 0);
        let mut held: Vec<_> = (0..3).map(|_| pool.take(LOOPBACK, Use::Inbound).unwrap()).collect();
        let used: Vec<_> = held.iter().map(|pair| port(&pair.rtp)).collect();
        held.clear();
        let fresh = pool.take(LOOPBACK, Use::Inbound).unwrap();
        assert!(!used.contains(&port(&fresh.rtp)));
        // Nothing but resting pairs is left: the one that rested longest serves.
        let again = pool.take(LOOPBACK, Use::Inbound).unwrap();
        assert_eq!(port(&again.rtp), used[0]);
    }

    #[test]
    fn calls_of_ours_leave_the_inbound_reserve_alone() {
        let pool = PortPool::new(11_060..=11_065, 1);
        let _ours: Vec<_> = (0..2).map(|_| pool.take(LOOPBACK, Use::Outbound).unwrap()).collect();
        let refused = pool.take(LOOPBACK, Use::Outbound);
        assert!(matches!(refused, Err(NoPorts::Reserved { reserve: 1 })));
        assert_eq!(pool.in_use(), 2);
        let _inbound = pool.take(LOOPBACK, Use::Inbound).unwrap();
        let full = pool.take(LOOPBACK, Use::Outbound);
        assert!(matches!(full, Err(NoPorts::Exhausted { pairs: 3 })));
    }

    #[test]
    fn ports_held_by_another_program_are_passed_over() {
        let pool = PortPool::new(11_030..=11_033, 0);
        let rtcp_of_another = UdpSocket::bind((LOOPBACK, 11_031)).unwrap();
        assert_eq!(port(&pool.take(LOOPBACK, Use::Inbound).unwrap().rtp), 11_032);
        let pair = pool.take(LOOPBACK, Use::Inbound).unwrap();
        assert!(matches!(
            pool.take(LOOPBACK, Use::Inbound),
            Err(NoPorts::Taken { tried: _ })
        ));
        assert_eq!(pool.in_use(), 1);
        drop((pair, rtcp_of_another));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn an_address_that_is_not_ours_is_named_and_leaks_nothing() {
        let pool = PortPool::new(11_040..=11_043, 0);
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = pool.take(elsewhere, Use::Inbound).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_range_without_a_whole_pair_is_an_empty_pool() {
        for ports in [11_001..=11_002, 11_000..=11_000, 65_535..=65_535] {
            assert!(matches!(
                PortPool::new(ports, 0).take(LOOPBACK, Use::Inbound),
                Err(NoPorts::Exhausted { pairs: 0 })
            ));
        }
    }

    #[test]
    fn the_whole_port_space_holds_each_even_port_once() {
        let pool = PortPool::new(0..=65_535, 0);
        let free: HashSet<_> = pool.shared.free().iter().map(|free| free.port).collect();
        assert_eq!((free.len(), pool.pairs()), (32_767, 32_767));
    }

    fn port(socket: &UdpSocket) -> u16 {
        socket.local_addr().unwrap().port()
    }
}
