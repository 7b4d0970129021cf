//! How we prove who we are: the client side of Digest authentication (RFC 7616, RFC 8760, RFC 3261 section 22).
//!
//! [`answer_challenge`] is the one place that writes credentials. The [`Keyring`] remembers the challenges met in one
//! call or at one trunk and how often each nonce was used, so that the next request proves itself unasked. It
//! deliberately knows neither passwords nor requests; both are shown to it. `userhash` is not used: a server that offers
//! it takes the name as well.

use super::grammar::{list, quote, trim, unquote};
use super::message::Response;
use super::proof::{Algorithm, Proof, Quality};
use super::uplink::Login;

/// Most realms one keyring remembers. One more pushes out the oldest, which then has to challenge us again.
pub const REALMS_MAX: usize = 4;

/// The headers that ask for a proof, each with the one that carries it.
const ASKED_AND_ANSWERED: [(&str, &str); 2] = [
    ("WWW-Authenticate", "Authorization"),
    ("Proxy-Authenticate", "Proxy-Authorization"),
];

/// The headers that say the next nonce, each with the one it is for.
const TOLD_AND_ANSWERED: [(&str, &str); 2] = [
    ("Authentication-Info", "Authorization"),
    ("Proxy-Authentication-Info", "Proxy-Authorization"),
];

/// A Digest challenge that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Where the password is valid; escapes are kept, because the hash covers them.
    pub realm: String,
    /// What is to be hashed, so that a proof is good for one time only.
    pub nonce: String,
    /// Whether only the nonce of the last proof was wrong, not the password.
    pub stale: bool,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// The algorithm in the server's spelling; `None` from servers that know none but MD5.
    algorithm_name: Option<String>,
    /// The nonce of A1, for an algorithm with `-sess` (RFC 7616 section 3.4.2).
    session_nonce: Option<String>,
    /// `auth` before `auth-int`, which a proxy on the way that touches the body breaks; `None` from servers older than
    /// RFC 2617.
    qop: Option<&'static str>,
}

impl Challenge {
    /// Reads the value of a WWW-Authenticate or Proxy-Authenticate header; `None` for one that cannot be answered:
    /// another scheme, a hash function or a quality of protection we do not know.
    pub fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = trim(value).split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let directives = read_directives(rest)?;
        let find = |name: &str| {
            let found = directives.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, content)| content.clone())
        };
        let (named, qop) = (find("algorithm"), find("qop"));
        let (algorithm, of_session) = named.as_deref().map_or(Some((Algorithm::Md5, false)), read_algorithm)?;
        let nonce = find("nonce")?;
        // A session needs a nonce of ours, which has no place without qop.
        if of_session && qop.is_none() {
            return None;
        }
        Some(Self {
            realm: find("realm")?,
            session_nonce: of_session.then(|| nonce.clone()),
            nonce,
            stale: find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            opaque: find("opaque"),
            algorithm,
            algorithm_name: named,
            qop: match &qop {
                Some(offered) => Some(choose_quality(offered)?),
                None => None,
            },
        })
    }
}

/// The hash function of this name, and whether it is one of a session.
fn read_algorithm(name: &str) -> Option<(Algorithm, bool)> {
    let tail = name.len().checked_sub("-sess".len());
    match tail.and_then(|tail| name.split_at_checked(tail)) {
        Some((base, tail)) if tail.eq_ignore_ascii_case("-sess") => Some((Algorithm::read(base)?, true)),
        _ => Some((Algorithm::read(name)?, false)),
    }
}

fn choose_quality(offered: &str) -> Option<&'static str> {
    let offers = |wanted: &str| offered.split(',').any(|one| trim(one).eq_ignore_ascii_case(wanted));
    ["auth", "auth-int"].into_iter().find(|wanted| offers(wanted))
}

/// What a proof is made for.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// The method.
    pub method: &'a str,
    /// The Request-URI.
    pub uri: &'a str,
    /// The body, which a quality of protection may cover.
    pub body: &'a [u8],
    /// A nonce of ours.
    pub cnonce: &'a str,
    /// How often the challenge's nonce has been used, this time included.
    pub count: u32,
}

/// The credentials that answer this challenge.
pub fn answer_challenge(challenge: &Challenge, login: &Login, proven: &Proven<'_>) -> String {
    let username = content(&quote(&login.username));
    let nc = format!("{:08x}", proven.count);
    let quality = challenge.qop.map(|qop| Quality {
        qop: qop.to_owned(),
        cnonce: proven.cnonce.to_owned(),
        nc,
        count: proven.count,
    });
    let proof = Proof {
        username,
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: proven.uri.to_owned(),
        response: String::new(),
        algorithm: challenge.algorithm_name.clone(),
        quality,
    };
    let algorithm = challenge.algorithm;
    let mut who = algorithm.hash(&[&proof.username, &proof.realm, &login.password]);
    if let Some(session_nonce) = &challenge.session_nonce {
        who = algorithm.hash(&[&who, session_nonce, proven.cnonce]);
    }
    let response = proof.made(algorithm, &who, proven.method, proven.body);
    write(&proof, &response, challenge.opaque.as_deref())
}

