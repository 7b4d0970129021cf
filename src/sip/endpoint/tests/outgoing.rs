//! Calls we place.

use super::*;
use crate::sip::message::{Request, Response};
use crate::sip::proof::Proof;

#[test]
fn a_call_is_located_rings_is_answered_and_ended_by_us() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut line, leg) = placing(transport, Manners::default());
        let call_id = line.endpoint.call_id(leg).map(str::to_owned);
        line.run_for(SECOND);
        let expected = ["Located 192.0.2.1", "Ringing", "Answered o=callee 0"];
        assert_eq!(line.take_events(), expected);
        assert_eq!(methods(&line, 0), ["INVITE", "ACK"]);
        let invite = &line.phones[0].requests[0];
        assert_eq!(call_id.as_deref(), invite.headers.call_id().ok());
        assert_eq!(invite.body, OFFER);
        assert!(invite.uri.as_str().starts_with("sip:100@192.0.2.10:40000"));
        assert_eq!(invite.headers.max_forwards(), Ok(Some(70)));
        for name in ["Contact", "Allow", "Supported", "User-Agent", "Call-ID"] {
            assert!(invite.headers.contains(name), "{name}");
        }
        line.command(leg, hang_up());
        assert_eq!(methods(&line, 0), ["INVITE", "ACK", "BYE"]);
        assert_eq!(line.take_events(), ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn the_callee_may_hang_up_as_well() {
    let (mut line, _) = connected(Manners::default());
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].last().status, 200);
    assert_eq!(line.take_events(), ["ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn early_media_is_told_once_and_the_answer_only_when_it_differs() {
    let manners = Manners {
        early: true,
        decides_after: Some(SECOND),
        ..Manners::default()
    };
    let (mut line, _) = placing(Transport::Udp, manners.clone());
    line.run_for(seconds(3));
    let events = line.take_events();
    assert_eq!(events[1..], ["Ringing", "Progressed o=callee 0", "Answered"]);
    // Two phones send early media; the first answers, whose media was not heard last.
    let (mut line, _) = placing(Transport::Udp, Manners { forks: 2, ..manners });
    line.run_for(SECOND);
    let events = line.take_events();
    let expected = ["Progressed o=callee 0", "Progressed o=callee 1", "Answered o=callee 0"];
    assert_eq!(events[2..], expected);
}

#[test]
fn every_phone_of_a_fork_that_answers_is_acknowledged_and_all_but_the_first_hung_up_on() {
    let manners = Manners {
        forks: 3,
        ..Manners::default()
    };
    let (mut line, leg) = placing(Transport::Udp, manners);
    line.run_for(seconds(5));
    assert_eq!(line.take_events()[1..], ["Ringing", "Answered o=callee 0"]);
    let called = &line.phones[0].called;
    assert_eq!((called.answered.len(), &called.answered), (3, &called.acknowledged));
    assert_eq!(called.hung_up.iter().collect::<Vec<_>>(), ["p0-1", "p0-2"]);
    line.command(leg, hang_up());
    assert_eq!(line.phones[0].called.hung_up.len(), 3);
    expect_nothing_left(&mut line);
}

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_answer() {
    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            decides_after: Some(SECOND),
            ..Manners::default()
        },
    );
    line.run_for(Duration::from_millis(999));
    line.run_for(Duration::from_millis(1));
    line.phones[0].called.acknowledged.clear();
    line.run_for(seconds(3));
    assert_eq!(line.phones[0].called.acknowledged.len(), 1);
    assert_eq!(methods(&line, 0), ["INVITE", "ACK"]);
    assert!(line.phones[0].requests.len() > 2);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_refusal_is_told_with_its_status_its_words_and_how_long_to_stay_away() {
    let retry = vec![("Retry-After", "17 (busy)".to_owned())];
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            refuses: Some((486, retry)),
            ..Manners::default()
        },
    );
    line.run_for(SECOND);
    let Some((_, Event::Rejected { retry_after, .. })) = line.events.iter().rev().nth(1) else {
        panic!("{:?}", line.events)
    };
    assert_eq!(*retry_after, Some(seconds(17)));
    assert_eq!(line.take_events()[1..], ["Ringing", "Rejected 486 Busy Here", "Gone"]);
    assert_eq!(methods(&line, 0), ["INVITE", "ACK"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_challenged_invite_proves_itself_and_its_ack_too() {
    let challenge = "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\", algorithm=MD5";
    for (status, asks, proves) in [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ] {
        let (mut line, leg) = placing(
            Transport::Udp,
            Manners {
                challenge: Some((status, asks, challenge)),
                ..Manners::default()
            },
        );
        line.run_for(SECOND);
        assert_eq!(methods(&line, 0), ["INVITE", "ACK", "INVITE", "ACK"]);
        let requests = &line.phones[0].requests;
        let proof = |request: &Request| Proof::read(request.headers.first(proves).unwrap()).unwrap().unwrap();
        let proved = proof(&requests[2]);
        let expected = proved.expected(proved.algorithm().unwrap(), "INVITE", b"", "wonderland");
        assert_eq!(Some(&proved.response), expected.as_ref());
        assert_eq!(proof(&requests[3]), proved);
        line.command(leg, hang_up());
        assert_eq!(proof(line.phones[0].requests.last().unwrap()).quality.unwrap().count, 2);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_call_that_is_never_answered_is_cancelled_and_rejected_with_408() {
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            decides_after: None,
            ..Manners::default()
        },
    );
    line.run_for(seconds(31));
    assert_eq!(line.take_events()[2..], ["Rejected 408 Request Timeout", "Gone"]);
    assert_eq!(methods(&line, 0), ["INVITE", "CANCEL", "ACK"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_nobody_hears_times_out() {
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            tries: false,
            rings: false,
            decides_after: None,
            ..Manners::default()
        },
    );
    line.run_for(seconds(29));
    assert_eq!(line.take_events(), ["Located 192.0.2.1"]);
    line.run_for(seconds(2));
    assert_eq!(line.take_events(), ["Rejected 408 Request Timeout", "Gone"]);
    assert_eq!(methods(&line, 0), ["INVITE"]);
    expect_nothing_left(&mut line);
}

#[test]
fn hanging_up_before_the_answer_cancels_as_soon_as_that_is_allowed() {
    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            decides_after: None,
            ..Manners::default()
        },
    );
    line.command(leg, hang_up());
    assert_eq!(methods(&line, 0), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(line.take_events()[2..], ["Gone"]);
    expect_nothing_left(&mut line);

    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            tries: false,
            rings: false,
            decides_after: None,
            ..Manners::default()
        },
    );
    line.command(leg, hang_up());
    assert_eq!(methods(&line, 0), ["INVITE"]);
    let ringing = Response::standard(&line.phones[0].requests[0], 180).with_to_tag("late");
    line.inject(line.phones[0].flow, &ringing.to_bytes());
    assert_eq!(methods(&line, 0), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(line.take_events()[1..], ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up_on() {
    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            decides_after: Some(seconds(2)),
            heeds_cancel: false,
            ..Manners::default()
        },
    );
    line.command(leg, hang_up());
    line.run_for(seconds(4));
    assert_eq!(methods(&line, 0), ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert_eq!(line.take_events()[2..], ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_callee_that_never_ends_what_we_cancelled_is_forgotten() {
    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            decides_after: None,
            heeds_cancel: false,
            ..Manners::default()
        },
    );
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn hanging_up_before_the_invite_leaves_sends_nothing() {
    let mut line = TestLine::with_peers(vec![called_peer()]);
    line.add_phone(Transport::Udp, Habits::default());
    let leg = line.place(outgoing()).unwrap();
    line.command(leg, hang_up());
    line.command(leg, offer());
    assert_eq!(line.take_events(), ["Located 192.0.2.1", "Gone"]);
    assert!(line.sent.is_empty());
    expect_nothing_left(&mut line);
}

#[test]
fn redirections_are_followed_by_weight_and_not_in_circles() {
    let contacts = "<sip:a@192.0.2.12:40000>;q=0.2, <sip:b@192.0.2.11:40000>;q=0.9, <mailto:x@y>, <tel:+1555>;q=0.1";
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            refuses: Some((302, vec![("Contact", contacts.to_owned())])),
            ..Manners::default()
        },
    );
    let busy = Manners {
        refuses: Some((486, Vec::new())),
        ..Manners::default()
    };
    for manners in [busy, Manners::default()] {
        let habits = Habits {
            manners,
            ..Habits::default()
        };
        line.add_phone(Transport::Udp, habits);
    }
    line.run_for(seconds(3));
    assert_eq!(line.take_events().last().unwrap(), "Answered o=callee 0");
    let first: Vec<_> = line.phones.iter().map(|phone| phone.requests[0].clone()).collect();
    assert_eq!(first[1].uri.as_str(), "sip:b@192.0.2.11:40000");
    assert_eq!(first[2].uri.as_str(), "sip:a@192.0.2.12:40000");
    let numbers: Vec<_> = first
        .iter()
        .map(|invite| invite.headers.cseq().unwrap().number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(first[0].headers.call_id(), first[2].headers.call_id());

    let circle = vec![("Contact", "<sip:100@192.0.2.10:40000>".to_owned())];
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            refuses: Some((302, circle)),
            ..Manners::default()
        },
    );
    line.run_for(seconds(3));
    assert_eq!(line.take_events()[2..], ["Rejected 302 Moved Temporarily", "Gone"]);
    assert_eq!(methods(&line, 0), ["INVITE", "ACK"]);
}

