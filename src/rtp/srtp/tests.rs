//! Packets against the vectors of the RFCs, and the two directions against each other.

use super::{
    cipher::{Cipher, Place},
    derive::SessionKeys,
    *,
};

const SSRC: u32 = 0xCAFE_BABE;

#[test]
fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
    let session_key = "2B7E151628AED2A6ABF7158809CF4F3C";
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
    let stream = key_stream(Suite::AesCm128HmacSha1_80, session_key, 48);
    assert_eq!(stream, bytes(expected));
}

#[test]
fn the_key_stream_is_that_of_rfc_6188_section_7_1() {
    let session_key = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
    let stream = key_stream(Suite::AesCm256HmacSha1_80, session_key, 0xFF02 * 16);
    let first = "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31";
    let last = "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f";
    assert_eq!(stream[..48], bytes(first)[..]);
    assert_eq!(stream[stream.len() - 48..], bytes(last)[..]);
}

/// The packets every implementation in the field is tested with, made with the master key of RFC 3711 appendix B.3.
#[test]
fn whole_packets_come_out_as_from_others() {
    let key = MasterKey::new(
        Suite::AesCm128HmacSha1_80,
        &bytes("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6"),
    )
    .unwrap();
    let rtp = bytes("800f1234decafbadcafebabe abababababababababababababababab");
    let srtp = bytes("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    let rtcp = bytes("81c8000bcafebabe abababababababababababababababab");
    let srtcp = bytes("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    let (mut ours, mut theirs) = pair(&key);
    assert_eq!(protected(&mut ours, &rtp), srtp);
    assert_eq!(unprotected(&mut theirs, &srtp), Ok(rtp));
    // That packet has index 1.
    ours.protect_rtcp(&mut rtcp.clone()).unwrap();
    let mut packet = rtcp.clone();
    ours.protect_rtcp(&mut packet).unwrap();
    assert_eq!(packet, srtcp);
    let len = theirs.unprotect_rtcp(&mut packet).unwrap();
    assert_eq!(packet[..len], rtcp);
}

#[test]
fn galois_rtp_is_that_of_rfc_7714_section_16() {
    let rtp = bytes(GALLIA);
    for (suite, expected) in [
        (
            Suite::AeadAes128Gcm,
            "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ] {
        let expected = bytes(expected);
        let mut ours = Outbound::with_ciphers(galois(suite), galois(suite), 0, 0);
        assert_eq!(protected(&mut ours, &rtp), expected);
        let mut theirs = Inbound::with_ciphers(galois(suite), galois(suite));
        assert_eq!(unprotected(&mut theirs, &expected), Ok(rtp.clone()));
    }
}

#[test]
fn galois_rtcp_is_that_of_rfc_7714_section_17() {
    let rtcp = bytes(MARS);
    for (suite, expected) in [
        (
            Suite::AeadAes128Gcm,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
             c84aa45896cf4d2fc5abf87245d9eade800005d4",
        ),
        (
            Suite::AeadAes256Gcm,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
             1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        ),
    ] {
        let mut ours = Outbound::with_ciphers(galois(suite), galois(suite), 0x4d61_7273, 0x5d4);
        let mut packet = rtcp.clone();
        ours.protect_rtcp(&mut packet).unwrap();
        assert_eq!(packet, bytes(expected));
        let mut theirs = Inbound::with_ciphers(galois(suite), galois(suite));
        let len = theirs.unprotect_rtcp(&mut packet).unwrap();
        assert_eq!(packet[..len], rtcp);
    }
}

#[test]
fn rtcp_that_is_authentic_but_not_encrypted_is_taken_as_in_rfc_7714_section_17_3() {
    let mut packet = bytes(&format!("{MARS} 841dd9683dd78ec92ae58790125f62b3 000005d4"));
    let mut theirs = Inbound::with_ciphers(galois(Suite::AeadAes128Gcm), galois(Suite::AeadAes128Gcm));
    let len = theirs.unprotect_rtcp(&mut packet.clone()).unwrap();
    assert_eq!(packet[..len], bytes(MARS));
    let at = packet.len() / 2;
    packet[at] ^= 1;
    let mut theirs = Inbound::with_ciphers(galois(Suite::AeadAes128Gcm), galois(Suite::AeadAes128Gcm));
    assert_eq!(theirs.unprotect_rtcp(&mut packet), Err(Failure::Unauthentic));
}

#[test]
fn every_suite_opens_what_it_sealed_and_grows_packets_by_what_it_says() {
    for key in keys_of_all_suites() {
        let (mut ours, mut theirs) = pair(&key);
        let mki = key.mki.map_or(0, |mki| usize::from(mki.len));
        for rtp in [rtp(1), header_with_everything(2), rtp(3)[..12].to_vec()] {
            let sealed = protected(&mut ours, &rtp);
            assert_eq!(sealed.len(), rtp.len() + key.suite.rtp_tag_len() + mki, "{key:?}");
            assert_eq!(unprotected(&mut theirs, &sealed), Ok(rtp), "{key:?}");
        }
        for rtcp in [bytes(MARS), bytes(MARS)[..8].to_vec()] {
            let mut packet = rtcp.clone();
            ours.protect_rtcp(&mut packet).unwrap();
            assert_eq!(packet.len(), rtcp.len() + 4 + key.suite.rtcp_tag_len() + mki, "{key:?}");
            let len = theirs.unprotect_rtcp(&mut packet).unwrap();
            assert_eq!(packet[..len], rtcp, "{key:?}");
        }
    }
}

#[test]
fn a_change_of_any_byte_is_found() {
    for key in keys_of_all_suites() {
        let (mut ours, mut theirs) = pair(&key);
        let good = protected(&mut ours, &header_with_everything(7));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(theirs.unprotect_rtp(&mut bad).is_err(), "{key:?} byte {at}");
        }
        assert!(
            theirs.unprotect_rtp(&mut good.clone()).is_ok(),
            "what was forged left no trace"
        );
        let mut good = bytes(MARS);
        ours.protect_rtcp(&mut good).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(theirs.unprotect_rtcp(&mut bad).is_err(), "{key:?} byte {at}");
        }
        assert!(theirs.unprotect_rtcp(&mut good).is_ok());
    }
}

#[test]
fn a_packet_cut_anywhere_is_refused() {
    for key in keys_of_all_suites() {
        let (mut ours, mut theirs) = pair(&key);
        let rtp = protected(&mut ours, &header_with_everything(7));
        let mut rtcp = bytes(MARS);
        ours.protect_rtcp(&mut rtcp).unwrap();
        for len in 0..rtp.len() {
            assert!(theirs.unprotect_rtp(&mut rtp[..len].to_vec()).is_err(), "{key:?} {len}");
        }
        for len in 0..rtcp.len() {
            assert!(
                theirs.unprotect_rtcp(&mut rtcp[..len].to_vec()).is_err(),
                "{key:?} {len}"
            );
        }
    }
}

#[test]
fn a_packet_that_comes_again_is_replayed() {
    for key in keys_of_all_suites() {
        let (mut ours, mut theirs) = pair(&key);
        let rtp = protected(&mut ours, &rtp(1));
        assert!(unprotected(&mut theirs, &rtp).is_ok());
        assert_eq!(unprotected(&mut theirs, &rtp), Err(Failure::Replayed));
        let mut rtcp = bytes(MARS);
        ours.protect_rtcp(&mut rtcp).unwrap();
        assert!(theirs.unprotect_rtcp(&mut rtcp.clone()).is_ok());
        assert_eq!(theirs.unprotect_rtcp(&mut rtcp), Err(Failure::Replayed));
    }
}

/// Around each of three rollovers a third of all packets is lost, the rest comes up to 60 places late, and twice;
/// in between, hundreds are lost in a row.
#[test]
fn rollovers_are_followed_through_loss_and_disorder() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm] {
        let (mut ours, mut theirs) = pair(&key(suite, 1));
        let mut dice = Dice(7);
        let mut waiting: Vec<(u64, Vec<u8>, Vec<u8>)> = Vec::new();
        let (mut sent, mut taken) = (60_000_u64, 0);
        while sent < 3 * 65_536 + 1_000 {
            let rolls_over = (sent + 300) % 65_536 < 600;
            let packet = short(sent as u16);
            let sealed = protected(&mut ours, &packet);
            if dice.below(3) > 0 {
                waiting.push((sent + dice.below(60), packet, sealed));
            }
            for at in (0..waiting.len()).rev() {
                if waiting[at].0 <= sent || !rolls_over {
                    let (_, packet, sealed) = waiting.swap_remove(at);
                    assert_eq!(unprotected(&mut theirs, &sealed), Ok(packet), "{suite:?} {sent}");
                    assert_eq!(unprotected(&mut theirs, &sealed), Err(Failure::Replayed));
                    taken += 1;
                }
            }
            sent += if rolls_over { 1 } else { 300 };
        }
        assert!(taken > 1_000, "{taken}");
    }
}

