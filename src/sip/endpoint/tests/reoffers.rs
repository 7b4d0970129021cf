//! Re-INVITEs of ours.

use super::*;
use crate::sip::message::Response;

#[test]
fn an_offer_inside_a_call_is_answered_or_refused_and_the_call_goes_on() {
    for (status, expected) in [(200, "Reanswered"), (488, "Reanswered 488")] {
        let (mut line, leg) = connected(Manners {
            reinvites: [status].into(),
            ..Manners::default()
        });
        line.command(leg, offer());
        line.run_for(SECOND);
        assert_eq!(line.take_events(), [expected]);
        assert_eq!(methods(&line, 0), ["INVITE", "ACK", "INVITE", "ACK"]);
        let called = &line.phones[0].called;
        assert!(called.answered.is_subset(&called.acknowledged));
        line.command(leg, hang_up());
        assert_eq!(line.take_events(), ["Gone"]);
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_leg_that_came_in_can_be_offered_something_as_well() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.command(leg, offer());
    line.run_for(SECOND);
    assert_eq!(line.take_events(), ["Reanswered"]);
    assert_eq!(methods(&line, 0), ["INVITE", "ACK"]);
    expect_call_to_end(&mut line, leg);
}

#[test]
fn an_offer_that_crosses_the_peers_is_made_again_a_little_later() {
    for (placed, least_ms, most_ms) in [(true, 2_100, 4_000), (false, 0, 2_000)] {
        let (mut line, leg) = match placed {
            true => connected(Manners::default()),
            false => talking(Transport::Udp, Habits::default()),
        };
        line.phones[0].habits.manners.reinvites = [491].into();
        let since = line.now - line.start;
        line.command(leg, offer());
        line.run_for(seconds(5));
        let invites: Vec<_> = line
            .sent_since(since)
            .into_iter()
            .filter(|(_, line)| line.starts_with("INVITE"))
            .map(|(at_ms, _)| at_ms - since.as_millis())
            .collect();
        let [0, again_ms] = invites[..] else {
            panic!("{invites:?}")
        };
        assert!((least_ms..=most_ms).contains(&again_ms), "{again_ms}");
        assert_eq!(line.take_events(), ["Reanswered"]);
        expect_call_to_end(&mut line, leg);
    }
}

#[test]
fn an_offer_that_always_crosses_is_given_up_and_so_is_one_beside_another() {
    let (mut line, leg) = connected(Manners {
        reinvites: [491; 9].into(),
        ..Manners::default()
    });
    line.command(leg, offer());
    line.command(leg, offer());
    line.run_for(seconds(20));
    assert_eq!(line.take_events(), ["Reanswered 491", "Reanswered 491"]);
    expect_call_to_end(&mut line, leg);
}

#[test]
fn while_ours_is_unanswered_the_peers_re_invite_gets_491() {
    let (mut line, leg) = connected(Manners {
        reinvites: [0].into(),
        ..Manners::default()
    });
    line.command(leg, offer());
    line.phone(0, |phone, now| phone.reinvite(now, Some(OFFER)));
    assert_eq!(line.phones[0].last().status, 491);
    line.command(leg, hang_up());
    expect_nothing_left(&mut line);
}

#[test]
fn a_peer_that_knows_no_call_or_keeps_silent_ends_it() {
    for (status, byes) in [(481, 0), (408, 1), (0, 1)] {
        let (mut line, leg) = connected(Manners {
            reinvites: [status].into(),
            ..Manners::default()
        });
        line.command(leg, offer());
        line.run_for(seconds(40));
        assert_eq!(line.take_events(), ["Failed flow_lost", "Gone"]);
        let sent = methods(&line, 0).iter().filter(|method| *method == "BYE").count();
        assert_eq!(sent, byes, "{status}");
        expect_nothing_left(&mut line);
    }
}

#[test]
fn hanging_up_waits_a_little_for_the_answer_to_ours() {
    let (mut line, leg) = connected(Manners {
        reinvites: [0].into(),
        ..Manners::default()
    });
    line.command(leg, offer());
    line.command(leg, hang_up());
    assert!(!methods(&line, 0).contains(&"BYE".to_owned()));
    line.run_for(seconds(5));
    assert_eq!(methods(&line, 0).last().unwrap(), "BYE");
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(&mut line);
}

#[test]
fn a_re_invite_that_only_ever_gets_100_is_cancelled_and_forgotten() {
    let (mut line, leg) = connected(Manners {
        reinvites: [0].into(),
        heeds_cancel: false,
        ..Manners::default()
    });
    line.command(leg, offer());
    let trying = Response::standard(line.phones[0].requests.last().unwrap(), 100);
    line.inject(line.phones[0].flow, &trying.to_bytes());
    line.run_for(seconds(33));
    assert_eq!(line.take_events(), ["Failed flow_lost", "Gone"]);
    assert!(methods(&line, 0).contains(&"CANCEL".to_owned()));
    expect_nothing_left(&mut line);
}

#[test]
fn a_bye_of_the_peer_ends_a_call_with_an_open_offer() {
    let (mut line, leg) = connected(Manners {
        reinvites: [0].into(),
        ..Manners::default()
    });
    line.command(leg, offer());
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.take_events(), ["ByeReceived", "Gone"]);
    expect_nothing_left(&mut line);
}

fn expect_call_to_end(line: &mut TestLine, leg: LegId) {
    line.command(leg, hang_up());
    assert_eq!(line.take_events(), ["Gone"]);
    expect_nothing_left(line);
}
