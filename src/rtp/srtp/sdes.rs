//! `a=crypto` lines: a master key in a session description (RFC 4568).
//!
//! One line carries one key of a suite we know, under no session parameter we would have to honour. A line that is
//! anything else is [`Unusable`] and passed over by the reader of the description, which takes the next one. The
//! lifetime is read and set aside: a sender that outlives its own key is told so by nobody, and ours lasts longer than
//! any call. Texts of errors never quote a key.

use base64_simd::{STANDARD, STANDARD_NO_PAD};
use thiserror::Error;

use super::{MasterKey, Mki, Suite, WrongLength};

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Tells the lines of one offer apart; the answer repeats the chosen one's.
    pub tag: u32,
    /// The key its sender sends with.
    pub key: MasterKey,
}

/// Why a line is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unusable {
    /// The tag is missing or no number of at most nine digits.
    #[error("a crypto line begins with a tag of one to nine digits")]
    Tag,
    /// A suite we do not speak.
    #[error("the crypto suite {0:?} is not known")]
    Suite(String),
    /// The key is missing, or not given inline.
    #[error("a crypto line gives its key as inline:, in base64")]
    Key,
    /// More keys than one: the sender would change them as it goes.
    #[error("a crypto line with more than one key is not served; offer one")]
    SeveralKeys,
    /// The key does not fit the suite.
    #[error(transparent)]
    WrongLength(#[from] WrongLength),
    /// Neither a number nor a power of two, or zero packets, or more than SRTP can count.
    #[error("the key's lifetime is no number of packets from 1 to 2^48")]
    Lifetime,
    /// The identifier is not a number with a length it fits.
    #[error("the key's MKI is no number with its length in bytes, like 1:4")]
    Mki,
    /// A session parameter that would change what packets look like.
    #[error("the session parameter {0:?} is not served; offer a line without it")]
    Parameter(String),
}

/// Longest part of a line that an error quotes.
const QUOTED_CHARS_MAX: usize = 40;
/// The sequence of an SRTP packet has 48 bits, and so many packets one key may protect (RFC 3711 section 9.2).
const LIFETIME_BITS_MAX: u32 = 48;

impl Crypto {
    /// Reads the value of an `a=crypto` line: what stands behind the colon.
    pub fn read(value: &str) -> Result<Self, Unusable> {
        let mut words = value.split_ascii_whitespace();
        let tag = tag(words.next().unwrap_or_default())?;
        let name = words.next().unwrap_or_default();
        let suite = Suite::from_name(name).ok_or_else(|| Unusable::Suite(quoted(name)))?;
        let key = key(suite, words.next().unwrap_or_default())?;
        match words.find(|parameter| !is_harmless(parameter)) {
            Some(parameter) => Err(Unusable::Parameter(parameter_name(parameter))),
            None => Ok(Self { tag, key }),
        }
    }

    /// The value of its line, without lifetime and session parameters.
    pub fn write(&self) -> String {
        let key = STANDARD.encode_to_string(&self.key.key_and_salt);
        let line = format!("{} {} inline:{key}", self.tag, self.key.suite.name());
        match self.key.mki {
            Some(mki) => format!("{line}|{}:{}", mki.value, mki.len),
            None => line,
        }
    }
}

fn tag(word: &str) -> Result<u32, Unusable> {
    let digits = (1..=9).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten().ok_or(Unusable::Tag)
}

fn key(suite: Suite, parameters: &str) -> Result<MasterKey, Unusable> {
    if parameters.contains(';') {
        return Err(Unusable::SeveralKeys);
    }
    let (method, info) = parameters.split_once(':').ok_or(Unusable::Key)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(Unusable::Key);
    }
    let mut fields = info.split('|');
    let key_and_salt = base64(fields.next().unwrap_or_default()).ok_or(Unusable::Key)?;
    let mut key = MasterKey::new(suite, &key_and_salt)?;
    let mut next = fields.next();
    if let Some(lifetime) = next.filter(|field| !field.contains(':')) {
        check_lifetime(lifetime)?;
        next = fields.next();
    }
    key.mki = next.map(mki).transpose()?;
    match fields.next() {
        Some(_) => Err(Unusable::Mki),
        None => Ok(key),
    }
}

/// With the padding RFC 4568 wants, or without: phones differ.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode_to_vec(text).ok()
}

fn check_lifetime(text: &str) -> Result<(), Unusable> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => number(power).and_then(|power| 1_u64.checked_shl(u32::try_from(power).ok()?)),
        None => number(text),
    };
    let most = 1_u64 << LIFETIME_BITS_MAX;
    match packets {
        Some(packets) if (1..=most).contains(&packets) => Ok(()),
        _ => Err(Unusable::Lifetime),
    }
}

