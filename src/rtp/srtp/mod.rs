//! Secure RTP (RFC 3711): what protects packets.

use std::fmt;

/// A way to protect packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 counter mode, 80 bit tag.
    AesCm128HmacSha1_80,
    /// AES-128 counter mode, 32 bit tag.
    AesCm128HmacSha1_32,
    /// AES-256 counter mode, 80 bit tag (RFC 6188).
    AesCm256HmacSha1_80,
    /// AES-256 counter mode, 32 bit tag (RFC 6188).
    AesCm256HmacSha1_32,
    /// AES-128 in Galois counter mode (RFC 7714).
    AeadAes128Gcm,
    /// AES-256 in Galois counter mode (RFC 7714).
    AeadAes256Gcm,
}

impl Suite {
    /// Every suite, the one we like best first.
    pub const ALL: [Self; 6] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AesCm128HmacSha1_32,
    ];

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

    /// The suite of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of its master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of its master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            _ => 14,
        }
    }
}

/// What the keys of one direction are derived from.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// What it is for.
    pub suite: Suite,
    /// The master key with the master salt behind it, as long as the suite says.
    pub key_and_salt: Vec<u8>,
    /// What stands behind each packet to name the key, when the description says so.
    pub mki: Option<Mki>,
}

/// A master key identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    /// Its value.
    pub value: u32,
    /// How many bytes it takes in a packet, 1 to 128.
    pub len: u8,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({}, hidden)", self.suite.name())
    }
}
