//! Secure RTP and RTCP: packets protected and unprotected in the buffer they are in (RFC 3711, RFC 6188, RFC 7714).
//!
//! [`Outbound`] holds what we send with, [`Inbound`] what the far end sends with; each is made of one [`MasterKey`] and
//! keeps rollover counters, replay windows and RTCP indices by synchronisation source. [`Crypto`] reads and writes the
//! key of an `a=crypto` line (RFC 4568). Where keys come from and when they change is decided by their owner; so are
//! random numbers. Session keys are derived once: a key derivation rate other than zero, which nobody uses, is not
//! spoken, and neither are packets that are encrypted without being authenticated.

mod key;
mod sdes;

pub use key::{MasterKey, Mki, Suite, WrongLength};
pub use sdes::{Crypto, Unusable};
