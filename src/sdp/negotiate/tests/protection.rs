//! Encryption: who takes what, what is answered, and what stays inside a call.

use super::*;
use crate::{
    rtp::srtp::{Crypto, MasterKey, Suite},
    sdp::{Fingerprint, Keying, Protection},
};

const CM_80: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
const CM_32: &str = "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\r\n";
const UNKNOWN: &str = "a=crypto:3 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

#[test]
fn who_takes_what_and_who_refuses_with_which_word() {
    let (keys, unknown, print) = (CM_80, UNKNOWN, fingerprint_lines("actpass"));
    for (profile, lines, outcomes) in [
        // Off, accepted, offered, required.
        ("RTP/AVP", "", ["plain", "plain", "plain", "srtp_required"]),
        ("RTP/AVP", keys, ["plain", "sdes", "sdes", "sdes"]),
        ("RTP/AVPF", keys, ["plain", "sdes", "sdes", "sdes"]),
        ("RTP/AVP", unknown, ["plain", "plain", "plain", "srtp_required"]),
        ("RTP/AVP", &print, ["plain", "dtls", "dtls", "dtls"]),
        ("RTP/SAVP", keys, ["srtp_refused", "sdes", "sdes", "sdes"]),
        ("rtp/savpf", keys, ["srtp_refused", "sdes", "sdes", "sdes"]),
        ("RTP/SAVP", &print, ["srtp_refused", "dtls", "dtls", "dtls"]),
        (
            "RTP/SAVP",
            unknown,
            ["srtp_refused", "no_common_suite", "no_common_suite", "no_common_suite"],
        ),
        (
            "RTP/SAVP",
            "",
            ["srtp_refused", "no_common_suite", "no_common_suite", "no_common_suite"],
        ),
        ("UDP/TLS/RTP/SAVP", &print, ["srtp_refused", "dtls", "dtls", "dtls"]),
        ("UDP/TLS/RTP/SAVPF", &print, ["srtp_refused", "dtls", "dtls", "dtls"]),
        (
            "UDP/TLS/RTP/SAVPF",
            keys,
            ["srtp_refused", "bad_sdp", "bad_sdp", "bad_sdp"],
        ),
    ] {
        let settings = [Srtp::Off, Srtp::Accepted, Srtp::Offered, Srtp::Required];
        for (srtp, expected) in settings.into_iter().zip(outcomes) {
            let offer = body(&format!("m=audio 4000 {profile} 0\r\n{lines}"));
            let outcome = match super::super::answer(offer.as_bytes(), &local(srtp)) {
                Ok((negotiated, answer)) => {
                    let answer = String::from_utf8(answer).unwrap();
                    assert!(answer.contains(&format!(" {profile} 0\r\n")), "{answer}");
                    assert_eq!(answer.contains("a=crypto:"), word(&negotiated) == "sdes");
                    assert_eq!(answer.contains("a=fingerprint:"), word(&negotiated) == "dtls");
                    word(&negotiated)
                }
                Err(refusal) => refusal.reason(),
            };
            assert_eq!(outcome, expected, "{srtp:?} {profile} {lines}");
        }
    }
}

#[test]
fn the_suite_we_like_best_is_answered_under_its_tag_with_our_own_key() {
    let local = local(Srtp::Accepted);
    for (lines, tag, suite) in [
        (format!("{CM_32}{CM_80}"), 1, Suite::AesCm128HmacSha1_80),
        (format!("{UNKNOWN}{CM_32}"), 2, Suite::AesCm128HmacSha1_32),
        (
            format!("{CM_80}a=crypto:9 AEAD_AES_256_GCM inline:{}\r\n", "A".repeat(59)),
            9,
            Suite::AeadAes256Gcm,
        ),
    ] {
        let (negotiated, answer) = agree(&format!("RTP/SAVP 0\r\n{lines}"), &local);
        let Security::Sdes { ours, theirs } = negotiated.security else {
            panic!("no keys")
        };
        assert_eq!((ours.suite, theirs.suite), (suite, suite));
        assert!(local.protection.keys.contains(&ours) && ours != theirs);
        let line = Crypto { tag, key: ours }.write();
        assert_eq!(answer.matches("a=crypto").count(), 1);
        assert!(answer.contains(&format!("a=crypto:{line}\r\n")), "{answer}");
    }
}

