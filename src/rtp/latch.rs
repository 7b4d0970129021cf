//! Symmetric RTP: which of all senders is the far end, and where to send.
//!
//! Behind a NAT the address in the session description is not where packets come from, so the first valid packet
//! decides (RFC 4961, and the "latching" of RFC 7362). From then on packets from elsewhere are dropped. The address
//! the signalling vouches for outranks a source that merely came first: once it speaks, it takes the latch and keeps
//! it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Holds on to one source at a time.
#[derive(Clone, Debug)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    source: SocketAddr,
    heard_at: Instant,
}

/// How long the source must have been silent before another may take its place: longer than any hiccup of a network,
/// short enough for a phone whose NAT forgot it.
pub const RELATCH_AFTER: Duration = Duration::from_secs(3);

impl Latch {
    /// A latch that knows nobody.
    pub fn new() -> Self {
        Self {
            signalled: None,
            held: None,
        }
    }

    /// Takes in the address of a session description. A new one lets go of the source; the same one, or an unspecified
    /// one (the old way to say hold), changes nothing.
    pub fn signal(&mut self, address: SocketAddr) {
        let unusable = address.ip().is_unspecified() || address.port() == 0;
        if !unusable && self.signalled != Some(address) {
            self.signalled = Some(address);
            self.held = None;
        }
    }

    /// Whether a packet from here is to be taken. Ask only for packets that are otherwise valid: the first one latches.
    pub fn accepts(&mut self, now: Instant, from: SocketAddr) -> bool {
        let accepted = match self.held {
            Some(held) => held.source == from || self.is_signalled(from) || held.is_stale(now),
            None => true,
        };
        if accepted {
            self.held = Some(Held {
                source: from,
                heard_at: now,
            });
        }
        accepted
    }

    /// Whether this is the latched source. Asking changes nothing.
    pub fn holds(&self, from: SocketAddr) -> bool {
        self.held.is_some_and(|held| held.source == from)
    }

    /// Where the far end is: the latched source, else the signalled address.
    pub fn target(&self) -> Option<SocketAddr> {
        self.held.map(|held| held.source).or(self.signalled)
    }

    /// Whether a source was latched that the signalling did not name.
    pub fn is_elsewhere(&self) -> bool {
        self.held.is_some_and(|held| !self.is_signalled(held.source))
    }

    /// A socket of both families shows an IPv4 source in its mapped form.
    fn is_signalled(&self, from: SocketAddr) -> bool {
        self.signalled.is_some_and(|signalled| {
            signalled.port() == from.port() && signalled.ip().to_canonical() == from.ip().to_canonical()
        })
    }
}

impl Held {
    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) >= RELATCH_AFTER
    }
}

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signalled_address_is_the_target_until_a_packet_comes() {
        let mut latch = signalled("192.0.2.1:4000");
        assert_eq!(latch.target(), Some(address("192.0.2.1:4000")));
        assert!(latch.accepts(Instant::now(), address("198.51.100.9:7000")));
        assert_eq!(latch.target(), Some(address("198.51.100.9:7000")));
        assert!(latch.is_elsewhere());
    }

    #[test]
    fn packets_from_elsewhere_are_refused_while_the_source_speaks() {
        let now = Instant::now();
        let mut latch = signalled("192.0.2.1:4000");
        for tick in 0..1_000 {
            let now = now + Duration::from_millis(20) * tick;
            assert!(latch.accepts(now, address("192.0.2.1:4000")));
            assert!(!latch.accepts(now, address("203.0.113.66:4000")));
            assert!(!latch.accepts(now, address("192.0.2.1:4002")));
        }
        assert_eq!(latch.target(), Some(address("192.0.2.1:4000")));
    }

    #[test]
    fn another_source_may_latch_only_after_silence() {
        let now = Instant::now();
        let mut latch = signalled("192.0.2.1:4000");
        assert!(latch.accepts(now, address("192.0.2.1:4000")));
        assert!(!latch.accepts(
            now + RELATCH_AFTER - Duration::from_millis(1),
            address("192.0.2.1:9999")
        ));
        assert!(latch.accepts(now + RELATCH_AFTER, address("192.0.2.1:9999")));
        assert_eq!(latch.target(), Some(address("192.0.2.1:9999")));
    }

    #[test]
    fn the_signalled_address_takes_the_latch_from_whoever_came_first() {
        let now = Instant::now();
        let mut latch = signalled("192.0.2.1:4000");
        assert!(latch.accepts(now, address("203.0.113.66:1234")));
        assert!(latch.accepts(now, address("[::ffff:192.0.2.1]:4000")));
        assert!(!latch.accepts(now, address("203.0.113.66:1234")));
        assert!(!latch.is_elsewhere());
    }

    #[test]
    fn only_a_new_signalled_address_lets_go() {
        let now = Instant::now();
        let mut latch = signalled("192.0.2.1:4000");
        assert!(latch.accepts(now, address("198.51.100.9:7000")));
        latch.signal(address("192.0.2.1:4000"));
        latch.signal(address("0.0.0.0:4000"));
        assert_eq!(latch.target(), Some(address("198.51.100.9:7000")));
        latch.signal(address("192.0.2.1:4004"));
        assert_eq!(latch.target(), Some(address("192.0.2.1:4004")));
        assert!(latch.accepts(now, address("198.51.100.9:7010")));
    }

    fn signalled(text: &str) -> Latch {
        let mut latch = Latch::new();
        latch.signal(address(text));
        latch
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
