//! Secure RTP and RTCP: packets protected and unprotected in the buffer they are in (RFC 3711, RFC 6188, RFC 7714).
//!
//! [`Outbound`] holds what we send with, [`Inbound`] what the far end sends with; each is made of one [`MasterKey`] and
//! keeps rollover counters, replay windows and RTCP indices by synchronisation source. [`Crypto`] reads and writes the
//! key of an `a=crypto` line (RFC 4568). Where keys come from and when they change is decided by their owner; so are
//! random numbers. Session keys are derived once: a key derivation rate other than zero, which nobody uses, is not
//! spoken, and neither are packets that are encrypted without being authenticated.

mod cipher;
mod derive;
mod header;
mod inbound;
mod key;
mod outbound;
mod sdes;
mod window;

pub use inbound::Inbound;
pub use key::{MasterKey, Mki, Suite, WrongLength};
pub use outbound::Outbound;
pub use sdes::{Crypto, Unusable};

use cipher::Cipher;
use derive::{SessionKeys, Use};
use thiserror::Error;

/// Why a packet is not taken or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// It is too short, or no RTP or RTCP at all.
    #[error("the packet is no RTP or RTCP, or too short to be protected")]
    Malformed,
    /// It came before, or is older than what is remembered.
    #[error("the packet came before, or too late to tell")]
    Replayed,
    /// It was made with another key, or changed on its way.
    #[error("the packet's tag does not fit; the keys differ, or somebody changed it")]
    Unauthentic,
    /// The key has protected as many packets as it may, or as many sources.
    #[error("the key is used up; agree on a new one")]
    Exhausted,
}

/// The two ciphers of a direction.
fn keys(key: &MasterKey) -> Result<(Cipher, Cipher), WrongLength> {
    let rtp = SessionKeys::derive(key, Use::Rtp)?;
    let rtcp = SessionKeys::derive(key, Use::Rtcp)?;
    let suite = key.suite;
    let rtp = Cipher::new(suite, &rtp, suite.rtp_tag_len(), key.mki);
    let rtcp = Cipher::new(suite, &rtcp, suite.rtcp_tag_len(), key.mki);
    rtp.zip(rtcp).ok_or_else(|| key.wrong_length())
}

/// Sources whose counters one key remembers. Past it the far end's source that was quiet longest is forgotten, so that
/// its packets could come twice; a source of ours is refused, because counting anew would break the encryption.
const SOURCES_MAX: usize = 8;

#[cfg(test)]
mod tests;
