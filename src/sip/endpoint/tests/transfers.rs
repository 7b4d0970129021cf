//! Transfers we are asked for, and those we ask for.

use super::*;

const BOB: (&str, &str) = ("Refer-To", "<sip:bob@example.com>");

fn accept(accept: bool) -> Command {
    Command::AnswerTransfer { accept }
}

fn notify(status: u16) -> Command {
    Command::NotifyTransfer { status }
}

#[test]
fn a_refer_is_asked_of_the_application_and_its_decision_is_the_answer() {
    for (decision, status) in [(true, 202), (false, 603)] {
        let (mut line, leg) = talking(Transport::Udp, Habits::default());
        let refer_to = (
            "Refer-To",
            "<sip:bob@example.com?Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        );
        line.phone(0, |phone, now| {
            phone.send(now, Method::Refer, &[refer_to, ("Referred-By", "<sip:boss@h>")], None);
        });
        match &line.events.last().unwrap().1 {
            Event::TransferAsked {
                to,
                replaces,
                referred_by,
            } => {
                assert_eq!(to.as_str(), "sip:bob@example.com");
                assert_eq!(replaces.as_deref(), Some("c@h;to-tag=1;from-tag=2"));
                assert_eq!(referred_by.as_deref(), Some("<sip:boss@h>"));
            }
            other => panic!("{other:?}"),
        }
        line.run_for(SECOND);
        line.command(leg, accept(decision));
        line.command(leg, accept(decision));
        let answers: Vec<_> = line.phones[0]
            .answers_to(&Method::Refer)
            .iter()
            .map(|one| one.status)
            .collect();
        assert_eq!(answers, [status]);
        line.command(leg, hang_up());
        expect_nothing_left(&mut line);
    }
}

#[test]
fn a_refer_nobody_decides_is_declined() {
    let (mut line, leg) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.run_for(seconds(11));
    assert_eq!(line.phones[0].last().status, 603);
    line.command(leg, accept(true));
    assert_eq!(line.phones[0].last().status, 603);
}

#[test]
fn a_refer_that_names_not_exactly_one_target_or_comes_out_of_place_is_refused() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for (headers, status) in [
        (&[][..], 400),
        (&[BOB, BOB], 400),
        (&[("Refer-To", "<sip:a@h>, <sip:b@h>")], 400),
        (&[("Refer-To", "nonsense")], 400),
        (&[("Refer-To", "<mailto:bob@h>")], 400),
        (&[BOB, ("Require", "teleport")], 420),
    ] {
        line.phone(0, |phone, now| phone.send(now, Method::Refer, headers, None));
        assert_eq!(line.phones[0].last().status, status, "{headers:?}");
    }
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    assert_eq!(line.phones[0].last().status, 491);
    assert_eq!(line.take_events(), ["TransferAsked sip:bob@example.com"]);
}

#[test]
fn a_bye_answers_a_refer_that_waits() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    line.phone(0, |phone, now| phone.send(now, Method::Refer, &[BOB], None));
    line.phone(0, |phone, now| phone.request(now, Method::Bye));
    assert_eq!(line.phones[0].answers_to(&Method::Refer)[0].status, 487);
    expect_nothing_left(&mut line);
}

#[test]
fn a_notify_without_a_subscription_gets_481_and_one_of_another_package_489() {
    let (mut line, _) = talking(Transport::Udp, Habits::default());
    for (event, status) in [("refer", 481), ("presence", 489), ("", 489)] {
        line.phone(0, |phone, now| {
            phone.send(now, Method::Notify, &[("Event", event)], None)
        });
        assert_eq!(line.phones[0].last().status, status);
    }
    assert_eq!(line.phones[0].last().headers.first("Allow-Events"), Some("refer"));
    assert_eq!(line.take_events(), [""; 0]);
}
