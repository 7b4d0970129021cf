//! What a client sends to prove it knows a password: the Digest credentials of an Authorization header, and the
//! hash they must hold (RFC 7616 section 3.4, RFC 8760). Servers compare it; [`super::challenge`] fills it in when it is us
//! who prove.
//!
//! Values keep the escapes they were written with, because the hash covers them that way.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use super::{
    defect::Malformed,
    grammar::{bytes_of, list, trim, unquote},
};

/// A hash function Digest may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-512/256 (RFC 8760).
    Sha512_256,
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5, for the many phones that know nothing else.
    Md5,
}

impl Algorithm {
    /// Reads an algorithm's name; one that is not ours is `None`.
    pub fn read(text: &str) -> Option<Self> {
        [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha512_256 => "SHA-512-256",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// The hash in hexadecimal of the parts with colons between them.
    pub(super) fn hash(self, parts: &[&str]) -> String {
        let mut bytes = Vec::new();
        bytes_of(&parts.join(":"), &mut bytes);
        self.hash_bytes(&bytes)
    }

    fn hash_bytes(self, bytes: &[u8]) -> String {
        match self {
            Algorithm::Sha512_256 => hexadecimal(&Sha512_256::digest(bytes)),
            Algorithm::Sha256 => hexadecimal(&Sha256::digest(bytes)),
            Algorithm::Md5 => hexadecimal(&Md5::digest(bytes)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The credentials of one Authorization header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who claims to call.
    pub username: String,
    /// Where the password is valid.
    pub realm: String,
    /// The nonce this answers.
    pub nonce: String,
    /// The request's URI as the client saw it.
    pub uri: String,
    /// The hash.
    pub response: String,
    /// The algorithm as named; MD5 when it is not.
    pub algorithm: Option<String>,
    /// The quality of protection and what belongs to it; `None` from clients older than RFC 2617.
    pub quality: Option<Quality>,
}

/// What a client adds when it answers with `qop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quality {
    /// `auth`, `auth-int`, or something we do not take.
    pub qop: String,
    /// The client's own nonce.
    pub cnonce: String,
    /// The nonce count as written: eight hexadecimal digits.
    pub nc: String,
    /// How often the client has used the nonce, this time included; from one.
    pub count: u32,
}

impl Proof {
    /// Reads a header value; `None` when its scheme is not Digest.
    pub fn read(value: &str) -> Result<Option<Self>, Malformed> {
        match trim(value).split_once([' ', '\t']) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Digest") => Directives::read(rest)?.proof().map(Some),
            _ => Ok(None),
        }
    }

    /// The algorithm, when it is one of ours.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm.as_deref().map_or(Some(Algorithm::Md5), Algorithm::read)
    }

    /// The hash a client with this password sends with a request of this method and body; nothing for credentials
    /// without qop, because nothing keeps those from being sent again.
    pub fn expected(&self, algorithm: Algorithm, method: &str, body: &[u8], password: &str) -> Option<String> {
        self.quality.as_ref()?;
        let who = algorithm.hash(&[&self.username, &self.realm, password]);
        Some(self.made(algorithm, &who, method, body))
    }

    /// The hash of these credentials; `who` is the hash of A1 (RFC 7616 section 3.4.2). Without qop it is the one of
    /// RFC 2069, which old servers still ask for.
    pub(super) fn made(&self, algorithm: Algorithm, who: &str, method: &str, body: &[u8]) -> String {
        let Some(Quality { qop, cnonce, nc, .. }) = &self.quality else {
            return algorithm.hash(&[who, &self.nonce, &algorithm.hash(&[method, &self.uri])]);
        };
        let what = match qop.eq_ignore_ascii_case("auth-int") {
            true => algorithm.hash(&[method, &self.uri, &algorithm.hash_bytes(body)]),
            false => algorithm.hash(&[method, &self.uri]),
        };
        algorithm.hash(&[who, &self.nonce, nc, cnonce, qop, &what])
    }
}

/// A quoted value's content with its escapes resolved.
pub fn resolved(content: &str) -> String {
    unquote(&format!("\"{content}\"")).map_or_else(|_| content.to_owned(), |(text, _)| text)
}

#[derive(Default)]
struct Directives {
    username: Option<String>,
    realm: Option<String>,
    nonce: Option<String>,
    uri: Option<String>,
    response: Option<String>,
    algorithm: Option<String>,
    qop: Option<String>,
    cnonce: Option<String>,
    nc: Option<String>,
}

impl Directives {
    fn read(text: &str) -> Result<Self, Malformed> {
        let mut directives = Self::default();
        for piece in list(text)? {
            let (name, value) = piece.split_once('=').ok_or(Malformed("a directive has no value"))?;
            directives.set(trim(name), content(trim(value))?)?;
        }
        Ok(directives)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Malformed> {
        let slot = match name.to_ascii_lowercase().as_str() {
            "username" => &mut self.username,
            "realm" => &mut self.realm,
            "nonce" => &mut self.nonce,
            "uri" => &mut self.uri,
            "response" => &mut self.response,
            "algorithm" => &mut self.algorithm,
            "qop" => &mut self.qop,
            "cnonce" => &mut self.cnonce,
            "nc" => &mut self.nc,
            _ => return Ok(()),
        };
        match slot.replace(value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(Malformed("a directive is given twice")),
        }
    }

    fn proof(self) -> Result<Proof, Malformed> {
        let quality = self
            .qop
            .map(|qop| read_quality(qop, self.cnonce, self.nc))
            .transpose()?;
        Ok(Proof {
            username: self.username.ok_or(Malformed("the username is missing"))?,
            realm: self.realm.ok_or(Malformed("the realm is missing"))?,
            nonce: self.nonce.ok_or(Malformed("the nonce is missing"))?,
            uri: self.uri.ok_or(Malformed("the uri is missing"))?,
            response: self.response.ok_or(Malformed("the response is missing"))?,
            algorithm: self.algorithm,
            quality,
        })
    }
}

fn read_quality(qop: String, cnonce: Option<String>, nc: Option<String>) -> Result<Quality, Malformed> {
    let cnonce = cnonce.ok_or(Malformed("qop needs a cnonce"))?;
    let nc = nc.ok_or(Malformed("qop needs a nonce count"))?;
    let digits = nc.len() == 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
    let count = u32::from_str_radix(&nc, 16).ok().filter(|count| digits && *count > 0);
    let count = count.ok_or(Malformed(
        "the nonce count must be eight hexadecimal digits, from 00000001",
    ))?;
    Ok(Quality { qop, cnonce, nc, count })
}

/// The value without the quotes around it.
pub(super) fn content(value: &str) -> Result<&str, Malformed> {
    let Some(inner) = value.strip_prefix('"') else {
        return Ok(value);
    };
    match unquote(value)? {
        (_, "") => Ok(inner.strip_suffix('"').unwrap_or(inner)),
        _ => Err(Malformed("text follows a quoted value")),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_rfc_7616_section_3_9_1_come_out() {
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let proof = Proof::read(&format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ));
            let proof = proof.unwrap().unwrap();
            assert_eq!(proof.algorithm(), Some(algorithm));
            assert_eq!(
                proof.expected(algorithm, "GET", b"", "Circle of Life").as_deref(),
                Some(response)
            );
        }
    }

    #[test]
    fn the_hash_of_rfc_2617_section_3_5_comes_out() {
        let proof = Proof::read(
            "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
             uri=\"/dir/index.html\", qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"\", \
             opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let proof = proof.unwrap().unwrap();
        assert_eq!(
            proof.expected(Algorithm::Md5, "GET", b"", "Circle Of Life").as_deref(),
            Some("6629fae49393a05397450978507c4ef1")
        );
    }

    #[test]
    fn sha_512_256_is_the_hash_of_fips_180_4() {
        assert_eq!(
            Algorithm::Sha512_256.hash(&["abc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    #[test]
    fn auth_int_covers_the_body() {
        let proof = |qop: &str| {
            let text =
                format!("Digest username=a,realm=r,nonce=n,uri=\"sip:h\",response=x,qop={qop},nc=00000001,cnonce=c");
            Proof::read(&text).unwrap().unwrap()
        };
        let hash = |qop, body: &[u8]| proof(qop).expected(Algorithm::Sha256, "INVITE", body, "p").unwrap();
        assert_eq!(hash("auth", b"v=0"), hash("auth", b"v=1"));
        assert_ne!(hash("auth-int", b"v=0"), hash("auth-int", b"v=1"));
    }

    #[test]
    fn credentials_of_other_schemes_are_not_ours_and_broken_ones_are_errors() {
        assert_eq!(Proof::read("Basic QWxhZGRpbg==").unwrap(), None);
        assert_eq!(Proof::read("NoOneKnowsThisScheme opaque-data=here").unwrap(), None);
        assert_eq!(Proof::read("").unwrap(), None);
        let good = "Digest username=\"a\",realm=\"r\",nonce=\"n\",uri=\"sip:h\",response=\"x\"";
        assert_eq!(Proof::read(good).unwrap().unwrap().quality, None);
        for tail in [
            ",username=\"b\"",
            ",qop=auth",
            ",qop=auth,nc=1,cnonce=\"c\"",
            ",qop=auth,nc=00000000,cnonce=\"c\"",
            ",qop=auth,nc=+0000001,cnonce=\"c\"",
            ",x",
            ",",
            ",opaque=\"",
            ",opaque=\"a\"b",
        ] {
            assert!(Proof::read(&format!("{good}{tail}")).is_err(), "{tail}");
        }
        assert!(Proof::read("Digest username=\"a\"").is_err());
    }

    #[test]
    fn algorithms_are_named_without_case_and_md5_is_the_default() {
        assert_eq!(Algorithm::read("sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::read("MD5-sess"), None);
        let proof = Proof::read("Digest username=a,realm=r,nonce=n,uri=\"sip:h\",response=x")
            .unwrap()
            .unwrap();
        assert_eq!(proof.algorithm(), Some(Algorithm::Md5));
        assert_eq!(resolved(r#"a\"b\\"#), "a\"b\\");
    }
}
