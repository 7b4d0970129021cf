//! Keys agreed on, changed and kept.

use super::*;
use crate::rtp::{Header, srtp::Suite};

#[test]
fn without_protection_packets_pass_as_they_are() {
    let mut secure = Secure::new(None);
    let mut packet = packet(1);
    assert_eq!(secure.open(Instant::now(), &mut packet.clone()), Ok(&packet[..]));
    let before = packet.clone();
    assert!(secure.seal(&mut packet));
    assert_eq!(packet, before);
}

#[test]
fn both_directions_and_both_protocols_are_protected() {
    for suite in Suite::ALL {
        let (mut near, mut far) = (secured(suite, 1, 2), secured(suite, 2, 1));
        for plain in [packet(1), report()] {
            let mut sealed = plain.clone();
            assert!(near.seal(&mut sealed));
            assert_ne!(sealed[..plain.len()], plain[..]);
            assert_eq!(far.open(Instant::now(), &mut sealed), Ok(&plain[..]), "{suite:?}");
        }
    }
}

#[test]
fn what_is_turned_away_is_counted_by_kind() {
    let (mut near, mut far) = (secured(SUITE, 1, 2), secured(SUITE, 2, 1));
    let mut good = packet(1);
    assert!(near.seal(&mut good));
    let mut forged = good.clone();
    forged[14] ^= 1;
    assert!(far.open(Instant::now(), &mut forged).is_err());
    assert!(
        far.open(Instant::now(), &mut packet(2)).is_err(),
        "it is not protected at all"
    );
    assert!(far.open(Instant::now(), &mut good.clone()).is_ok());
    assert!(far.open(Instant::now(), &mut good).is_err());
    assert!(far.open(Instant::now(), &mut [0x80]).is_err());
    let mut statistics = Statistics::default();
    far.fill_in(&mut statistics);
    assert_eq!((statistics.srtp_auth_failures, statistics.srtp_replays), (2, 1));
    assert_eq!(statistics.malformed, 1);
}

#[test]
fn the_same_keys_again_keep_their_counters() {
    let now = Instant::now();
    let (mut near, mut far) = (secured(SUITE, 1, 2), secured(SUITE, 2, 1));
    // Past a rollover, so that beginning anew would not go unnoticed.
    for sequence in [65_535, 0] {
        assert!(passes(now, &mut near, &mut far, sequence));
    }
    let mut replayed = packet(1);
    assert!(near.seal(&mut replayed));
    assert!(far.open(now, &mut replayed.clone()).is_ok());
    near.apply(now, &keys(SUITE, 1, 2));
    far.apply(now, &keys(SUITE, 2, 1));
    assert_eq!(far.open(now, &mut replayed), Err(Refused::Srtp(Failure::Replayed)));
    assert!(passes(now, &mut near, &mut far, 2));
}

#[test]
fn old_keys_serve_until_a_packet_under_the_new_ones_comes() {
    for suite in Suite::ALL {
        let now = Instant::now();
        let (mut near, mut far) = (secured(suite, 1, 2), secured(suite, 2, 1));
        assert!(passes(now, &mut near, &mut far, 1));
        far.apply(now, &keys(suite, 2, 3));
        assert!(passes(now, &mut near, &mut far, 2), "{suite:?}: it has not heard yet");
        let mut late = packet(3);
        assert!(near.seal(&mut late));
        near.apply(now, &keys(suite, 3, 2));
        assert!(passes(now, &mut near, &mut far, 4), "{suite:?}: now it has");
        assert_eq!(
            far.open(now, &mut late),
            Err(Refused::Srtp(Failure::Unauthentic)),
            "{suite:?}"
        );
    }
}

#[test]
fn old_keys_do_not_serve_for_ever() {
    let now = Instant::now();
    let (mut near, mut far) = (secured(SUITE, 1, 2), secured(SUITE, 2, 1));
    far.apply(now, &keys(SUITE, 2, 3));
    assert!(passes(now + OLD_KEY_KEPT / 2, &mut near, &mut far, 1));
    assert!(!passes(now + OLD_KEY_KEPT, &mut near, &mut far, 2));
}

#[test]
fn another_suite_in_the_middle_of_a_call_is_taken_up() {
    let now = Instant::now();
    let (mut near, mut far) = (secured(SUITE, 1, 2), secured(SUITE, 2, 1));
    assert!(passes(now, &mut near, &mut far, 65_535));
    assert!(passes(now, &mut near, &mut far, 0));
    near.apply(now, &keys(Suite::AeadAes256Gcm, 1, 2));
    far.apply(now, &keys(Suite::AeadAes256Gcm, 2, 1));
    assert!(passes(now, &mut near, &mut far, 1));
}

#[test]
fn a_key_that_does_not_fit_its_suite_lets_nothing_through() {
    let mut secure = Secure::new(None);
    let short = MasterKey {
        suite: SUITE,
        key_and_salt: vec![1; 29],
        mki: None,
    };
    let security = Security::Sdes {
        ours: short.clone(),
        theirs: short,
    };
    secure.apply(Instant::now(), &security);
    assert!(!secure.is_ready() && !secure.seal(&mut packet(1)));
    assert!(secure.open(Instant::now(), &mut packet(1)).is_err());
}

