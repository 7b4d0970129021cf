//! Requests of ours on their way, seen on the BYE: where it goes, what it proves, what it tries.

use super::*;
use crate::sip::message::Response;
use crate::sip::proof::Proof;

const CHALLENGE: &str = "Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";

#[test]
fn a_challenged_bye_is_sent_again_with_a_proof() {
    for (status, challenged, proved) in [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ] {
        let mut line = leaving();
        respond(&mut line, status, &[(challenged, CHALLENGE)]);
        let [first, second] = &line.phones[0].requests[..] else {
            panic!("{:?}", line.phones[0].requests)
        };
        let numbers = [first, second].map(|bye| bye.headers.cseq().unwrap().number);
        assert_eq!(numbers, [1, 2]);
        let branches = [first, second].map(|bye| bye.headers.via().unwrap().branch().unwrap().to_owned());
        assert_ne!(branches[0], branches[1]);
        let proof = Proof::read(second.headers.first(proved).unwrap()).unwrap().unwrap();
        let expected = proof.expected(proof.algorithm().unwrap(), "BYE", b"", "wonderland");
        assert_eq!(Some(&proof.response), expected.as_ref());
        assert_eq!(line.take_events(), [""; 0]);
        respond(&mut line, 200, &[]);
        assert_eq!(line.take_events(), ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_proof_that_is_not_taken_is_not_tried_again_and_a_stale_nonce_is_up_to_a_point() {
    let mut line = leaving();
    respond(&mut line, 401, &[("WWW-Authenticate", CHALLENGE)]);
    respond(&mut line, 401, &[("WWW-Authenticate", CHALLENGE)]);
    assert_eq!(line.phones[0].requests.len(), 2);
    assert_eq!(line.take_events(), ["Gone"]);

    let mut line = leaving();
    for nonce in 0..5 {
        let stale = format!("Digest realm=\"pbx\", nonce=\"{nonce}\", stale=true");
        respond(&mut line, 401, &[("WWW-Authenticate", &stale)]);
    }
    assert_eq!(line.phones[0].requests.len(), 4);
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_contact_elsewhere_is_where_the_bye_goes() {
    let mut line = calling("sip:a@198.51.100.9:5070");
    line.add_phone_at(Transport::Udp, "198.51.100.9:5070", Habits::default());
    let leg = line.leg();
    line.command(leg, answer());
    line.take_events();
    line.command(leg, hang_up());
    assert_eq!((line.phones[0].requests.len(), line.phones[1].requests.len()), (0, 1));
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn the_next_hop_is_tried_after_503_after_silence_and_after_a_closed_connection() {
    let mut line = calling("sip:a@far.example");
    let places = [
        (Transport::Udp, "198.51.100.1:5060"),
        (Transport::Udp, "198.51.100.2:5060"),
        (Transport::Tcp, "198.51.100.3:5060"),
        (Transport::Udp, "198.51.100.4:5060"),
    ];
    let known = places.map(|(transport, address)| (transport, address.parse().unwrap()));
    line.names.insert("far.example".to_owned(), known.to_vec());
    let refusing = Habits {
        bye_status: Some(503),
        ..Habits::default()
    };
    line.add_phone_at(Transport::Udp, "198.51.100.1:5060", refusing);
    let last = line.add_phone_at(Transport::Udp, "198.51.100.4:5060", Habits::default());
    let leg = line.leg();
    line.command(leg, answer());
    line.command(leg, hang_up());
    line.run_for(seconds(33));
    let [(flow, name)] = &line.opened[..] else {
        panic!("{:?}", line.opened)
    };
    assert_eq!(
        (flow.remote.to_string().as_str(), name.as_str()),
        ("198.51.100.3:5060", "far.example")
    );
    line.endpoint.handle_flow_closed(line.now, *flow);
    line.run_for(SECOND);
    assert_eq!(line.phones[last].requests.len(), 1);
    assert_eq!(line.phones[last].requests[0].headers.cseq().unwrap().number, 1);
    assert!(line.take_events().contains(&"Gone".to_owned()));
    expect_nothing_left(&mut line);
}

#[test]
fn two_requests_to_one_place_share_a_connection() {
    let mut line = TestLine::new();
    line.names.insert(
        "far.example".to_owned(),
        vec![(Transport::Tcp, "198.51.100.3:5060".parse().unwrap())],
    );
    line.add_phone_at(Transport::Tcp, "198.51.100.3:5060", Habits::default());
    for number in 1..3 {
        let phone = line.add_phone(Transport::Udp, reached_at("sip:a@far.example"));
        line.phone(phone, |phone, now| phone.invite(now, Some(OFFER)));
        let leg = line.leg();
        line.command(leg, answer());
        line.command(leg, hang_up());
        assert_eq!(line.phones[0].requests.len(), number);
    }
    assert_eq!(line.opened.len(), 1);
    assert_eq!(line.phones[0].requests[1].headers.via().unwrap().transport, "TCP");
}

/// A line on which phone 0 is in a call and our BYE to it is out; it does not answer by itself.
fn leaving() -> TestLine {
    let mut line = TestLine::with_peers(vec![called_peer()]);
    line.add_phone(
        Transport::Udp,
        Habits {
            bye_status: None,
            ..Habits::default()
        },
    );
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let leg = line.leg();
    line.command(leg, answer());
    line.take_events();
    line.command(leg, hang_up());
    line
}

/// A line on which phone 0, whose Contact is this one, calls.
fn calling(contact: &str) -> TestLine {
    let mut line = TestLine::new();
    line.add_phone(Transport::Udp, reached_at(contact));
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    line
}

fn reached_at(contact: &str) -> Habits {
    Habits {
        contact: Some(contact.to_owned()),
        ..Habits::default()
    }
}

/// Phone 0 answers the last request that came to it.
fn respond(line: &mut TestLine, status: u16, headers: &[(&str, &str)]) {
    let request = line.phones[0].requests.last().unwrap();
    let mut response = Response::standard(request, status);
    headers
        .iter()
        .for_each(|(name, value)| response.headers.push(name, *value));
    line.inject(line.phones[0].flow, &response.to_bytes());
}