#[test]
fn a_source_that_wrapped_before_it_was_heard_is_understood() {
    for key in keys_of_all_suites() {
        let (mut ours, mut theirs) = pair(&key);
        protected(&mut ours, &short(65_535));
        let first_heard = protected(&mut ours, &short(3));
        assert_eq!(unprotected(&mut theirs, &first_heard), Ok(short(3)), "{key:?}");
        let next = protected(&mut ours, &short(4));
        assert_eq!(unprotected(&mut theirs, &next), Ok(short(4)));
    }
}

#[test]
fn another_source_is_counted_on_its_own() {
    let (mut ours, mut theirs) = pair(&key(Suite::AesCm128HmacSha1_80, 1));
    for sequence in [65_534, 65_535, 0, 1] {
        let sealed = protected(&mut ours, &short(sequence));
        assert!(unprotected(&mut theirs, &sealed).is_ok());
    }
    for sequence in [1, 2] {
        let other = from_source(SSRC + 1, sequence);
        let sealed = protected(&mut ours, &other);
        assert_eq!(unprotected(&mut theirs, &sealed), Ok(other));
    }
    let sealed = protected(&mut ours, &short(2));
    assert_eq!(unprotected(&mut theirs, &sealed), Ok(short(2)), "the first one goes on");
}

