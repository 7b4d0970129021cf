//! Calling: what the INVITE of a call we place says, and which of the addresses of a redirection are worth a try.
//!
//! Plain functions over what the application wants and how the trunk is reached. They send nothing and look nothing up.

use super::address::NameAddr;
use super::endpoint::{NotPlaced, Outgoing};
use super::headers::Headers;
use super::message::{MAX_FORWARDS, Request, Response};
use super::method::Method;
use super::names::HeaderName;
use super::reply::{ALLOW, SUPPORTED};
use super::uplink::Uplink;
use super::uri::{Scheme, Uri};

/// Most headers of the application's own one call may carry; a call with more is not placed.
pub const OWN_HEADERS_MAX: usize = 32;
/// Longest value of such a header in bytes; a call with a longer one is not placed.
pub const OWN_HEADER_BYTES_MAX: usize = 1024;
/// Longest number, name or URI in bytes; a call to a longer one is not placed.
const ADDRESS_BYTES_MAX: usize = 1024;
/// How many of a redirection's addresses are kept; the rest are never tried.
const CONTACTS_MAX: usize = 8;

/// Headers SIP needs itself, which the application cannot set.
const RESERVED: [&str; 24] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Authorization",
    "Proxy-Authorization",
    "Require",
    "Proxy-Require",
    "Supported",
    "Allow",
    "User-Agent",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Session-Expires",
    "Min-SE",
    "Expires",
];

/// The INVITE of a call through this trunk, but for what the endpoint adds: From tag, Call-ID, CSeq and body.
pub fn invite(uplink: &Uplink, outgoing: &Outgoing) -> Result<Request, NotPlaced> {
    let to = address(&outgoing.to, &uplink.address, "to")?;
    let identity = uplink.identity.as_identity();
    let wanted = match &outgoing.from {
        Some(from) => address(from, &identity, "from")?.as_identity(),
        None => identity.clone(),
    };
    let mut from = NameAddr::new(wanted.clone());
    from.display = outgoing.display_name.clone();
    if outgoing.display_name.as_deref().is_some_and(is_unsafe) {
        return Err(refused("the display name has a control character"));
    }
    let mut request = Request::new(Method::Invite, to.clone().for_request_line())
        .with_header("Max-Forwards", MAX_FORWARDS.to_string());
    if let Some(proxy) = &uplink.outbound_proxy {
        let proxy = match proxy.params().contains("lr") {
            true => proxy.clone(),
            false => proxy.clone().with_param("lr", None),
        };
        request.headers.push("Route", NameAddr::new(proxy).to_string());
    }
    request.headers.push("From", from.to_string());
    request.headers.push("To", NameAddr::new(to.as_identity()).to_string());
    if !wanted.same_resource(&identity) {
        request.headers.push(identity_header(uplink), from.to_string());
    }
    request.headers.push("Allow", ALLOW);
    request.headers.push("Supported", SUPPORTED);
    push_own(&mut request.headers, &outgoing.headers)?;
    Ok(request)
}

/// A peer that lets us in by password is told whom we prefer to be; one that trusts our address, who it is (RFC 3325).
fn identity_header(uplink: &Uplink) -> &'static str {
    match uplink.login {
        Some(_) => "P-Preferred-Identity",
        None => "P-Asserted-Identity",
    }
}

/// A whole `sip:` or `sips:` URI as it stands; a number, a name or a `tel:` URI as a user at `at`.
pub fn address(text: &str, at: &Uri, what: &str) -> Result<Uri, NotPlaced> {
    if text.is_empty() || text.len() > ADDRESS_BYTES_MAX || is_unsafe(text) {
        return Err(refused(&format!(
            "{what:?} is empty, too long, or has a control character"
        )));
    }
    match scheme_of(text) {
        None => Ok(at.with_user(text)),
        Some("tel") => {
            let uri = Uri::read(text).map_err(|error| refused(&format!("{what:?} cannot be read: {error}")))?;
            Ok(at.with_user(&uri.subscriber().unwrap_or_default()))
        }
        Some(_) => {
            let uri = Uri::read(text).map_err(|error| refused(&format!("{what:?} cannot be read: {error}")))?;
            match uri.host() {
                Some(_) => Ok(uri),
                None => Err(refused(&format!(
                    "{what:?} must be a number, a name, or a sip, sips or tel URI"
                ))),
            }
        }
    }
}

