//! Protection of one leg's packets: what came is checked and decrypted where it is, what leaves is encrypted.
//!
//! Keys may change while packets flow. Ours count from the moment they are agreed on; the far end's from its first
//! packet that verifies under them, until then its old ones serve on. Keys that stay the same keep their counters,
//! whatever else changes. This module decides nothing about a call: what it turns away it counts.

use std::time::{Duration, Instant};

use super::statistics::Statistics;
use crate::{
    rtp::srtp::{Failure, Inbound, MasterKey, Outbound, WrongLength},
    sdp::Security,
};

/// The protection of one leg, whether or not there is any.
#[derive(Debug)]
pub(super) struct Secure {
    state: State,
    failures: Failures,
    /// A packet that may have to be opened under two keys.
    copy: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing is protected: that was agreed on.
    Plain,
    Keyed(Box<Keys>),
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

/// Packets turned away, by why.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    unauthentic: u64,
    replayed: u64,
    malformed: u64,
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
    pub(super) fn new() -> Self {
        Self {
            state: State::Plain,
            failures: Failures::default(),
            copy: Vec::new(),
        }
    }

    /// Takes in what was agreed on, the first time or again.
    pub(super) fn apply(&mut self, now: Instant, security: &Security) {
        let next = match (security, std::mem::replace(&mut self.state, State::Broken)) {
            (Security::None, _) => Ok(State::Plain),
            (Security::Sdes { ours, theirs }, State::Keyed(keys)) => keys.changed(now, ours, theirs).map(State::Keyed),
            (Security::Sdes { ours, theirs }, _) => Keys::new(ours, theirs).map(State::Keyed),
            (Security::Dtls { .. }, _) => Ok(State::Broken),
        };
        self.state = next.unwrap_or(State::Broken);
    }

    /// Whether packets may leave.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.state, State::Broken)
    }

    /// Checks a packet and takes its protection off, where it is.
    pub(super) fn open<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> Result<&'a [u8], Failure> {
        let opened = match (&mut self.state, Datagram::of(datagram)) {
            (State::Plain, _) => Ok(datagram.len()),
            (State::Broken, _) => Err(Failure::Unauthentic),
            (State::Keyed(keys), Datagram::Rtp) => keys.open(now, &mut self.copy, datagram, Inbound::unprotect_rtp),
            (State::Keyed(keys), Datagram::Rtcp) => keys.open(now, &mut self.copy, datagram, Inbound::unprotect_rtcp),
            (State::Keyed(_), Datagram::Dtls | Datagram::Stun) => Err(Failure::Malformed),
        };
        let len = opened.inspect_err(|failure| self.failures.count(*failure))?;
        datagram.get(..len).ok_or(Failure::Malformed)
    }

    /// Protects a packet that leaves; false when it must not. Handshakes protect themselves.
    pub(super) fn seal(&mut self, packet: &mut Vec<u8>) -> bool {
        match (&mut self.state, Datagram::of(packet)) {
            (State::Plain, _) | (_, Datagram::Dtls) => true,
            (State::Broken, _) => false,
            (State::Keyed(keys), Datagram::Rtcp) => keys.outbound.protect_rtcp(packet).is_ok(),
            (State::Keyed(keys), _) => keys.outbound.protect_rtp(packet).is_ok(),
        }
    }

    /// Packets turned away so far, for whatever reason.
    pub(super) fn srtp_failures(&self) -> u64 {
        let Failures {
            unauthentic,
            replayed,
            malformed,
        } = self.failures;
        unauthentic + replayed + malformed
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.srtp_auth_failures = self.failures.unauthentic;
        statistics.srtp_replays = self.failures.replayed;
        statistics.malformed += self.failures.malformed;
    }
}

impl Keys {
    fn new(ours: &MasterKey, theirs: &MasterKey) -> Result<Box<Self>, WrongLength> {
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

    fn open(
        &mut self,
        now: Instant,
        copy: &mut Vec<u8>,
        datagram: &mut [u8],
        open: fn(&mut Inbound, &mut [u8]) -> Result<usize, Failure>,
    ) -> Result<usize, Failure> {
        let _ = self.before.take_if(|before| now >= before.until);
        let Some(before) = &mut self.before else {
            return open(&mut self.inbound, datagram);
        };
        // What does not verify is no longer what it was.
        copy.clear();
        copy.extend_from_slice(datagram);
        let opened = open(&mut self.inbound, datagram);
        if opened == Err(Failure::Unauthentic) {
            datagram.copy_from_slice(copy);
            return open(&mut before.inbound, datagram);
        }
        if opened.is_ok() {
            self.before = None;
        }
        opened
    }
}

impl Failures {
    fn count(&mut self, failure: Failure) {
        match failure {
            Failure::Unauthentic => self.unauthentic += 1,
            Failure::Replayed => self.replayed += 1,
            Failure::Malformed | Failure::Exhausted => self.malformed += 1,
        }
    }
}

#[cfg(test)]
mod tests;