#[test]
fn there_is_an_end_to_redirections() {
    let contacts: Vec<_> = (0..6).map(|n| format!("<sip:{n}@192.0.2.10:40000>")).collect();
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            refuses: Some((300, vec![("Contact", contacts.join(", "))])),
            ..Manners::default()
        },
    );
    line.run_for(seconds(9));
    let invites = methods(&line, 0).iter().filter(|method| *method == "INVITE").count();
    assert_eq!(invites, 4);
    assert_eq!(
        line.take_events()
            .iter()
            .filter(|event| event.starts_with("Rejected"))
            .count(),
        1
    );
    expect_nothing_left(&mut line);
}

#[test]
fn requests_inside_the_call_follow_the_record_route_backwards() {
    let (mut line, leg) = placing(
        Transport::Udp,
        Manners {
            record_route: Some("<sip:far.example;lr>, <sip:192.0.2.11:40000;lr>"),
            ..Manners::default()
        },
    );
    line.add_phone(Transport::Udp, Habits::default());
    line.run_for(SECOND);
    line.command(leg, hang_up());
    // The nearest proxy stands last in Record-Route; everything after the INVITE goes to it.
    assert_eq!(methods(&line, 0), ["INVITE"]);
    assert_eq!(methods(&line, 1)[0], "ACK");
    let ack = &line.phones[1].requests[0];
    let routes: Vec<_> = ack.headers.routes().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["<sip:192.0.2.11:40000;lr>", "<sip:far.example;lr>"]);
    assert_eq!(methods(&line, 1).last().unwrap(), "BYE");
}

