//! What strangers may do, who is locked out, and which transport a trunk may use.

use super::*;
use crate::sip::admission::{Credentials, Peer};
use crate::sip::defence::Settings as Defence;
use crate::sip::endpoint::Settings;
use crate::sip::proof::Algorithm;
use crate::sip::test_line::peer;

const DEFENCE: Defence = Defence {
    requests_per_s: 10,
    silent: false,
    lockout_failures: 3,
    lockout_window: Duration::from_secs(300),
    lockout: Duration::from_secs(900),
};

const STRANGER: &str = "198.51.100.5:5060";

#[test]
fn a_strangers_flood_is_dropped_but_for_its_allowance_and_told_twice() {
    let mut line = closed(DEFENCE);
    line.add_phone_at(Transport::Udp, STRANGER, Habits::default());
    for _ in 0..200 {
        line.phone(0, |phone, now| phone.ask(now, Method::Options));
    }
    assert_eq!(line.phones[0].statuses(), [403; 10]);
    assert_eq!(line.dropped.len(), 190);
    assert!(line.dropped.iter().all(|dropped| dropped.reason == "request_rate"));
    assert_eq!(line.dropped.iter().filter(|dropped| dropped.is_told).count(), 1);
    assert_eq!(line.refused.iter().filter(|refused| refused.is_told).count(), 1);
    line.phones.clear();
    line.run_for(seconds(60));
    let repeated: Vec<_> = line.repeated.iter().map(|row| (row.reason, row.more)).collect();
    assert_eq!(repeated, [("unknown_source", 9), ("request_rate", 189)]);
    line.run_for(seconds(180));
    assert_eq!((line.repeated.len(), line.endpoint.poll_timeout()), (2, None));
}

#[test]
fn peers_known_by_their_network_are_never_counted() {
    let mut line = closed(DEFENCE);
    line.add_phone(Transport::Udp, Habits::default());
    for _ in 0..200 {
        line.phone(0, |phone, now| phone.ask(now, Method::Options));
    }
    assert_eq!(line.phones[0].statuses(), [200; 200]);
    assert!(line.dropped.is_empty());
}

#[test]
fn wrong_passwords_lock_a_stranger_out_and_the_time_lets_it_in_again() {
    let mut line = open("guess", STRANGER);
    for _ in 0..4 {
        line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
        line.run_for(SECOND);
    }
    assert_eq!(line.phones[0].statuses(), [401, 403, 401, 403, 401, 403]);
    assert!(line.dropped.iter().all(|dropped| dropped.reason == "locked_out"));
    let dropped = line.dropped.len();
    assert!(dropped > 0);
    line.run_for(seconds(900));
    let called = line.phones[0].statuses().len();
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    assert_eq!(line.phones[0].statuses()[called..], [401, 403]);
}

#[test]
fn a_peer_known_by_its_network_is_never_locked_out() {
    let mut line = open("guess", "192.0.2.10:40000");
    for _ in 0..20 {
        line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    }
    assert_eq!(line.phones[0].statuses().len(), 40);
    assert!(line.dropped.is_empty());
}

#[test]
fn a_call_of_a_source_locked_out_later_can_still_be_ended() {
    let mut line = open("wonderland", STRANGER);
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    line.command(line.leg(), answer());
    let (other, habits) = (STRANGER.replace("5060", "5061"), login("guess"));
    line.add_phone_at(Transport::Udp, &other, habits);
    for _ in 0..3 {
        line.phone(1, |phone, now| phone.invite(now, Some(OFFER)));
    }
    line.phone(1, |phone, now| phone.ask(now, Method::Options));
    assert_eq!(line.dropped.last().unwrap().reason, "locked_out");
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].last().status, 200);
}

