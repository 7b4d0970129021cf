//! Dialog: what both sides agreed on with the INVITE, and what each request inside it needs (RFC 3261 section 12).
//!
//! A dialog counts sequence numbers and writes requests; it sends nothing.

use super::address::NameAddr;
use super::defect::HeaderError;
use super::headers::Headers;
use super::message::{InDialog, Request, Response};
use super::method::Method;
use super::replaces::Replaces;
use super::uri::Uri;

/// What both sides know a dialog by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    call_id: String,
    local_tag: String,
    remote_tag: String,
}

impl DialogId {
    /// The dialog with these tags.
    pub fn new(call_id: &str, local_tag: &str, remote_tag: &str) -> Self {
        Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote_tag.to_owned(),
        }
    }

    /// The dialog a request from the peer belongs to; `None` when its To has no tag, so that it stands outside any
    /// dialog.
    pub fn of_request(headers: &Headers) -> Option<Self> {
        let local_tag = headers.to().ok()?.tag()?.to_owned();
        let remote_tag = headers.from().ok()?.tag().unwrap_or_default().to_owned();
        Some(Self {
            call_id: headers.call_id().ok()?.to_owned(),
            local_tag,
            remote_tag,
        })
    }
}

/// The request came out of order: one with a higher number was seen before (section 12.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("CSeq {got} is not above {seen}, which was seen before")]
pub struct OutOfOrder {
    /// The number of this request.
    pub got: u32,
    /// The highest number so far.
    pub seen: u32,
}

/// One dialog, seen from our side.
#[derive(Debug, Clone)]
pub struct Dialog {
    id: DialogId,
    local: NameAddr,
    remote: NameAddr,
    target: Uri,
    routes: Vec<NameAddr>,
    local_sequence: u32,
    /// The highest number so far; none before the first request of whom we called.
    remote_sequence: Option<u32>,
}

impl Dialog {
    /// The dialog an INVITE asks for, with our tag (section 12.1.1). It needs exactly one Contact.
    pub fn begin(invite: &Request, local_tag: &str) -> Result<Self, HeaderError> {
        let headers = &invite.headers;
        let local = headers.to()?.with_tag(local_tag);
        let remote = headers.from()?;
        let id = DialogId {
            call_id: headers.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
        };
        Ok(Self {
            id,
            local,
            remote,
            target: only_contact(headers)?,
            routes: headers.record_routes()?,
            local_sequence: 0,
            remote_sequence: Some(headers.cseq()?.number),
        })
    }

    /// The dialog a response to our INVITE makes (section 12.1.2): its Record-Route read backwards is the way. A peer
    /// that names no Contact is looked for where the INVITE was sent.
    pub fn begin_as_caller(invite: &Request, response: &Response) -> Result<Self, HeaderError> {
        let (local, remote) = (invite.headers.from()?, response.headers.to()?);
        let id = DialogId {
            call_id: invite.headers.call_id()?.to_owned(),
            local_tag: local.tag().unwrap_or_default().to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
        };
        let mut routes = response.headers.record_routes().unwrap_or_default();
        routes.reverse();
        Ok(Self {
            id,
            local,
            remote,
            target: only_contact(&response.headers).unwrap_or_else(|_| invite.uri.clone()),
            routes,
            local_sequence: invite.headers.cseq()?.number,
            remote_sequence: None,
        })
    }

    /// Counts on from an early dialog with the same peer.
    pub fn continue_from(&mut self, early: &Self) {
        self.local_sequence = self.local_sequence.max(early.local_sequence);
        self.remote_sequence = early.remote_sequence;
    }

    /// What both sides know this dialog by.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// How somebody else's call takes the place of this one (RFC 3891): the tags are named as the peer sees them.
    pub fn replaces(&self) -> Replaces {
        Replaces {
            call_id: self.id.call_id.clone(),
            to_tag: self.id.remote_tag.clone(),
            from_tag: self.id.local_tag.clone(),
            early_only: false,
        }
    }

    /// Who we are in this call.
    pub fn local(&self) -> &NameAddr {
        &self.local
    }

    /// Where the peer wants requests of this dialog.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        &self.id.local_tag
    }

    /// Takes the number of a new request from the peer; one that is not above the last is out of order.
    pub fn advance(&mut self, number: u32) -> Result<(), OutOfOrder> {
        if let Some(seen) = self.remote_sequence.filter(|seen| number <= *seen) {
            return Err(OutOfOrder { got: number, seen });
        }
        self.remote_sequence = Some(number);
        Ok(())
    }

    /// A re-INVITE may move the peer (section 12.2.2). Without a readable Contact the peer stays where it was.
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Ok(target) = only_contact(headers) {
            self.target = target;
        }
    }

    /// Where our requests go first: to the nearest proxy, or to the peer itself.
    pub fn next_hop(&self) -> &Uri {
        self.routes.first().map_or(&self.target, |route| &route.uri)
    }

    /// The next sequence number of ours. They stay below 2^31 (section 12.2.1.1); no call sends that many requests.
    pub fn next_sequence(&mut self) -> u32 {
        self.local_sequence = self.local_sequence.wrapping_add(1);
        self.local_sequence
    }

    /// The next request of ours, still without Via. `Request::in_dialog` follows the route set, strict routers
    /// included.
    pub fn draft(&mut self, method: Method) -> Request {
        let sequence = self.next_sequence();
        self.numbered(method, sequence)
    }

    /// The ACK of a 2xx to this INVITE of ours: its number, and its proofs (section 22.1).
    pub fn ack(&self, invite: &Request) -> Request {
        let number = invite.headers.cseq().map_or(0, |cseq| cseq.number);
        let mut ack = self.numbered(Method::Ack, number);
        for name in ["Authorization", "Proxy-Authorization"] {
            invite.headers.all(name).for_each(|proof| ack.headers.push(name, proof));
        }
        ack
    }

    fn numbered(&self, method: Method, sequence: u32) -> Request {
        Request::in_dialog(
            method,
            &InDialog {
                via: None,
                target: &self.target,
                routes: &self.routes,
                from: &self.local,
                to: &self.remote,
                call_id: &self.id.call_id,
                sequence,
            },
        )
    }
}

