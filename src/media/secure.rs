//! Protection of one leg's packets: what came is checked and decrypted where it is, what leaves is encrypted.
//!
//! Keys come from the descriptions, or from a handshake on the media path. They may change while packets flow. Ours
//! count from the moment they are agreed on; the far end's from its first packet that verifies under them, until then
//! its old ones serve on. Keys that stay the same keep their counters, whatever else changes. This module decides
//! nothing about a call: what it turns away it counts, and a handshake that failed it tells once.
//!
//! The handshake protects the RTP port, and RTCP when that shares it. An RTCP port of its own would need a handshake of
//! its own (RFC 5764 section 3); none is made, so its reports are neither sent nor taken.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::statistics::Statistics;
use crate::{
    rtp::{
        dtls::{self, Handshake, Identity},
        srtp::{Failure, Inbound, MasterKey, Outbound, WrongLength},
    },
    sdp::{Fingerprint, Security},
};

/// The protection of one leg, whether or not there is any.
#[derive(Debug)]
pub(super) struct Secure {
    identity: Option<Arc<Identity>>,
    state: State,
    failures: Failures,
    /// Why there will be no keys; told once.
    failed: Option<&'static str>,
    /// A packet that may have to be opened under two keys.
    copy: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing is protected: that was agreed on.
    Plain,
    Keyed(Box<Keys>),
    Shaking(Box<Association>),
    /// It should be protected and cannot be: nothing is taken and nothing leaves.
    Broken,
}

#[derive(Debug)]
struct Keys {
    ours: MasterKey,
    theirs: MasterKey,
    outbound: Outbound,
    inbound: Inbound,
    before: Option<Before>,
}

/// The far end's key before the present one.
#[derive(Debug)]
struct Before {
    inbound: Inbound,
    until: Instant,
}

/// A handshake and what came of it.
#[derive(Debug)]
struct Association {
    handshake: Handshake,
    active: bool,
    fingerprint: Fingerprint,
    /// Its own, or until there are any those that were in effect before.
    keys: Option<Box<Keys>>,
}

/// Why a datagram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It came before there were keys.
    Early,
    /// Its protection failed.
    Srtp(Failure),
}

/// Packets turned away, by why.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    unauthentic: u64,
    replayed: u64,
    malformed: u64,
    early: u64,
}

/// What a datagram on a media port is, by its first bytes (RFC 7983, RFC 5761).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    /// Media, or nothing that is known.
    Rtp,
    /// A report.
    Rtcp,
    /// A part of a handshake.
    Dtls,
    /// A question of somebody who thinks that we speak ICE.
    Stun,
}

impl Datagram {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            _ => Self::Rtp,
        }
    }
}

/// How long the far end's old key serves on when none of its packets verifies under the new one: longer than an answer
/// takes to arrive, and shorter than anybody waits for sound.
const OLD_KEY_KEPT: Duration = Duration::from_secs(10);

impl Secure {
    pub(super) fn new(identity: Option<Arc<Identity>>) -> Self {
        Self {
            identity,
            state: State::Plain,
            failures: Failures::default(),
            failed: None,
            copy: Vec::new(),
        }
    }

    /// Takes in what was agreed on, the first time or again.
    pub(super) fn apply(&mut self, now: Instant, security: &Security) {
        let state = std::mem::replace(&mut self.state, State::Broken);
        self.state = match security {
            Security::None => State::Plain,
            Security::Sdes { ours, theirs } => self.keyed(now, state.into_keys(), ours, theirs),
            Security::Dtls { active, fingerprint } => match state {
                State::Shaking(association) if association.is_with(*active, fingerprint) => State::Shaking(association),
                state => self.shaking(now, state.into_keys(), *active, fingerprint),
            },
        };
    }

