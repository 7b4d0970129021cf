//! Transactions: one request and its responses (RFC 3261 section 17, RFC 6026).
//!
//! [`server`], [`client`] and [`invite_client`] hold the machines, [`servers`] and [`clients`] all transactions of an
//! endpoint with their matching and deadlines, [`timers`] the intervals. Nothing here knows dialogs or decides an
//! answer.

pub mod client;
pub mod clients;
pub mod invite_client;
pub mod server;
pub mod servers;
pub mod timers;

use std::net::IpAddr;

use super::message::Request;
use super::method::Method;
use super::via::BRANCH_MAGIC;

/// What makes two requests the same transaction at the server (RFC 3261 section 17.2.3): branch, sent-by and method.
///
/// The source address is part of it, although the RFC leaves it out, so that a peer that guessed or overheard a branch
/// cannot answer, cancel or replay another peer's requests. A branch without the magic cookie (RFC 2543) makes no key:
/// such peers would need matching by content and are refused instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    branch: String,
    sent_by: String,
    method: Method,
    source: IpAddr,
}

impl Key {
    /// The key of a request from this source. `None` without a branch of RFC 3261.
    pub fn of(request: &Request, source: IpAddr) -> Option<Self> {
        let via = request.headers.via().ok()?;
        let branch = via.branch().filter(|branch| has_magic(branch))?;
        let sent_by = format!(
            "{}:{}",
            via.host.as_str().to_ascii_lowercase(),
            via.port.unwrap_or_default()
        );
        Some(Self {
            branch: branch.to_owned(),
            sent_by,
            method: request.method.clone(),
            source,
        })
    }

    /// The key of the INVITE an ACK or CANCEL with this key is about.
    pub fn of_invite(self) -> Self {
        Self {
            method: Method::Invite,
            ..self
        }
    }
}

fn has_magic(branch: &str) -> bool {
    let magic = BRANCH_MAGIC.len();
    branch.len() > magic
        && branch
            .get(..magic)
            .is_some_and(|start| start.eq_ignore_ascii_case(BRANCH_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::uri::Uri;

    #[test]
    fn ack_and_cancel_find_the_invite_of_their_branch() {
        let invite = key(Method::Invite, "SIP/2.0/UDP H.example:5070;branch=z9hG4bKa").unwrap();
        let cancel = key(Method::Cancel, "SIP/2.0/UDP h.example:5070;branch=z9hG4bKa").unwrap();
        assert_ne!(cancel, invite);
        assert_eq!(cancel.of_invite(), invite);
    }

    #[test]
    fn another_branch_sent_by_or_source_is_another_transaction() {
        let first = key(Method::Invite, "SIP/2.0/UDP h:5070;branch=z9hG4bKa").unwrap();
        assert_ne!(
            key(Method::Invite, "SIP/2.0/UDP h:5070;branch=z9hG4bKb").unwrap(),
            first
        );
        assert_ne!(
            key(Method::Invite, "SIP/2.0/UDP h:5071;branch=z9hG4bKa").unwrap(),
            first
        );
        let other = Key {
            source: "192.0.2.2".parse().unwrap(),
            ..first.clone()
        };
        assert_ne!(other, first);
    }

    #[test]
    fn a_branch_without_the_magic_cookie_makes_no_key() {
        assert_eq!(key(Method::Invite, "SIP/2.0/UDP h:5070;branch=1"), None);
        assert_eq!(key(Method::Invite, "SIP/2.0/UDP h:5070;branch=z9hG4bK"), None);
        assert_eq!(key(Method::Invite, "SIP/2.0/UDP h:5070"), None);
    }

    fn key(method: Method, via: &str) -> Option<Key> {
        let request = Request::new(method, Uri::read("sip:h").unwrap()).with_header("Via", via);
        Key::of(&request, "192.0.2.1".parse().unwrap())
    }
}