#[test]
fn our_order_of_suites_counts() {
    let mut local = local(Srtp::Accepted);
    local.protection.keys.reverse();
    let (negotiated, _) = agree(&format!("RTP/SAVP 0\r\n{CM_80}{CM_32}"), &local);
    assert!(matches!(negotiated.security, Security::Sdes { ours, .. } if ours.suite == Suite::AesCm128HmacSha1_32));
}

#[test]
fn of_two_streams_the_one_the_trunk_allows_is_taken() {
    let offer = body(&format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}m=audio 4002 RTP/AVP 0\r\n"));
    for (srtp, port) in [(Srtp::Off, 4002), (Srtp::Accepted, 4000), (Srtp::Required, 4000)] {
        let (negotiated, _) = super::super::answer(offer.as_bytes(), &local(srtp)).unwrap();
        assert_eq!(negotiated.remote_rtp.port(), port);
    }
}

#[test]
fn the_refusal_says_what_is_wrong_with_the_keys() {
    let offer = body(&format!("m=audio 4000 RTP/SAVP 0\r\n{UNKNOWN}"));
    let refusal = super::super::answer(offer.as_bytes(), &local(Srtp::Accepted))
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("AEAD_AES_256_GCM, ") && refusal.contains("\"F8_128_HMAC_SHA1_80\" is not known"));
    assert!(!refusal.contains("WVN"));
}

#[test]
fn no_text_of_a_description_shows_a_key() {
    let offer = body(&format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}"));
    let local = local(Srtp::Accepted);
    let (negotiated, _) = super::super::answer(offer.as_bytes(), &local).unwrap();
    let description = Description::read(offer.as_bytes()).unwrap();
    let text = format!("{description:?} {negotiated:?} {local:?}");
    assert!(!text.contains("WVN") && !text.contains("89, 83, 95"), "{text}");
}

#[test]
fn whoever_may_choose_begins_the_handshake() {
    let local = local(Srtp::Accepted);
    for (offered, active, answered) in [
        ("actpass", true, "active"),
        ("passive", true, "active"),
        ("active", false, "passive"),
    ] {
        let (negotiated, answer) = agree(
            &format!("UDP/TLS/RTP/SAVPF 0\r\n{}", fingerprint_lines(offered)),
            &local,
        );
        assert!(
            matches!(&negotiated.security, Security::Dtls { active: ours, fingerprint }
            if *ours == active && fingerprint.bytes == [0xAB; 32])
        );
        assert!(answer.contains(&format!("a=setup:{answered}\r\n")));
        assert!(answer.contains(&format!("a=fingerprint:sha-256 {}\r\n", ["11"; 32].join(":"))));
    }
    let offer = body(&format!(
        "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n{}",
        fingerprint_lines("holdconn")
    ));
    assert_eq!(
        super::super::answer(offer.as_bytes(), &local).unwrap_err().reason(),
        "bad_sdp"
    );
}

#[test]
fn a_fingerprint_for_the_whole_session_counts() {
    let lines = fingerprint_lines("actpass");
    let offer = body(&format!("{lines}m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n"));
    let (negotiated, _) = super::super::answer(offer.as_bytes(), &local(Srtp::Accepted)).unwrap();
    assert_eq!(word(&negotiated), "dtls");
}

#[test]
fn without_a_certificate_handshakes_are_refused() {
    let mut local = local(Srtp::Required);
    local.protection.dtls = None;
    let offer = body(&format!(
        "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n{}",
        fingerprint_lines("actpass")
    ));
    assert_eq!(
        super::super::answer(offer.as_bytes(), &local).unwrap_err().reason(),
        "srtp_refused"
    );
}

