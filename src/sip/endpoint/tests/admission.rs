//! Calls that have to prove who makes them.

use super::*;
use crate::sip::admission::{Credentials, Peer};
use crate::sip::proof::Algorithm;

#[test]
fn a_peer_with_a_password_is_challenged_and_let_in_with_either_algorithm() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let mut line = calling("192.0.2.10:40000", ("alice", "wonderland", algorithm));
        assert_eq!(line.phones[0].statuses(), [401, 100]);
        let challenges: Vec<_> = line.phones[0].responses[0].headers.all("WWW-Authenticate").collect();
        assert_eq!(challenges.len(), 2);
        assert_eq!(line.take_events(), ["Incoming from sip:p0@phone.example by pbx"]);
        assert!(line.refused.is_empty());
    }
}

#[test]
fn an_authenticated_call_goes_on_without_further_challenges() {
    let mut line = calling("192.0.2.10:40000", ("alice", "wonderland", Algorithm::Sha256));
    let leg = line.leg();
    let (flow, invite) = (line.phones[0].flow, line.phones[0].last_invite());
    line.inject(flow, &invite);
    line.command(leg, answer());
    line.phone(0, |phone, now| phone.reinvite(now, Some(OFFER)));
    line.command(leg, answer());
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].statuses(), [401, 100, 100, 200, 100, 200, 200]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_challenge_costs_no_state() {
    let mut line = TestLine::with_peers(peers());
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    assert_eq!(line.phones[0].statuses(), [401]);
    assert_eq!(line.endpoint.counts(), Counts::default());
}

#[test]
fn a_wrong_password_gets_403_and_is_reported_without_it() {
    let mut line = calling("192.0.2.10:40000", ("alice", "guess", Algorithm::Sha256));
    assert_eq!(line.phones[0].statuses(), [401, 403]);
    let reason = line.phones[0].last().headers.first("Reason").unwrap();
    assert_eq!(reason, "SIP;cause=403;text=\"auth_failed\"");
    assert_eq!(
        (line.refused[0].reason, line.refused[0].trunk.as_deref()),
        ("auth_failed", Some("pbx"))
    );
    assert!(!format!("{:?}", line.refused).contains("guess"));
    assert_eq!(line.endpoint.counts(), Counts::default());
    assert_eq!(line.take_events(), [""; 0]);
}

#[test]
fn replayed_credentials_are_challenged_as_stale() {
    let mut line = calling("192.0.2.10:40000", ("alice", "wonderland", Algorithm::Sha256));
    let invite = String::from_utf8(line.phones[0].last_invite()).unwrap();
    let copied = invite.replace("z9hG4bK", "z9hG4bKcopy").replace("call-p0", "call-copy");
    line.inject(line.phones[0].flow, copied.as_bytes());
    assert!(line.sent.last().unwrap().2.starts_with("SIP/2.0 401"));
    assert!(
        line.phones[0]
            .last()
            .headers
            .first("WWW-Authenticate")
            .unwrap()
            .contains("stale=true")
    );
    assert_eq!(line.take_events().len(), 1);
}

#[test]
fn from_an_unknown_source_the_user_name_tells_the_peer() {
    let mut line = calling("198.51.100.5:5060", ("bob", "builder", Algorithm::Md5));
    assert_eq!(line.phones[0].statuses(), [401, 100]);
    let leg = line.leg();
    line.command(leg, answer());
    assert_eq!(
        line.take_events(),
        ["Incoming from sip:p0@phone.example by phones", "Confirmed"]
    );
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.take_events(), ["ByeReceived", "Gone"]);
}

#[test]
fn from_an_unknown_source_the_user_of_a_peer_with_networks_is_refused() {
    let line = calling("198.51.100.5:5060", ("alice", "wonderland", Algorithm::Md5));
    assert_eq!(line.phones[0].statuses(), [401, 403]);
}

#[test]
fn an_answer_with_an_algorithm_that_was_not_offered_is_challenged_again() {
    for (offered, other) in [(Algorithm::Md5, Algorithm::Sha256), (Algorithm::Sha256, Algorithm::Md5)] {
        let only = vec![with_algorithms(&peers()[0], &[offered])];
        let line = calling_to(only.clone(), "192.0.2.10:40000", ("alice", "wonderland", other));
        assert_eq!(line.phones[0].statuses(), [401, 401]);
        assert_eq!(offered_by(&line), [offered.as_str()]);
        assert_eq!(line.endpoint.counts(), Counts::default());
        let line = calling_to(only, "192.0.2.10:40000", ("alice", "wonderland", offered));
        assert_eq!(line.phones[0].statuses(), [401, 100]);
    }
}

#[test]
fn a_stranger_is_held_to_the_algorithms_of_the_peer_it_turns_out_to_be() {
    let peers = || {
        vec![
            with_algorithms(&peers()[1], &[Algorithm::Sha256]),
            Peer {
                credentials: login("carol", "singer", &[Algorithm::Md5]),
                ..peer("old", &[])
            },
        ]
    };
    let source = "198.51.100.5:5060";
    let line = calling_to(peers(), source, ("bob", "builder", Algorithm::Md5));
    assert_eq!(line.phones[0].statuses(), [401, 401]);
    assert_eq!(offered_by(&line), ["SHA-256"]);
    let line = calling_to(peers(), source, ("bob", "guess", Algorithm::Md5));
    assert_eq!(line.phones[0].statuses(), [401, 403]);
    let line = calling_to(peers(), source, ("carol", "singer", Algorithm::Md5));
    assert_eq!(line.phones[0].statuses(), [401, 100]);
}

#[test]
fn a_caller_that_logs_in_may_move_to_another_address() {
    let mut line = calling("198.51.100.5:5060", ("bob", "builder", Algorithm::Sha256));
    let leg = line.leg();
    line.command(leg, answer());
    line.phones[0].flow.remote = "203.0.113.7:6000".parse().unwrap();
    line.phone(0, |phone, now| phone.request(now, Method::Options));
    line.command(leg, hang_up());
    assert_eq!(line.sent.last().unwrap().1.remote, line.phones[0].flow.remote);
}

const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];

fn peers() -> Vec<Peer> {
    vec![
        Peer {
            credentials: login("alice", "wonderland", BOTH),
            ..peer("pbx", &["192.0.2.0/24"])
        },
        Peer {
            credentials: login("bob", "builder", BOTH),
            ..peer("phones", &[])
        },
    ]
}

fn login(username: &str, password: &str, algorithms: &[Algorithm]) -> Option<Credentials> {
    Some(Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
        algorithms: algorithms.to_vec(),
    })
}

fn with_algorithms(peer: &Peer, algorithms: &[Algorithm]) -> Peer {
    let own = peer.credentials.as_ref().unwrap();
    Peer {
        credentials: login(&own.username, &own.password, algorithms),
        ..peer.clone()
    }
}

/// The algorithms of the last challenge.
fn offered_by(line: &TestLine) -> Vec<String> {
    let challenges = line.phones[0].last().headers.all("WWW-Authenticate");
    let named = challenges.map(|value| value.split("algorithm=").nth(1).unwrap());
    named.map(|name| name.split(',').next().unwrap().to_owned()).collect()
}

fn calling(address: &str, login: (&'static str, &'static str, Algorithm)) -> TestLine {
    calling_to(peers(), address, login)
}

fn calling_to(peers: Vec<Peer>, address: &str, login: (&'static str, &'static str, Algorithm)) -> TestLine {
    let mut line = TestLine::with_peers(peers);
    line.add_phone_at(
        Transport::Udp,
        address,
        Habits {
            login: Some(login),
            ..Habits::default()
        },
    );
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    line
}
