//! The endpoint as phones and the application see it, in virtual time.

mod admission;
mod calls;
mod changes;
mod defence;
mod endings;
mod errands;
mod messages;
mod outgoing;
mod outgoing_weather;
mod phones;
mod provisionals;
mod refusals;
mod registrations;
mod reoffers;
mod replacing;
mod routing;
mod timers;
mod transfers;
mod updates;
mod weather;
mod weather_inside;

use std::time::Duration;

use crate::sip::admission::Peer;
use crate::sip::endpoint::Outgoing;
use crate::sip::endpoint::{Command, Counts, Event};
use crate::sip::flow::{Flow, Transport};
use crate::sip::leg::LegId;
use crate::sip::method::Method;
use crate::sip::test_line::{TestLine, peer};
use crate::sip::test_phone::{Habits, Manners, OFFER};
use crate::sip::uplink::{Login, Uplink};
use crate::sip::uri::Uri;

const SECOND: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"v=0\r\no=gateway";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn answer() -> Command {
    Command::Answer { sdp: ANSWER.to_vec() }
}

fn refuse(status: u16, reason: &'static str) -> Command {
    Command::Refuse {
        status,
        reason: reason.into(),
    }
}

fn hang_up() -> Command {
    Command::HangUp {
        reason: "agent_hung_up".into(),
    }
}

/// A peer at 192.0.2.0/24 that we call at phone 0's address, with a login.
fn called_peer() -> Peer {
    let uplink = Uplink {
        address: Uri::read("sip:192.0.2.10:40000").unwrap(),
        outbound_proxy: None,
        identity: Uri::read("sip:us@192.0.2.10").unwrap(),
        login: Some(Login {
            username: "us".to_owned(),
            password: "wonderland".to_owned(),
        }),
        register: None,
        probe: None,
    };
    Peer {
        uplink: Some(uplink),
        ..peer("pbx", &["192.0.2.0/24"])
    }
}

/// A line on which a call to phone 0 is being placed and its INVITE is out.
fn placing(transport: Transport, manners: Manners) -> (TestLine, LegId) {
    let mut called = called_peer();
    let uplink = called.uplink.as_mut().unwrap();
    let word = transport.as_str().to_ascii_lowercase();
    uplink.address = uplink.address.clone().with_param("transport", Some(&word));
    let mut line = TestLine::with_peers(vec![called]);
    let habits = Habits {
        manners,
        ..Habits::default()
    };
    line.add_phone(transport, habits);
    let leg = line.place(outgoing()).unwrap();
    line.command(leg, offer());
    (line, leg)
}

/// The same, answered; the events so far are taken.
fn connected(manners: Manners) -> (TestLine, LegId) {
    let (mut line, leg) = placing(Transport::Udp, manners);
    line.run_for(SECOND);
    line.take_events();
    (line, leg)
}

fn outgoing() -> Outgoing {
    Outgoing {
        trunk: "pbx".to_owned(),
        to: "100".to_owned(),
        from: None,
        display_name: None,
        headers: Vec::new(),
        ring_max: seconds(30),
    }
}

fn offer() -> Command {
    Command::Offer { sdp: OFFER.to_vec() }
}

/// The methods that reached a phone, without retransmissions.
fn methods(line: &TestLine, phone: usize) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for request in &line.phones[phone].requests {
        if seen.insert(request.to_bytes()) {
            methods.push(request.method.to_string());
        }
    }
    methods
}

/// A line on which phone 0 calls with an offer.
fn ringing(transport: Transport, habits: Habits) -> (TestLine, LegId) {
    let mut line = TestLine::new();
    line.add_phone(transport, habits);
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let leg = line.leg();
    (line, leg)
}

/// A line on which phone 0 is in a call; the events so far are taken.
fn talking(transport: Transport, habits: Habits) -> (TestLine, LegId) {
    let (mut line, leg) = ringing(transport, habits);
    line.command(leg, answer());
    line.take_events();
    (line, leg)
}

/// Waits until every timer has run out and finds nothing left.
fn expect_nothing_left(line: &mut TestLine) {
    line.run_for(seconds(200));
    assert_eq!(line.endpoint.counts(), Counts::default());
    assert_eq!(line.endpoint.poll_timeout(), None);
}