#[test]
fn a_callee_behind_a_nat_is_reached_the_way_the_invite_went() {
    let mut line = TestLine::with_peers(vec![called_peer()]);
    line.add_phone(
        Transport::Udp,
        Habits {
            contact: Some("sip:100@10.1.2.3".to_owned()),
            ..Habits::default()
        },
    );
    let leg = line.place(outgoing()).unwrap();
    line.command(leg, offer());
    line.run_for(SECOND);
    line.command(leg, hang_up());
    assert_eq!(methods(&line, 0), ["INVITE", "ACK", "BYE"]);
    assert_eq!(line.phones[0].requests.last().unwrap().uri.as_str(), "sip:100@10.1.2.3");
}

#[test]
fn an_answer_without_a_session_description_is_no_answer() {
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            describes: false,
            ..Manners::default()
        },
    );
    line.run_for(SECOND);
    assert_eq!(methods(&line, 0), ["INVITE", "ACK", "BYE"]);
    let expected = ["Rejected 488 the answer has no session description", "Gone"];
    assert_eq!(line.take_events()[2..], expected);
    expect_nothing_left(&mut line);
}

#[test]
fn what_cannot_be_called_is_not_placed_or_rejected() {
    let mut line = TestLine::with_peers(vec![called_peer(), peer("deaf", &["198.51.100.0/24"])]);
    for trunk in ["deaf", "unknown"] {
        let refused = line.place(Outgoing {
            trunk: trunk.to_owned(),
            ..outgoing()
        });
        assert_eq!(refused.unwrap_err().reason, "no_uplink");
    }
    let nowhere = line.place(Outgoing {
        to: "sip:a@nowhere.example".to_owned(),
        ..outgoing()
    });
    assert!(nowhere.is_ok());
    assert_eq!(line.take_events(), ["Rejected 503 the trunk cannot be found", "Gone"]);
    let settings = crate::sip::Settings {
        peers: vec![called_peer()],
        legs_max: 0,
        ..crate::sip::Settings::new([7; 32], 1)
    };
    let full = TestLine::with_settings(settings).place(outgoing());
    assert_eq!(full.unwrap_err().reason, "overloaded");
    expect_nothing_left(&mut line);
}

