//! Reply: what is kept of a request to answer it, at once or much later.
//!
//! It holds the headers every response repeats (RFC 3261 section 8.2.6), with `received` and `rport` filled in, and the
//! flow the response goes to. Whether a response is remembered is the transaction table's business.

use super::flow::Flow;
use super::headers::Headers;
use super::message::{Request, Response};

/// The methods the endpoint serves, most of them inside a call only.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, REFER, NOTIFY";
/// The methods it serves outside a call.
pub const ALLOW_OUTSIDE: &str = "INVITE, ACK, CANCEL, OPTIONS";
/// The extensions it supports, which a peer may therefore require. `norefersub` (RFC 4488): no NOTIFY need follow.
pub const SUPPORTED: &str = "timer, 100rel, replaces, norefersub";
/// The same in requests of ours inside a call: nothing said before the final answer to one of them is acknowledged.
pub const SUPPORTED_INSIDE: &str = "timer, replaces, norefersub";
/// The event packages whose NOTIFYs it takes.
pub const EVENTS: &str = "refer";
/// The only body of INVITE, ACK, UPDATE and PRACK it understands.
pub const ACCEPT: &str = "application/sdp";
/// The bodies of INFO it understands.
pub const ACCEPT_INFO: &str = "application/dtmf-relay, application/dtmf";
/// The body of MESSAGE it understands.
pub const ACCEPT_TEXT: &str = "text/plain";
/// All bodies it understands in some request.
pub const ACCEPT_ALL: &str = "application/sdp, application/dtmf-relay, application/dtmf, text/plain, message/sipfrag";

/// The way and the headers of every response to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    headers: Headers,
    record_routes: Vec<String>,
    timestamp: Option<String>,
    flow: Flow,
}

impl Reply {
    /// What the responses to `request`, which came by `flow`, repeat.
    pub fn to(request: &Request, flow: &Flow) -> Self {
        let owned = |name| request.headers.all(name).map(str::to_owned).collect();
        let mut headers = Response::standard(request, 100).headers;
        let flow = stamp(&mut headers, flow);
        let timestamp = request.headers.first("Timestamp").map(str::to_owned);
        Self {
            headers,
            record_routes: owned("Record-Route"),
            timestamp,
            flow,
        }
    }

    /// Where the responses go.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// 100, which has no tag and repeats Timestamp (section 8.2.6.1).
    pub fn trying(&self) -> Response {
        let response = Response::repeating(&self.headers, 100);
        match &self.timestamp {
            Some(timestamp) => response.with_header("Timestamp", timestamp),
            None => response,
        }
    }

    /// A response with our tag.
    pub fn response(&self, status: u16, tag: &str) -> Response {
        Response::repeating(&self.headers, status).with_to_tag(tag)
    }

    /// A response that creates or keeps a dialog: it repeats Record-Route and says where we are (section 12.1.1).
    pub fn dialog_response(&self, status: u16, tag: &str, contact: &str) -> Response {
        let mut response = self.response(status, tag);
        for route in &self.record_routes {
            response.headers.push("Record-Route", route);
        }
        response
            .with_header("Contact", contact)
            .with_header("Allow", ALLOW)
            .with_header("Supported", SUPPORTED)
    }
}

/// Fills in where the request came from; where its response goes.
pub fn stamp(headers: &mut Headers, flow: &Flow) -> Flow {
    let Ok(mut via) = headers.via() else { return *flow };
    let reply = flow.reply_to(&via);
    via.stamp(std::net::SocketAddr::new(flow.source_ip(), flow.remote.port()));
    headers.set_top_via(&via);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::Transport;
    use crate::sip::method::Method;
    use crate::sip::uri::Uri;

    #[test]
    fn a_reply_repeats_the_request_and_says_where_it_came_from() {
        let reply = Reply::to(&request(), &flow());
        let response = reply.response(486, "ours");
        assert_eq!(
            response.headers.first("Via"),
            Some("SIP/2.0/UDP 10.0.0.9:5060;rport=40000;branch=z9hG4bK1;received=192.0.2.7")
        );
        assert_eq!(response.headers.to().unwrap().tag(), Some("ours"));
        assert!(!response.headers.contains("Record-Route"));
        assert_eq!(reply.flow().remote, flow().remote);
    }

    #[test]
    fn only_a_dialog_response_carries_contact_and_record_route() {
        let response = Reply::to(&request(), &flow()).dialog_response(200, "ours", "<sip:192.0.2.1:5060>");
        assert_eq!(
            response.headers.all("Record-Route").collect::<Vec<_>>(),
            ["<sip:p1;lr>", "<sip:p2;lr>"]
        );
        assert_eq!(response.headers.first("Contact"), Some("<sip:192.0.2.1:5060>"));
    }

    #[test]
    fn trying_has_no_tag_and_repeats_timestamp() {
        let trying = Reply::to(&request(), &flow()).trying();
        assert_eq!(trying.headers.to().unwrap().tag(), None);
        assert_eq!(trying.headers.first("Timestamp"), Some("54"));
    }

    fn request() -> Request {
        Request::new(Method::Invite, Uri::read("sip:operator@h").unwrap())
            .with_header("Via", "SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK1")
            .with_header("Record-Route", "<sip:p1;lr>")
            .with_header("Record-Route", "<sip:p2;lr>")
            .with_header("From", "<sip:caller@h>;tag=theirs")
            .with_header("To", "<sip:operator@h>")
            .with_header("Call-ID", "c1")
            .with_header("CSeq", "7 INVITE")
            .with_header("Timestamp", "54")
    }

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40000"].map(|address| address.parse().unwrap());
        Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
        }
    }
}
