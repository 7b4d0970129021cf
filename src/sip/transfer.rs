//! Transfer (RFC 3515): what REFER and the NOTIFYs after it say, and the two sides of the subscription between them.
//!
//! [`Transferring`] is a transfer we asked for: it turns responses, NOTIFYs and time into the statuses the application
//! is told, the first final one last. [`Following`] is a transfer we were asked for: it knows how long its NOTIFYs go
//! on. Neither sends anything or calls anyone.

use std::time::{Duration, Instant};

use super::address::NameAddr;
use super::errand::Draft;
use super::headers::Headers;
use super::method::Method;
use super::params::Params;
use super::replaces::Replaces;
use super::uri::{Scheme, Uri, escape_header, unescape};
use super::vocabulary::reason_phrase;

/// How long a transfer may take, both ways; then it counts as answered with 408 and no more is said of it.
pub const TRANSFER_MAX: Duration = Duration::from_secs(180);
/// The body of NOTIFYs about a transfer: the start of the response its target gave (RFC 3420).
const FRAGMENT: &str = "message/sipfrag";
/// The status of a transfer nobody heard the end of.
pub const NO_END: u16 = 408;

/// Whom a REFER asks to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The address, without headers.
    pub uri: Uri,
    /// The Replaces header of the new call.
    pub replaces: Option<String>,
}

impl ReferTo {
    /// Reads the Refer-To of a REFER, or says what is wrong with it.
    pub fn read(headers: &Headers) -> Result<Self, String> {
        let value = headers.single("Refer-To").map_err(|error| error.to_string())?;
        let mut addresses = NameAddr::read_list(value)
            .map_err(|error| format!("the header Refer-To is malformed: {error}"))?
            .into_iter();
        let (Some(address), None) = (addresses.next(), addresses.next()) else {
            return Err("Refer-To must name exactly one address".to_owned());
        };
        if matches!(address.uri.scheme(), Scheme::Other(_)) {
            return Err(format!(
                "Refer-To has the scheme {}, which cannot be called",
                address.uri.scheme()
            ));
        }
        let method = address.uri.params().get("method").unwrap_or("INVITE");
        if method != "INVITE" {
            return Err(format!("Refer-To asks for {method}; only INVITE is done"));
        }
        let replaces = header_of(&address.uri, "Replaces");
        if let Some(Err(error)) = replaces.as_deref().map(Replaces::read) {
            return Err(error.to_string());
        }
        Ok(Self {
            uri: address.uri.for_request_line(),
            replaces,
        })
    }

    /// The value of a Refer-To header.
    pub fn write(uri: &Uri, replaces: Option<&Replaces>) -> String {
        match replaces {
            Some(replaces) => {
                let plain = uri.clone().for_request_line();
                format!("<{plain}?Replaces={}>", escape_header(&replaces.to_string()))
            }
            None => format!("<{uri}>"),
        }
    }
}

/// The value of a header inside a URI.
fn header_of(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = uri.headers()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| unescape(name).eq_ignore_ascii_case(wanted))
        .map(|(_, value)| unescape(value))
}

/// The status in a body of type `message/sipfrag`: that of its first line, if that is a status line.
pub fn fragment_status(body: &[u8]) -> Option<u16> {
    let line = body.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let status = words.next().filter(|word| word.len() == 3)?.parse().ok()?;
    (100..=699).contains(&status).then_some(status)
}

/// Whether a NOTIFY says that it is the last.
pub fn is_last(headers: &Headers) -> bool {
    let state = headers.first("Subscription-State").unwrap_or_default();
    let word = state.split(';').next().unwrap_or_default();
    word.trim().eq_ignore_ascii_case("terminated")
}

/// A transfer we asked for.
#[derive(Debug)]
pub struct Transferring {
    id: Option<u32>,
    stage: Stage,
    give_up_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is heard yet.
    Asked,
    /// The application has been told that it is under way.
    Trying,
    /// The application knows how it ended; the peer may still have something to say.
    Ended,
}

impl Transferring {
    /// The REFER is being sent now.
    pub fn sent(now: Instant) -> Self {
        Self {
            id: None,
            stage: Stage::Asked,
            give_up_at: now + TRANSFER_MAX,
        }
    }