    /// Whether packets may leave.
    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Plain | State::Keyed(_) => true,
            State::Shaking(association) => association.keys.is_some(),
            State::Broken => false,
        }
    }

    /// Whether parts of a handshake are expected.
    pub(super) fn shakes_hands(&self) -> bool {
        matches!(self.state, State::Shaking(_))
    }

    /// Takes in a part of the handshake.
    pub(super) fn handle_handshake(&mut self, now: Instant, datagram: &[u8]) {
        let State::Shaking(association) = &mut self.state else {
            return;
        };
        match association.handshake.handle_datagram(now, datagram) {
            Ok(None) => {}
            Ok(Some(keys)) => {
                if association.take(now, &keys).is_err() {
                    self.fail(dtls::Failure::Failed.word());
                }
            }
            Err(failure) => self.fail(failure.word()),
        }
    }

    /// Takes in that time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let State::Shaking(association) = &mut self.state
            && let Err(failure) = association.handshake.handle_timeout(now)
        {
            self.fail(failure.word());
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Shaking(association) => association.handshake.poll_timeout(),
            State::Plain | State::Keyed(_) | State::Broken => None,
        }
    }

    /// The next part of the handshake to be sent.
    pub(super) fn poll_handshake(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Shaking(association) => association.handshake.poll_transmit(),
            State::Plain | State::Keyed(_) | State::Broken => None,
        }
    }

    /// Why there will be no keys, once.
    pub(super) fn poll_failure(&mut self) -> Option<&'static str> {
        self.failed.take()
    }

    /// Ends the handshake's association.
    pub(super) fn close(&mut self, now: Instant) {
        if let State::Shaking(association) = &mut self.state {
            association.handshake.close(now);
        }
    }

    /// Checks a packet and takes its protection off, where it is.
    pub(super) fn open<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let opened = match (&mut self.state, Datagram::of(datagram)) {
            (State::Plain, _) => return Ok(datagram),
            (State::Broken, _) => Err(Refused::Srtp(Failure::Unauthentic)),
            (_, Datagram::Dtls | Datagram::Stun) => Err(Refused::Srtp(Failure::Malformed)),
            (State::Keyed(keys), kind) => keys.open(now, &mut self.copy, datagram, kind),
            (State::Shaking(association), kind) => match &mut association.keys {
                Some(keys) => keys.open(now, &mut self.copy, datagram, kind),
                None => Err(Refused::Early),
            },
        };
        let len = opened.inspect_err(|refused| self.failures.count(*refused))?;
        Ok(&datagram[..len])
    }

    /// Protects a packet that leaves; false when it must not. Handshakes protect themselves.
    pub(super) fn seal(&mut self, packet: &mut Vec<u8>) -> bool {
        match (&mut self.state, Datagram::of(packet)) {
            (State::Plain, _) | (_, Datagram::Dtls) => true,
            (State::Broken, _) => false,
            (State::Keyed(keys), kind) => keys.seal(packet, kind),
            (State::Shaking(association), kind) => match &mut association.keys {
                Some(keys) => keys.seal(packet, kind),
                None => false,
            },
        }
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.srtp_auth_failures = self.failures.unauthentic;
        statistics.srtp_replays = self.failures.replayed;
        statistics.malformed += self.failures.malformed;
        statistics.unexpected += self.failures.early;
    }

    fn keyed(&mut self, now: Instant, before: Option<Box<Keys>>, ours: &MasterKey, theirs: &MasterKey) -> State {
        match Keys::next(before, now, ours, theirs) {
            Ok(keys) => State::Keyed(keys),
            Err(_) => {
                self.failed = Some(BAD_KEY);
                State::Broken
            }
        }
    }

    fn shaking(&mut self, now: Instant, keys: Option<Box<Keys>>, active: bool, fingerprint: &Fingerprint) -> State {
        let expected = dtls::Fingerprint::new(&fingerprint.algorithm, &fingerprint.bytes);
        let handshake = match (&self.identity, expected) {
            (Some(identity), Some(expected)) => Handshake::new(now, identity, active, expected),
            (None, _) => Err(dtls::Failure::Failed),
            (_, None) => Err(dtls::Failure::Fingerprint),
        };
        match handshake {
            Ok(handshake) => State::Shaking(Box::new(Association {
                handshake,
                active,
                fingerprint: fingerprint.clone(),
                keys,
            })),
            Err(failure) => {
                self.failed = Some(failure.word());
                State::Broken
            }
        }
    }

    fn fail(&mut self, word: &'static str) {
        self.failed = Some(word);
        self.state = State::Broken;
    }
}