#[test]
fn our_offers_say_what_the_trunk_is_set_to() {
    for (srtp, profile, cryptos) in [
        (Srtp::Off, "RTP/AVP", 0),
        (Srtp::Accepted, "RTP/AVP", 0),
        (Srtp::Offered, "RTP/AVP", 6),
        (Srtp::Required, "RTP/SAVP", 6),
    ] {
        let offer = String::from_utf8(super::super::offer(&local(srtp))).unwrap();
        assert!(offer.contains(&format!(" {profile} ")), "{offer}");
        assert_eq!(offer.matches("a=crypto:").count(), cryptos);
        assert!(!offer.contains("fingerprint"));
    }
    for (srtp, profile) in [(Srtp::Offered, "RTP/AVP"), (Srtp::Required, "UDP/TLS/RTP/SAVP")] {
        let offer = String::from_utf8(super::super::offer(&handshake_only(srtp))).unwrap();
        assert!(offer.contains(&format!(" {profile} ")) && offer.contains("a=setup:actpass\r\na=rtcp-mux\r\n"));
    }
}

#[test]
fn answers_to_our_offers_are_taken_or_refused() {
    let print = fingerprint_lines("active");
    let waits = fingerprint_lines("passive");
    let local = |srtp, handshake| if handshake { handshake_only(srtp) } else { local(srtp) };
    for (srtp, handshake, profile, lines, expected) in [
        (Srtp::Accepted, false, "RTP/AVP", "", "plain"),
        (Srtp::Accepted, false, "RTP/SAVP", CM_80, "bad_sdp"),
        (Srtp::Offered, false, "RTP/AVP", "", "plain"),
        (Srtp::Offered, false, "RTP/AVP", CM_80, "sdes"),
        (Srtp::Offered, false, "RTP/SAVP", CM_80, "sdes"),
        (Srtp::Offered, false, "RTP/SAVP", "", "no_common_suite"),
        (Srtp::Required, false, "RTP/SAVP", CM_32, "sdes"),
        (Srtp::Required, false, "RTP/AVP", "", "srtp_required"),
        (Srtp::Offered, true, "RTP/AVP", "", "plain"),
        (Srtp::Offered, true, "RTP/AVP", &print, "dtls"),
        (Srtp::Required, true, "UDP/TLS/RTP/SAVP", &waits, "dtls"),
        (Srtp::Required, true, "UDP/TLS/RTP/SAVP", "", "bad_sdp"),
        (Srtp::Required, true, "RTP/AVP", "", "srtp_required"),
    ] {
        let answer = body(&format!("m=audio 4000 {profile} 0\r\n{lines}"));
        let outcome = match read_answer(answer.as_bytes(), &local(srtp, handshake)) {
            Ok(negotiated) => word(&negotiated),
            Err(refusal) => refusal.reason(),
        };
        assert_eq!(outcome, expected, "{srtp:?} {profile} {lines}");
    }
}

#[test]
fn two_of_us_agree_in_every_way() {
    for (caller, callee, expected) in [
        (local(Srtp::Offered), local(Srtp::Off), "plain"),
        (local(Srtp::Offered), other(local(Srtp::Accepted)), "sdes"),
        (local(Srtp::Required), other(local(Srtp::Required)), "sdes"),
        (handshake_only(Srtp::Offered), other(local(Srtp::Accepted)), "dtls"),
        (
            handshake_only(Srtp::Required),
            other(handshake_only(Srtp::Required)),
            "dtls",
        ),
    ] {
        let (at_callee, answer) = super::super::answer(&super::super::offer(&caller), &callee).unwrap();
        let at_caller = read_answer(&answer, &caller).unwrap();
        assert_eq!((word(&at_callee), word(&at_caller)), (expected, expected));
        match (at_callee.security, at_caller.security) {
            (
                Security::Sdes { ours, theirs },
                Security::Sdes {
                    ours: far,
                    theirs: near,
                },
            ) => {
                assert_eq!((ours, theirs), (near, far));
            }
            (Security::Dtls { active: one, .. }, Security::Dtls { active: other, .. }) => assert!(one && !other),
            (Security::None, Security::None) => {}
            others => panic!("{others:?}"),
        }
    }
}

#[test]
fn inside_a_call_our_key_stays_and_theirs_may_change() {
    let mut local = local(Srtp::Accepted);
    let (first, _) = agree(&format!("RTP/SAVP 0\r\n{CM_80}"), &local);
    local.before = Some(Box::new(first.clone()));
    let (same, _) = agree(&format!("RTP/SAVP 0\r\n{CM_80}"), &local);
    assert_eq!(same.security, first.security);
    let (rekeyed, _) = agree(&format!("RTP/SAVP 0\r\n{}", CM_80.replace("WVNf", "AAAA")), &local);
    let (
        Security::Sdes { ours, theirs },
        Security::Sdes {
            ours: before,
            theirs: old,
        },
    ) = (rekeyed.security, first.security)
    else {
        panic!("no keys")
    };
    assert!(ours == before && theirs != old);
}