#[test]
fn sources_past_the_bound_push_out_the_one_quiet_longest_and_are_not_sent() {
    let key = key(Suite::AesCm128HmacSha1_32, 1);
    let mut theirs = Inbound::new(&key).unwrap();
    let mut first = Vec::new();
    for ssrc in 0..=SOURCES_MAX as u32 {
        let sealed = protected(&mut Outbound::new(&key).unwrap(), &from_source(ssrc, 9));
        assert!(unprotected(&mut theirs, &sealed).is_ok());
        first.push(sealed);
    }
    assert_eq!(unprotected(&mut theirs, &first[1]), Err(Failure::Replayed));
    assert!(unprotected(&mut theirs, &first[0]).is_ok(), "it was forgotten");
    let mut ours = Outbound::new(&key).unwrap();
    for ssrc in 0..SOURCES_MAX as u32 {
        protected(&mut ours, &from_source(ssrc, 9));
    }
    let refused = ours.protect_rtp(&mut from_source(99, 9));
    assert_eq!(refused, Err(Failure::Exhausted));
}

#[test]
fn a_new_key_goes_on_with_the_rollover_counter_or_from_zero() {
    for suite in Suite::ALL {
        let (old, new) = (key(suite, 1), key(suite, 2));
        let (mut ours, mut theirs) = pair(&old);
        for sequence in [65_534, 65_535, 0, 1] {
            let sealed = protected(&mut ours, &short(sequence));
            assert!(unprotected(&mut theirs, &sealed).is_ok());
        }
        for mut ours in [ours.rekeyed(&new).unwrap(), Outbound::new(&new).unwrap()] {
            let mut theirs = theirs.rekeyed(&new).unwrap();
            for sequence in [2, 3] {
                let sealed = protected(&mut ours, &short(sequence));
                assert_eq!(unprotected(&mut theirs, &sealed), Ok(short(sequence)), "{suite:?}");
            }
        }
    }
}

#[test]
fn a_packet_of_another_key_is_not_authentic_and_leaves_no_trace() {
    for suite in Suite::ALL {
        let mut theirs = Inbound::new(&key(suite, 1)).unwrap();
        let foreign = protected(&mut Outbound::new(&key(suite, 2)).unwrap(), &rtp(5));
        assert_eq!(unprotected(&mut theirs, &foreign), Err(Failure::Unauthentic));
        let good = protected(&mut Outbound::new(&key(suite, 1)).unwrap(), &rtp(5));
        assert_eq!(unprotected(&mut theirs, &good), Ok(rtp(5)));
    }
}

