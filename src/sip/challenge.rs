//! Challenge: what a server asks before it serves us, and the credentials we answer with (RFC 7616 as the client, RFC
//! 8760, RFC 3261 section 22).
//!
//! A [`Prover`] belongs to one login at one place. It remembers the nonces it was given, so that later requests carry
//! credentials at once, and notices when the answer to a fresh nonce is refused: then the password is wrong and asking
//! again would only lock the account. It deliberately does not send anything and knows no time. `userhash` is not used:
//! a server that wants it also takes the name.

use super::{
    defect::Malformed,
    grammar::{list, quote, trim},
    message::{Request, Response},
    proof::{Algorithm, Proof, Quality, content},
    uplink::Login,
};

/// Realms remembered of one place. Of more the oldest is forgotten, and its next request is challenged again.
const REALMS_MAX: usize = 8;

/// Nonces in a row that may turn out stale before we stop believing the server.
const STALE_MAX: u8 = 3;

/// What a server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Where the password is valid, as written between the quotes.
    pub realm: String,
    /// The nonce, as written.
    pub nonce: String,
    /// To be given back as it is.
    pub opaque: Option<String>,
    /// The algorithm as named; `None` means MD5.
    pub algorithm: Option<String>,
    /// The qualities offered; empty from servers older than RFC 2617.
    pub qop: Vec<String>,
    /// Only the nonce was wrong.
    pub stale: bool,
}

/// Why a challenge cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// There is no challenge in the response, or none can be read.
    #[error("the challenge cannot be read")]
    NoChallenge,
    /// Nothing we know is offered.
    #[error("the challenge asks for an algorithm or quality that is not known here")]
    Unknown,
    /// The answer to a nonce just given was refused.
    #[error("the user name or the password is wrong")]
    Denied,
    /// One nonce after the other is called stale.
    #[error("every nonce is called stale")]
    Stale,
}

impl Challenge {
    /// Reads a header value; `None` when its scheme is not Digest.
    pub fn read(value: &str) -> Result<Option<Self>, Malformed> {
        let Some((scheme, rest)) = trim(value).split_once([' ', '\t']) else {
            return Ok(None);
        };
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Ok(None);
        }
        let directives = directives(rest)?;
        let find = |name: &str| {
            let found = directives.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            found.map(|(_, value)| (*value).to_owned())
        };
        Ok(Some(Self {
            realm: find("realm").ok_or(Malformed("the realm is missing"))?,
            nonce: find("nonce").ok_or(Malformed("the nonce is missing"))?,
            opaque: find("opaque"),
            algorithm: find("algorithm"),
            qop: find("qop").map_or_else(Vec::new, |words| {
                words.split(',').map(|word| trim(word).to_owned()).collect()
            }),
            stale: find("stale").is_some_and(|word| word.eq_ignore_ascii_case("true")),
        }))
    }

    /// The hash function, and whether it is to be of one session (`-sess`).
    fn scheme(&self) -> Option<(Algorithm, bool)> {
        let name = self.algorithm.as_deref().unwrap_or("MD5");
        let cut = name.len().checked_sub("-sess".len());
        match cut.and_then(|cut| name.split_at_checked(cut)) {
            Some((base, tail)) if tail.eq_ignore_ascii_case("-sess") => Some((Algorithm::read(base)?, true)),
            _ => Some((Algorithm::read(name)?, false)),
        }
    }

    /// The quality we answer with: `auth` before `auth-int`, which a proxy on the way that touches the body breaks.
    fn quality(&self) -> Option<Option<&'static str>> {
        let offers = |wanted: &str| self.qop.iter().any(|own| own.eq_ignore_ascii_case(wanted));
        match self.qop.is_empty() {
            true => Some(None),
            false => ["auth", "auth-int"].into_iter().find(|word| offers(word)).map(Some),
        }
    }
}

/// Proves who we are, with one login.
#[derive(Debug)]
pub struct Prover {
    login: Login,
    open: Vec<Open>,
}

/// A challenge that requests are being signed for.
#[derive(Debug)]
struct Open {
    by_proxy: bool,
    challenge: Challenge,
    algorithm: Algorithm,
    /// Of the first request after the challenge (RFC 7616 section 3.4.2).
    session_nonce: Option<String>,
    qop: Option<&'static str>,
    nonce: String,
    cnonce: String,
    count: u32,
    /// No request signed for this nonce has been accepted yet.
    fresh: bool,
    stale_count: u8,
}

impl Prover {
    /// Nobody has asked yet.
    pub fn new(login: Login) -> Self {
        Self {
            login,
            open: Vec::new(),
        }
    }

    /// Adds what was asked for before to a request: its method, URI and body are final. Credentials of an earlier
    /// attempt are replaced.
    pub fn sign(&mut self, request: &mut Request) {
        request.headers.remove("Authorization");
        request.headers.remove("Proxy-Authorization");
        for open in &mut self.open {
            let value = open.credentials(&self.login, request, request.uri.as_str());
            let name = if open.by_proxy {
                "Proxy-Authorization"
            } else {
                "Authorization"
            };
            request.headers.push(name, value);
        }
    }

