//! What a suite does to one packet: where bytes are encrypted, what the tag covers and where it stands.
//!
//! Counter mode ends a packet with MKI and tag, Galois/counter mode with tag and MKI, and RTCP has its index before
//! both or between (RFC 3711 sections 3.1 and 3.4, RFC 7714 sections 8 and 9). Nothing here remembers a packet.

use std::fmt;

use aes::{
    Aes128, Aes256,
    cipher::{InnerIvInit, KeyInit, StreamCipherCoreWrapper},
};
use ctr::{CtrCore, cipher::StreamCipher, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{Mki, Suite, derive::SessionKeys};

/// RTP or RTCP of one direction under one key.
pub(super) struct Cipher {
    method: Method,
    salt: [u8; 14],
    tag_len: usize,
    mki: Option<Mki>,
}

enum Method {
    Counter128(Box<Aes128>, Box<Hmac<Sha1>>),
    Counter256(Box<Aes256>, Box<Hmac<Sha1>>),
    Galois(Box<LessSafeKey>),
}

/// Which packet: the source and the packet's index.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) ssrc: u32,
    pub(super) index: u64,
}

/// The part of an RTCP packet that is never encrypted.
pub(super) const RTCP_HEADER_BYTES: usize = 8;
/// Flag and index, behind an RTCP packet.
const INDEX_BYTES: usize = 4;
const GALOIS_TAG_BYTES: usize = 16;
/// In the index word of an RTCP packet: it is encrypted.
const ENCRYPTED: u32 = 1 << 31;

impl Cipher {
    /// With a tag of so many bytes, where the suite leaves a choice. Nothing when the keys do not fit the suite.
    pub(super) fn new(suite: Suite, keys: &SessionKeys, tag_len: usize, mki: Option<Mki>) -> Option<Self> {
        let method = if suite.is_aead() {
            let algorithm = if suite.key_len() == 16 {
                &AES_128_GCM
            } else {
                &AES_256_GCM
            };
            let key = UnboundKey::new(algorithm, keys.encryption()).ok()?;
            Method::Galois(Box::new(LessSafeKey::new(key)))
        } else {
            let mac = Box::new(Hmac::new_from_slice(&keys.authentication).ok()?);
            match suite.key_len() {
                16 => Method::Counter128(Box::new(Aes128::new_from_slice(keys.encryption()).ok()?), mac),
                _ => Method::Counter256(Box::new(Aes256::new_from_slice(keys.encryption()).ok()?), mac),
            }
        };
        Some(Self {
            method,
            salt: keys.salt,
            tag_len,
            mki,
        })
    }

    /// Whether opening destroys what it cannot open.
    pub(super) fn opens_once(&self) -> bool {
        matches!(self.method, Method::Galois(_))
    }