#[test]
fn a_packet_named_by_another_identifier_is_not_authentic() {
    let mut key = key(Suite::AesCm128HmacSha1_80, 1);
    key.mki = Mki::new(1, 4);
    let mut ours = Outbound::new(&key).unwrap();
    key.mki = Mki::new(2, 4);
    let mut theirs = Inbound::new(&key).unwrap();
    let sealed = protected(&mut ours, &rtp(5));
    assert_eq!(unprotected(&mut theirs, &sealed), Err(Failure::Unauthentic));
}

#[test]
fn a_key_of_the_wrong_length_protects_nothing() {
    let key = MasterKey {
        suite: Suite::AeadAes256Gcm,
        key_and_salt: vec![0; 46],
        mki: None,
    };
    assert!(Outbound::new(&key).is_err() && Inbound::new(&key).is_err());
}

#[test]
fn the_last_rtcp_index_is_the_last_packet() {
    let suite = Suite::AeadAes128Gcm;
    let mut ours = Outbound::with_ciphers(galois(suite), galois(suite), 0x4d61_7273, (1 << 31) - 1);
    assert!(ours.protect_rtcp(&mut bytes(MARS)).is_ok());
    assert_eq!(ours.protect_rtcp(&mut bytes(MARS)), Err(Failure::Exhausted));
}

/// "Gallia est omnis divisa in partes tres" under a header of 12 bytes.
const GALLIA: &str =
    "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
/// The RTCP packet that RFC 7714 section 17 protects.
const MARS: &str = "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeef\
                    deadbeef";

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The cipher that section 16 and 17 of RFC 7714 use: they give session keys.
fn galois(suite: Suite) -> Cipher {
    let key: Vec<u8> = (0..suite.key_len() as u8).collect();
    let keys = SessionKeys::given(&key, b"Quid pro quo");
    Cipher::new(suite, &keys, 16, None).unwrap()
}

/// What a zero packet becomes under a session key and the salt of both RFCs, index and source zero.
fn key_stream(suite: Suite, session_key: &str, len: usize) -> Vec<u8> {
    let keys = SessionKeys::given(&bytes(session_key), &bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    let cipher = Cipher::new(suite, &keys, 10, None).unwrap();
    let mut packet = vec![0; len];
    cipher.seal_rtp(&mut packet, 0, Place { ssrc: 0, index: 0 }).unwrap();
    packet.truncate(len);
    packet
}

fn key(suite: Suite, seed: u8) -> MasterKey {
    let bytes: Vec<u8> = (0..suite.key_and_salt_len() as u8)
        .map(|n| n.wrapping_mul(31) ^ seed)
        .collect();
    MasterKey::new(suite, &bytes).unwrap()
}

fn keys_of_all_suites() -> impl Iterator<Item = MasterKey> {
    let mkis = [None, Mki::new(1, 1), Mki::new(9, 4), Mki::new(0x0102_0304, 128)];
    Suite::ALL
        .into_iter()
        .flat_map(move |suite| mkis.map(|mki| MasterKey { mki, ..key(suite, 1) }))
}

fn pair(key: &MasterKey) -> (Outbound, Inbound) {
    (Outbound::new(key).unwrap(), Inbound::new(key).unwrap())
}

fn protected(ours: &mut Outbound, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    ours.protect_rtp(&mut packet).unwrap();
    packet
}

fn unprotected(theirs: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut packet = packet.to_vec();
    let len = theirs.unprotect_rtp(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = from_source(SSRC, sequence);
    packet.resize(172, 0xD5);
    packet
}

fn short(sequence: u16) -> Vec<u8> {
    from_source(SSRC, sequence)
}

fn from_source(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(*b"speech");
    packet
}

/// Two contributing sources, an extension of one word and a payload.
fn header_with_everything(sequence: u16) -> Vec<u8> {
    let mut packet = from_source(SSRC, sequence)[..12].to_vec();
    packet[0] = 0x92;
    packet.extend([1; 8]);
    packet.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
    packet.extend([5; 33]);
    packet
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
