//! What a call carries besides its media: digits by INFO and texts by MESSAGE (RFC 3428), in both directions.

use std::time::{Duration, Instant};

use super::errands::{LegErrand, Purpose};
use super::{Endpoint, Event, Refusal};
use crate::sip::errand::Draft;
use crate::sip::flow::Flow;
use crate::sip::headers::Headers;
use crate::sip::keypad;
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::Request;
use crate::sip::method::Method;
use crate::sip::params::Params;
use crate::sip::reply::{ACCEPT_INFO, ACCEPT_TEXT};
use crate::sip::transaction::Key;

/// Longest text of one MESSAGE, both ways, in bytes. A longer one that comes in is refused with 413; a longer one of the
/// application's is not sent. It keeps a message within one datagram of a common path (RFC 3428 section 8).
pub const TEXT_BYTES_MAX: usize = 1_000;

impl Endpoint {
    pub(super) fn handle_info(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        match read_info(request) {
            Ok(press) => {
                self.reply_in_dialog(now, flow, key, request, 200, |response| response);
                if let Some(keypad::Press { digit, duration }) = press {
                    self.tell(id, Event::Digit { digit, duration });
                }
            }
            Err(refusal) => self.refuse_in_dialog(now, flow, key, request, &refusal),
        }
    }

    pub(super) fn handle_message_inside(&mut self, now: Instant, id: LegId, flow: &Flow, key: Key, request: &Request) {
        match read_text(request) {
            Ok(text) => {
                self.reply_in_dialog(now, flow, key, request, 200, |response| response);
                if !text.is_empty() {
                    self.tell(id, Event::MessageReceived { text });
                }
            }
            Err(refusal) => self.refuse_in_dialog(now, flow, key, request, &refusal),
        }
    }
}

/// Sending. What the peer thinks of it changes nothing.
impl Endpoint {
    /// Sends a digit; anything else is no digit and is not sent.
    pub(super) fn send_digit(&mut self, now: Instant, id: LegId, digit: char, duration: Duration) {
        let Some(digit) = keypad::digit(digit).filter(|_| self.is_answered(id)) else {
            return;
        };
        let info = Draft::new(Method::Info).with_body(keypad::DTMF_RELAY, keypad::write(digit, duration));
        self.send_in_dialog(now, id, info, Purpose::Leg(id, LegErrand::Notice));
    }

    /// Sends a text of at most [`TEXT_BYTES_MAX`].
    pub(super) fn send_text(&mut self, now: Instant, id: LegId, text: String) {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || !self.is_answered(id) {
            return;
        }
        let message = Draft::new(Method::Message).with_body("text/plain;charset=utf-8", text.into_bytes());
        self.send_in_dialog(now, id, message, Purpose::Leg(id, LegErrand::Notice));
    }

    fn is_answered(&self, id: LegId) -> bool {
        let phase = self.legs.get(&id).map(|leg| &leg.phase);
        match phase {
            Some(Phase::Asked(asked)) => !asked.first,
            Some(Phase::Talking | Phase::Answered(_) | Phase::Offered(_)) => true,
            Some(Phase::Leaving) | None => false,
        }
    }
}

/// An INFO without a body means nothing and is fine; one of an Info Package is refused as RFC 6086 section 4.2.2 asks.
fn read_info(request: &Request) -> Result<Option<keypad::Press>, Refusal> {
    if request.headers.contains("Info-Package") {
        let refusal = Refusal::new(469, "bad_request", "no Info Package is served");
        return Err(refusal.with_header("Recv-Info", ""));
    }
    if request.body.is_empty() {
        return Ok(None);
    }
    let kind = request.headers.content_type().unwrap_or_default();
    if ![keypad::DTMF_RELAY, keypad::DTMF].contains(&kind.as_str()) || is_encoded(&request.headers) {
        return Err(unread(&kind, ACCEPT_INFO));
    }
    let nonsense = || Refusal::new(400, "bad_request", format!("the body of type {kind:?} names no digit"));
    keypad::read(&kind, &request.body).map(Some).ok_or_else(nonsense)
}

fn read_text(request: &Request) -> Result<String, Refusal> {
    let headers = &request.headers;
    if request.body.is_empty() {
        return Ok(String::new());
    }
    let kind = headers.content_type().unwrap_or_default();
    if kind != ACCEPT_TEXT || is_encoded(headers) || !is_utf8(headers) {
        return Err(unread(headers.first("Content-Type").unwrap_or_default(), ACCEPT_TEXT));
    }
    if request.body.len() > TEXT_BYTES_MAX {
        let detail = format!(
            "a text may have {TEXT_BYTES_MAX} bytes, this one has {}",
            request.body.len()
        );
        return Err(Refusal::new(413, "bad_request", detail));
    }
    let text = String::from_utf8(request.body.clone());
    text.map_err(|_| Refusal::new(400, "bad_request", "the text is not UTF-8"))
}

/// Whether the charset is one whose every text is UTF-8; that is also what is meant when none is named.
fn is_utf8(headers: &Headers) -> bool {
    let value = headers.first("Content-Type").unwrap_or_default();
    let params = value
        .split_once(';')
        .map_or(Ok(Params::default()), |(_, params)| Params::read(&format!(";{params}")));
    let charset = params.map(|params| params.get_text("charset").unwrap_or_else(|| "utf-8".to_owned()));
    charset.is_ok_and(|charset| ["utf-8", "us-ascii"].contains(&charset.to_ascii_lowercase().as_str()))
}

fn is_encoded(headers: &Headers) -> bool {
    let encoding = headers.first("Content-Encoding").unwrap_or("identity");
    !encoding.eq_ignore_ascii_case("identity")
}

fn unread(kind: &str, accept: &str) -> Refusal {
    let detail = format!("a body of type {kind:?} is not read here");
    Refusal::new(415, "bad_request", detail)
        .with_header("Accept", accept)
        .with_header("Accept-Encoding", "identity")
}
