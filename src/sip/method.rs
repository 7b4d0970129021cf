//! Request methods, and CSeq, which repeats the method beside a number.

use std::fmt;

use super::{
    defect::Malformed,
    grammar::{is_token, trim},
    vocabulary,
};

/// A request method. Unlike header names, methods are compared with case (RFC 3261 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the methods' names")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    /// Any other token.
    Other(String),
}

impl Method {
    /// Reads a method; `None` when the text is not a token.
    pub fn read(text: &str) -> Option<Self> {
        vocabulary::method(text).or_else(|| is_token(text).then(|| Method::Other(text.to_owned())))
    }

    /// The method as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Prack => "PRACK",
            Method::Update => "UPDATE",
            Method::Info => "INFO",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Refer => "REFER",
            Method::Message => "MESSAGE",
            Method::Publish => "PUBLISH",
            Method::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The CSeq header: which request of its direction and dialog this is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The sequence number; the reader accepts only numbers below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads `number method`.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let (number, method) = trim(text)
            .split_once([' ', '\t'])
            .ok_or(Malformed("it must be a number and a method"))?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed("it must start with a number"));
        }
        let number = number.parse().ok().filter(|number| *number < 1 << 31);
        Ok(Self {
            number: number.ok_or(Malformed("its number must be below 2^31"))?,
            method: Method::read(trim(method)).ok_or(Malformed("its method is not a token"))?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_with_case_and_unknown_ones_kept() {
        assert_eq!(Method::read("INVITE"), Some(Method::Invite));
        assert_eq!(Method::read("invite"), Some(Method::Other("invite".into())));
        assert_eq!(Method::read("RE%47IST%45R"), Some(Method::Other("RE%47IST%45R".into())));
        assert_eq!(Method::read("IN VITE"), None);
        assert_eq!(Method::read(""), None);
    }

    #[test]
    fn cseq_takes_leading_zeros_and_refuses_what_does_not_fit() {
        let cseq = CSeq::read("0009 \t INVITE").unwrap();
        assert_eq!(
            cseq,
            CSeq {
                number: 9,
                method: Method::Invite
            }
        );
        assert_eq!(cseq.to_string(), "9 INVITE");
        assert_eq!(CSeq::read("2147483647 BYE").unwrap().number, 2_147_483_647);
        for text in [
            "",
            "1",
            "INVITE",
            "+1 INVITE",
            "-1 INVITE",
            "2147483648 BYE",
            "36893488147419103232 BYE",
            "1 A B",
        ] {
            assert!(CSeq::read(text).is_err(), "{text}");
        }
    }
}
