//! How packets of a stream are protected: keys in the descriptions (RFC 4568), or a handshake that makes them (RFC 5763).
//!
//! Where both are offered the keys are taken: no handshake stands before the first word. Our side of both is made by
//! whoever makes [`Local`], once per call, so that our key stays the same as long as its suite does.

use super::{
    Fingerprint, Keying, Local, Profile, Refusal, Security, Srtp,
    description::{Setup, Stream},
};
use crate::rtp::srtp::{Crypto, MasterKey};

/// The lines of a description of ours that protect its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Our keys.
    pub cryptos: Vec<Crypto>,
    /// What our certificate is known by.
    pub fingerprint: Option<Fingerprint>,
    /// Who begins.
    pub setup: Option<Setup>,
}

/// What our offers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Plain,
    Keys,
    Handshake,
}

/// How an offered stream is to be protected, and what our answer says of it.
pub(super) fn answering(stream: &Stream, profile: Profile, local: &Local) -> Result<(Security, Lines), Refusal> {
    let srtp = local.protection.srtp;
    match profile.keying {
        Keying::Plain if srtp == Srtp::Off => Ok(plain()),
        Keying::Srtp | Keying::Dtls if srtp == Srtp::Off => Err(Refusal::SrtpRefused(stream.profile.clone())),
        Keying::Dtls => handshake(stream, local),
        Keying::Srtp => keys(stream, local)
            .or_else(|| handshake(stream, local).ok())
            .ok_or_else(|| no_common_suite(stream, local)),
        Keying::Plain => match keys(stream, local).or_else(|| handshake(stream, local).ok()) {
            Some(protected) => Ok(protected),
            None if srtp == Srtp::Required => Err(Refusal::SrtpRequired(
                "offer RTP/SAVP with a=crypto, or UDP/TLS/RTP/SAVP",
            )),
            None => Ok(plain()),
        },
    }
}

/// The transport of our offers, and what they say of protection.
pub(super) fn offered(local: &Local) -> (Profile, Lines) {
    let (ours, before) = (Ours::of(local), local.before.as_ref());
    let is_sure = local.protection.srtp == Srtp::Required;
    let keying = match ours {
        Ours::Keys if is_sure => Keying::Srtp,
        Ours::Handshake if is_sure => Keying::Dtls,
        Ours::Keys | Ours::Handshake | Ours::Plain => Keying::Plain,
    };
    let lines = match ours {
        Ours::Plain => Lines::default(),
        Ours::Keys => Lines {
            cryptos: cryptos(&local.protection.keys),
            ..Lines::default()
        },
        Ours::Handshake => Lines {
            fingerprint: local.protection.dtls.clone(),
            setup: Some(Setup::Actpass),
            ..Lines::default()
        },
    };
    (before.map_or(keying.into(), |before| before.profile), lines)
}

/// What the far end's answer to our offer makes of it.
pub(super) fn answered(stream: &Stream, profile: Profile, local: &Local) -> Result<Security, Refusal> {
    let taken = match Ours::of(local) {
        Ours::Plain => None,
        Ours::Keys => keys(stream, local).map(|(security, _)| security),
        Ours::Handshake => begun(stream),
    };
    let was_protected = |local: &Local| {
        let before = local.before.as_ref();
        before.is_some_and(|before| before.security != Security::None)
    };
    match taken {
        Some(security) => Ok(security),
        None if profile.keying != Keying::Plain && Ours::of(local) == Ours::Plain => {
            Err(Refusal::Mismatch("we offered no SRTP"))
        }
        None if profile.keying == Keying::Srtp => Err(no_common_suite(stream, local)),
        None if profile.keying == Keying::Dtls => Err(Refusal::DtlsIncomplete("no fingerprint")),
        None if local.protection.srtp == Srtp::Required || was_protected(local) => {
            Err(Refusal::SrtpRequired("answer with the keys of one of our a= lines"))
        }
        None => Ok(Security::None),
    }
}

