//! The requests a test phone writes.

use std::time::Instant;

use super::Phone;
use crate::sip::flow::Transport;
use crate::sip::message::{InDialog, Request, Response};
use crate::sip::method::Method;
use crate::sip::proof::{Proof, Quality};
use crate::sip::uri::{Host, Uri};
use crate::sip::via::Via;

impl Phone {
    pub(super) fn invite_with_proof(&mut self, now: Instant, mut invite: Request, challenge: &Response) {
        let proof = self.proof(&invite, challenge);
        self.sequence += 1;
        let branch = self.branch();
        invite.headers.set_top_via(&self.via(&branch));
        invite.headers.set("CSeq", format!("{} INVITE", self.sequence));
        invite.headers.set("Authorization", proof);
        self.send_invite(now, invite);
    }

    pub(super) fn proof(&mut self, invite: &Request, challenge: &Response) -> String {
        let (username, password, algorithm) = self.habits.login.expect("a phone that logs in");
        // A phone that knows one algorithm alone answers with it whatever is offered.
        let mut challenges = challenge.headers.all("WWW-Authenticate");
        let offered = challenges
            .find(|one| one.contains(algorithm.as_str()))
            .or(challenge.headers.first("WWW-Authenticate"))
            .unwrap();
        let part = |name: &str| {
            offered
                .split(&format!("{name}=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        self.nonce_count += 1;
        let count = self.nonce_count;
        let quality = Quality {
            qop: "auth".into(),
            cnonce: "c".into(),
            nc: format!("{count:08x}"),
            count,
        };
        let proof = Proof {
            username: username.into(),
            realm: part("realm"),
            nonce: part("nonce"),
            uri: invite.uri.to_string(),
            response: String::new(),
            algorithm: Some(algorithm.to_string()),
            quality: Some(quality),
        };
        let response = proof.expected(algorithm, "INVITE", b"", password).unwrap();
        let Proof { realm, nonce, uri, .. } = proof;
        format!(
            "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}, qop=auth, cnonce=\"c\", nc={count:08x}"
        )
    }

    pub(super) fn outside_dialog(&mut self, method: Method) -> Request {
        self.sequence += 1;
        let branch = self.branch();
        let cseq = format!("{} {method}", self.sequence);
        Request::new(method, Uri::read(&self.habits.dials).unwrap())
            .with_header("Via", self.via(&branch).to_string())
            .with_header("Max-Forwards", "70")
            .with_header("From", format!("<sip:{0}@phone.example>;tag={0}", self.name))
            .with_header("To", format!("<{}>", self.habits.dials))
            .with_header("Call-ID", format!("call-{}", self.name))
            .with_header("CSeq", cseq)
            .with_header("Contact", format!("<{}>", self.contact()))
    }

    pub(super) fn inside_dialog(&mut self, method: Method) -> Option<Request> {
        self.sequence += 1;
        self.inside_dialog_numbered(method, self.sequence)
    }

    pub(super) fn inside_dialog_numbered(&mut self, method: Method, sequence: u32) -> Option<Request> {
        let branch = self.branch();
        let via = self.via(&branch);
        let (peer, first) = (self.peer.as_ref()?, self.first.as_ref()?);
        let dialog = InDialog {
            via: Some(&via),
            target: &peer.target,
            routes: &peer.routes,
            from: &first.headers.from().unwrap(),
            to: &peer.to,
            call_id: first.headers.call_id().unwrap(),
            sequence,
        };
        Some(Request::in_dialog(method, &dialog))
    }

    pub(super) fn branch(&mut self) -> String {
        self.count += 1;
        format!("z9hG4bK-{}-{}", self.name, self.count)
    }

    pub(super) fn via(&self, branch: &str) -> Via {
        let mut via = Via::new(self.flow.transport.as_str(), self.flow.remote, branch);
        if let Some(host) = self.habits.claims {
            via.host = Host::read(host).unwrap();
        }
        if !self.habits.rport {
            via.params.remove("rport");
        }
        via
    }

    pub(super) fn contact(&self) -> Uri {
        if let Some(contact) = &self.habits.contact {
            return Uri::read(contact).unwrap();
        }
        let uri = match self.habits.claims {
            Some(host) => Uri::read(&format!("sip:{}@{host}", self.name)).unwrap(),
            None => Uri::sip(Some(&self.name), self.flow.remote),
        };
        match self.flow.transport {
            Transport::Udp => uri,
            other => uri.with_param("transport", Some(&other.as_str().to_ascii_lowercase())),
        }
    }
}

/// The request that goes with this INVITE over the same hop: its CANCEL, or the ACK of a refusal.
pub(super) fn beside(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method, invite.uri.clone());
    for name in ["Via", "Max-Forwards", "From", "To", "Call-ID"] {
        request.headers.push(name, invite.headers.first(name).unwrap());
    }
    let cseq = format!("{} {}", invite.headers.cseq().unwrap().number, request.method);
    request.with_header("CSeq", cseq)
}

pub(super) fn with_offer(invite: Request, offer: Option<&[u8]>) -> Request {
    match offer {
        Some(offer) => invite.with_body("application/sdp", offer.to_vec()),
        None => invite,
    }
}