    /// Encrypts what is behind the header and appends MKI and tag. `None`: nothing may be sent.
    pub(super) fn seal_rtp(&self, packet: &mut Vec<u8>, header_len: usize, place: Place) -> Option<()> {
        if let Method::Galois(key) = &self.method {
            let (header, payload) = packet.split_at_mut_checked(header_len)?;
            let nonce = self.rtp_nonce(place);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), payload).ok()?;
            packet.extend_from_slice(tag.as_ref());
            packet.extend(self.mki.into_iter().flat_map(Mki::bytes));
            return Some(());
        }
        self.apply_key_stream(place, packet.get_mut(header_len..)?);
        let tag = self.tag(packet, &rollover(place))?;
        packet.extend(self.mki.into_iter().flat_map(Mki::bytes));
        packet.extend_from_slice(tag.get(..self.tag_len)?);
        Some(())
    }

    /// Checks and decrypts; gives the packet's length without what was appended. `None`: it is not authentic.
    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, place: Place) -> Option<usize> {
        if let Method::Galois(key) = &self.method {
            let sealed = self.without_mki(packet)?;
            let (header, payload) = sealed.split_at_mut_checked(header_len)?;
            let nonce = self.rtp_nonce(place);
            let payload = key.open_in_place(nonce, Aad::from(header), payload).ok()?;
            return Some(header_len + payload.len());
        }
        let (rest, tag) = packet.split_at_mut_checked(packet.len().checked_sub(self.tag_len)?)?;
        let rest = self.without_mki(rest)?;
        self.check(rest, &rollover(place), tag)?;
        self.apply_key_stream(place, rest.get_mut(header_len..)?);
        Some(rest.len())
    }

    /// The same for RTCP, always encrypted.
    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, place: Place) -> Option<()> {
        let word = (place.index as u32 | ENCRYPTED).to_be_bytes();
        if let Method::Galois(key) = &self.method {
            let (header, payload) = packet.split_at_mut_checked(RTCP_HEADER_BYTES)?;
            let aad = Aad::from(rtcp_aad(header, word)?);
            let tag = key
                .seal_in_place_separate_tag(self.rtcp_nonce(place), aad, payload)
                .ok()?;
            packet.extend_from_slice(tag.as_ref());
            packet.extend_from_slice(&word);
            packet.extend(self.mki.into_iter().flat_map(Mki::bytes));
            return Some(());
        }
        self.apply_key_stream(place, packet.get_mut(RTCP_HEADER_BYTES..)?);
        packet.extend_from_slice(&word);
        let tag = self.tag(packet, &[])?;
        packet.extend(self.mki.into_iter().flat_map(Mki::bytes));
        packet.extend_from_slice(tag.get(..self.tag_len)?);
        Some(())
    }

    /// The index an RTCP packet claims to have; true only once it opens.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u64> {
        let behind = self.mki_len() + if self.opens_once() { 0 } else { self.tag_len };
        let word = packet.get(..packet.len().checked_sub(behind)?)?.last_chunk()?;
        Some((u32::from_be_bytes(*word) & !ENCRYPTED).into())
    }

    /// The same for RTCP. A packet that is authentic and was not encrypted is taken as it is.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], place: Place) -> Option<usize> {
        if let Method::Galois(key) = &self.method {
            let sealed = self.without_mki(packet)?;
            let (sealed, word) = sealed.split_last_chunk_mut::<INDEX_BYTES>()?;
            return self.open_galois_rtcp(key, sealed, *word, place);
        }
        let (rest, tag) = packet.split_at_mut_checked(packet.len().checked_sub(self.tag_len)?)?;
        let rest = self.without_mki(rest)?;
        self.check(rest, &[], tag)?;
        let (rest, word) = rest.split_last_chunk_mut::<INDEX_BYTES>()?;
        if u32::from_be_bytes(*word) & ENCRYPTED != 0 {
            self.apply_key_stream(place, rest.get_mut(RTCP_HEADER_BYTES..)?);
        }
        Some(rest.len())
    }

    fn open_galois_rtcp(&self, key: &LessSafeKey, sealed: &mut [u8], word: [u8; 4], place: Place) -> Option<usize> {
        let nonce = self.rtcp_nonce(place);
        if u32::from_be_bytes(word) & ENCRYPTED != 0 {
            let (header, payload) = sealed.split_at_mut_checked(RTCP_HEADER_BYTES)?;
            let aad = Aad::from(rtcp_aad(header, word)?);
            let payload = key.open_in_place(nonce, aad, payload).ok()?;
            return Some(RTCP_HEADER_BYTES + payload.len());
        }
        // Rare enough to copy: the tag covers the packet and the word behind the tag.
        let (plain, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(GALOIS_TAG_BYTES)?)?;
        let covered = [&*plain, &word].concat();
        key.open_in_place(nonce, Aad::from(covered), tag).ok()?;
        Some(plain.len())
    }

    fn mki_len(&self) -> usize {
        self.mki.map_or(0, |mki| mki.len.into())
    }

    /// What stands before the MKI, if that is the right one.
    fn without_mki<'a>(&self, bytes: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (rest, end) = bytes.split_at_mut_checked(bytes.len().checked_sub(self.mki_len())?)?;
        let expected = self.mki.into_iter().flat_map(Mki::bytes);
        end.iter().copied().eq(expected).then_some(rest)
    }

    /// RFC 3711 section 4.1.1: salt, source and index make the first block's counter.
    fn apply_key_stream(&self, place: Place, bytes: &mut [u8]) {
        let mut counter = [0; 16];
        counter[4..8].copy_from_slice(&place.ssrc.to_be_bytes());
        counter[8..14].copy_from_slice(&place.index.to_be_bytes()[2..]);
        xor(&mut counter, &self.salt);
        match &self.method {
            Method::Counter128(block, _) => key_stream(CtrCore::inner_iv_init(&**block, &counter.into()), bytes),
            Method::Counter256(block, _) => key_stream(CtrCore::inner_iv_init(&**block, &counter.into()), bytes),
            Method::Galois(_) => {}
        }
    }

    fn tag(&self, packet: &[u8], behind: &[u8]) -> Option<[u8; 20]> {
        let (Method::Counter128(_, mac) | Method::Counter256(_, mac)) = &self.method else {
            return None;
        };
        // Of the state, not of the box: a packet allocates nothing.
        let mut mac = Hmac::clone(mac);
        mac.update(packet);
        mac.update(behind);
        Some(mac.finalize().into_bytes().into())
    }

    fn check(&self, packet: &[u8], behind: &[u8], tag: &[u8]) -> Option<()> {
        let expected = self.tag(packet, behind)?;
        bool::from(expected.get(..self.tag_len)?.ct_eq(tag)).then_some(())
    }

    /// RFC 7714 section 8.1.
    fn rtp_nonce(&self, place: Place) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&place.ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&place.index.to_be_bytes()[2..]);
        xor(&mut nonce, &self.salt);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 section 9.1.
    fn rtcp_nonce(&self, place: Place) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&place.ssrc.to_be_bytes());
        nonce[8..].copy_from_slice(&(place.index as u32).to_be_bytes());
        xor(&mut nonce, &self.salt);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Cipher(hidden)")
    }
}

fn key_stream<B: aes::cipher::BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
    core: CtrCore<B, Ctr128BE>,
    bytes: &mut [u8],
) {
    StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
}

/// The upper 32 bits of an index: what the far end knows and the packet does not say.
fn rollover(place: Place) -> [u8; 4] {
    ((place.index >> 16) as u32).to_be_bytes()
}

fn rtcp_aad(header: &[u8], word: [u8; 4]) -> Option<[u8; 12]> {
    let mut aad = [0; 12];
    aad.get_mut(..RTCP_HEADER_BYTES)?.copy_from_slice(header);
    aad[RTCP_HEADER_BYTES..].copy_from_slice(&word);
    Some(aad)
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}
