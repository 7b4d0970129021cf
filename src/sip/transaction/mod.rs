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
use super::via::{BRANCH_MAGIC, Via};

/// What makes two requests the same transaction at the server (RFC 3261 section 17.2.3): branch, sent-by and method.
///
/// The source address is part of it, although the RFC leaves it out, so that a peer that guessed or overheard a branch
/// cannot answer, cancel or replay another peer's requests. Where a branch without the magic cookie (RFC 2543), or none,
/// names no transaction, the content of the request takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    branch: String,
    sent_by: String,
    method: Method,
    source: IpAddr,
}

impl Key {
    /// The key of a request from this source. `None` for a request the reader would not have let through.
    pub fn of(request: &Request, source: IpAddr) -> Option<Self> {
        let via = request.headers.via().ok()?;
        let branch = match via.branch().filter(|branch| has_magic(branch)) {
            Some(branch) => branch.to_owned(),
            None => content_of(request, &via)?,
        };
        let sent_by = format!(
            "{}:{}",
            via.host.as_str().to_ascii_lowercase(),
            via.port.unwrap_or_default()
        );
        Some(Self {
            branch,
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

/// What is the same in a request, its ACK, its CANCEL and its copies: the tag of From, Call-ID, the number of CSeq and the
/// whole topmost Via. The tag of To differs between an INVITE and its ACK, and so may the Request-URI.
fn content_of(request: &Request, via: &Via) -> Option<String> {
    let (from, call_id) = (request.headers.from().ok()?, request.headers.call_id().ok()?);
    let number = request.headers.cseq().ok()?.number;
    Some(format!(
        "{}\n{call_id}\n{number}\n{via}",
        from.tag().unwrap_or_default()
    ))
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
    fn without_the_magic_cookie_the_content_makes_the_key() {
        for via in ["SIP/2.0/UDP h:5070;branch=1", "SIP/2.0/UDP h:5070"] {
            let invite = key(Method::Invite, via).unwrap();
            assert_eq!(key(Method::Cancel, via).unwrap().of_invite(), invite);
            for (from, to) in [
                ("tag=1", "tag=2"),
                ("c1", "c2"),
                ("1 INVITE", "2 INVITE"),
                ("h:5070", "h:5071"),
            ] {
                let other = request(Method::Invite, via).map(|text| text.replace(from, to));
                assert_ne!(Key::of(&written(&other), SOURCE).unwrap(), invite, "{to}");
            }
        }
        let bare = Request::new(Method::Invite, Uri::read("sip:h").unwrap()).with_header("Via", "SIP/2.0/UDP h");
        assert_eq!(Key::of(&bare, SOURCE), None);
    }

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn key(method: Method, via: &str) -> Option<Key> {
        Key::of(&written(&request(method, via)), SOURCE)
    }

    /// Via, From, Call-ID and CSeq.
    fn request(method: Method, via: &str) -> [String; 4] {
        [
            via.to_owned(),
            "<sip:a@h>;tag=1".to_owned(),
            "c1".to_owned(),
            format!("1 {method}"),
        ]
    }

    fn written([via, from, call_id, cseq]: &[String; 4]) -> Request {
        let (_, method) = cseq.split_once(' ').unwrap();
        Request::new(Method::read(method).unwrap(), Uri::read("sip:h").unwrap())
            .with_header("Via", via)
            .with_header("From", from)
            .with_header("Call-ID", call_id)
            .with_header("CSeq", cseq)
    }
}
