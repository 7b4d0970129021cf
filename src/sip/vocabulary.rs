//! The words of SIP as the rsip crate knows them: methods and status codes. The only file outside tests that names rsip.
//!
//! rsip's parsers and its digest generator are deliberately not used: the parsers reject folded lines, compact names,
//! IPv6 and tel URIs, and the generator prints the nonce count in decimal and re-serialises the digest URI, so its
//! hash differs from the client's from the tenth request on.

use rsip::{Method as Word, StatusCode};

use super::method::Method;

/// The method of exactly this spelling, when it is one SIP defines.
pub(super) fn method(token: &str) -> Option<Method> {
    let word: Word = token.parse().ok()?;
    let method = match word {
        Word::Ack => Method::Ack,
        Word::Bye => Method::Bye,
        Word::Cancel => Method::Cancel,
        Word::Info => Method::Info,
        Word::Invite => Method::Invite,
        Word::Message => Method::Message,
        Word::Notify => Method::Notify,
        Word::Options => Method::Options,
        Word::PRack => Method::Prack,
        Word::Publish => Method::Publish,
        Word::Refer => Method::Refer,
        Word::Register => Method::Register,
        Word::Subscribe => Method::Subscribe,
        Word::Update => Method::Update,
    };
    (method.as_str() == token).then_some(method)
}

/// The usual reason phrase of a status code; for an unknown code that of its class.
pub fn reason_phrase(status: u16) -> String {
    match StatusCode::from(status) {
        StatusCode::Other(..) => class_phrase(status).to_owned(),
        StatusCode::OK => "OK".to_owned(),
        known => spaced(&format!("{known:?}")),
    }
}

fn class_phrase(status: u16) -> &'static str {
    match status / 100 {
        1 => "Session Progress",
        2 => "OK",
        3 => "Multiple Choices",
        4 => "Bad Request",
        5 => "Server Internal Error",
        _ => "Decline",
    }
}

/// `BusyHere` -> `Busy Here`.
fn spaced(name: &str) -> String {
    let mut phrase = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push(character);
    }
    phrase
}

#[cfg(test)]
mod tests {
    use rsip::{message::HeadersExt, prelude::ToTypedHeader};

    use super::*;
    use crate::sip::{Request, Response, Uri, Via};

    #[test]
    fn every_method_of_the_vocabulary_reads_to_its_own_spelling() {
        for word in Word::all() {
            assert_eq!(method(&word.to_string()).unwrap().as_str(), word.to_string());
        }
        assert_eq!(method("Invite"), None);
        assert_eq!(method("FOO"), None);
    }

    #[test]
    fn rsip_reads_what_we_print() {
        let via = Via::new("UDP", "192.0.2.1:5060".parse().unwrap(), "z9hG4bK1");
        let request = Request::new(Method::Bye, Uri::read("sip:bob@example.com").unwrap())
            .with_header("Via", via.to_string())
            .with_header("From", "\"Alice\" <sip:alice@example.com>;tag=1")
            .with_header("To", "<sip:bob@example.com>;tag=2")
            .with_header("Call-ID", "c1")
            .with_header("CSeq", "1 BYE");
        let read = rsip::Request::try_from(request.to_bytes().as_slice()).unwrap();
        assert_eq!(read.method, Word::Bye);
        assert_eq!(
            read.via_header()
                .unwrap()
                .typed()
                .unwrap()
                .branch()
                .unwrap()
                .to_string(),
            "z9hG4bK1"
        );
        assert_eq!(read.from_header().unwrap().tag().unwrap().unwrap().to_string(), "1");
        let response = Response::standard(&request, 486);
        let read = rsip::Response::try_from(response.to_bytes().as_slice()).unwrap();
        assert_eq!(read.status_code, StatusCode::BusyHere);
        assert_eq!(read.call_id_header().unwrap().to_string(), "Call-ID: c1");
    }

    #[test]
    fn phrases_are_words_with_spaces() {
        for (status, phrase) in [
            (100, "Trying"),
            (200, "OK"),
            (404, "Not Found"),
            (486, "Busy Here"),
            (503, "Service Unavailable"),
            (499, "Bad Request"),
            (599, "Server Internal Error"),
            (699, "Decline"),
        ] {
            assert_eq!(reason_phrase(status), phrase);
        }
    }
}
