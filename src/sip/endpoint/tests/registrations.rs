//! Registrations and probes as a registrar sees them.

use super::*;
use crate::sip::endpoint::Outgoing;
use crate::sip::flow::OPENED_BY_US;
use crate::sip::message::{Request, Response};
use crate::sip::proof::{Algorithm, Proof};
use crate::sip::test_line::peer;
use crate::sip::uplink::{Login, Uplink};
use crate::sip::uri::Uri;
use crate::sip::{Peer, TrunkReport};

const CHALLENGE: &str = "Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-512-256";

#[test]
fn a_trunk_registers_with_digest_refreshes_and_is_reported() {
    let mut line = registering(Transport::Udp);
    let first = line.phones[0].requests[0].clone();
    let header = |name: &str| first.headers.first(name).unwrap_or_default().to_owned();
    assert_eq!(
        (first.method.as_str(), first.uri.as_str()),
        ("REGISTER", "sip:192.0.2.10:40000")
    );
    assert_eq!(header("Contact"), "<sip:4930@192.0.2.1:5060;line=carrier>");
    assert_eq!(header("To"), "<sip:4930@pbx.example>");
    assert!(header("From").starts_with("<sip:4930@pbx.example>;tag="));
    assert_eq!(
        (header("Expires").as_str(), header("Max-Forwards").as_str()),
        ("600", "70")
    );
    assert_eq!(first.headers.all("Max-Forwards").count(), 1);
    respond(&mut line, 401, &[("WWW-Authenticate", CHALLENGE)]);
    let second = last(&line);
    let proof = Proof::read(second.headers.first("Authorization").unwrap())
        .unwrap()
        .unwrap();
    let expected = proof.expected(Algorithm::Sha512_256, "REGISTER", b"", "wonderland");
    assert_eq!(Some(&proof.response), expected.as_ref());
    accept(&mut line, "60");
    assert_eq!(standing(&line), (Some(true), Some(seconds(60)), ""));
    line.run_for(seconds(55));
    let third = last(&line);
    assert_eq!(third.headers.call_id(), first.headers.call_id());
    let number = |request: &Request| request.headers.cseq().unwrap().number;
    assert!(number(&second) > number(&first) && number(&third) > number(&second));
    let proof = Proof::read(third.headers.first("Authorization").unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(proof.quality.unwrap().nc, "00000002", "it proves itself unasked");
}

#[test]
fn a_wrong_password_is_told_once_and_not_tried_in_a_hurry() {
    let mut line = registering(Transport::Udp);
    respond(&mut line, 401, &[("WWW-Authenticate", CHALLENGE)]);
    respond(&mut line, 401, &[("WWW-Authenticate", CHALLENGE)]);
    assert_eq!(standing(&line), (Some(false), None, "401 Unauthorized"));
    assert_eq!(line.phones[0].requests.len(), 2);
    line.run_for(seconds(120));
    assert_eq!(line.phones[0].requests.len(), 2);
    line.run_for(seconds(180));
    assert!(line.phones[0].requests.len() > 2);
    assert!(!format!("{:?}", line.trunks).contains("wonderland"));
}

#[test]
fn the_next_server_is_tried_at_once_and_kept_while_it_answers() {
    let mut line = TestLine::with_peers(vec![trunk("sip:far.example", Some(600), None)]);
    let [down, up] = ["198.51.100.1:5060", "198.51.100.2:5060"];
    let places = [down, up].map(|address| (Transport::Udp, address.parse().unwrap()));
    line.names.insert("far.example".to_owned(), places.to_vec());
    line.add_phone_at(Transport::Udp, up, Habits::default());
    line.run_for(Duration::from_millis(32_300));
    assert_eq!(line.phones[0].requests.len(), 1, "after timer F at the first");
    accept(&mut line, "600");
    let sent = line.sent.len();
    while line.phones[0].requests.len() == 1 {
        line.run_for(SECOND);
    }
    let to = |(_, flow, text): &(Duration, Flow, String)| (flow.remote.to_string(), text.starts_with("REGISTER"));
    let registers: Vec<_> = line.sent[sent..]
        .iter()
        .map(to)
        .filter(|(_, register)| *register)
        .collect();
    assert!(
        !registers.is_empty() && registers.iter().all(|(remote, _)| remote == up),
        "{registers:?}"
    );
}

#[test]
fn a_closed_connection_is_opened_again_at_once_and_kept_alive_meanwhile() {
    let mut line = registering(Transport::Tcp);
    accept(&mut line, "600");
    line.run_for(seconds(100));
    let pings = line.sent.iter().filter(|(_, _, text)| text.is_empty()).count();
    assert_eq!(pings, 1);
    let (flow, _) = line.opened[0].clone();
    assert!(flow.connection >= OPENED_BY_US);
    let before = line.phones[0].requests.len();
    line.endpoint.handle_flow_closed(line.now, flow);
    assert_eq!(line.trunks.len(), 2);
    line.run_for(Duration::ZERO);
    assert_eq!(standing(&line).0, Some(false));
    assert_eq!((line.opened.len(), line.phones[0].requests.len()), (2, before + 1));
}

#[test]
fn a_long_registration_shows_life_on_its_connection_well_within_the_idle_time_of_either_side() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut line = registering(transport);
        accept(&mut line, "3600");
        let begun = line.now - line.start;
        line.run_for(seconds(2000));
        let (flow, _) = line.opened[0].clone();
        let pings = line.sent.iter().filter(|(_, _, text)| text.is_empty());
        let mut last = begun;
        for (at, way, _) in pings {
            assert!(
                *at - last <= seconds(95) && *way == flow,
                "{transport}: {at:?} after {last:?}"
            );
            last = *at;
        }
        assert!(begun + seconds(2000) - last <= seconds(95), "{transport}: {last:?}");
        assert_eq!(line.opened.len(), 1);
    }
}