#[test]
fn a_call_of_ours_that_comes_back_is_a_loop() {
    let (mut line, _) = placing(Transport::Udp, Manners::default());
    let mut invite = line.phones[0].requests[0].clone();
    invite
        .headers
        .push_front("Via", "SIP/2.0/UDP 192.0.2.10:40000;rport;branch=z9hG4bKproxy");
    line.inject(line.phones[0].flow, &invite.to_bytes());
    assert_eq!(line.phones[0].last().status, 482);
    assert_eq!(line.refused.last().unwrap().reason, "loop");
}

#[test]
fn a_hop_that_refuses_with_503_leads_to_the_next() {
    let mut called = called_peer();
    called.uplink.as_mut().unwrap().address = Uri::read("sip:pbx.example").unwrap();
    let mut line = TestLine::with_peers(vec![called]);
    let places = ["192.0.2.10:40000", "192.0.2.11:40000"].map(|place| (Transport::Udp, place.parse().unwrap()));
    line.names.insert("pbx.example".to_owned(), places.to_vec());
    line.add_phone(
        Transport::Udp,
        Habits {
            manners: Manners {
                refuses: Some((503, Vec::new())),
                ..Manners::default()
            },
            ..Habits::default()
        },
    );
    line.add_phone(Transport::Udp, Habits::default());
    let leg = line.place(outgoing()).unwrap();
    line.command(leg, offer());
    line.run_for(SECOND);
    assert_eq!(line.take_events().last().unwrap(), "Answered o=callee 0");
    assert_eq!(methods(&line, 1), ["INVITE", "ACK"]);
}

#[test]
fn a_redirection_from_elsewhere_into_a_local_network_is_not_followed() {
    for contact in [
        "<sip:x@127.0.0.1:6379;transport=tcp>",
        "<sip:x@[::ffff:10.0.0.1]>",
        "<sip:x@inside.example;transport=tcp>",
    ] {
        let manners = Manners {
            refuses: Some((302, vec![("Contact", contact.to_owned())])),
            decides_after: Some(SECOND),
            ..Manners::default()
        };
        let (mut line, _) = placing(Transport::Udp, manners);
        let inside = (Transport::Tcp, "10.0.0.1:80".parse().unwrap());
        line.names.insert("inside.example".to_owned(), vec![inside]);
        line.run_for(seconds(3));
        let phone = line.phones[0].flow.remote;
        assert!(line.opened.is_empty(), "{:?}", line.opened);
        assert!(line.sent.iter().all(|(_, flow, _)| flow.remote == phone), "{contact}");
        let events = line.take_events();
        assert!(events.iter().any(|event| event.starts_with("Rejected")), "{events:?}");
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_refusal_cannot_choose_the_number_of_our_next_invite() {
    let (mut line, _) = placing(
        Transport::Udp,
        Manners {
            tries: true,
            rings: false,
            decides_after: None,
            ..Manners::default()
        },
    );
    line.add_phone(Transport::Udp, Habits::default());
    let invite = line.phones[0].heard(&Method::Invite)[0].clone();
    let mut response = Response::standard(&invite, 302)
        .with_to_tag("x")
        .with_header("Contact", "<sip:100@192.0.2.11:40000>");
    response.headers.set("CSeq", "2147483647 INVITE");
    let flow = line.phones[0].flow;
    line.inject(flow, &response.to_bytes());
    let numbers = line
        .sent
        .iter()
        .filter(|(_, _, line)| line.contains("192.0.2.11"))
        .count();
    assert!(numbers > 0);
    let next = line.phones[1].heard(&Method::Invite);
    assert_eq!(
        next.first().map(|invite| invite.headers.cseq().unwrap().number < 10),
        Some(true)
    );
}