    /// The REFER got this sequence number, which NOTIFYs about it may name.
    pub fn set_id(&mut self, number: u32) {
        self.id = Some(number);
    }

    /// Whether an Event header is about this transfer. Without an `id` it is about the only one.
    pub fn is_named(&self, event: &str) -> bool {
        let params = event.split_once(';').map(|(_, params)| format!(";{params}"));
        let named = params.and_then(|params| Params::read(&params).ok()?.get("id").map(str::to_owned));
        match (named, self.id) {
            (Some(named), Some(id)) => named == id.to_string(),
            _ => true,
        }
    }

    /// Whether the application knows the end, so that another transfer may be asked for.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// The REFER was answered; what to tell the application. `silent`: no NOTIFY will come (Refer-Sub: false), so the
    /// answer is all we will ever know.
    pub fn handle_response(&mut self, status: u16, silent: bool) -> Option<u16> {
        match status {
            200..=299 if silent => self.end(status),
            200..=299 if self.stage == Stage::Asked => self.tell(100),
            200..=299 => None,
            _ => self.end(status),
        }
    }

    /// A NOTIFY came; what to tell the application. One that is the last without a final status leaves it open how the
    /// transfer ended.
    pub fn handle_notify(&mut self, status: Option<u16>, last: bool) -> Option<u16> {
        match status {
            Some(status) if status >= 200 => self.end(status),
            _ if last => self.end(NO_END),
            Some(status) => self.tell(status),
            None => None,
        }
    }

    /// Runs what is due; what to tell the application. Afterwards the transfer is to be forgotten.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Option<u16>> {
        (now >= self.give_up_at).then(|| self.end(NO_END))
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Instant {
        self.give_up_at
    }

    fn tell(&mut self, status: u16) -> Option<u16> {
        if self.has_ended() {
            return None;
        }
        self.stage = Stage::Trying;
        Some(status)
    }

    fn end(&mut self, status: u16) -> Option<u16> {
        let status = self.tell(status)?;
        self.stage = Stage::Ended;
        Some(status)
    }
}

/// A transfer we were asked for and do.
#[derive(Debug)]
pub struct Following {
    /// The `id` of its NOTIFYs: the number of the REFER, left out for the first of a dialog (section 2.4.6).
    pub id: Option<u32>,
    /// No NOTIFY is wanted (RFC 4488).
    pub silent: bool,
    give_up_at: Instant,
}

impl Following {
    /// The REFER is being accepted now.
    pub fn accepted(now: Instant, id: Option<u32>, silent: bool) -> Self {
        Self {
            id,
            silent,
            give_up_at: now + TRANSFER_MAX,
        }
    }

    /// The NOTIFY with this status; `None` when none is wanted.
    pub fn notify(&self, now: Instant, status: u16) -> Option<Draft> {
        let fragment = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        let notify = Draft::new(Method::Notify)
            .with_header("Event", self.event())
            .with_header("Subscription-State", self.state(now, status))
            .with_contact()
            .with_body(FRAGMENT, fragment.into_bytes());
        (!self.silent).then_some(notify)
    }

    /// The Event header of its NOTIFYs.
    fn event(&self) -> String {
        self.id.map_or("refer".to_owned(), |id| format!("refer;id={id}"))
    }

    /// The Subscription-State of a NOTIFY with this status.
    fn state(&self, now: Instant, status: u16) -> String {
        let left = self.give_up_at.saturating_duration_since(now).as_secs();
        match status {
            200.. => "terminated;reason=noresource".to_owned(),
            _ => format!("active;expires={left}"),
        }
    }

