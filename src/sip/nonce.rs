//! Nonces: minted without memory, remembered only once somebody with the right password has used them.
//!
//! A nonce carries when it was minted and a seal over that, so a flood of callers that never answer costs nothing.
//! What is remembered is which counts of a nonce were used, so that a request seen on the wire cannot be sent again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Most nonces whose use is remembered. At the bound the oldest is forgotten, and it and every nonce minted before it
/// count as stale from then on: their holders get a new challenge, nobody gets a second use.
pub const NONCES_MAX: usize = 4096;
/// How many counts behind the highest one a request may come late. Older counts are taken for replays.
const COUNT_WINDOW: u32 = u64::BITS;

const SEAL_PURPOSE: &[u8] = b"sip digest nonce";
const SEAL_BYTES: usize = 16;
const STAMP_BYTES: usize = 16;

/// The nonces of one realm.
#[derive(Debug)]
pub struct Nonces {
    secret: [u8; 32],
    epoch: Instant,
    lifetime_ms: u64,
    minted: u64,
    used: BTreeMap<Stamp, Window>,
    /// Nonces up to this one are stale, because what was remembered of them is forgotten.
    forgotten: Option<Stamp>,
}

/// When a nonce was minted, and as which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    minted_ms: u64,
    serial: u64,
}

/// Why a nonce cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// Not minted here, or too long ago, or forgotten.
    #[error("the nonce is not valid any more")]
    Stale,
    /// This count of the nonce was used before.
    #[error("the nonce count was used before")]
    Replayed,
}

