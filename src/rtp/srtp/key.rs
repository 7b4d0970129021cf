//! Suites and the keys that go with them, as they are agreed on.

use std::fmt;

use subtle::ConstantTimeEq;
use thiserror::Error;

/// What packets are encrypted and authenticated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 in counter mode with a tag of 80 bits (RFC 3711): what everybody speaks.
    AesCm128HmacSha1_80,
    /// The same with a tag of 32 bits on RTP; RTCP keeps 80.
    AesCm128HmacSha1_32,
    /// AES-256 in counter mode with a tag of 80 bits (RFC 6188).
    AesCm256HmacSha1_80,
    /// The same with a tag of 32 bits on RTP; RTCP keeps 80.
    AesCm256HmacSha1_32,
    /// AES-128 in Galois/counter mode with a tag of 128 bits (RFC 7714).
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode with a tag of 128 bits (RFC 7714).
    AeadAes256Gcm,
}

impl Suite {
    /// Every suite, the strongest first.
    pub const ALL: [Self; 6] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AesCm128HmacSha1_32,
    ];

    /// As long as any suite's key and salt together.
    pub const KEY_AND_SALT_BYTES_MAX: usize = 46;

    /// Its name in `a=crypto`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// By its name in any case; also by the name that the drafts of RFC 6188 used and some phones still do.
    pub fn from_name(name: &str) -> Option<Self> {
        let drafts = [
            ("AES_CM_256_HMAC_SHA1_80", Self::AesCm256HmacSha1_80),
            ("AES_CM_256_HMAC_SHA1_32", Self::AesCm256HmacSha1_32),
        ];
        let known = Self::ALL.map(|suite| (suite.name(), suite)).into_iter().chain(drafts);
        known
            .into_iter()
            .find_map(|(known, suite)| known.eq_ignore_ascii_case(name).then_some(suite))
    }

    /// Bytes of a master key, and of the session keys made of it.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt, and of the session salts made of it.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Bytes of key and salt together.
    pub const fn key_and_salt_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Bytes by which an RTP packet grows, without an MKI.
    pub const fn rtp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 | Self::AesCm256HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes of an RTCP packet's tag. RFC 3711 section 5.2 keeps it at 80 bits where RTP's is short.
    pub const fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }

    pub(super) const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

/// A master key with its salt: everything one direction is protected with. Its text names the suite and hides the key.
#[derive(Clone)]
pub struct MasterKey {
    /// What it is used with.
    pub suite: Suite,
    /// The key, then the salt, as long as the suite wants them.
    pub key_and_salt: Vec<u8>,
    /// What every packet names it by, if packets do.
    pub mki: Option<Mki>,
}

/// Key material that does not fit its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{suite:?} takes {wanted} bytes of key and salt, not {got}")]
pub struct WrongLength {
    suite: Suite,
    wanted: usize,
    got: usize,
}

impl MasterKey {
    /// A key without MKI.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Result<Self, WrongLength> {
        let key = Self {
            suite,
            key_and_salt: key_and_salt.to_vec(),
            mki: None,
        };
        key.parts().map(|_| ()).and(Ok(key))
    }

    /// The key and the salt.
    pub(super) fn parts(&self) -> Result<(&[u8], &[u8]), WrongLength> {
        if self.key_and_salt.len() == self.suite.key_and_salt_len() {
            Ok(self.key_and_salt.split_at(self.suite.key_len()))
        } else {
            Err(self.wrong_length())
        }
    }

    pub(super) fn wrong_length(&self) -> WrongLength {
        WrongLength {
            suite: self.suite,
            wanted: self.suite.key_and_salt_len(),
            got: self.key_and_salt.len(),
        }
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        let same_key = bool::from(self.key_and_salt.ct_eq(&other.key_and_salt));
        same_key && self.suite == other.suite && self.mki == other.mki
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "MasterKey({}, hidden)", self.suite.name())
    }
}

/// A master key identifier, which names the key in every packet (RFC 3711 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    /// Its value.
    pub value: u32,
    /// How many bytes it takes in a packet, 1 to 128; the value is led by zeros.
    pub len: u8,
}

impl Mki {
    /// The most bytes an `a=crypto` line may give it (RFC 4568 section 6.1).
    pub const LEN_MAX: u8 = 128;

    /// Nothing when the value does not fit the length, or the length is 0 or too large.
    pub fn new(value: u32, len: u8) -> Option<Self> {
        let fits = len >= 4 || value >> (8 * u32::from(len)) == 0;
        ((1..=Self::LEN_MAX).contains(&len) && fits).then_some(Self { value, len })
    }

    /// Its bytes in a packet.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let number = self.value.to_be_bytes();
        let len = usize::from(self.len);
        let zeros = len.saturating_sub(number.len());
        std::iter::repeat_n(0, zeros).chain(number.into_iter().skip(number.len().saturating_sub(len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_known_by_its_name() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
            assert_eq!(Suite::from_name(&suite.name().to_lowercase()), Some(suite));
            assert!(suite.key_and_salt_len() <= Suite::KEY_AND_SALT_BYTES_MAX);
        }
        let draft = Suite::from_name("AES_CM_256_HMAC_SHA1_80");
        assert_eq!(draft, Some(Suite::AesCm256HmacSha1_80));
        assert_eq!(Suite::from_name("F8_128_HMAC_SHA1_80"), None);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let error = MasterKey::new(Suite::AeadAes128Gcm, &[0; 30]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AeadAes128Gcm takes 28 bytes of key and salt, not 30"
        );
        assert!(MasterKey::new(Suite::AesCm128HmacSha1_80, &[0; 30]).is_ok());
    }

    #[test]
    fn a_key_is_not_in_its_text() {
        let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[0xAB; 30]).unwrap();
        let text = format!("{key:?}");
        assert!(text.contains("hidden") && !text.contains("171") && !text.to_lowercase().contains("ab,"));
    }

    #[test]
    fn an_identifier_fills_its_bytes_from_the_right() {
        let bytes = |value, len| Mki::new(value, len).map(|mki| mki.bytes().collect::<Vec<_>>());
        assert_eq!(bytes(1, 4), Some(vec![0, 0, 0, 1]));
        assert_eq!(bytes(0x1234, 2), Some(vec![0x12, 0x34]));
        assert_eq!(bytes(7, 10), Some(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 7]));
        assert_eq!(bytes(256, 1), None);
        assert_eq!((bytes(0, 0), bytes(0, 129)), (None, None));
    }
}
