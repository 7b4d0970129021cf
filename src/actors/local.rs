//! Our side of a call's session descriptions: what its trunk is set to, and keys made for this call alone.

use std::net::IpAddr;

use crate::{
    config::{self, TrunkMedia},
    rtp::{
        dtls::Identity,
        srtp::{MasterKey, Suite},
    },
    sdp::{Fingerprint, Local, Protection, Srtp},
};

/// Our side, known by this address; `certificate` is what a handshake shows.
pub fn local(media: &TrunkMedia, address: IpAddr, rtp_port: u16, certificate: Option<&Fingerprint>) -> Local {
    Local {
        codecs: media.codecs.clone(),
        ptime_ms: media.ptime_ms,
        protection: protection(media, certificate),
        ..Local::new(address, rtp_port, super::service::random() >> 2)
    }
}

/// What our certificate is known by in descriptions.
pub fn fingerprint(identity: &Identity) -> Fingerprint {
    let known_by = identity.fingerprint();
    Fingerprint {
        algorithm: known_by.algorithm().to_owned(),
        bytes: known_by.bytes().to_vec(),
    }
}

fn protection(media: &TrunkMedia, certificate: Option<&Fingerprint>) -> Protection {
    let srtp = match media.srtp {
        config::Srtp::Off => return Protection::default(),
        config::Srtp::Accepted => Srtp::Accepted,
        config::Srtp::Offered => Srtp::Offered,
        config::Srtp::Required => Srtp::Required,
    };
    Protection {
        srtp,
        keys: media.srtp_suites.iter().filter_map(|&suite| key(suite)).collect(),
        dtls: certificate.filter(|_| media.dtls).cloned(),
    }
}

/// A new key. Without randomness there is none, rather than one that could be guessed.
fn key(suite: Suite) -> Option<MasterKey> {
    let mut bytes = [0; Suite::KEY_AND_SALT_BYTES_MAX];
    let bytes = bytes.get_mut(..suite.key_and_salt_len())?;
    let made = getrandom::fill(bytes);
    made.inspect_err(|error| tracing::error!(%error, "the system gives no randomness for keys"))
        .ok()?;
    MasterKey::new(suite, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_keys_of_its_own_for_every_suite() {
        let media = TrunkMedia::default();
        let address = [127, 0, 0, 1].into();
        let (one, other) = (local(&media, address, 4000, None), local(&media, address, 4000, None));
        let suites = |local: &Local| local.protection.keys.iter().map(|key| key.suite).collect::<Vec<_>>();
        assert_eq!(suites(&one), Suite::ALL);
        for (one, other) in one.protection.keys.iter().zip(&other.protection.keys) {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_trunk_that_is_never_encrypted_has_no_keys() {
        let media = TrunkMedia {
            srtp: config::Srtp::Off,
            ..TrunkMedia::default()
        };
        let certificate = Fingerprint {
            algorithm: "sha-256".to_owned(),
            bytes: vec![1; 32],
        };
        let local = local(&media, [127, 0, 0, 1].into(), 4000, Some(&certificate));
        assert_eq!(local.protection, Protection::default());
    }

    #[test]
    fn a_certificate_is_shown_only_where_the_trunk_takes_handshakes() {
        let certificate = Fingerprint {
            algorithm: "sha-256".to_owned(),
            bytes: vec![1; 32],
        };
        for dtls in [true, false] {
            let media = TrunkMedia {
                dtls,
                ..TrunkMedia::default()
            };
            let local = local(&media, [127, 0, 0, 1].into(), 4000, Some(&certificate));
            assert_eq!(local.protection.dtls.is_some(), dtls);
        }
    }
}