fn write(proof: &Proof, response: &str, opaque: Option<&str>) -> String {
    let Proof {
        username,
        realm,
        nonce,
        uri,
        ..
    } = proof;
    let mut value = format!(
        "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\""
    );
    if let Some(algorithm) = &proof.algorithm {
        value.extend([", algorithm=", algorithm]);
    }
    if let Some(opaque) = opaque {
        value.extend([", opaque=\"", opaque, "\""]);
    }
    if let Some(Quality { qop, cnonce, nc, .. }) = &proof.quality {
        value.extend([", qop=", qop, ", nc=", nc, ", cnonce=\"", cnonce, "\""]);
    }
    value
}

/// The challenges met so far, and how often each was answered.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    header: &'static str,
    challenge: Challenge,
    count: u32,
}

/// A challenge that has just come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The header that answers it.
    pub header: &'static str,
    /// Where the password is valid.
    pub realm: String,
    /// See [`Challenge::stale`].
    pub stale: bool,
}

impl Keyring {
    /// Takes the challenges of a 401 or 407, of each realm the strongest, and says which can be answered.
    pub fn learn(&mut self, response: &Response) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (challenged, header) in ASKED_AND_ANSWERED {
            for challenge in strongest(response.headers.all(challenged)) {
                asked.push(Asked {
                    header,
                    realm: challenge.realm.clone(),
                    stale: challenge.stale,
                });
                self.keep(header, challenge);
            }
        }
        asked
    }

    /// The headers that prove a request to everyone who has asked so far. Each counts as one use of its nonce.
    pub fn prove(&mut self, login: &Login, proven: &Proven<'_>) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        for key in &mut self.keys {
            key.count = key.count.wrapping_add(1);
            let proven = Proven {
                count: key.count,
                ..*proven
            };
            headers.push((key.header, answer_challenge(&key.challenge, login, &proven)));
        }
        headers
    }

    /// Takes the 2xx to a request that was proved: it may say the nonce of the next one (RFC 7616 section 3.5).
    pub fn accepted(&mut self, response: &Response) {
        for (told, header) in TOLD_AND_ANSWERED {
            let Some(next) = response.headers.first(told).and_then(next_nonce) else {
                continue;
            };
            let others = |key: &&mut Key| key.header == header && key.challenge.nonce != next;
            for key in self.keys.iter_mut().filter(others) {
                key.challenge.nonce.clone_from(&next);
                key.count = 0;
            }
        }
    }

    /// Whether nobody has asked yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A nonce that is told again keeps its count.
    fn keep(&mut self, header: &'static str, challenge: Challenge) {
        let same = |key: &Key| key.header == header && key.challenge.realm == challenge.realm;
        let known = self.keys.iter().position(same).map(|index| self.keys.remove(index));
        let count = known
            .filter(|key| key.challenge.nonce == challenge.nonce)
            .map_or(0, |key| key.count);
        if self.keys.len() == REALMS_MAX {
            self.keys.remove(0);
        }
        self.keys.push(Key {
            header,
            challenge,
            count,
        });
    }
}

/// Of each realm the challenge with the strongest hash; the realms in the order they are named.
fn strongest<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut best: Vec<Challenge> = Vec::new();
    for challenge in values.filter_map(Challenge::read) {
        match best.iter_mut().find(|known| known.realm == challenge.realm) {
            Some(known) if strength(challenge.algorithm) > strength(known.algorithm) => *known = challenge,
            Some(_) => {}
            None => best.push(challenge),
        }
    }
    best.truncate(REALMS_MAX);
    best
}

fn strength(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 => 0,
        Algorithm::Sha256 => 1,
        Algorithm::Sha512_256 => 2,
    }
}

fn next_nonce(value: &str) -> Option<String> {
    let mut directives = read_directives(value)?.into_iter();
    let (_, nonce) = directives.find(|(name, _)| name.eq_ignore_ascii_case("nextnonce"))?;
    Some(nonce).filter(|nonce| !nonce.is_empty())
}

