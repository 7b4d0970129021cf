//! Who may call: the server side of Digest authentication (RFC 7616, RFC 8760, RFC 3261 section 22).
//!
//! The [`Authenticator`] challenges and checks; it owns the nonces and nothing else. It deliberately knows no users:
//! the password and the algorithms offered come from the caller of [`Authenticator::check`]. ACK and CANCEL cannot be challenged and must not
//! be shown to it, and a retransmission must be recognised as one before, because its count is used up.

use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use super::{
    defect::Malformed,
    grammar::quote,
    message::Request,
    nonce::{NonceError, Nonces},
    proof::{Algorithm, Proof, resolved},
    uri::Uri,
};

/// How long a nonce is valid when nothing else is said.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// The guard of one realm.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    nonces: Nonces,
}

/// What a request proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The caller knows this user's password.
    Accepted {
        /// The user.
        username: String,
        /// What proved it.
        algorithm: Algorithm,
    },
    /// Nothing is proved yet: answer 401 with a new challenge.
    Challenge {
        /// Whether the password was right and only the nonce was not, so that the phone need not ask its user.
        stale: bool,
        /// Why.
        why: Unproven,
    },
    /// The proof is wrong: answer 403.
    Denied(Denial),
}

/// Why a request has to be challenged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// No Digest credentials for our realm.
    #[error("there are no credentials for this realm")]
    NoCredentials,
    /// Credentials with a hash function we do not offer.
    #[error("the algorithm is not one of those offered")]
    Algorithm,
    /// Credentials without `qop=auth`; without it nothing stops a replay.
    #[error("the credentials lack qop=auth")]
    Quality,
    /// The right password with a nonce that cannot be used.
    #[error("{0}")]
    Nonce(#[from] NonceError),
}

/// Why a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The Authorization header cannot be read.
    #[error("the credentials cannot be read: {0}")]
    Malformed(Malformed),
    /// The credentials were made for another Request-URI.
    #[error("the credentials are for another URI")]
    Uri,
    /// No such user, or not this password; which of both is nobody's business.
    #[error("the user name or the password is wrong")]
    Password,
}

impl Authenticator {
    /// A guard whose nonces are valid for [`NONCE_LIFETIME`]. The secret must be random and new with every start.
    pub fn new(now: Instant, realm: &str, secret: [u8; 32]) -> Self {
        Self::with_lifetime(now, realm, secret, NONCE_LIFETIME)
    }

    /// A guard whose nonces are valid for as long as given.
    pub fn with_lifetime(now: Instant, realm: &str, secret: [u8; 32], lifetime: Duration) -> Self {
        Self {
            realm: realm.to_owned(),
            nonces: Nonces::new(now, secret, lifetime),
        }
    }

    /// The values of the WWW-Authenticate headers of a 401: one for each algorithm in this order, which is the order
    /// of preference (RFC 8760 section 2.3).
    pub fn challenge(&mut self, now: Instant, stale: bool, offered: &[Algorithm]) -> Vec<String> {
        let nonce = self.nonces.mint(now);
        let realm = quote(&self.realm);
        let stale = if stale { ", stale=true" } else { "" };
        let value = |algorithm: &Algorithm| {
            format!("Digest realm={realm}, nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}{stale}")
        };
        offered.iter().map(value).collect()
    }