impl Ours {
    /// Inside a call what is protected stays protected the same way; else keys are offered where there are any.
    fn of(local: &Local) -> Self {
        let protection = &local.protection;
        let fresh = match protection.srtp {
            Srtp::Off | Srtp::Accepted => Self::Plain,
            Srtp::Offered | Srtp::Required if !protection.keys.is_empty() => Self::Keys,
            Srtp::Offered | Srtp::Required if protection.dtls.is_some() => Self::Handshake,
            Srtp::Offered | Srtp::Required => Self::Plain,
        };
        match local.before.as_ref().map(|before| &before.security) {
            Some(Security::Sdes { .. }) => Self::Keys,
            Some(Security::Dtls { .. }) => Self::Handshake,
            Some(Security::None) => Self::Plain,
            None => fresh,
        }
    }
}

fn plain() -> (Security, Lines) {
    (Security::None, Lines::default())
}

/// The suite we like best of those the stream has keys for, with the tag of its line.
fn keys(stream: &Stream, local: &Local) -> Option<(Security, Lines)> {
    let (ours, theirs) = local.protection.keys.iter().find_map(|ours| {
        let same = |crypto: &&Crypto| crypto.key.suite == ours.suite;
        Some((ours, stream.cryptos.iter().find(same)?))
    })?;
    let answer = Crypto {
        tag: theirs.tag,
        key: ours.clone(),
    };
    let security = Security::Sdes {
        ours: ours.clone(),
        theirs: theirs.key.clone(),
    };
    let lines = Lines {
        cryptos: vec![answer],
        ..Lines::default()
    };
    Some((security, lines))
}

/// Our part in the handshake a stream offers. Whoever may choose begins, so that nobody waits for a packet that
/// something on the way keeps back (RFC 5763 section 5); inside a call the parts stay as they are.
fn handshake(stream: &Stream, local: &Local) -> Result<(Security, Lines), Refusal> {
    let Some(own) = &local.protection.dtls else {
        return Err(Refusal::DtlsRefused(stream.profile.clone()));
    };
    let Some(fingerprint) = stream.fingerprint.clone() else {
        return Err(Refusal::DtlsIncomplete("no fingerprint of SHA-256, SHA-384 or SHA-512"));
    };
    let before = local.before.as_ref().map(|before| &before.security);
    let active = match (stream.setup, before) {
        (Some(Setup::Actpass), Some(Security::Dtls { active, .. })) => *active,
        (Some(Setup::Actpass | Setup::Passive), _) => true,
        // An offer that does not say is active (RFC 4145 section 4).
        (Some(Setup::Active) | None, _) => false,
        (Some(Setup::Holdconn), _) => return Err(Refusal::DtlsIncomplete("a=setup:holdconn")),
    };
    let lines = Lines {
        cryptos: Vec::new(),
        fingerprint: Some(own.clone()),
        setup: Some(if active { Setup::Active } else { Setup::Passive }),
    };
    Ok((Security::Dtls { active, fingerprint }, lines))
}

/// An answer that does not say who begins waits for us (RFC 4145 section 4).
fn begun(stream: &Stream) -> Option<Security> {
    let fingerprint = stream.fingerprint.clone()?;
    let active = stream.setup != Some(Setup::Active);
    Some(Security::Dtls { active, fingerprint })
}

fn cryptos(keys: &[MasterKey]) -> Vec<Crypto> {
    let tagged = (1..).zip(keys);
    tagged.map(|(tag, key)| Crypto { tag, key: key.clone() }).collect()
}

fn no_common_suite(stream: &Stream, local: &Local) -> Refusal {
    let ours: Vec<&str> = local.protection.keys.iter().map(|key| key.suite.name()).collect();
    let ours = match ours.as_slice() {
        [] => "UDP/TLS/RTP/SAVP alone".to_owned(),
        ours => ours.join(", "),
    };
    let why = stream
        .unusable
        .as_ref()
        .map_or_else(String::new, |why| format!("; {why}"));
    Refusal::NoCommonSuite { ours, why }
}
