//! The client against the known values, and against our own server.

use std::time::Instant;

use super::*;
use crate::sip::{
    digest::{Authenticator, Denial, Outcome},
    method::Method,
    uri::Uri,
};

const REALM: &str = "http-auth@example.org";
const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

#[test]
fn the_answers_of_rfc_7616_section_3_9_1_come_out() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let challenge = format!(
            "Digest realm=\"{REALM}\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\"{NONCE}\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let answer = answered(&challenge, "/dir/index.html", b"");
        assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
        assert!(answer.ends_with(
            ", qop=auth, nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        ));
    }
}

#[test]
fn old_and_odd_servers_get_what_they_ask_for() {
    let hash = |parts: &[&str]| Algorithm::Md5.hash(parts);
    let who = hash(&["Mufasa", "r", "Circle of Life"]);
    let what = hash(&["GET", "/"]);
    let plain = answered("Digest realm=\"r\", nonce=\"n\"", "/", b"");
    assert_eq!(
        plain,
        format!(
            "Digest username=\"Mufasa\", realm=\"r\", nonce=\"n\", uri=\"/\", response=\"{}\"",
            hash(&[&who, "n", &what])
        )
    );
    let session = answered(
        "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"",
        "/",
        b"",
    );
    let who = hash(&[&who, "n", CNONCE]);
    let response = hash(&[&who, "n", "00000001", CNONCE, "auth", &what]);
    assert!(session.contains(&format!("response=\"{response}\"")) && session.contains("algorithm=MD5-sess"));
}

#[test]
fn auth_int_alone_is_answered_with_the_hash_of_the_body() {
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"";
    assert_ne!(answered(challenge, "/", b"a"), answered(challenge, "/", b"b"));
    assert!(answered(challenge, "/", b"a").contains("qop=auth-int"));
}

#[test]
fn the_first_algorithm_we_know_is_taken_and_unknown_ones_alone_are_no_use() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let several = response(&[
        "Digest realm=\"r\", nonce=\"1\", algorithm=TIGER, qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-512-256, qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"3\", algorithm=MD5, qop=\"auth\"",
    ]);
    assert_eq!(prover.challenged(&request, &several, "c"), Ok(()));
    prover.sign(&mut request);
    let answers: Vec<_> = request.headers.authorization().collect();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("algorithm=SHA-512-256"));
    for (challenge, problem) in [
        (
            "Digest realm=\"r\", nonce=\"1\", algorithm=TIGER",
            Unanswerable::Unknown,
        ),
        ("Digest realm=\"r\", nonce=\"1\", qop=\"none\"", Unanswerable::Unknown),
        ("Digest realm=\"r\"", Unanswerable::NoChallenge),
        ("Basic realm=\"r\"", Unanswerable::NoChallenge),
    ] {
        assert_eq!(prover.challenged(&request, &response(&[challenge]), "c"), Err(problem));
    }
}

#[test]
fn our_own_server_accepts_us_with_every_algorithm_time_after_time() {
    for algorithm in [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5] {
        let (now, mut guard) = guard();
        let mut prover = prover();
        let challenges = guard.challenge(now, false, &[algorithm]);
        let values: Vec<_> = challenges.iter().map(String::as_str).collect();
        prover.challenged(&request("sip:h"), &response(&values), "c").unwrap();
        for _ in 0..20 {
            let mut request = request("sip:h");
            prover.sign(&mut request);
            let outcome = guard.check(now, &request, &[algorithm], |_| Some("Circle of Life"));
            assert!(matches!(outcome, Outcome::Accepted { .. }), "{algorithm}: {outcome:?}");
            prover.accepted(&ok(""));
        }
    }
}

#[test]
fn a_body_is_covered_when_our_own_server_is_given_auth_int() {
    let (now, mut guard) = guard();
    let mut prover = prover();
    let challenge = guard.challenge(now, false, &[Algorithm::Sha256])[0].replace("qop=\"auth\"", "qop=\"auth-int\"");
    prover
        .challenged(&request("sip:h"), &response(&[&challenge]), "c")
        .unwrap();
    let mut whole = request("sip:h").with_body("text/plain", b"whole".to_vec());
    prover.sign(&mut whole);
    let mut check = |request: &Request| guard.check(now, request, &[Algorithm::Sha256], |_| Some("Circle of Life"));
    let changed = Request {
        body: b"changed".to_vec(),
        ..whole.clone()
    };
    assert_eq!(check(&changed), Outcome::Denied(Denial::Password));
    assert!(matches!(check(&whole), Outcome::Accepted { .. }));
}

#[test]
fn a_refused_answer_to_a_fresh_nonce_means_a_wrong_password() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let ask = |nonce: &str, tail: &str| response(&[&format!("Digest realm=\"r\", nonce=\"{nonce}\"{tail}")]);
    prover.challenged(&request, &ask("1", ""), "c").unwrap();
    prover.sign(&mut request);
    assert_eq!(
        prover.challenged(&request, &ask("2", ""), "c"),
        Err(Unanswerable::Denied)
    );
    assert_eq!(prover.challenged(&request, &ask("2", ", stale=true"), "c"), Ok(()));
}