#[test]
fn datagrams_are_kept_flowing_through_the_nat() {
    let mut line = registering(Transport::Udp);
    accept(&mut line, "3600");
    line.run_for(seconds(300));
    let pings = line.sent.iter().filter(|(_, _, text)| text.is_empty()).count();
    assert!((10..=12).contains(&pings), "{pings}");
}

#[test]
fn leaving_takes_the_registration_back_and_waits_for_the_answer() {
    let mut line = registering(Transport::Udp);
    accept(&mut line, "600");
    line.endpoint.unregister(line.now);
    line.run_for(Duration::ZERO);
    assert!(line.endpoint.is_registered());
    assert_eq!(last(&line).headers.first("Expires"), Some("0"));
    respond(&mut line, 200, &[]);
    assert!(!line.endpoint.is_registered());
    assert_eq!(standing(&line), (Some(false), None, ""));
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_that_comes_the_way_we_registered_is_the_trunks_and_others_are_strangers() {
    let mut line = TestLine::with_peers(vec![
        trunk("sip:198.51.100.1:5060", Some(600), None),
        Peer {
            name: "second".to_owned(),
            ..trunk("sip:198.51.100.1:5060", Some(600), None)
        },
    ]);
    let registrar = line.add_phone_at(Transport::Udp, "198.51.100.1:5060", Habits::default());
    line.run_for(SECOND);
    for request in line.phones[registrar].requests.clone() {
        answer_to(&mut line, &request, 200, &[("Expires", "600")]);
    }
    let call = |line: &mut TestLine, address: &str, dials: &str| {
        let habits = Habits {
            dials: dials.to_owned(),
            ..Habits::default()
        };
        let phone = line.add_phone_at(Transport::Udp, address, habits);
        line.phone(phone, |phone, now| phone.invite(now, Some(OFFER)));
        line.take_events().pop().unwrap_or_default()
    };
    let by = |text: String| text.rsplit(' ').next().unwrap_or_default().to_owned();
    let dialled = "sip:4930@192.0.2.1:5060;line=second";
    assert_eq!(by(call(&mut line, "198.51.100.1:5060", dialled)), "second");
    assert_eq!(
        by(call(&mut line, "198.51.100.1:5060", "sip:4930@192.0.2.1")),
        "carrier"
    );
    assert_eq!(call(&mut line, "198.51.100.1:5061", dialled), "");
    assert_eq!(call(&mut line, "198.51.100.9:5060", dialled), "");
    assert_eq!(line.refused.last().unwrap().reason, "unknown_source");
}

#[test]
fn everything_goes_through_the_outbound_proxy_and_then_the_way_the_registrar_says() {
    let mut peer = trunk("sip:far.example", Some(600), Some(10));
    peer.uplink.as_mut().unwrap().outbound_proxy = Some(Uri::read("sip:192.0.2.10:40000").unwrap());
    let mut line = TestLine::with_peers(vec![peer]);
    line.add_phone(Transport::Udp, Habits::default());
    line.run_for(Duration::ZERO);
    let register = last(&line);
    assert_eq!(register.uri.as_str(), "sip:far.example");
    assert_eq!(register.headers.first("Route"), Some("<sip:192.0.2.10:40000;lr>"));
    respond(
        &mut line,
        200,
        &[("Expires", "600"), ("Service-Route", "<sip:192.0.2.10:40000;lr;own>")],
    );
    line.run_for(SECOND);
    let options = last(&line);
    assert_eq!(
        (options.method.as_str(), options.uri.as_str()),
        ("OPTIONS", "sip:far.example")
    );
    assert_eq!(options.headers.first("Route"), Some("<sip:192.0.2.10:40000;lr;own>"));
    let call = Outgoing {
        trunk: "carrier".to_owned(),
        to: "+4989".to_owned(),
        from: None,
        display_name: None,
        headers: Vec::new(),
        ring_max: seconds(30),
    };
    let leg = line.endpoint.place(line.now, call).unwrap();
    line.run_for(Duration::ZERO);
    line.command(leg, Command::Offer { sdp: OFFER.to_vec() });
    let invite = last(&line);
    assert_eq!(
        (invite.method.as_str(), invite.uri.as_str()),
        ("INVITE", "sip:+4989@far.example")
    );
    assert_eq!(
        invite.headers.all("Route").collect::<Vec<_>>(),
        ["<sip:192.0.2.10:40000;lr;own>"]
    );
}

#[test]
fn a_trunk_that_does_not_answer_twice_is_unreachable_until_it_does() {
    let mut line = TestLine::with_peers(vec![trunk("sip:192.0.2.10:40000", None, Some(60))]);
    line.add_phone(Transport::Udp, Habits::default());
    line.run_for(Duration::ZERO);
    respond(&mut line, 404, &[]);
    assert_eq!(line.trunks.last().unwrap().reachable, Some(true));
    line.run_for(seconds(60 + 32 + 60));
    assert_eq!(line.trunks.last().unwrap().reachable, Some(true));
    line.run_for(seconds(33));
    let TrunkReport {
        reachable,
        error,
        registered,
        ..
    } = line.trunks.last().unwrap();
    assert_eq!(
        (*reachable, error.as_str(), *registered),
        (Some(false), "nobody answers OPTIONS", None)
    );
    line.run_for(seconds(60));
    respond(&mut line, 200, &[]);
    let TrunkReport { reachable, error, .. } = line.trunks.last().unwrap();
    assert_eq!((*reachable, error.as_str()), (Some(true), ""));
}

#[test]
fn many_accounts_begin_one_after_the_other() {
    let peers = (0..100).map(|number| Peer {
        name: format!("t{number}"),
        ..trunk("sip:192.0.2.10:40000", Some(600), None)
    });
    let mut line = TestLine::with_peers(peers.collect());
    line.add_phone(Transport::Udp, Habits::default());
    let registers = |line: &TestLine| {
        let ids = line.phones[0]
            .requests
            .iter()
            .map(|request| request.headers.call_id().unwrap().to_owned());
        ids.collect::<std::collections::BTreeSet<_>>().len()
    };
    line.run_for(Duration::ZERO);
    let unregistered = line.trunks.iter().filter(|report| report.registered == Some(false));
    assert_eq!(unregistered.count(), 100, "all are told of before they are tried");
    line.run_for(SECOND);
    assert!((20..=21).contains(&registers(&line)));
    line.run_for(seconds(4));
    assert_eq!(registers(&line), 100);
}

/// A line on which phone 0 is a registrar that has got our first REGISTER.
fn registering(transport: Transport) -> TestLine {
    let transport_param = match transport {
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        _ => "",
    };
    let address = format!("sip:192.0.2.10:40000{transport_param}");
    let mut line = TestLine::with_peers(vec![trunk(&address, Some(600), None)]);
    line.add_phone(transport, Habits::default());
    line.run_for(Duration::ZERO);
    line
}

fn trunk(address: &str, register_s: Option<u64>, probe_s: Option<u64>) -> Peer {
    let uplink = Uplink {
        address: Uri::read(address).unwrap(),
        outbound_proxy: None,
        identity: Uri::read("sip:4930@pbx.example").unwrap(),
        login: Some(Login {
            username: "us".to_owned(),
            password: "wonderland".to_owned(),
        }),
        register: register_s.map(seconds),
        probe: probe_s.map(seconds),
    };
    Peer {
        uplink: Some(uplink),
        ..peer("carrier", &[])
    }
}

fn last(line: &TestLine) -> Request {
    line.phones[0].requests.last().unwrap().clone()
}

fn standing(line: &TestLine) -> (Option<bool>, Option<Duration>, &str) {
    let report = line.trunks.last().unwrap();
    (report.registered, report.expires, &report.error)
}

fn accept(line: &mut TestLine, expires: &str) {
    respond(line, 200, &[("Expires", expires)]);
}

fn respond(line: &mut TestLine, status: u16, headers: &[(&str, &str)]) {
    let request = last(line);
    answer_to(line, &request, status, headers);
}

/// Phone 0 answers this request.
fn answer_to(line: &mut TestLine, request: &Request, status: u16, headers: &[(&str, &str)]) {
    let mut response = Response::standard(request, status);
    headers
        .iter()
        .for_each(|(name, value)| response.headers.push(name, *value));
    let flow = line.opened.last().map_or(line.phones[0].flow, |(flow, _)| *flow);
    line.inject(flow, &response.to_bytes());
}