impl Nonces {
    /// No nonces yet. The secret must be random and new with every start of the process.
    pub fn new(now: Instant, secret: [u8; 32], lifetime: Duration) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self {
            secret,
            epoch: now,
            lifetime_ms,
            minted: 0,
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// A nonce nobody has had before.
    pub fn mint(&mut self, now: Instant) -> String {
        self.minted = self.minted.wrapping_add(1);
        let stamp = Stamp {
            minted_ms: self.elapsed_ms(now),
            serial: self.minted,
        }
        .to_bytes();
        let seal = self.sealer(&stamp).finalize().into_bytes();
        stamp
            .iter()
            .chain(seal.iter().take(SEAL_BYTES))
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The stamp of a nonce that was minted here and is still valid.
    pub fn examine(&self, now: Instant, nonce: &str) -> Result<Stamp, NonceError> {
        let stamp = self.unseal(nonce).ok_or(NonceError::Stale)?;
        let age_ms = self
            .elapsed_ms(now)
            .checked_sub(stamp.minted_ms)
            .ok_or(NonceError::Stale)?;
        match age_ms > self.lifetime_ms || self.forgotten.is_some_and(|forgotten| stamp <= forgotten) {
            true => Err(NonceError::Stale),
            false => Ok(stamp),
        }
    }

    /// Uses up one count of a nonce.
    pub fn spend(&mut self, now: Instant, nonce: &str, count: u32) -> Result<(), NonceError> {
        let stamp = self.examine(now, nonce)?;
        self.forget_expired(now);
        let fresh = self.used.entry(stamp).or_default().take(count);
        if self.used.len() > NONCES_MAX {
            self.forgotten = self.used.pop_first().map(|(oldest, _)| oldest).max(self.forgotten);
        }
        match fresh {
            true => Ok(()),
            false => Err(NonceError::Replayed),
        }
    }

    /// How many nonces are remembered.
    pub fn remembered(&self) -> usize {
        self.used.len()
    }

    fn forget_expired(&mut self, now: Instant) {
        let oldest_ms = self.elapsed_ms(now).saturating_sub(self.lifetime_ms);
        while self
            .used
            .first_key_value()
            .is_some_and(|(stamp, _)| stamp.minted_ms < oldest_ms)
        {
            self.used.pop_first();
        }
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn unseal(&self, nonce: &str) -> Option<Stamp> {
        let bytes = bytes_of_hexadecimal(nonce, STAMP_BYTES + SEAL_BYTES)?;
        let (stamp, seal) = bytes.split_at_checked(STAMP_BYTES)?;
        self.sealer(stamp).verify_truncated_left(seal).ok()?;
        Stamp::from_bytes(stamp)
    }

    fn sealer(&self, stamp: &[u8]) -> Hmac<Sha256> {
        let mut sealer =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        sealer.update(SEAL_PURPOSE);
        sealer.update(stamp);
        sealer
    }
}

impl Stamp {
    fn to_bytes(self) -> Vec<u8> {
        [self.minted_ms.to_be_bytes(), self.serial.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (minted_ms, serial) = bytes.split_at_checked(8)?;
        let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
        Some(Self {
            minted_ms: number(minted_ms)?,
            serial: number(serial)?,
        })
    }
}

/// Which counts of one nonce were used: the highest, and a bit for each of the [`COUNT_WINDOW`] up to it.
#[derive(Debug, Default)]
struct Window {
    highest: u32,
    used: u64,
}

impl Window {
    /// Whether the count is fresh; afterwards it is not.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.used = self.used.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= COUNT_WINDOW {
            return false;
        }
        let bit = 1u64 << behind;
        let fresh = self.used & bit == 0;
        self.used |= bit;
        fresh
    }
}

fn bytes_of_hexadecimal(text: &str, length: usize) -> Option<Vec<u8>> {
    if text.len() != length * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    #[test]
    fn a_nonce_is_valid_for_its_lifetime_and_only_where_it_was_minted() {
        let (now, mut nonces) = start();
        let nonce = nonces.mint(now);
        assert!(nonces.examine(now + LIFETIME, &nonce).is_ok());
        let late = now + LIFETIME + Duration::from_millis(1);
        assert_eq!(nonces.examine(late, &nonce), Err(NonceError::Stale));
        let foreign = Nonces::new(now, [8; 32], LIFETIME).mint(now);
        assert_eq!(nonces.examine(now, &foreign), Err(NonceError::Stale));
        for broken in [
            &nonce[1..],
            "",
            "xyz",
            &nonce.replace(&nonce[..1], "1"),
            &format!("{nonce}00"),
        ] {
            assert_eq!(nonces.examine(now, broken), Err(NonceError::Stale), "{broken}");
        }
    }

    #[test]
    fn two_nonces_of_one_moment_differ() {
        let (now, mut nonces) = start();
        assert_ne!(nonces.mint(now), nonces.mint(now));
    }

    #[test]
    fn a_count_is_good_once_even_when_counts_come_out_of_order() {
        let (now, mut nonces) = start();
        let nonce = nonces.mint(now);
        for (count, expected) in [
            (1, Ok(())),
            (1, Err(NonceError::Replayed)),
            (4, Ok(())),
            (2, Ok(())),
            (2, Err(NonceError::Replayed)),
            (3, Ok(())),
            (100, Ok(())),
            (37, Ok(())),
            (36, Err(NonceError::Replayed)),
            (u32::MAX, Ok(())),
            (u32::MAX, Err(NonceError::Replayed)),
            (u32::MAX - COUNT_WINDOW + 1, Ok(())),
            (u32::MAX - COUNT_WINDOW, Err(NonceError::Replayed)),
        ] {
            assert_eq!(nonces.spend(now, &nonce, count), expected, "{count}");
        }
    }

    #[test]
    fn at_the_bound_the_oldest_nonces_become_stale_and_none_can_be_used_twice() {
        let (now, mut nonces) = start();
        let unused = nonces.mint(now);
        let minted: Vec<_> = (0..=NONCES_MAX).map(|_| nonces.mint(now)).collect();
        for nonce in &minted {
            assert_eq!(nonces.spend(now, nonce, 1), Ok(()));
        }
        assert_eq!(nonces.remembered(), NONCES_MAX);
        assert_eq!(nonces.spend(now, &minted[0], 1), Err(NonceError::Stale));
        assert_eq!(nonces.spend(now, &unused, 1), Err(NonceError::Stale));
        assert_eq!(nonces.spend(now, &minted[1], 1), Err(NonceError::Replayed));
    }

    #[test]
    fn expired_nonces_are_forgotten() {
        let (now, mut nonces) = start();
        let old = nonces.mint(now);
        nonces.spend(now, &old, 1).unwrap();
        let later = now + LIFETIME * 2;
        let new = nonces.mint(later);
        nonces.spend(later, &new, 1).unwrap();
        assert_eq!(nonces.remembered(), 1);
    }

    fn start() -> (Instant, Nonces) {
        let now = Instant::now();
        (now, Nonces::new(now, [7; 32], LIFETIME))
    }
}