#[test]
fn a_nonce_that_was_good_before_may_be_replaced_without_a_word() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let ask = |nonce: &str| response(&[&format!("Digest realm=\"r\", nonce=\"{nonce}\"")]);
    prover.challenged(&request, &ask("1"), "c").unwrap();
    prover.sign(&mut request);
    prover.accepted(&ok(""));
    prover.sign(&mut request);
    assert_eq!(prover.challenged(&request, &ask("2"), "c"), Ok(()));
}

#[test]
fn a_server_that_calls_everything_stale_is_given_up() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let mut ask = |nonce: u8| {
        let asked = prover.challenged(
            &request,
            &response(&[&format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true")]),
            "c",
        );
        prover.sign(&mut request);
        asked
    };
    let outcomes: Vec<_> = (0..6).map(&mut ask).collect();
    assert_eq!(
        outcomes.iter().position(|outcome| *outcome == Err(Unanswerable::Stale)),
        Some(4)
    );
}

#[test]
fn the_next_nonce_is_used_from_the_next_request_on() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let ask = response(&["Digest realm=\"r\", nonce=\"1\", qop=\"auth\""]);
    prover.challenged(&request, &ask, "c").unwrap();
    let mut next = |info: &str| {
        prover.accepted(&ok(info));
        prover.sign(&mut request);
        request.headers.first("Authorization").unwrap().to_owned()
    };
    assert!(next("").contains("nonce=\"1\", uri") && next("").contains("nc=00000002"));
    let third = next("qop=auth, nextnonce=\"fresh\"");
    assert!(
        third.contains("nonce=\"fresh\", uri") && third.contains("nc=00000001"),
        "{third}"
    );
    assert!(next("nextnonce=\"fresh\"").contains("nc=00000002"));
}

#[test]
fn a_proxy_and_a_server_are_both_answered_and_the_realms_are_bounded() {
    let mut prover = prover();
    let mut request = request("sip:h");
    let mut by_proxy = ok("");
    by_proxy.status = 407;
    by_proxy
        .headers
        .push("Proxy-Authenticate", "Digest realm=\"proxy\", nonce=\"p\"");
    prover.challenged(&request, &by_proxy, "c").unwrap();
    for realm in 0..20 {
        let ask = response(&[&format!("Digest realm=\"{realm}\", nonce=\"1\"")]);
        prover.challenged(&request, &ask, "c").unwrap();
        prover.sign(&mut request);
        assert!(request.headers.len() <= REALMS_MAX);
        if realm == 0 {
            assert!(request.headers.contains("Authorization") && request.headers.contains("Proxy-Authorization"));
        }
    }
    prover.forget();
    prover.sign(&mut request);
    assert!(request.headers.is_empty());
}

#[test]
fn a_name_with_quotes_in_it_stays_inside_its_quotes() {
    let mut prover = Prover::new(Login {
        username: "a\"b".to_owned(),
        password: "p".to_owned(),
    });
    let mut request = request("sip:h");
    let ask = response(&["Digest realm=\"r\\\"s\", nonce=\"1\", qop=\"auth\""]);
    prover.challenged(&request, &ask, "c").unwrap();
    prover.sign(&mut request);
    let proof = Proof::read(request.headers.first("Authorization").unwrap())
        .unwrap()
        .unwrap();
    assert_eq!((proof.username.as_str(), proof.realm.as_str()), ("a\\\"b", "r\\\"s"));
}

/// The uri of the RFC's example is no SIP URI, so it is given beside the request.
fn answered(challenge: &str, uri: &str, body: &[u8]) -> String {
    let mut prover = prover();
    let mut request = request("sip:h").with_body("text/plain", body.to_vec());
    request.method = Method::read("GET").unwrap();
    prover.challenged(&request, &response(&[challenge]), CNONCE).unwrap();
    prover.open[0].credentials(&prover.login, &request, uri)
}

fn guard() -> (Instant, Authenticator) {
    let now = Instant::now();
    (now, Authenticator::new(now, "r", [3; 32]))
}

fn prover() -> Prover {
    Prover::new(Login {
        username: "Mufasa".to_owned(),
        password: "Circle of Life".to_owned(),
    })
}

fn request(uri: &str) -> Request {
    Request::new(Method::Register, Uri::read(uri).unwrap())
}

fn response(challenges: &[&str]) -> Response {
    let mut response = ok("");
    response.status = 401;
    for challenge in challenges {
        response.headers.push("WWW-Authenticate", *challenge);
    }
    response
}

fn ok(info: &str) -> Response {
    let mut response = Response::standard(&request("sip:h"), 200);
    if !info.is_empty() {
        response.headers.push("Authentication-Info", info);
    }
    response
}