fn only_contact(headers: &Headers) -> Result<Uri, HeaderError> {
    let mut contacts = headers.contacts()?.into_iter();
    match (contacts.next(), contacts.next()) {
        (Some(contact), None) => Ok(contact.uri),
        (Some(_), Some(_)) => Err(HeaderError::Repeated("Contact")),
        (None, _) => Err(HeaderError::Missing("Contact")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_bye_mirrors_the_invite() {
        let mut dialog = Dialog::begin(&invite(), "ours").unwrap();
        let bye = dialog.draft(Method::Bye);
        assert_eq!(bye.uri.as_str(), "sip:caller@192.0.2.7:5070");
        assert_eq!(bye.headers.from().unwrap().tag(), Some("ours"));
        assert_eq!(bye.headers.to().unwrap().tag(), Some("theirs"));
        assert_eq!(bye.headers.cseq().unwrap().to_string(), "1 BYE");
        assert_eq!(dialog.draft(Method::Bye).headers.cseq().unwrap().number, 2);
    }

    #[test]
    fn whom_we_called_is_reached_by_the_record_route_backwards_and_its_contact() {
        let ok = Response::standard(&invite(), 200)
            .with_to_tag("called")
            .with_header("Record-Route", "<sip:far;lr>, <sip:near;lr>")
            .with_header("Contact", "<sip:called@192.0.2.9>");
        let mut dialog = Dialog::begin_as_caller(&invite(), &ok).unwrap();
        assert_eq!(dialog.next_hop().as_str(), "sip:near;lr");
        let bye = dialog.draft(Method::Bye);
        assert_eq!(bye.uri.as_str(), "sip:called@192.0.2.9");
        assert_eq!(bye.headers.cseq().unwrap().number, 8);
        assert_eq!(bye.headers.from().unwrap().tag(), Some("theirs"));
        assert_eq!(bye.headers.to().unwrap().tag(), Some("called"));
        let challenged = invite().with_header("Proxy-Authorization", "Digest x");
        let ack = dialog.ack(&challenged);
        assert_eq!(ack.headers.cseq().unwrap().to_string(), "7 ACK");
        assert_eq!(ack.headers.first("Proxy-Authorization"), Some("Digest x"));
        assert_eq!(dialog.advance(0), Ok(()));
        assert!(dialog.advance(0).is_err());
    }

    #[test]
    fn a_request_of_the_peer_finds_the_dialog_by_both_tags() {
        let dialog = Dialog::begin(&invite(), "ours").unwrap();
        let mut headers = invite().headers;
        assert_eq!(DialogId::of_request(&headers), None);
        headers.set("To", "<sip:operator@h>;tag=ours");
        assert_eq!(DialogId::of_request(&headers).as_ref(), Some(dialog.id()));
        headers.set("From", "<sip:caller@h>;tag=other");
        assert_ne!(DialogId::of_request(&headers).as_ref(), Some(dialog.id()));
    }

    #[test]
    fn a_number_not_above_the_last_is_out_of_order() {
        let mut dialog = Dialog::begin(&invite(), "ours").unwrap();
        assert_eq!(dialog.advance(7), Err(OutOfOrder { got: 7, seen: 7 }));
        assert_eq!(dialog.advance(9), Ok(()));
        assert!(dialog.advance(8).is_err());
    }

    #[test]
    fn a_re_invite_moves_the_peer_and_the_route_set_stays() {
        let routed = invite().with_header("Record-Route", "<sip:p1;lr>, <sip:p2;lr>");
        let mut dialog = Dialog::begin(&routed, "ours").unwrap();
        let mut moved = Headers::new();
        moved.push("Contact", "<sip:caller@192.0.2.8>");
        dialog.refresh_target(&moved);
        dialog.refresh_target(&Headers::new());
        let bye = dialog.draft(Method::Bye);
        assert_eq!(bye.uri.as_str(), "sip:caller@192.0.2.8");
        assert_eq!(bye.headers.routes().unwrap().len(), 2);
    }

    #[test]
    fn an_invite_without_exactly_one_contact_makes_no_dialog() {
        let mut none = invite();
        none.headers.remove("Contact");
        assert_eq!(Dialog::begin(&none, "t").unwrap_err(), HeaderError::Missing("Contact"));
        let two = invite().with_header("Contact", "<sip:b@h>");
        assert_eq!(Dialog::begin(&two, "t").unwrap_err(), HeaderError::Repeated("Contact"));
    }

    fn invite() -> Request {
        Request::new(Method::Invite, Uri::read("sip:operator@h").unwrap())
            .with_header("From", "<sip:caller@h>;tag=theirs")
            .with_header("To", "<sip:operator@h>")
            .with_header("Call-ID", "c1")
            .with_header("CSeq", "7 INVITE")
            .with_header("Contact", "<sip:caller@192.0.2.7:5070>")
    }
}
