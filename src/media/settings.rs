//! What a leg's media starts with.

use std::{sync::Arc, time::Duration};

use crate::rtp::dtls::Identity;

/// Given once, before anything is negotiated. The numbers should be random: RFC 3550 section 5.1 wants them
/// unpredictable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// Sequence number of the first packet; below 2^15, so that a few lost packets at the beginning hide no rollover
    /// from a far end that counts them (RFC 3711 section 3.3.1).
    pub first_sequence: u16,
    /// Timestamp of the first packet.
    pub first_timestamp: u32,
    /// Spreads the times of RTCP reports, and names us in them.
    pub seed: u64,
    /// How much agent audio may wait to be played; past it the newest is dropped, counted and told.
    pub playout_ms_max: u32,
    /// How long the far end may be silent, no RTP at all, before [`Event::Silent`](super::Event::Silent). `MAX` is
    /// never.
    pub silence_timeout: Duration,
    /// How long the far end may hear nothing of us, by its refusals or its own reports, before
    /// [`Event::Unheard`](super::Event::Unheard). `MAX` is never.
    pub unheard_timeout: Duration,
    /// The NTP timestamp of the beginning (1/2^32 s since 1900), for RTCP; the leg's clock goes on from there.
    pub began_ntp: u64,
    /// Our certificate, for legs whose keys come from a handshake. Without it those fail.
    pub identity: Option<Arc<Identity>>,
    /// What leaves while there is nothing to say.
    pub silence: Silence,
}

/// What leaves while the agent is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Silence {
    /// A packet of silence each packet time: what every far end understands, and what keeps paths open.
    #[default]
    Send,
    /// Nothing but a packet now and then, of comfort noise where that was agreed on.
    Stop,
}

impl Settings {
    /// Two minutes: longer than any answer that is listened to, and under one megabyte.
    pub const PLAYOUT_MS_MAX: u32 = 120_000;
    /// One minute, in which a phone that lives has sent something.
    pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
    /// The same the other way.
    pub const UNHEARD_TIMEOUT: Duration = Duration::from_secs(60);
    /// 1970 began so many seconds after 1900.
    const UNIX_EPOCH_NTP_S: u64 = 2_208_988_800;

    /// Everything that should be random drawn from one random number; limits as above.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            ssrc: random.next() as u32,
            first_sequence: random.next() as u16 & 0x7FFF,
            first_timestamp: random.next() as u32,
            seed: random.next(),
            playout_ms_max: Self::PLAYOUT_MS_MAX,
            silence_timeout: Self::SILENCE_TIMEOUT,
            identity: None,
            silence: Silence::default(),
            unheard_timeout: Self::UNHEARD_TIMEOUT,
            began_ntp: Self::ntp(Duration::ZERO),
        }
    }

    /// An NTP timestamp from Unix time.
    pub fn ntp(unix: Duration) -> u64 {
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        Self::UNIX_EPOCH_NTP_S.wrapping_add(unix.as_secs()) << 32 | fraction
    }
}

/// Numbers that look random and follow from a seed (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// From 0 up to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_seeds_give_different_streams_and_the_same_seed_the_same() {
        assert_eq!(Settings::from_seed(1), Settings::from_seed(1));
        assert_ne!(Settings::from_seed(1).ssrc, Settings::from_seed(2).ssrc);
    }

    #[test]
    fn fractions_spread_over_the_whole_range() {
        let mut random = Random::new(7);
        let mean = (0..10_000).map(|_| random.fraction()).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
