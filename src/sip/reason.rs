//! The Reason header (RFC 3326): why a call was refused or ended, in a form programs can read.

use std::fmt;

use super::{
    defect::Malformed,
    grammar::{is_token, list, quote, trim},
    headers::Headers,
    params::Params,
};

/// Why something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whose codes these are: `SIP`, `Q.850` or another.
    pub protocol: String,
    /// The code.
    pub cause: Option<u16>,
    /// Words for people, or the one word we use everywhere.
    pub text: Option<String>,
}

impl Reason {
    /// The reason with a SIP status and a reason word: `SIP;cause=404;text="no_route"`.
    pub fn sip(status: u16, word: &str) -> Self {
        Self {
            protocol: "SIP".to_owned(),
            cause: Some(status),
            text: Some(word.to_owned()),
        }
    }

    /// Reads one value.
    pub fn read(value: &str) -> Result<Self, Malformed> {
        let (protocol, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        if !is_token(trim(protocol)) {
            return Err(Malformed("the protocol is not a token"));
        }
        let params = Params::read(params)?;
        Ok(Self {
            protocol: trim(protocol).to_owned(),
            cause: params.get("cause").and_then(|cause| cause.parse().ok()),
            text: params.get_text("text"),
        })
    }

    /// The first reason of a message that can be read; the others do not matter to a call that is over.
    pub fn of(headers: &Headers) -> Option<Self> {
        headers
            .all("Reason")
            .find_map(|value| list(value).ok()?.into_iter().find_map(|one| Self::read(one).ok()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(out, ";cause={cause}")?;
        }
        match &self.text {
            Some(text) => write!(out, ";text={}", quote(text)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_word_and_reads_back() {
        let reason = Reason::sip(503, "calls_max");
        assert_eq!(reason.to_string(), "SIP;cause=503;text=\"calls_max\"");
        assert_eq!(Reason::read(&reason.to_string()).unwrap(), reason);
    }

    #[test]
    fn the_first_readable_reason_of_a_message_counts() {
        let mut headers = Headers::new();
        headers.push("Reason", ";;");
        headers.push("Reason", "Q.850 ;cause=16 ;text=\"Normal, clearing\", SIP;cause=200");
        let reason = Reason::of(&headers).unwrap();
        assert_eq!((reason.protocol.as_str(), reason.cause), ("Q.850", Some(16)));
        assert_eq!(reason.text.as_deref(), Some("Normal, clearing"));
        assert_eq!(Reason::of(&Headers::new()), None);
    }
}
