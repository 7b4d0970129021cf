//! Requests and responses, and the two ways we make one: a response to a request, and a request inside a dialog.

use super::{address::NameAddr, headers::Headers, method::Method, uri::Uri, via::Via, vocabulary};

/// Hops a request of ours may take (RFC 3261 section 8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The message's headers.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The Request-URI: of whom it is asked.
    pub uri: Uri,
    /// The headers. The writer adds Content-Length itself.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// A request inside a dialog, such as BYE (RFC 3261 section 12.2.1.1). When the first route is a strict router
    /// (no `lr`), the request goes to that router and the target travels as the last Route.
    pub fn in_dialog(method: Method, dialog: &InDialog<'_>) -> Self {
        let (uri, routes) = request_target(dialog);
        let mut request = Self::new(method, uri).with_header("Max-Forwards", MAX_FORWARDS.to_string());
        if let Some(via) = dialog.via {
            request.headers.push_front("Via", via.to_string());
        }
        for route in routes {
            request.headers.push("Route", route.to_string());
        }
        request.headers.push("From", dialog.from.to_string());
        request.headers.push("To", dialog.to.to_string());
        request.headers.push("Call-ID", dialog.call_id);
        let cseq = format!("{} {}", dialog.sequence, request.method);
        request.with_header("CSeq", cseq)
    }

    /// The request that goes with this one over the same hop: the CANCEL of an INVITE, or the ACK of its refusal (RFC
    /// 3261 sections 9.1 and 17.1.1.3).
    pub fn beside(&self, method: Method) -> Self {
        let mut request = Self::new(method, self.uri.clone());
        if let Ok(via) = self.headers.via() {
            request.headers.push("Via", via.to_string());
        }
        for name in ["Max-Forwards", "Route", "From", "To", "Call-ID"] {
            self.headers
                .all(name)
                .for_each(|value| request.headers.push(name, value));
        }
        let number = self.headers.cseq().map_or(0, |cseq| cseq.number);
        let cseq = format!("{number} {}", request.method);
        request.with_header("CSeq", cseq)
    }

    /// The request with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The request with a body.
    pub fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body;
        self
    }
}

/// What a request inside a dialog takes from the dialog.
#[derive(Debug, Clone, Copy)]
pub struct InDialog<'a> {
    /// Our Via with a new branch; `None` when the way, and so the Via, comes later.
    pub via: Option<&'a Via>,
    /// The remote target: the peer's Contact.
    pub target: &'a Uri,
    /// The route set, nearest proxy first.
    pub routes: &'a [NameAddr],
    /// Our side, with our tag.
    pub from: &'a NameAddr,
    /// The peer's side, with the peer's tag.
    pub to: &'a NameAddr,
    /// The dialog's Call-ID.
    pub call_id: &'a str,
    /// The number for CSeq.
    pub sequence: u32,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// The headers. The writer adds Content-Length itself.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The response to a request, with the headers a response must repeat (RFC 3261 section 8.2.6.2).
    pub fn to(request: &Request, status: u16, reason: &str) -> Self {
        let mut response = Self::repeating(&request.headers, status);
        response.reason = reason.to_owned();
        response
    }

    /// The response to a request with the status code's usual reason phrase.
    pub fn standard(request: &Request, status: u16) -> Self {
        Self::repeating(&request.headers, status)
    }

    /// The response that repeats Via, From, To, Call-ID and CSeq as far as they are there.
    pub(super) fn repeating(headers: &Headers, status: u16) -> Self {
        let mut repeated = Headers::new();
        for name in REPEATED {
            headers.all(name).for_each(|value| repeated.push(name, value));
        }
        Self {
            status,
            reason: vocabulary::reason_phrase(status),
            headers: repeated,
            body: Vec::new(),
        }
    }

    /// The response with our tag in To, unless To has one already or cannot be read.
    pub fn with_to_tag(mut self, tag: &str) -> Self {
        if let Ok(to) = self.headers.to()
            && to.tag().is_none()
        {
            self.headers.set("To", to.with_tag(tag).to_string());
        }
        self
    }

    /// The response with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The response with a body.
    pub fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body;
        self
    }
}

const REPEATED: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

fn request_target(dialog: &InDialog<'_>) -> (Uri, Vec<NameAddr>) {
    match dialog.routes.split_first() {
        Some((first, rest)) if !first.uri.params().contains("lr") => {
            let target = NameAddr::new(dialog.target.clone());
            let routes = rest.iter().cloned().chain([target]).collect();
            (first.uri.clone().for_request_line(), routes)
        }
        _ => (dialog.target.clone().for_request_line(), dialog.routes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_repeats_what_the_rfc_says_and_gets_our_tag() {
        let mut request = Request::new(Method::Invite, Uri::read("sip:b@h").unwrap());
        for (name, value) in [
            ("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"),
            ("Via", "SIP/2.0/UDP b;branch=z9hG4bK2"),
            ("From", "A <sip:a@h>;tag=1"),
            ("To", "sip:b@h"),
            ("Call-ID", "c1"),
            ("CSeq", "1 INVITE"),
            ("Contact", "<sip:a@a>"),
        ] {
            request.headers.push(name, value);
        }
        let response = Response::standard(&request, 486).with_to_tag("t9").with_to_tag("other");
        let lines: Vec<_> = response.headers.iter().map(|header| header.value.as_str()).collect();
        assert_eq!(response.reason, "Busy Here");
        assert_eq!(
            lines,
            [
                "SIP/2.0/UDP a;branch=z9hG4bK1",
                "SIP/2.0/UDP b;branch=z9hG4bK2",
                "A <sip:a@h>;tag=1",
                "<sip:b@h>;tag=t9",
                "c1",
                "1 INVITE"
            ]
        );
    }

    #[test]
    fn a_bye_follows_the_route_set() {
        let bye = bye_over(&["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(bye.uri.as_str(), "sip:peer@192.0.2.9");
        assert_eq!(
            bye.headers.all("Route").collect::<Vec<_>>(),
            ["<sip:p1;lr>", "<sip:p2;lr>"]
        );
        assert_eq!(bye.headers.cseq().unwrap().to_string(), "7 BYE");
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri() {
        let bye = bye_over(&["<sip:strict>", "<sip:p2;lr>"]);
        assert_eq!(bye.uri.as_str(), "sip:strict");
        assert_eq!(
            bye.headers.all("Route").collect::<Vec<_>>(),
            ["<sip:p2;lr>", "<sip:peer@192.0.2.9>"]
        );
    }

    fn bye_over(routes: &[&str]) -> Request {
        let routes: Vec<_> = routes.iter().map(|route| NameAddr::read(route).unwrap()).collect();
        let dialog = InDialog {
            via: Some(&Via::new("UDP", "192.0.2.1:5060".parse().unwrap(), "z9hG4bKx")),
            target: &Uri::read("sip:peer@192.0.2.9").unwrap(),
            routes: &routes,
            from: &NameAddr::read("<sip:us@h>;tag=1").unwrap(),
            to: &NameAddr::read("<sip:peer@h>;tag=2").unwrap(),
            call_id: "c1",
            sequence: 7,
        };
        Request::in_dialog(Method::Bye, &dialog)
    }
}