#[test]
fn our_offer_inside_a_protected_call_is_protected_the_same_way() {
    for (stream, profile, line) in [
        (format!("RTP/SAVPF 0\r\n{CM_80}"), "RTP/SAVPF", "a=crypto:1 "),
        (format!("RTP/AVP 0\r\n{CM_80}"), "RTP/AVP", "a=crypto:1 "),
        (
            format!("UDP/TLS/RTP/SAVPF 0\r\n{}", fingerprint_lines("active")),
            "UDP/TLS/RTP/SAVPF",
            "a=setup:actpass",
        ),
    ] {
        let mut local = local(Srtp::Accepted);
        let (negotiated, _) = agree(&stream, &local);
        local.before = Some(Box::new(negotiated));
        let offer = String::from_utf8(super::super::offer(&local)).unwrap();
        assert!(
            offer.contains(&format!(" {profile} ")) && offer.contains(line),
            "{offer}"
        );
        let refusal = read_answer(body("m=audio 4000 RTP/AVP 0\r\n").as_bytes(), &local).unwrap_err();
        assert_eq!(refusal.reason(), "srtp_required");
    }
}

#[test]
fn inside_a_call_the_parts_of_a_handshake_stay_as_they_are() {
    let mut local = local(Srtp::Accepted);
    let (first, _) = agree(
        &format!("UDP/TLS/RTP/SAVP 0\r\n{}", fingerprint_lines("active")),
        &local,
    );
    local.before = Some(Box::new(first.clone()));
    let (again, answer) = agree(
        &format!("UDP/TLS/RTP/SAVP 0\r\n{}", fingerprint_lines("actpass")),
        &local,
    );
    assert_eq!(again.security, first.security);
    assert!(answer.contains("a=setup:passive\r\n"));
}

#[test]
fn the_transport_is_told_as_it_is() {
    let (negotiated, _) = agree(&format!("RTP/SAVPF 0\r\n{CM_80}"), &local(Srtp::Accepted));
    assert_eq!(
        (negotiated.profile.keying, negotiated.profile.feedback),
        (Keying::Srtp, true)
    );
}

pub(super) fn local(srtp: Srtp) -> Local {
    let key = |(index, suite): (usize, Suite)| {
        MasterKey::new(suite, &vec![index as u8 + 1; suite.key_and_salt_len()]).unwrap()
    };
    let fingerprint = Fingerprint {
        algorithm: "sha-256".to_owned(),
        bytes: vec![0x11; 32],
    };
    Local {
        protection: Protection {
            srtp,
            keys: Suite::ALL.into_iter().enumerate().map(key).collect(),
            dtls: Some(fingerprint),
        },
        ..super::local()
    }
}

/// With keys of its own.
fn other(mut local: Local) -> Local {
    local
        .protection
        .keys
        .iter_mut()
        .for_each(|key| key.key_and_salt.reverse());
    local
        .protection
        .keys
        .iter_mut()
        .for_each(|key| key.key_and_salt[0] = 0x77);
    local
}

fn handshake_only(srtp: Srtp) -> Local {
    let mut local = local(srtp);
    local.protection.keys.clear();
    local
}

fn agree(stream: &str, local: &Local) -> (Negotiated, String) {
    let offer = body(&format!("m=audio 4000 {stream}"));
    let (negotiated, answer) = super::super::answer(offer.as_bytes(), local).unwrap();
    (negotiated, String::from_utf8(answer).unwrap())
}

fn word(negotiated: &Negotiated) -> &'static str {
    match negotiated.security {
        Security::None => "plain",
        Security::Sdes { .. } => "sdes",
        Security::Dtls { .. } => "dtls",
    }
}

fn fingerprint_lines(setup: &str) -> String {
    format!("a=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n", ["AB"; 32].join(":"))
}
