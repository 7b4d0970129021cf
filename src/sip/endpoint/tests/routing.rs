//! Where messages go.

use super::*;
use crate::sip::endpoint::{Listener, Settings};

#[test]
fn behind_a_nat_responses_and_our_bye_go_to_the_source_and_say_where_it_is() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            claims: Some("10.0.0.9"),
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    let via = line.phones[0].last().headers.via().unwrap();
    assert_eq!((via.received(), via.rport()), ("192.0.2.10".parse().ok(), Some(40_000)));
    line.command(leg, hang_up());
    let bye = &line.phones[0].requests[0];
    assert_eq!(bye.uri.as_str(), "sip:p0@10.0.0.9");
    assert_eq!(line.sent.last().unwrap().1.remote, line.phones[0].flow.remote);
}

#[test]
fn without_rport_responses_and_our_bye_go_to_the_port_in_via() {
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            rport: false,
            ..Habits::default()
        },
    );
    let flow = line.phones[0].flow;
    let from = Flow {
        remote: "192.0.2.10:55555".parse().unwrap(),
        ..flow
    };
    line.inject(from, &line.phones[0].last_invite());
    line.command(leg, answer());
    line.command(leg, hang_up());
    assert!(line.sent.iter().all(|(_, to, _)| *to == flow), "{:?}", line.sent);
    let via = line.phones[0].last().headers.via().unwrap();
    assert_eq!((via.received(), via.rport()), (None, None));
}

#[test]
fn our_bye_goes_where_the_last_request_of_the_call_came_from() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phones[0].flow.remote = "192.0.2.10:41000".parse().unwrap();
    line.phone(0, |phone, now| phone.request(now, Method::Options));
    line.command(leg, hang_up());
    assert_eq!(line.sent.last().unwrap().1.remote.port(), 41_000);
    assert_eq!(line.take_events(), ["Gone"]);
}

#[test]
fn a_call_through_proxies_is_answered_and_ended_through_them() {
    let extra = vec![("Record-Route", "<sip:near.example;lr>, <sip:far.example;lr>")];
    let (mut line, leg) = ringing(
        Transport::Udp,
        Habits {
            extra,
            ..Habits::default()
        },
    );
    line.command(leg, Command::Ring);
    line.command(leg, answer());
    for response in &line.phones[0].responses[1..] {
        assert_eq!(response.headers.record_routes().unwrap().len(), 2);
    }
    line.command(leg, hang_up());
    let bye = &line.phones[0].requests[0];
    let routes: Vec<_> = bye.headers.routes().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["<sip:near.example;lr>", "<sip:far.example;lr>"]);
    assert_eq!(bye.uri.as_str(), "sip:p0@192.0.2.10:40000");
}

#[test]
fn a_strict_router_gets_the_bye_in_its_own_name() {
    let extra = vec![("Record-Route", "<sip:strict.example>")];
    let (mut line, leg) = talking(
        Transport::Udp,
        Habits {
            extra,
            ..Habits::default()
        },
    );
    line.command(leg, hang_up());
    let bye = &line.phones[0].requests[0];
    assert_eq!(bye.uri.as_str(), "sip:strict.example");
    assert_eq!(bye.headers.first("Route"), Some("<sip:p0@192.0.2.10:40000>"));
}

#[test]
fn over_tcp_contact_and_via_say_so_and_everything_stays_on_the_connection() {
    let (mut line, leg) = ringing(
        Transport::Tcp,
        Habits {
            claims: Some("10.0.0.9"),
            ..Habits::default()
        },
    );
    line.command(leg, answer());
    assert_eq!(
        line.phones[0].last().headers.first("Contact"),
        Some("<sip:192.0.2.1:5060;transport=tcp>")
    );
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].requests[0].headers.via().unwrap().transport, "TCP");
    assert!(line.sent.iter().all(|(_, flow, _)| *flow == line.phones[0].flow));
}

#[test]
fn each_listener_advertises_its_own_address_and_websockets_share_a_word() {
    let listener = |transport, bound: &str, external: Option<&str>| Listener {
        transport,
        bound: bound.parse().unwrap(),
        external_ip: external.map(|ip| ip.parse().unwrap()),
    };
    let listeners = vec![
        listener(Transport::Udp, "192.0.2.1:5060", Some("203.0.113.1")),
        listener(Transport::Tcp, "0.0.0.0:5060", Some("203.0.113.2")),
        listener(Transport::Wss, "0.0.0.0:5060", None),
        listener(Transport::Tls, "192.0.2.9:5060", Some("203.0.113.9")),
    ];
    let mut line = TestLine::with_settings(Settings {
        listeners,
        external_ip: "203.0.113.3".parse().ok(),
        peers: vec![peer("lan", &["192.0.2.0/24"])],
        ..Settings::new([7; 32], 1)
    });
    for (phone, (transport, contact)) in [
        (Transport::Udp, "<sip:203.0.113.1:5060>"),
        (Transport::Tcp, "<sip:203.0.113.2:5060;transport=tcp>"),
        (Transport::Wss, "<sip:192.0.2.1:5060;transport=ws>"),
        (Transport::Tls, "<sip:203.0.113.3:5060;transport=tls>"),
    ]
    .into_iter()
    .enumerate()
    {
        line.add_phone(transport, Habits::default());
        line.phone(phone, |phone, now| phone.invite(now, Some(OFFER)));
        let leg = line.leg();
        line.command(leg, answer());
        assert_eq!(line.phones[phone].last().headers.first("Contact"), Some(contact));
        line.command(leg, hang_up());
    }
}

#[test]
fn with_an_external_address_that_one_is_advertised() {
    let peers = vec![peer("lan", &["192.0.2.0/24"])];
    let external_ip = "203.0.113.1".parse().ok();
    let mut line = TestLine::with_settings(Settings {
        external_ip,
        peers,
        ..Settings::new([7; 32], 1)
    });
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let leg = line.leg();
    let Event::Incoming(invite) = &line.events[0].1 else {
        panic!("not a call")
    };
    assert_eq!(Some(invite.advertised_ip), external_ip);
    line.command(leg, answer());
    assert_eq!(
        line.phones[0].last().headers.first("Contact"),
        Some("<sip:203.0.113.1:5060>")
    );
    line.command(leg, hang_up());
    assert_eq!(
        line.phones[0].requests[0].headers.via().unwrap().host.as_str(),
        "203.0.113.1"
    );
}

#[test]
fn a_contact_whose_name_leads_into_a_local_network_is_left_for_the_way_the_call_came() {
    let habits = Habits {
        contact: Some("sip:x@inside.example;transport=tcp".to_owned()),
        ..Habits::default()
    };
    let (mut line, leg) = talking(Transport::Udp, habits);
    let inside = (Transport::Tcp, "127.0.0.1:6379".parse().unwrap());
    line.names.insert("inside.example".to_owned(), vec![inside]);
    line.command(leg, hang_up());
    assert!(line.opened.is_empty(), "{:?}", line.opened);
    assert_eq!(line.phones[0].heard(&Method::Bye).len(), 1);
    expect_nothing_left(&mut line);
}