#[test]
fn a_silent_gateway_answers_no_stranger_and_reports_all_the_same() {
    let mut line = closed(Defence {
        silent: true,
        ..DEFENCE
    });
    line.add_phone_at(Transport::Udp, STRANGER, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    assert!(line.sent.is_empty());
    let refused = &line.refused[0];
    assert_eq!((refused.status, refused.reason), (0, "unknown_source"));
    assert_eq!(refused.call.as_ref().unwrap().from, "sip:p0@phone.example");
}

#[test]
fn a_trunk_that_is_always_encrypted_refuses_what_comes_otherwise() {
    let encrypted = Peer {
        transports: vec![Transport::Tls],
        ..peer("lan", &["192.0.2.0/24"])
    };
    let mut line = TestLine::with_peers(vec![encrypted]);
    for transport in [Transport::Udp, Transport::Tcp, Transport::Wss, Transport::Tls] {
        let number = line.add_phone(transport, Habits::default());
        line.phone(number, |phone, now| phone.invite(now, Some(OFFER)));
    }
    let statuses: Vec<_> = line.phones.iter().map(|phone| phone.statuses()).collect();
    assert_eq!(statuses, [vec![403], vec![403], vec![403], vec![100]]);
    assert!(
        line.refused
            .iter()
            .all(|refused| refused.reason == "transport_not_allowed")
    );
    assert_eq!(
        line.phones[0].last().headers.first("Reason"),
        Some("SIP;cause=403;text=\"transport_not_allowed\"")
    );
    let (flow, invite) = (line.phones[0].flow, line.phones[3].last_invite());
    let bye = String::from_utf8(invite).unwrap().replace("INVITE", "BYE");
    line.inject(flow, bye.as_bytes());
    assert_eq!(line.endpoint.counts().legs, 1);
}

#[test]
fn every_503_says_when_to_come_back() {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    line.command(line.leg(), refuse(503, "no_ports"));
    line.endpoint.set_draining(true);
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(1, |phone, now| phone.ask(now, Method::Options));
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(2, |phone, now| phone.invite(now, Some(OFFER)));
    line.command(line.leg(), hang_up());
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(3, |phone, now| phone.invite(now, Some(OFFER)));
    line.run_for(seconds(300));
    for phone in &line.phones {
        let last = phone.last();
        assert_eq!(
            (last.status, last.headers.contains("Retry-After")),
            (503, true),
            "{last:?}"
        );
    }
}

#[test]
fn an_invite_refused_before_it_is_a_call_is_reported_with_what_a_record_needs() {
    let extra = vec![("Require", "precondition")];
    let mut line = TestLine::new();
    line.add_phone(
        Transport::Udp,
        Habits {
            extra,
            ..Habits::default()
        },
    );
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let refused = &line.refused[0];
    let call = refused.call.as_ref().unwrap();
    assert_eq!(
        (refused.status, refused.reason, refused.trunk.as_deref()),
        (420, "bad_request", Some("lan"))
    );
    assert_eq!(call.to.as_str(), "sip:operator@192.0.2.1");
    assert!(!call.call_id.is_empty());
}

fn closed(defence: Defence) -> TestLine {
    TestLine::with_settings(Settings {
        peers: vec![peer("lan", &["192.0.2.0/24"])],
        defence,
        ..Settings::new([7; 32], 1)
    })
}

/// A line on which alice may log in from anywhere and from her network, with a phone that tries this password.
fn open(password: &'static str, address: &str) -> TestLine {
    let known = Peer {
        credentials: credentials(),
        ..peer("pbx", &["192.0.2.0/24"])
    };
    let open = Peer {
        credentials: credentials(),
        ..peer("road", &[])
    };
    let mut line = TestLine::with_settings(Settings {
        peers: vec![known, open],
        defence: DEFENCE,
        ..Settings::new([7; 32], 1)
    });
    line.add_phone_at(Transport::Udp, address, login(password));
    line
}

fn credentials() -> Option<Credentials> {
    Some(Credentials {
        username: "alice".to_owned(),
        password: "wonderland".to_owned(),
        algorithms: vec![Algorithm::Sha256],
    })
}

fn login(password: &'static str) -> Habits {
    Habits {
        login: Some(("alice", password, Algorithm::Sha256)),
        ..Habits::default()
    }
}