fn mki(text: &str) -> Result<Mki, Unusable> {
    let (value, len) = text.split_once(':').ok_or(Unusable::Mki)?;
    let len = number(len).and_then(|len| u8::try_from(len).ok());
    let value = number(value).and_then(|value| u32::try_from(value).ok());
    let mki = value.zip(len).and_then(|(value, len)| Mki::new(value, len));
    mki.ok_or(Unusable::Mki)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A window size is a hint, and an extension led by a dash may be left unread (RFC 4568 section 6.3.7).
fn is_harmless(parameter: &str) -> bool {
    let window = parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("WSH="));
    parameter.starts_with('-') || window
}

/// Without its value, which may be a key.
fn parameter_name(parameter: &str) -> String {
    quoted(parameter.split('=').next().unwrap_or_default())
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 bytes.
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_example_of_rfc_4568_reads() {
        let crypto = Crypto::read(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4")).unwrap();
        assert_eq!((crypto.tag, crypto.key.suite), (1, Suite::AesCm128HmacSha1_80));
        assert_eq!(&crypto.key.key_and_salt[..7], b"YS___se");
        assert_eq!(crypto.key.mki, Mki::new(1, 4));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for (tag, suite) in (1..).zip(Suite::ALL) {
            for mki in [None, Mki::new(3, 1)] {
                let mut key = MasterKey::new(suite, &vec![tag as u8; suite.key_and_salt_len()]).unwrap();
                key.mki = mki;
                let crypto = Crypto { tag, key };
                assert_eq!(Crypto::read(&crypto.write()), Ok(crypto));
            }
        }
    }

    #[test]
    fn lifetime_and_identifier_come_alone_or_together() {
        for (fields, mki) in [
            ("", None),
            ("|2^48", None),
            ("|1048576", None),
            ("|1:1", Mki::new(1, 1)),
            ("|2^31|66:2", Mki::new(66, 2)),
        ] {
            let crypto = Crypto::read(&format!("7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}{fields}")).unwrap();
            assert_eq!(crypto.key.mki, mki, "{fields}");
        }
    }

    #[test]
    fn padding_may_be_left_out() {
        let bytes = [9; 46];
        for text in [
            STANDARD.encode_to_string(bytes),
            STANDARD_NO_PAD.encode_to_string(bytes),
        ] {
            let crypto = Crypto::read(&format!("2 AES_256_CM_HMAC_SHA1_80 inline:{text}")).unwrap();
            assert_eq!(crypto.key.key_and_salt, bytes);
        }
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let line = |tail: &str| Crypto::read(&format!("1 AES_CM_128_HMAC_SHA1_80 {tail}")).unwrap_err();
        let inline = |fields: &str| line(&format!("inline:{KEY}{fields}"));
        assert_eq!(Crypto::read(""), Err(Unusable::Tag));
        assert_eq!(Crypto::read("+1 X y"), Err(Unusable::Tag));
        assert_eq!(Crypto::read("1234567890 X y"), Err(Unusable::Tag));
        assert_eq!(Crypto::read("1 X y"), Err(Unusable::Suite("X".into())));
        assert_eq!(line(""), Unusable::Key);
        assert_eq!(line("outline:AAAA"), Unusable::Key);
        assert_eq!(line("inline:???"), Unusable::Key);
        assert!(matches!(line("inline:AAAA"), Unusable::WrongLength(_)));
        assert_eq!(inline("|1:1;inline:AAAA|2:1"), Unusable::SeveralKeys);
        for lifetime in ["|", "|0", "|2^", "|2^49", "|2^64", "|2^4294967296", "|x"] {
            assert_eq!(inline(lifetime), Unusable::Lifetime, "{lifetime}");
        }
        for mki in ["|:", "|1:", "|:4", "|1:0", "|1:129", "|256:1", "|1:4|2:4", "|2^20|2^20"] {
            assert_eq!(inline(mki), Unusable::Mki, "{mki}");
        }
    }

    #[test]
    fn session_parameters_that_change_packets_pass_the_line_over() {
        for parameter in [
            "UNENCRYPTED_SRTP",
            "UNENCRYPTED_SRTCP",
            "UNAUTHENTICATED_SRTP",
            "KDR=1",
            "FEC_ORDER=FEC_SRTP",
            "FEC_KEY=inline:x",
            "NEW",
        ] {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=64 {parameter}");
            assert_eq!(Crypto::read(&line), Err(Unusable::Parameter(parameter_name(parameter))));
        }
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=128 -optional=1");
        assert!(Crypto::read(&line).is_ok());
    }

    #[test]
    fn no_error_quotes_a_key() {
        let line = |tail: &str| format!("1 AES_CM_128_HMAC_SHA1_80 {tail}");
        for tail in ["inline:WVNx", "online:WVNx", "inline:WVN?", "inline:WVNx;inline:WVNx"] {
            let text = Crypto::read(&line(tail)).unwrap_err().to_string();
            assert!(!text.contains("WVN"), "{text}");
        }
        let text = Crypto::read(&line(&format!("inline:{KEY} FEC_KEY=inline:WVNx"))).unwrap_err();
        assert_eq!(text, Unusable::Parameter("FEC_KEY".into()));
    }
}