/// A key of the descriptions that does not fit its suite; reading them does not let one through.
const BAD_KEY: &str = "srtp_key";

impl State {
    fn into_keys(self) -> Option<Box<Keys>> {
        match self {
            Self::Keyed(keys) => Some(keys),
            Self::Shaking(association) => association.keys,
            Self::Plain | Self::Broken => None,
        }
    }
}

impl Association {
    fn is_with(&self, active: bool, fingerprint: &Fingerprint) -> bool {
        self.active == active && self.fingerprint == *fingerprint
    }

    fn take(&mut self, now: Instant, keys: &dtls::Keys) -> Result<(), WrongLength> {
        self.keys = Some(Keys::next(self.keys.take(), now, &keys.ours, &keys.theirs)?);
        Ok(())
    }
}

impl Keys {
    fn next(
        before: Option<Box<Self>>,
        now: Instant,
        ours: &MasterKey,
        theirs: &MasterKey,
    ) -> Result<Box<Self>, WrongLength> {
        if let Some(keys) = before {
            return keys.changed(now, ours, theirs);
        }
        Ok(Box::new(Self {
            ours: ours.clone(),
            theirs: theirs.clone(),
            outbound: Outbound::new(ours)?,
            inbound: Inbound::new(theirs)?,
            before: None,
        }))
    }

    fn changed(
        mut self: Box<Self>,
        now: Instant,
        ours: &MasterKey,
        theirs: &MasterKey,
    ) -> Result<Box<Self>, WrongLength> {
        if self.ours != *ours {
            self.outbound = self.outbound.rekeyed(ours)?;
            self.ours = ours.clone();
        }
        if self.theirs != *theirs {
            let next = self.inbound.rekeyed(theirs)?;
            let inbound = std::mem::replace(&mut self.inbound, next);
            let until = now + OLD_KEY_KEPT;
            self.before = Some(Before { inbound, until });
            self.theirs = theirs.clone();
        }
        Ok(self)
    }

    fn seal(&mut self, packet: &mut Vec<u8>, kind: Datagram) -> bool {
        match kind {
            Datagram::Rtcp => self.outbound.protect_rtcp(packet).is_ok(),
            _ => self.outbound.protect_rtp(packet).is_ok(),
        }
    }

    fn open(
        &mut self,
        now: Instant,
        copy: &mut Vec<u8>,
        datagram: &mut [u8],
        kind: Datagram,
    ) -> Result<usize, Refused> {
        let open = match kind {
            Datagram::Rtcp => Inbound::unprotect_rtcp,
            _ => Inbound::unprotect_rtp,
        };
        let _ = self.before.take_if(|before| now >= before.until);
        let Some(before) = &mut self.before else {
            return open(&mut self.inbound, datagram).map_err(Refused::Srtp);
        };
        // What does not verify is no longer what it was.
        copy.clear();
        copy.extend_from_slice(datagram);
        let opened = open(&mut self.inbound, datagram);
        if opened == Err(Failure::Unauthentic) {
            datagram.copy_from_slice(copy);
            return open(&mut before.inbound, datagram).map_err(Refused::Srtp);
        }
        if opened.is_ok() {
            self.before = None;
        }
        opened.map_err(Refused::Srtp)
    }
}

impl Failures {
    fn count(&mut self, refused: Refused) {
        match refused {
            Refused::Early => self.early += 1,
            Refused::Srtp(Failure::Unauthentic) => self.unauthentic += 1,
            Refused::Srtp(Failure::Replayed) => self.replayed += 1,
            Refused::Srtp(Failure::Malformed | Failure::Exhausted) => self.malformed += 1,
        }
    }
}

#[cfg(test)]
mod tests;