    /// Takes the 401 or 407 to a request. After `Ok` the request may be signed and sent again, with a new branch and
    /// the next CSeq. `cnonce` is a word nobody can guess.
    pub fn challenged(&mut self, request: &Request, response: &Response, cnonce: &str) -> Result<(), Unanswerable> {
        let by_proxy = response.status == 407;
        let challenges = challenges(response, by_proxy);
        let mut asked = Err(match challenges.is_empty() {
            true => Unanswerable::NoChallenge,
            false => Unanswerable::Unknown,
        });
        let mut realms: Vec<String> = Vec::new();
        for challenge in challenges {
            // The server's order is its preference; the first of a realm that we can answer counts (RFC 8760 2.4).
            if realms.contains(&challenge.realm) {
                continue;
            }
            let Some((algorithm, is_session)) = challenge.scheme() else {
                continue;
            };
            let Some(qop) = challenge.quality() else { continue };
            realms.push(challenge.realm.clone());
            let stale_count = self.stale_count(by_proxy, &challenge, request)?;
            let nonce = challenge.nonce.clone();
            self.open_next(Open {
                by_proxy,
                algorithm,
                session_nonce: is_session.then(|| nonce.clone()),
                qop,
                nonce,
                cnonce: cnonce.to_owned(),
                count: 0,
                fresh: true,
                stale_count,
                challenge,
            });
            asked = Ok(());
        }
        asked
    }

    /// Takes the 2xx to a signed request: the nonce is good, and the next one may be in it (RFC 7616 section 3.5).
    pub fn accepted(&mut self, response: &Response) {
        for (name, by_proxy) in [("Authentication-Info", false), ("Proxy-Authentication-Info", true)] {
            let next = response.headers.first(name).and_then(next_nonce);
            for open in self.open.iter_mut().filter(|open| open.by_proxy == by_proxy) {
                open.fresh = false;
                open.stale_count = 0;
                if let Some(next) = next.as_ref().filter(|next| **next != open.nonce) {
                    open.nonce.clone_from(next);
                    open.count = 0;
                }
            }
        }
    }

    /// Forgets every nonce, for instance because the next request goes to another server.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// How often this realm has called us stale in a row, this challenge included; an error when it makes no sense to go
    /// on.
    fn stale_count(&self, by_proxy: bool, challenge: &Challenge, request: &Request) -> Result<u8, Unanswerable> {
        let same = |open: &&Open| open.by_proxy == by_proxy && open.challenge.realm == challenge.realm;
        let Some(open) = self.open.iter().find(same) else {
            return Ok(0);
        };
        match (
            challenge.stale,
            open.fresh && is_signed_with(request, by_proxy, &open.nonce),
        ) {
            (true, _) if open.stale_count >= STALE_MAX => Err(Unanswerable::Stale),
            (true, _) => Ok(open.stale_count.saturating_add(1)),
            (false, true) => Err(Unanswerable::Denied),
            (false, false) => Ok(0),
        }
    }

    fn open_next(&mut self, next: Open) {
        self.open
            .retain(|open| open.by_proxy != next.by_proxy || open.challenge.realm != next.challenge.realm);
        if self.open.len() >= REALMS_MAX {
            self.open.remove(0);
        }
        self.open.push(next);
    }
}

impl Open {
    fn credentials(&mut self, login: &Login, request: &Request, uri: &str) -> String {
        self.count = self.count.saturating_add(1);
        let nc = format!("{:08x}", self.count);
        let quality = self.qop.map(|qop| Quality {
            qop: qop.to_owned(),
            cnonce: self.cnonce.clone(),
            nc: nc.clone(),
            count: self.count,
        });
        let username = quote(&login.username);
        let mut proof = Proof {
            username: content(&username).unwrap_or_default().to_owned(),
            realm: self.challenge.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response: String::new(),
            algorithm: self.challenge.algorithm.clone(),
            quality,
        };
        let mut who = self.algorithm.hash(&[&proof.username, &proof.realm, &login.password]);
        if let Some(session_nonce) = &self.session_nonce {
            who = self.algorithm.hash(&[&who, session_nonce, &self.cnonce]);
        }
        proof.response = proof.hash(self.algorithm, &who, request.method.as_str(), &request.body);
        self.written(&proof, &nc)
    }

    fn written(&self, proof: &Proof, nc: &str) -> String {
        let Proof {
            username,
            realm,
            nonce,
            uri,
            response,
            ..
        } = proof;
        let mut text = format!(
            "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\""
        );
        // Named only when the server named it: servers older than RFC 2617 know no such directive.
        if let Some(algorithm) = &self.challenge.algorithm {
            text.extend([", algorithm=", algorithm]);
        }
        if let Some(qop) = self.qop {
            text.extend([", qop=", qop, ", nc=", nc]);
        }
        if self.qop.is_some() || self.session_nonce.is_some() {
            text.extend([", cnonce=\"", &self.cnonce, "\""]);
        }
        if let Some(opaque) = &self.challenge.opaque {
            text.extend([", opaque=\"", opaque, "\""]);
        }
        text
    }
}

fn challenges(response: &Response, by_proxy: bool) -> Vec<Challenge> {
    let name = if by_proxy {
        "Proxy-Authenticate"
    } else {
        "WWW-Authenticate"
    };
    let read = |value: &str| Challenge::read(value).ok().flatten();
    response.headers.all(name).filter_map(read).collect()
}

fn is_signed_with(request: &Request, by_proxy: bool, nonce: &str) -> bool {
    let name = if by_proxy {
        "Proxy-Authorization"
    } else {
        "Authorization"
    };
    let read = |value: &str| Proof::read(value).ok().flatten();
    request
        .headers
        .all(name)
        .filter_map(read)
        .any(|proof| proof.nonce == nonce)
}

fn next_nonce(value: &str) -> Option<String> {
    let directives = directives(value).ok()?;
    let (_, value) = directives
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("nextnonce"))?;
    (!value.is_empty()).then(|| (*value).to_owned())
}

/// The directives with their values as they stand between the quotes.
fn directives(text: &str) -> Result<Vec<(&str, &str)>, Malformed> {
    let read = |piece| {
        let (name, value) = str::split_once(piece, '=').ok_or(Malformed("a directive has no value"))?;
        Ok((trim(name), content(trim(value))?))
    };
    list(text)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
