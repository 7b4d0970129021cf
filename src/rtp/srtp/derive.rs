//! Session keys from a master key (RFC 3711 section 4.3; RFC 6188 section 3; RFC 7714 section 11).

use aes::{
    Aes128, Aes256,
    cipher::{BlockCipherEncrypt, KeyInit},
};

use super::{MasterKey, WrongLength};

/// What one direction of RTP or RTCP is protected with.
pub(super) struct SessionKeys {
    encryption: [u8; 32],
    encryption_len: usize,
    pub(super) authentication: [u8; 20],
    /// Zeros fill it where the suite's salt is shorter.
    pub(super) salt: [u8; 14],
}

/// Which keys are wanted; the numbers are the labels of RFC 3711 section 4.3.2.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Rtp = 0,
    Rtcp = 3,
}

impl SessionKeys {
    pub(super) fn derive(master: &MasterKey, purpose: Use) -> Result<Self, WrongLength> {
        let (key, master_salt) = master.parts()?;
        let first = purpose as u8;
        let mut keys = Self {
            encryption: [0; 32],
            encryption_len: key.len(),
            authentication: [0; 20],
            salt: [0; 14],
        };
        generate(key, master_salt, first, &mut keys.encryption[..key.len()]);
        generate(key, master_salt, first + 1, &mut keys.authentication);
        generate(key, master_salt, first + 2, &mut keys.salt[..master_salt.len()]);
        Ok(keys)
    }

    /// Session keys as given, with no authentication key.
    #[cfg(test)]
    pub(super) fn given(encryption: &[u8], salt: &[u8]) -> Self {
        let mut keys = Self {
            encryption: [0; 32],
            encryption_len: encryption.len(),
            authentication: [0; 20],
            salt: [0; 14],
        };
        keys.encryption[..encryption.len()].copy_from_slice(encryption);
        keys.salt[..salt.len()].copy_from_slice(salt);
        keys
    }

    pub(super) fn encryption(&self) -> &[u8] {
        &self.encryption[..self.encryption_len]
    }
}

/// The key stream that the master key makes of the salt and a label.
fn generate(key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) {
    let mut block = [0; 16];
    block[..salt.len()].copy_from_slice(salt);
    block[7] ^= label;
    for (count, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
        block[14..].copy_from_slice(&count.to_be_bytes());
        chunk.copy_from_slice(&encrypted(key, block)[..chunk.len()]);
    }
}

/// One block under a key of 16 or 32 bytes; [`MasterKey::parts`] lets no other length through.
fn encrypted(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    if let Ok(key) = key.try_into() {
        Aes128::new(key).encrypt_block(&mut block);
    } else if let Ok(key) = key.try_into() {
        Aes256::new(key).encrypt_block(&mut block);
    }
    block.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::srtp::{Suite, tests::bytes};

    #[test]
    fn keys_are_those_of_rfc_3711_appendix_b_3() {
        check(
            Suite::AesCm128HmacSha1_80,
            "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6",
            "C61E7A93744F39EE10734AFE3FF7A087",
            "30CBBC08863D8C85D49DB34A9AE1",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
        );
    }

    #[test]
    fn keys_are_those_of_rfc_6188_section_7_2() {
        check(
            Suite::AesCm256HmacSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fa31791685ca444a9e07c6c64e93",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        );
    }

    #[test]
    fn rtcp_has_keys_of_its_own() {
        let master = MasterKey::new(Suite::AeadAes256Gcm, &[7; 44]).unwrap();
        let keys = [Use::Rtp, Use::Rtcp].map(|purpose| SessionKeys::derive(&master, purpose).unwrap());
        assert_ne!(keys[0].encryption(), keys[1].encryption());
        assert_ne!(keys[0].salt, keys[1].salt);
        assert_eq!(keys[0].salt[12..], [0, 0]);
    }

    fn check(suite: Suite, master: &str, encryption: &str, salt: &str, authentication: &str) {
        let master = MasterKey::new(suite, &bytes(master)).unwrap();
        let keys = SessionKeys::derive(&master, Use::Rtp).unwrap();
        assert_eq!(keys.encryption(), bytes(encryption));
        assert_eq!(keys.salt.to_vec(), bytes(salt));
        assert_eq!(keys.authentication.to_vec(), bytes(authentication));
    }
}
