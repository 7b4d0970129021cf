//! Errand: one request of ours on its way, from the first hop tried to the answer that counts.
//!
//! An errand knows what is to be sent, where it can still be tried (RFC 3263 section 4.3) and how often it has answered
//! a challenge. The endpoint moves it: it opens a transaction for every attempt, and says when the errand is done.

use std::collections::VecDeque;

use super::challenge::Asked;
use super::flow::{Flow, Transport};
use super::headers::Headers;
use super::message::{Request, Response};
use super::method::Method;
use super::target::{Hop, Target};
use super::transaction::clients::ClientKey;
use super::uplink::Login;

/// Most hops one errand tries; those behind are left out. With timer B or F for each this is 4 minutes of silence.
pub const HOPS_MAX: usize = 8;
/// How often one errand answers challenges; the next one counts as refused.
pub const PROOFS_MAX: usize = 3;
/// A request longer than this goes by TCP rather than UDP when both lead to the peer (RFC 3261 section 18.1.1).
const DATAGRAM_BYTES_MAX: usize = 1300;
/// What an attempt adds to a request: Via, Contact and proofs, roughly.
const ATTEMPT_BYTES: usize = 200;

/// Names one errand for as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrandId(pub u64);

/// What a request inside a dialog is to say; the dialog adds the rest.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The method.
    pub method: Method,
    /// The headers the dialog does not know.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Our Contact, when the request says where we are.
    pub contact: Option<OwnContact>,
}

impl Draft {
    /// A request of this method and nothing more.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            headers: Headers::new(),
            body: Vec::new(),
            contact: None,
        }
    }

    /// The draft with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The draft with a body.
    pub fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body;
        self
    }

    /// The draft with our Contact, as it is for the way taken.
    pub fn with_contact(mut self) -> Self {
        self.contact = Some(OwnContact::default());
        self
    }
}

/// What our Contact says besides our address, which depends on the way taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnContact {
    /// The user part.
    pub user: Option<String>,
    /// The trunk this is registered for, as a parameter of the URI.
    pub line: Option<String>,
    /// Parameters of the header, each with its semicolon (`;expires=3600`).
    pub params: String,
}

/// Where an errand goes.
#[derive(Debug, Clone)]
pub enum Course {
    /// A way that is known and no other.
    Flow(Flow),
    /// Hops that were looked up before.
    Hops(Vec<Hop>),
    /// A name to be looked up.
    Target {
        /// The name.
        target: Target,
        /// A flow that is open already: used when it turns out to lead there, and when the name cannot be looked up.
        near: Option<Flow>,
    },
}

/// One place to try next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// This flow.
    Flow(Flow),
    /// This hop.
    Hop(Hop),
}

/// What is left to try.
#[derive(Debug, Clone, Default)]
pub struct Way {
    stretches: VecDeque<Stretch>,
}

impl Way {
    /// A way of one stretch.
    pub fn flow(flow: Flow) -> Self {
        Self {
            stretches: VecDeque::from([Stretch::Flow(flow)]),
        }
    }

    /// These hops in their order, the first [`HOPS_MAX`] of them. `bytes` is the length of the request.
    pub fn hops(mut hops: Vec<Hop>, bytes: usize) -> Self {
        if bytes + ATTEMPT_BYTES > DATAGRAM_BYTES_MAX {
            let rank = |hop: &Hop| hop.transport == Transport::Udp;
            // A stable sort: the order of hops of one kind stays.
            hops.sort_by_key(rank);
        }
        hops.truncate(HOPS_MAX);
        Self {
            stretches: hops.into_iter().map(Stretch::Hop).collect(),
        }
    }

    /// Takes the next place to try.
    pub fn next(&mut self) -> Option<Stretch> {
        self.stretches.pop_front()
    }
}

/// How an errand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this final response.
    Response(Box<Response>),
    /// Nobody answered.
    TimedOut,
    /// There was no way, for this reason, told to people.
    Unreachable(String),
}