    /// Checks what a request proves with one of the algorithms offered; `password` gives the password of a user, if
    /// there is such a user.
    pub fn check<'p>(
        &mut self,
        now: Instant,
        request: &Request,
        offered: &[Algorithm],
        password: impl FnOnce(&str) -> Option<&'p str>,
    ) -> Outcome {
        let proof = match self.find_proof(request, offered) {
            Ok(Some(proof)) => proof,
            Ok(None) => return challenge(Unproven::NoCredentials),
            Err(problem) => return Outcome::Denied(Denial::Malformed(problem)),
        };
        let Some(algorithm) = usable(&proof, offered) else {
            return challenge(Unproven::Algorithm);
        };
        let Some(quality) = proof.quality.as_ref().filter(|quality| is_taken(&quality.qop)) else {
            return challenge(Unproven::Quality);
        };
        if !is_same_uri(&proof.uri, &request.uri) {
            return Outcome::Denied(Denial::Uri);
        }
        let username = resolved(&proof.username);
        if !is_proved(&proof, algorithm, request, password(&username)) {
            return Outcome::Denied(Denial::Password);
        }
        match self.nonces.spend(now, &proof.nonce, quality.count) {
            Ok(()) => Outcome::Accepted { username, algorithm },
            Err(error) => Outcome::Challenge {
                stale: true,
                why: error.into(),
            },
        }
    }

    /// The credentials for our realm, the ones we can check before others; broken ones count only when there are no
    /// whole ones.
    fn find_proof(&self, request: &Request, offered: &[Algorithm]) -> Result<Option<Proof>, Malformed> {
        let mut found = Ok(None);
        for value in request.headers.authorization() {
            match Proof::read(value) {
                Ok(Some(proof)) if resolved(&proof.realm) == self.realm => match usable(&proof, offered) {
                    Some(_) => return Ok(Some(proof)),
                    None => found = Ok(Some(proof)),
                },
                Err(problem) if found == Ok(None) => found = Err(problem),
                _ => {}
            }
        }
        found
    }
}

/// The algorithm of the credentials, when it was offered.
fn usable(proof: &Proof, offered: &[Algorithm]) -> Option<Algorithm> {
    proof.algorithm().filter(|algorithm| offered.contains(algorithm))
}

fn challenge(why: Unproven) -> Outcome {
    Outcome::Challenge { stale: false, why }
}

/// Phones leave out URI parameters or write the host in another case, so the resource counts.
fn is_same_uri(claimed: &str, actual: &Uri) -> bool {
    claimed == actual.as_str() || Uri::read(&resolved(claimed)).is_ok_and(|claimed| claimed.same_resource(actual))
}

/// Only `auth` is offered, but who covers the body as well proves more, not less.
fn is_taken(qop: &str) -> bool {
    ["auth", "auth-int"]
        .into_iter()
        .any(|taken| qop.eq_ignore_ascii_case(taken))
}