/// The scheme, when there is one of ours: a name may hold a colon.
fn scheme_of(text: &str) -> Option<&'static str> {
    let (scheme, _) = text.split_once(':')?;
    ["sip", "sips", "tel"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))
}

fn push_own(headers: &mut Headers, own: &[(String, String)]) -> Result<(), NotPlaced> {
    if own.len() > OWN_HEADERS_MAX {
        return Err(refused(&format!("more than {OWN_HEADERS_MAX} headers are given")));
    }
    for (name, value) in own {
        let canonical = HeaderName::new(name);
        if !super::grammar::is_token(name) {
            return Err(refused(&format!("{name:?} is no header name")));
        }
        if RESERVED.iter().any(|reserved| canonical.is(reserved)) {
            return Err(refused(&format!(
                "the header {} is set by the gateway itself",
                canonical.as_str()
            )));
        }
        if value.len() > OWN_HEADER_BYTES_MAX || is_unsafe(value) {
            return Err(refused(&format!(
                "the value of {name:?} is too long or has a control character"
            )));
        }
        headers.push(name, value);
    }
    Ok(())
}

fn is_unsafe(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn refused(detail: &str) -> NotPlaced {
    NotPlaced {
        reason: "bad_request",
        detail: detail.to_owned(),
    }
}

/// The addresses of a 3xx, the most wanted first (RFC 3261 section 8.1.3.4): `sip:` and `sips:` as they stand, `tel:` at
/// the trunk; others cannot be called. A call to a `sips:` URI stays secure.
pub fn redirections(response: &Response, at: &Uri, secure: bool) -> Vec<Uri> {
    let mut contacts = response.headers.contacts().unwrap_or_default();
    let thousandths = |contact: &NameAddr| {
        let q = contact.params.get("q").and_then(|q| q.parse::<f32>().ok());
        (q.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32
    };
    contacts.sort_by_key(|contact| std::cmp::Reverse(thousandths(contact)));
    let callable = contacts.into_iter().filter_map(|contact| match contact.uri.scheme() {
        Scheme::Sip if secure => None,
        Scheme::Sip | Scheme::Sips => Some(contact.uri.for_request_line()),
        Scheme::Tel => Some(at.with_user(&contact.uri.subscriber()?)),
        Scheme::Other(_) => None,
    });
    callable.take(CONTACTS_MAX).collect()
}

/// The seconds of a Retry-After header; what may follow them is for people.
pub fn retry_after(response: &Response) -> Option<std::time::Duration> {
    let value = response.headers.first("Retry-After")?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits
        .parse::<u32>()
        .ok()
        .map(|s| std::time::Duration::from_secs(s.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::uplink::Login;

    #[test]
    fn a_number_is_called_at_the_trunk_and_a_uri_as_it_stands() {
        for (to, uri) in [
            ("+15550100", "sip:+15550100@pbx.example:5070;transport=tcp"),
            ("tel:+1-555-0100", "sip:+1-555-0100@pbx.example:5070;transport=tcp"),
            ("a b", "sip:a%20b@pbx.example:5070;transport=tcp"),
            ("sips:bob@h;method=BYE?Subject=x", "sips:bob@h"),
        ] {
            assert_eq!(built(|outgoing| outgoing.to = to.to_owned()).unwrap().uri.as_str(), uri);
        }
        let request = built(|_| ()).unwrap();
        assert_eq!(request.headers.first("To"), Some("<sip:100@pbx.example>"));
        assert_eq!(request.headers.first("From"), Some("<sip:us@pbx.example>"));
        assert!(!request.headers.contains("P-Preferred-Identity") && !request.headers.contains("Route"));
    }

    #[test]
    fn another_caller_is_named_in_from_and_as_the_identity_we_prefer() {
        let request = built(|outgoing| {
            outgoing.from = Some("+15550199".to_owned());
            outgoing.display_name = Some("The \"Desk\"".to_owned());
        });
        let from = "\"The \\\"Desk\\\"\" <sip:+15550199@pbx.example>";
        let request = request.unwrap();
        assert_eq!(request.headers.first("From"), Some(from));
        assert_eq!(request.headers.first("P-Preferred-Identity"), Some(from));
        let mut trusted = uplink();
        trusted.login = None;
        trusted.outbound_proxy = Some(Uri::read("sip:edge.example").unwrap());
        let mut outgoing = outgoing();
        outgoing.from = Some("sip:x@y".to_owned());
        let request = invite(&trusted, &outgoing).unwrap();
        assert_eq!(request.headers.first("P-Asserted-Identity"), Some("<sip:x@y>"));
        assert_eq!(request.headers.first("Route"), Some("<sip:edge.example;lr>"));
    }

    #[test]
    fn what_would_break_the_message_is_not_placed() {
        let header = |name: &str, value: &str| {
            let own = (name.to_owned(), value.to_owned());
            built(|outgoing| outgoing.headers = vec![own])
        };
        assert!(header("X-Account", "7").is_ok() && header("Replaces", "a;to-tag=b;from-tag=c").is_ok());
        for (name, value) in [
            ("v", "x"),
            ("CONTACT", "x"),
            ("X", "a\r\nVia: b"),
            ("X Y", "a"),
            ("", "a"),
            ("X", "\0"),
        ] {
            assert_eq!(header(name, value).unwrap_err().reason, "bad_request", "{name}");
        }
        assert!(header("X", &"y".repeat(OWN_HEADER_BYTES_MAX + 1)).is_err());
        let many = vec![("X".to_owned(), "y".to_owned()); OWN_HEADERS_MAX + 1];
        assert!(built(|outgoing| outgoing.headers = many).is_err());
        for to in ["", "1\r\n2", "sip:", "sip:a@b@c", "tel:bob"] {
            assert!(built(|outgoing| outgoing.to = to.to_owned()).is_err(), "{to}");
        }
        assert!(built(|outgoing| outgoing.display_name = Some("\n".to_owned())).is_err());
    }

    #[test]
    fn the_addresses_of_a_redirection_come_by_their_weight_and_only_callable_ones() {
        let response = Response {
            status: 302,
            reason: String::new(),
            headers: Headers::new(),
            body: Vec::new(),
        }
        .with_header(
            "Contact",
            "<sip:low@h>;q=0.1, <mailto:a@h>, <tel:+1555>;q=0.5, <sips:top@h?x=y>",
        )
        .with_header("Contact", "<sip:odd@h>;q=nan");
        let uris = |secure| {
            let found = redirections(&response, &uplink().address, secure);
            found.iter().map(|uri| uri.as_str().to_owned()).collect::<Vec<_>>()
        };
        let tel = "sip:+1555@pbx.example:5070;transport=tcp";
        assert_eq!(uris(false)[..2], ["sips:top@h", tel]);
        assert_eq!(uris(false).len(), 4);
        assert_eq!(uris(true)[0], "sips:top@h");
    }

    #[test]
    fn retry_after_is_read_up_to_its_comment() {
        let response = |value: &str| {
            let response = Response {
                status: 503,
                reason: String::new(),
                headers: Headers::new(),
                body: Vec::new(),
            };
            retry_after(&response.with_header("Retry-After", value)).map(|wait| wait.as_secs())
        };
        assert_eq!(response("120 (in a meeting);duration=3600"), Some(120));
        assert_eq!((response("soon"), response("99999999999")), (None, None));
    }

    fn built(change: impl FnOnce(&mut Outgoing)) -> Result<Request, NotPlaced> {
        let mut outgoing = outgoing();
        change(&mut outgoing);
        invite(&uplink(), &outgoing)
    }

    fn outgoing() -> Outgoing {
        Outgoing {
            trunk: "pbx".to_owned(),
            to: "100".to_owned(),
            from: None,
            display_name: None,
            headers: Vec::new(),
            ring_max: std::time::Duration::from_secs(30),
        }
    }

    fn uplink() -> Uplink {
        Uplink {
            address: Uri::read("sip:pbx.example:5070;transport=tcp").unwrap(),
            outbound_proxy: None,
            identity: Uri::read("sip:us@pbx.example").unwrap(),
            login: Some(Login {
                username: "us".to_owned(),
                password: "x".to_owned(),
            }),
            register: None,
            probe: None,
        }
    }
}