/// One errand.
#[derive(Debug)]
pub struct Errand<P> {
    /// What it is for.
    pub purpose: P,
    /// The request without what each attempt adds: Via, Contact and proofs.
    pub request: Request,
    /// The Contact it is to carry.
    pub contact: Option<OwnContact>,
    /// What challenges are answered with.
    pub login: Option<Login>,
    /// A flow that is open already and may turn out to be a hop of the way.
    pub near: Option<Flow>,
    /// What is left to try.
    pub way: Way,
    /// The last attempt.
    pub sent: Option<Sent>,
    /// How the attempts before ended.
    pub failure: Option<Outcome>,
    /// The last attempt has a provisional answer.
    pub provisional: bool,
    /// Its CANCEL is out.
    pub cancelling: bool,
    /// The challenges answered so far.
    pub answered: Vec<Asked>,
    /// How often any were answered.
    pub proofs: usize,
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its transaction.
    pub key: ClientKey,
    /// The way it took.
    pub flow: Flow,
    /// The request as it was sent.
    pub request: Request,
}

impl<P> Errand<P> {
    /// An errand that has gone nowhere yet.
    pub fn new(purpose: P, request: Request) -> Self {
        Self {
            purpose,
            request,
            contact: None,
            login: None,
            near: None,
            way: Way::default(),
            sent: None,
            failure: None,
            provisional: false,
            cancelling: false,
            answered: Vec::new(),
            proofs: 0,
        }
    }

    /// Whether these challenges are worth another attempt: there are some, they are not the ones answered before (but
    /// for a stale nonce), and there were not too many.
    pub fn may_answer(&mut self, asked: Vec<Asked>) -> bool {
        let again = |one: &Asked| {
            let same = |old: &Asked| old.header == one.header && old.realm == one.realm;
            !one.stale && self.answered.iter().any(same)
        };
        if asked.is_empty() || self.proofs >= PROOFS_MAX || asked.iter().any(again) {
            return false;
        }
        self.answered.extend(asked);
        self.proofs += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::uri::Uri;

    #[test]
    fn hops_are_tried_in_their_order_and_not_forever() {
        let hops: Vec<_> = (0..20).map(|port| hop(Transport::Udp, port)).collect();
        let mut way = Way::hops(hops.clone(), 500);
        let tried: Vec<_> = std::iter::from_fn(|| way.next()).collect();
        let expected: Vec<_> = hops.into_iter().take(HOPS_MAX).map(Stretch::Hop).collect();
        assert_eq!(tried, expected);
    }

    #[test]
    fn a_long_request_goes_by_tcp_when_it_can() {
        let hops = vec![hop(Transport::Udp, 1), hop(Transport::Tcp, 2)];
        let first = |bytes| Way::hops(hops.clone(), bytes).next().unwrap();
        assert_eq!(first(500), Stretch::Hop(hops[0].clone()));
        assert_eq!(first(1400), Stretch::Hop(hops[1].clone()));
        let udp = vec![hop(Transport::Udp, 1)];
        assert_eq!(Way::hops(udp.clone(), 1400).next(), Some(Stretch::Hop(udp[0].clone())));
    }

    #[test]
    fn the_same_realm_is_answered_again_only_when_the_nonce_was_stale() {
        let mut errand = Errand::new((), Request::new(Method::Invite, Uri::read("sip:h").unwrap()));
        assert!(!errand.may_answer(Vec::new()));
        assert!(errand.may_answer(vec![asked("Authorization", false)]));
        assert!(!errand.may_answer(vec![asked("Authorization", false)]));
        assert!(errand.may_answer(vec![asked("Proxy-Authorization", false)]));
        assert!(errand.may_answer(vec![asked("Authorization", true)]));
        assert!(!errand.may_answer(vec![asked("Authorization", true)]));
    }

    fn asked(header: &'static str, stale: bool) -> Asked {
        Asked {
            header,
            realm: "r".to_owned(),
            stale,
        }
    }

    fn hop(transport: Transport, port: u16) -> Hop {
        Hop {
            transport,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: ([192, 0, 2, 7], port).into(),
            name: "h".to_owned(),
        }
    }
}