/// Takes as long for a user there is not as for one with another password.
fn is_proved(proof: &Proof, algorithm: Algorithm, request: &Request, password: Option<&str>) -> bool {
    let expected = proof
        .expected(
            algorithm,
            request.method.as_str(),
            &request.body,
            password.unwrap_or_default(),
        )
        .unwrap_or_default();
    let equal = expected
        .as_bytes()
        .ct_eq(proof.response.to_ascii_lowercase().as_bytes());
    bool::from(equal) && password.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{method::Method, proof::Quality};

    const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];
    const REALM: &str = "patchcord";
    const URI: &str = "sip:100@gw.example.com";

    #[test]
    fn the_right_password_is_accepted_with_either_algorithm() {
        for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
            let mut line = Line::new();
            let nonce = line.nonce();
            let outcome = line.send(&Answer {
                algorithm,
                ..Answer::to(&nonce)
            });
            assert_eq!(
                outcome,
                Outcome::Accepted {
                    username: "alice".into(),
                    algorithm,
                }
            );
        }
    }

    #[test]
    fn a_challenge_offers_the_algorithms_in_their_order_and_asks_for_auth() {
        let (now, mut guard) = (Instant::now(), Authenticator::new(Instant::now(), "a \"b\"", [1; 32]));
        let [first, second] = &guard.challenge(now, true, BOTH)[..] else {
            panic!()
        };
        assert!(first.starts_with("Digest realm=\"a \\\"b\\\"\", nonce=\"") && first.contains("algorithm=SHA-256"));
        assert!(second.contains("algorithm=MD5") && second.ends_with("stale=true"));
        assert!(first.contains("qop=\"auth\""));
        let [only] = &guard.challenge(now, false, &[Algorithm::Md5])[..] else {
            panic!()
        };
        assert!(only.ends_with("algorithm=MD5"));
    }

    #[test]
    fn the_right_password_with_an_algorithm_not_offered_is_challenged_again() {
        let mut line = Line::new();
        for (offered, other) in [(Algorithm::Md5, Algorithm::Sha256), (Algorithm::Sha256, Algorithm::Md5)] {
            let answer = |nonce: &str, algorithm| {
                let answer = Answer {
                    algorithm,
                    ..Answer::to(nonce)
                };
                answer.header()
            };
            let nonce = line.nonce();
            let request = request(Some(&answer(&nonce, other)));
            let why = Unproven::Algorithm;
            assert_eq!(
                line.check_with(&[offered], &request),
                Outcome::Challenge { stale: false, why }
            );
            let both = request.with_header("Authorization", answer(&nonce, offered));
            assert!(matches!(
                line.check_with(&[offered], &both),
                Outcome::Accepted { algorithm, .. } if algorithm == offered
            ));
        }
    }

    #[test]
    fn credentials_that_name_no_algorithm_are_md5_and_need_it_offered() {
        let mut line = Line::new();
        let nonce = line.nonce();
        let answer = Answer {
            algorithm: Algorithm::Md5,
            ..Answer::to(&nonce)
        };
        let request = request(Some(&answer.header().replace(", algorithm=MD5", "")));
        let why = Unproven::Algorithm;
        assert_eq!(
            line.check_with(&[Algorithm::Sha256], &request),
            Outcome::Challenge { stale: false, why }
        );
        assert!(matches!(line.check_with(BOTH, &request), Outcome::Accepted { .. }));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_are_denied_alike() {
        let mut line = Line::new();
        let nonce = line.nonce();
        let denied = Outcome::Denied(Denial::Password);
        assert_eq!(
            line.send(&Answer {
                password: "guess",
                ..Answer::to(&nonce)
            }),
            denied
        );
        assert_eq!(
            line.send(&Answer {
                username: "mallory",
                ..Answer::to(&nonce)
            }),
            denied
        );
        assert_eq!(
            line.send(&Answer {
                username: "mallory",
                password: "",
                ..Answer::to(&nonce)
            }),
            denied
        );
        assert_eq!(line.guard.nonces.remembered(), 0);
    }

    #[test]
    fn a_request_sent_again_is_challenged_as_stale() {
        let mut line = Line::new();
        let nonce = line.nonce();
        assert!(matches!(line.send(&Answer::to(&nonce)), Outcome::Accepted { .. }));
        let replayed = Outcome::Challenge {
            stale: true,
            why: Unproven::Nonce(NonceError::Replayed),
        };
        assert_eq!(line.send(&Answer::to(&nonce)), replayed);
        assert!(matches!(
            line.send(&Answer {
                count: 2,
                ..Answer::to(&nonce)
            }),
            Outcome::Accepted { .. }
        ));
    }

    #[test]
    fn an_expired_or_foreign_nonce_is_stale_only_with_the_right_password() {
        let mut line = Line::new();
        let nonce = line.nonce();
        let stale = Outcome::Challenge {
            stale: true,
            why: Unproven::Nonce(NonceError::Stale),
        };
        line.now += NONCE_LIFETIME + Duration::from_secs(1);
        assert_eq!(line.send(&Answer::to(&nonce)), stale);
        assert_eq!(line.send(&Answer::to("made-up")), stale);
        let guess = Answer {
            password: "guess",
            ..Answer::to("made-up")
        };
        assert_eq!(line.send(&guess), Outcome::Denied(Denial::Password));
    }

    #[test]
    fn credentials_that_prove_nothing_are_challenged_again() {
        let mut line = Line::new();
        let claim = |realm, tail| format!("Digest username=\"alice\",realm=\"{realm}\",nonce=n,uri=x,response=y{tail}");
        for (header, why) in [
            (None, Unproven::NoCredentials),
            (Some("NoOneKnowsThisScheme opaque".to_owned()), Unproven::NoCredentials),
            (Some(claim("other", "")), Unproven::NoCredentials),
            (Some(claim(REALM, "")), Unproven::Quality),
            (
                Some(claim(REALM, ",qop=auth-conf,nc=00000001,cnonce=c")),
                Unproven::Quality,
            ),
            (Some(claim(REALM, ",algorithm=MD5-sess")), Unproven::Algorithm),
        ] {
            let outcome = line.check(&request(header.as_deref()));
            assert_eq!(outcome, Outcome::Challenge { stale: false, why }, "{header:?}");
        }
    }

    #[test]
    fn credentials_for_another_uri_or_method_are_denied() {
        let mut line = Line::new();
        let nonce = line.nonce();
        let other = Answer {
            uri: "sip:900@gw.example.com",
            ..Answer::to(&nonce)
        };
        assert_eq!(line.send(&other), Outcome::Denied(Denial::Uri));
        let same = Answer {
            uri: "sip:100@GW.example.com;transport=udp",
            ..Answer::to(&nonce)
        };
        assert!(matches!(line.send(&same), Outcome::Accepted { .. }));
        let mut bye = request(Some(
            &Answer {
                count: 2,
                ..Answer::to(&nonce)
            }
            .header(),
        ));
        bye.method = Method::Bye;
        assert_eq!(line.check(&bye), Outcome::Denied(Denial::Password));
    }

    #[test]
    fn broken_credentials_are_denied_unless_whole_ones_stand_beside_them() {
        let mut line = Line::new();
        let broken = request(Some("Digest username=\"alice\""));
        assert!(matches!(line.check(&broken), Outcome::Denied(Denial::Malformed(_))));
        let whole = Answer::to(&line.nonce()).header();
        assert!(matches!(
            line.check(&broken.with_header("Authorization", whole)),
            Outcome::Accepted { .. }
        ));
    }

    struct Line {
        now: Instant,
        guard: Authenticator,
    }

    impl Line {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                now,
                guard: Authenticator::new(now, REALM, [3; 32]),
            }
        }

        fn nonce(&mut self) -> String {
            let challenges = self.guard.challenge(self.now, false, BOTH);
            challenges[0]
                .split("nonce=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        }

        fn send(&mut self, answer: &Answer<'_>) -> Outcome {
            self.check(&request(Some(&answer.header())))
        }

        fn check(&mut self, request: &Request) -> Outcome {
            self.check_with(BOTH, request)
        }

        fn check_with(&mut self, offered: &[Algorithm], request: &Request) -> Outcome {
            let password = |user: &str| (user == "alice").then_some("wonderland");
            self.guard.check(self.now, request, offered, password)
        }
    }

    struct Answer<'a> {
        username: &'a str,
        password: &'a str,
        nonce: &'a str,
        uri: &'a str,
        count: u32,
        algorithm: Algorithm,
    }

    impl<'a> Answer<'a> {
        fn to(nonce: &'a str) -> Self {
            let algorithm = Algorithm::Sha256;
            Self {
                username: "alice",
                password: "wonderland",
                nonce,
                uri: URI,
                count: 1,
                algorithm,
            }
        }

        fn header(&self) -> String {
            let Self {
                username,
                nonce,
                uri,
                algorithm,
                count,
                ..
            } = self;
            let nc = format!("{count:08x}");
            let quality = Quality {
                qop: "auth".into(),
                cnonce: "c".into(),
                nc: nc.clone(),
                count: *count,
            };
            let proof = Proof {
                username: (*username).into(),
                realm: REALM.into(),
                nonce: (*nonce).into(),
                uri: (*uri).into(),
                response: String::new(),
                algorithm: None,
                quality: Some(quality),
            };
            let response = proof.expected(*algorithm, "INVITE", b"", self.password).unwrap();
            format!(
                "Digest username=\"{username}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, \
                 nc={nc}, cnonce=\"c\", algorithm={algorithm}, response=\"{response}\""
            )
        }
    }

    fn request(authorization: Option<&str>) -> Request {
        let request = Request::new(Method::Invite, Uri::read(URI).unwrap());
        match authorization {
            Some(value) => request.with_header("Authorization", value),
            None => request,
        }
    }
}
