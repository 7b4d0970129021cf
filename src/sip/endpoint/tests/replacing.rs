//! Calls that take the place of another.

use super::*;
use crate::sip::test_line::peer;

/// A line on which phone 0 is in a call, and the Replaces header that names it as we know it.
fn taken_over() -> (TestLine, LegId, String) {
    let peers = vec![peer("lan", &["192.0.2.0/25"]), peer("far", &["192.0.2.128/25"])];
    let mut line = TestLine::with_peers(peers);
    line.add_phone(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let leg = line.leg();
    line.command(leg, answer());
    line.take_events();
    let ours = line.phones[0].last().headers.to().unwrap().tag().unwrap().to_owned();
    (line, leg, format!("call-p0;to-tag={ours};from-tag=p0"))
}

/// What a second phone's INVITE with these headers leads to.
fn call_with(line: &mut TestLine, address: &str, extra: &[(&str, &str)]) -> u16 {
    let number = line.add_phone_at(Transport::Udp, address, Habits::default());
    line.phones[number].habits.extra = extra
        .iter()
        .map(|(name, value)| (&*name.to_string().leak(), &*value.to_string().leak()))
        .collect();
    line.phone(number, |phone, now| phone.invite(now, Some(OFFER)));
    line.phones[number].last().status
}

#[test]
fn an_invite_with_replaces_names_the_leg_it_replaces() {
    let (mut line, leg, replaces) = taken_over();
    let status = call_with(
        &mut line,
        "192.0.2.50:5060",
        &[("Replaces", &replaces), ("Require", "replaces")],
    );
    assert_eq!(status, 100);
    match &line.events.last().unwrap().1 {
        Event::Incoming(invite) => assert_eq!(invite.replaces, Some(leg)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replaces_that_fits_nothing_gets_the_status_of_the_rfc() {
    let (mut line, _, replaces) = taken_over();
    let early = format!("{replaces};early-only");
    for (port, (address, headers, status)) in [
        ("192.0.2.50", vec![("Replaces", "call-p0;to-tag=x;from-tag=p0")], 481),
        ("192.0.2.200", vec![("Replaces", replaces.as_str())], 481),
        ("192.0.2.50", vec![("Replaces", early.as_str())], 486),
        (
            "192.0.2.50",
            vec![("Replaces", &replaces), ("Replaces", &replaces)],
            400,
        ),
        ("192.0.2.50", vec![("Replaces", &replaces), ("Join", &replaces)], 400),
        ("192.0.2.50", vec![("Replaces", "call-p0")], 400),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("{address}:{}", 6000 + port);
        assert_eq!(call_with(&mut line, &address, &headers), status, "{headers:?}");
    }
    assert_eq!(line.take_events(), [""; 0]);
}

#[test]
fn a_call_that_rings_or_is_over_cannot_be_replaced() {
    let (mut line, leg, replaces) = taken_over();
    line.phones[0].habits.bye_status = None;
    line.command(leg, hang_up());
    assert_eq!(call_with(&mut line, "192.0.2.50:5060", &[("Replaces", &replaces)]), 603);
    line.run_for(seconds(40));
    assert_eq!(call_with(&mut line, "192.0.2.51:5060", &[("Replaces", &replaces)]), 481);
    let ringing = call_with(&mut line, "192.0.2.52:5060", &[]);
    assert_eq!(ringing, 100);
    line.command(line.leg(), Command::Ring);
    let tag = line.phones[3].last().headers.to().unwrap().tag().unwrap().to_owned();
    let replaces = format!("call-p3;to-tag={tag};from-tag=p3");
    assert_eq!(call_with(&mut line, "192.0.2.53:5060", &[("Replaces", &replaces)]), 481);
}