#[test]
fn a_handshake_makes_keys_for_both_sides() {
    let now = Instant::now();
    let (mut active, mut passive) = shaking(now);
    assert!(!active.is_ready() && !active.seal(&mut packet(1)));
    assert_eq!(passive.open(now, &mut packet(1)), Err(Refused::Early));
    shake(now, &mut active, &mut passive);
    assert!(active.is_ready() && passive.is_ready());
    assert!(passes(now, &mut active, &mut passive, 1) && passes(now, &mut passive, &mut active, 1));
    let mut statistics = Statistics::default();
    passive.fill_in(&mut statistics);
    assert_eq!(
        (
            statistics.unexpected,
            statistics.srtp_auth_failures,
            statistics.srtp_replays
        ),
        (1, 0, 0)
    );
}

#[test]
fn the_same_fingerprint_again_keeps_the_association_and_another_begins_one() {
    let now = Instant::now();
    let (mut active, mut passive) = shaking(now);
    shake(now, &mut active, &mut passive);
    let (to_passive, to_active) = (greeting(true, &passive), greeting(false, &active));
    active.apply(now, &to_passive);
    passive.apply(now, &to_active);
    assert!(passes(now, &mut active, &mut passive, 1));
    // The far end is somebody else now, as after a transfer; until the new keys are there the old ones serve.
    let mut other = Secure::new(Some(Arc::new(Identity::generate().unwrap())));
    passive.apply(now, &greeting(false, &other));
    assert!(passes(now, &mut active, &mut passive, 2));
    other.apply(now, &greeting(true, &passive));
    shake(now, &mut other, &mut passive);
    assert!(passes(now, &mut other, &mut passive, 3));
}

#[test]
fn a_handshake_that_fails_is_told_once_and_lets_nothing_through() {
    let now = Instant::now();
    let (mut active, _) = shaking(now);
    let mut at = now;
    while let Some(next) = active.poll_timeout() {
        at = next;
        active.handle_timeout(at);
    }
    assert_eq!(at - now, dtls::HANDSHAKE_MAX);
    assert_eq!(
        (active.poll_failure(), active.poll_failure()),
        (Some("dtls_timeout"), None)
    );
    assert!(!active.is_ready() && !active.seal(&mut packet(1)));
    let mut nobody = Secure::new(None);
    nobody.apply(now, &greeting(true, &shaking(now).1));
    assert_eq!(nobody.poll_failure(), Some("dtls_failed"));
}

#[test]
fn first_bytes_tell_what_a_datagram_is() {
    assert_eq!(Datagram::of(&packet(1)), Datagram::Rtp);
    assert_eq!(Datagram::of(&report()), Datagram::Rtcp);
    assert_eq!(Datagram::of(&[22, 254, 253]), Datagram::Dtls);
    assert_eq!(Datagram::of(&[0, 1, 0, 8]), Datagram::Stun);
    assert_eq!(Datagram::of(&[]), Datagram::Rtp);
}

const SUITE: Suite = Suite::AesCm128HmacSha1_80;

fn secured(suite: Suite, ours: u8, theirs: u8) -> Secure {
    let mut secure = Secure::new(None);
    secure.apply(Instant::now(), &keys(suite, ours, theirs));
    secure
}

fn keys(suite: Suite, ours: u8, theirs: u8) -> Security {
    let key = |byte| MasterKey::new(suite, &vec![byte; suite.key_and_salt_len()]).unwrap();
    Security::Sdes {
        ours: key(ours),
        theirs: key(theirs),
    }
}

/// An active and a passive side.
fn shaking(now: Instant) -> (Secure, Secure) {
    let side = || Secure::new(Some(Arc::new(Identity::generate().unwrap())));
    let (mut active, mut passive) = (side(), side());
    active.apply(now, &greeting(true, &passive));
    passive.apply(now, &greeting(false, &active));
    (active, passive)
}

/// What a description of this side says to the other.
fn greeting(active: bool, of: &Secure) -> Security {
    let known_by = of.identity.as_ref().unwrap().fingerprint();
    let fingerprint = Fingerprint {
        algorithm: known_by.algorithm().to_owned(),
        bytes: known_by.bytes().to_vec(),
    };
    Security::Dtls { active, fingerprint }
}

fn shake(now: Instant, one: &mut Secure, other: &mut Secure) {
    loop {
        if let Some(datagram) = one.poll_handshake() {
            other.handle_handshake(now, &datagram);
        } else if let Some(datagram) = other.poll_handshake() {
            one.handle_handshake(now, &datagram);
        } else {
            return;
        }
    }
}

fn passes(now: Instant, near: &mut Secure, far: &mut Secure, sequence: u16) -> bool {
    let mut sealed = packet(sequence);
    assert!(near.seal(&mut sealed));
    far.open(now, &mut sealed) == Ok(&packet(sequence)[..])
}

fn packet(sequence: u16) -> Vec<u8> {
    let header = Header {
        payload_type: 0,
        sequence,
        timestamp: 0,
        ssrc: 7,
        marker: false,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend([0xD5; 160]);
    bytes
}

/// An empty receiver report.
fn report() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0, 0, 0, 7, 1, 2, 3, 4]
}