    /// When the application has taken too long to say how it ended; then it counts as answered with 408.
    pub fn poll_timeout(&self) -> Instant {
        self.give_up_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refer_to_is_read_with_the_replaces_inside_its_uri() {
        let read = read("<sip:bob@h;transport=tcp?Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&X=y>").unwrap();
        assert_eq!(read.uri.as_str(), "sip:bob@h;transport=tcp");
        assert_eq!(read.replaces.as_deref(), Some("c@h;to-tag=1;from-tag=2"));
    }

    #[test]
    fn what_we_write_as_refer_to_we_read() {
        let uri = Uri::read("sip:bob@h").unwrap();
        let replaces = Replaces::read("c&=?@h;to-tag=1;from-tag=2").unwrap();
        let text = ReferTo::write(&uri, Some(&replaces));
        assert_eq!(text, "<sip:bob@h?Replaces=c%26%3D%3F%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>");
        assert_eq!(read(&text).unwrap().replaces, Some(replaces.to_string()));
        assert_eq!(read(&ReferTo::write(&uri, None)).unwrap().uri, uri);
    }

    #[test]
    fn a_refer_to_that_cannot_be_followed_is_refused_with_words() {
        for (text, words) in [
            ("", "malformed"),
            ("<sip:a@h>, <sip:b@h>", "exactly one"),
            ("<http://h/>", "scheme"),
            ("<sip:a@h;method=BYE>", "only INVITE"),
            ("<sip:a@h?Replaces=c>", "to-tag"),
            ("nonsense", "malformed"),
        ] {
            assert!(read(text).unwrap_err().contains(words), "{text}: {:?}", read(text));
        }
        let mut twice = Headers::new();
        twice.push("Refer-To", "<sip:a@h>");
        twice.push("r", "<sip:b@h>");
        assert!(ReferTo::read(&twice).is_err() && ReferTo::read(&Headers::new()).is_err());
    }

    #[test]
    fn the_status_of_a_fragment_is_that_of_its_first_line() {
        assert_eq!(fragment_status(b"SIP/2.0 200 OK\r\nTo: x"), Some(200));
        assert_eq!(fragment_status(b"sip/2.0 100"), Some(100));
        for body in [
            &b""[..],
            b"SIP/2.0",
            b"SIP/2.0 99",
            b"SIP/2.0 0200 OK",
            b"INVITE sip:h SIP/2.0",
            b"\xff\xfe",
        ] {
            assert_eq!(fragment_status(body), None);
        }
    }

    #[test]
    fn the_application_hears_of_every_step_and_once_of_the_end() {
        let start = Instant::now();
        let mut asked = Transferring::sent(start);
        assert_eq!(asked.handle_notify(Some(100), false), Some(100));
        assert_eq!(asked.handle_response(202, false), None);
        assert_eq!(asked.handle_notify(Some(180), false), Some(180));
        assert_eq!(asked.handle_notify(None, false), None);
        assert_eq!(asked.handle_notify(Some(200), false), Some(200));
        assert_eq!(asked.handle_notify(Some(486), true), None);
        assert_eq!(asked.handle_timeout(start + TRANSFER_MAX), Some(None));
    }

    #[test]
    fn a_notify_that_names_another_transfer_is_not_about_this_one() {
        let mut asked = Transferring::sent(Instant::now());
        assert!(asked.is_named("refer;id=3"));
        asked.set_id(3);
        assert!(asked.is_named("refer") && asked.is_named("refer; id=3"));
        assert!(!asked.is_named("refer;id=4"));
    }

    #[test]
    fn a_transfer_ends_when_it_is_refused_forgotten_or_silent() {
        let start = Instant::now();
        assert_eq!(Transferring::sent(start).handle_response(603, false), Some(603));
        assert_eq!(Transferring::sent(start).handle_response(202, true), Some(202));
        assert_eq!(Transferring::sent(start).handle_response(202, false), Some(100));
        assert_eq!(Transferring::sent(start).handle_notify(Some(100), true), Some(408));
        let mut forgotten = Transferring::sent(start);
        assert_eq!(forgotten.handle_timeout(start), None);
        assert_eq!(forgotten.handle_timeout(forgotten.poll_timeout()), Some(Some(408)));
    }

    #[test]
    fn a_subscription_lives_as_long_as_the_transfer_may_take() {
        let now = Instant::now();
        let following = Following::accepted(now, Some(7), false);
        assert_eq!(following.event(), "refer;id=7");
        assert_eq!(following.state(now + Duration::from_secs(1), 180), "active;expires=179");
        assert_eq!(following.state(now, 486), "terminated;reason=noresource");
    }

    fn read(value: &str) -> Result<ReferTo, String> {
        let mut headers = Headers::new();
        headers.push("Refer-To", value);
        ReferTo::read(&headers)
    }
}