/// Names and contents, the quotes around them taken off and the escapes inside kept. Of a name given twice the first
/// counts.
fn read_directives(text: &str) -> Option<Vec<(String, String)>> {
    let mut directives = Vec::new();
    for piece in list(text).ok()? {
        let (name, value) = piece.split_once('=')?;
        let value = trim(value);
        if value.starts_with('"') && !unquote(value).is_ok_and(|(_, rest)| rest.is_empty()) {
            return None;
        }
        directives.push((trim(name).to_owned(), content(value)));
    }
    Some(directives)
}

fn content(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sip::digest::{Authenticator, Denial, Outcome};
    use crate::sip::headers::Headers;
    use crate::sip::message::Request;
    use crate::sip::method::Method;
    use crate::sip::uri::Uri;

    #[test]
    fn the_examples_of_rfc_7616_come_out() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let challenge = Challenge::read(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ));
            let proven = Proven {
                method: "GET",
                uri: "/dir/index.html",
                body: b"",
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                count: 1,
            };
            let value = answer_challenge(&challenge.unwrap(), &login("Mufasa", "Circle of Life"), &proven);
            assert!(value.contains(&format!("response=\"{response}\"")), "{value}");
            assert!(
                value.contains("opaque=\"FQhe") && value.contains("nc=00000001"),
                "{value}"
            );
            let read = Proof::read(&value).unwrap().unwrap();
            assert_eq!(read.quality.unwrap().qop, "auth");
        }
    }

    #[test]
    fn a_challenge_without_qop_is_answered_the_old_way() {
        let challenge = Challenge::read("Digest realm=\"r\",nonce=\"n\"").unwrap();
        let value = answer_challenge(&challenge, &login("a", "b"), &invite("c"));
        // MD5(MD5(a:r:b):n:MD5(INVITE:sip:h))
        assert!(
            value.contains("response=\"b49d46ea28c810f9f12f33f8ea52b4e6\""),
            "{value}"
        );
        assert!(!value.contains("qop") && !value.contains("algorithm"), "{value}");
    }

    #[test]
    fn a_session_is_of_the_servers_nonce_and_ours() {
        let read =
            |name: &str| Challenge::read(&format!("Digest realm=\"r\",nonce=\"n\",qop=\"auth\",algorithm={name}"));
        let value = answer_challenge(&read("MD5-sess").unwrap(), &login("a", "b"), &invite("c"));
        let hash = |parts: &[&str]| Algorithm::Md5.hash(parts);
        let who = hash(&[&hash(&["a", "r", "b"]), "n", "c"]);
        let response = hash(&[&who, "n", "00000001", "c", "auth", &hash(&["INVITE", "sip:h"])]);
        assert!(
            value.contains(&format!("response=\"{response}\", algorithm=MD5-sess")),
            "{value}"
        );
        assert!(read("sha-256-SESS").is_some() && read("sess").is_none());
    }

    #[test]
    fn our_own_server_takes_every_algorithm_time_after_time_and_sees_a_changed_body() {
        let now = Instant::now();
        for algorithm in [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5] {
            for qop in ["auth", "auth-int", "auth-int,auth"] {
                let mut guard = Authenticator::new(now, "r", [3; 32]);
                let value = guard.challenge(now, false, &[algorithm])[0].replace("\"auth\"", &format!("\"{qop}\""));
                let mut keyring = Keyring::default();
                keyring.learn(&challenged(&[("WWW-Authenticate", &value)]));
                for _ in 0..20 {
                    let request = proved(&mut keyring, b"v=0");
                    let changed = Request {
                        body: b"v=1".to_vec(),
                        ..request.clone()
                    };
                    let mut check = |request: &Request| guard.check(now, request, &[algorithm], |_| Some("b"));
                    if qop == "auth-int" {
                        assert_eq!(check(&changed), Outcome::Denied(Denial::Password));
                    }
                    assert!(matches!(check(&request), Outcome::Accepted { .. }), "{algorithm} {qop}");
                }
            }
        }
    }

    #[test]
    fn the_next_nonce_counts_from_one() {
        let mut keyring = Keyring::default();
        keyring.learn(&challenged(&[(
            "WWW-Authenticate",
            "Digest realm=\"r\",nonce=\"one\",qop=\"auth\"",
        )]));
        let mut next = |info: &str| {
            keyring.accepted(&challenged(&[("Authentication-Info", info)]));
            let request = proved(&mut keyring, b"");
            let proof = Proof::read(request.headers.first("Authorization").unwrap())
                .unwrap()
                .unwrap();
            (proof.nonce, proof.quality.unwrap().count)
        };
        assert_eq!(next("qop=auth"), ("one".to_owned(), 1));
        assert_eq!(next("nextnonce=\"two\", qop=auth"), ("two".to_owned(), 1));
        assert_eq!(next("nextnonce=\"two\""), ("two".to_owned(), 2));
        assert_eq!(next("nextnonce=\"\""), ("two".to_owned(), 3));
    }

    #[test]
    fn of_each_realm_the_strongest_challenge_is_answered_and_both_headers_at_once() {
        let mut keyring = Keyring::default();
        let asked = keyring.learn(&challenged(&[
            (
                "WWW-Authenticate",
                "Digest realm=\"r\",nonce=\"m\",algorithm=MD5,qop=\"auth\"",
            ),
            (
                "WWW-Authenticate",
                "Digest realm=\"r\",nonce=\"s\",algorithm=SHA-256,qop=\"auth\"",
            ),
            ("WWW-Authenticate", "Basic realm=\"r\""),
            ("Proxy-Authenticate", "Digest realm=\"p\",nonce=\"x\",stale=TRUE"),
        ]));
        assert_eq!(asked.iter().map(|one| one.stale).collect::<Vec<_>>(), [false, true]);
        let headers = keyring.prove(&login("a", "b"), &invite("c"));
        let [(first, www), (second, proxy)] = &headers[..] else {
            panic!("{headers:?}")
        };
        assert_eq!((*first, *second), ("Authorization", "Proxy-Authorization"));
        assert!(www.contains("SHA-256") && www.contains("nonce=\"s\"") && proxy.contains("nonce=\"x\""));
    }

    #[test]
    fn a_nonce_is_counted_up_and_a_new_one_counts_from_one() {
        let mut keyring = Keyring::default();
        let challenge = |nonce: &str| {
            let value = format!("Digest realm=\"r\",nonce=\"{nonce}\",qop=\"auth\"");
            challenged(&[("WWW-Authenticate", &value)])
        };
        let mut count = |response: Option<Response>| {
            response.map(|response| keyring.learn(&response));
            let (_, value) = keyring.prove(&login("a", "b"), &invite("c")).remove(0);
            Proof::read(&value).unwrap().unwrap().quality.unwrap().count
        };
        assert_eq!(count(Some(challenge("one"))), 1);
        assert_eq!(count(None), 2);
        assert_eq!(count(Some(challenge("one"))), 3);
        assert_eq!(count(Some(challenge("two"))), 1);
    }

    #[test]
    fn what_cannot_be_answered_is_left_alone_and_floods_are_bounded() {
        for value in [
            "",
            "Digest",
            "Basic realm=\"r\"",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\",nonce=\"n\",algorithm=MD5-sess",
            "Digest realm=\"r\",nonce=\"n\",algorithm=TIGER,qop=\"auth\"",
            "Digest realm=\"r\",nonce=\"n\",qop=\"auth-conf\"",
            "Digest realm=\"r,nonce=\"n\"",
            "Digest realm=\"r\",,nonce=\"n\"",
        ] {
            assert_eq!(Challenge::read(value), None, "{value}");
        }
        let many: Vec<_> = (0..20).map(|n| format!("Digest realm=\"{n}\",nonce=\"n\"")).collect();
        let many: Vec<_> = many.iter().map(|one| ("WWW-Authenticate", one.as_str())).collect();
        let mut keyring = Keyring::default();
        assert_eq!(keyring.learn(&challenged(&many)).len(), REALMS_MAX);
    }

    #[test]
    fn a_quote_in_the_user_name_is_escaped() {
        let challenge = Challenge::read("Digest realm=\"r\",nonce=\"n\",qop=\"auth\"").unwrap();
        let value = answer_challenge(&challenge, &login("a\"b", "c"), &invite("c"));
        assert!(value.contains(r#"username="a\"b""#), "{value}");
        assert!(Proof::read(&value).unwrap().is_some());
    }

    fn login(username: &str, password: &str) -> Login {
        Login {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    fn proved(keyring: &mut Keyring, body: &[u8]) -> Request {
        let mut request = Request::new(Method::Invite, Uri::read("sip:h").unwrap());
        request.body = body.to_vec();
        let proven = Proven { body, ..invite("c") };
        for (header, value) in keyring.prove(&login("a", "b"), &proven) {
            request.headers.push(header, value);
        }
        request
    }

    fn invite(cnonce: &str) -> Proven<'_> {
        Proven {
            method: "INVITE",
            uri: "sip:h",
            body: b"",
            cnonce,
            count: 1,
        }
    }

    fn challenged(headers: &[(&str, &str)]) -> Response {
        let mut response = Response {
            status: 401,
            reason: String::new(),
            headers: Headers::new(),
            body: Vec::new(),
        };
        headers
            .iter()
            .for_each(|(name, value)| response.headers.push(name, *value));
        response
    }
}
