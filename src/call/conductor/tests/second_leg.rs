//! What becomes of a call that is handed on by calling somebody ourselves.

use super::*;
use crate::{
    call::{order::SecondLegOrder, recording::Policy, second_leg::Step, transfer::Way},
    tools::Ended,
};

#[test]
fn a_refused_refer_calls_a_second_leg_while_the_caller_waits() {
    let mut call = Call::talking_by(bridging(TransferWays::ReferOrBridge));
    let acts = call.tool("transfer", r#"{"target":"desk"}"#);
    assert!(matches!(&acts[2], Act::Leg(Command::Transfer { .. })), "{acts:?}");
    let acts = call.leg(Event::TransferProgress { status: 405 });
    assert_eq!(acts[..2], [noted(Way::Refer, 405), noted(Way::Bridge, 0)]);
    assert_eq!(acts[2], Act::Media(Order::Hold(true)));
    assert_eq!(acts[3..], [Act::SecondLeg(Step::Place("sip:desk@a".to_owned()))]);
    // The other side's last words about its own attempt come too late.
    assert_eq!(call.leg(Event::TransferProgress { status: 200 }), []);
    let again = call.conductor.transfer(call.now, Asker::Api, "2".to_owned(), None);
    assert_eq!(again, Err(NotNow::Transferring));
}

#[test]
fn a_refer_that_nobody_tells_of_any_more_calls_a_second_leg_too() {
    let mut call = Call::talking_by(bridging(TransferWays::ReferOrBridge));
    call.tool("transfer", r#"{"target":"desk"}"#);
    call.leg(Event::TransferProgress { status: 100 });
    let due = call.conductor.poll_timeout().unwrap();
    call.conductor.handle_timeout(due);
    let acts = call.acts();
    assert_eq!(acts[0], noted(Way::Refer, 408));
    assert_eq!(acts.last(), Some(&Act::SecondLeg(Step::Place("sip:desk@a".to_owned()))));
}

#[test]
fn without_leave_or_with_a_leg_to_replace_a_refused_refer_is_all_there_is() {
    for (ways, replaces) in [
        (TransferWays::Refer, None),
        (TransferWays::ReferOrBridge, Some(LegId(7))),
        (TransferWays::Bridge, Some(LegId(7))),
    ] {
        let mut call = Call::talking_by(bridging(ways));
        let asked = call.conductor.transfer(call.now, Asker::Api, "2".to_owned(), replaces);
        assert_eq!(asked, Ok(()));
        assert!(
            call.acts()
                .iter()
                .any(|act| matches!(act, Act::Leg(Command::Transfer { .. })))
        );
        let acts = call.leg(Event::TransferProgress { status: 405 });
        assert_eq!(acts.len(), 1, "{ways:?} {acts:?}");
    }
}

#[test]
fn an_answered_second_leg_is_joined_and_the_agent_is_out() {
    let mut settings = bridging(TransferWays::Bridge);
    settings.recording = Policy::On;
    let mut call = Call::talking_by(settings);
    let acts = ring(&mut call);
    assert!(acts.iter().all(|act| !matches!(act, Act::Leg(_))), "{acts:?}");
    let acts = answered(&mut call);
    assert!(matches!(
        &acts[0],
        Act::Media(Order::SecondLeg(SecondLegOrder::Apply(_)))
    ));
    assert_eq!(acts[1], noted(Way::Bridge, 200));
    assert!(
        matches!(&acts[2], Act::Media(Order::ToolResult { respond: false, .. })),
        "{acts:?}"
    );
    assert!(matches!(&acts[3], Act::Note(Note::ToolFinished(done)) if done.ended == Ended::Ok));
    assert_eq!(
        acts[4..],
        [
            Act::Record(crate::call::recording::Step::End),
            Act::SecondLeg(Step::Join)
        ]
    );
    // Nobody listens to the agent any more, and nobody waits for it.
    for input in [
        Input::SessionAway,
        Input::SessionGone,
        Input::SessionReady,
        Input::HangUpAsked,
    ] {
        assert_eq!(call.hear(input), []);
    }
    assert_eq!(call.tool("send_dtmf", r#"{"digits":"1"}"#), []);
    assert_eq!(call.hear(Input::BudgetSpent { goodbye: true }), []);
}

#[test]
fn either_side_that_hangs_up_ends_the_other() {
    let mut call = joined();
    let acts = call.leg(Event::ByeReceived { reason: None });
    assert_eq!(acts[0], Act::SecondLeg(Step::End(hang_up(Cause::CalleeHungUp))));
    assert!(acts.contains(&Act::End(Outcome::answered(Cause::CalleeHungUp))));
    let mut call = joined();
    let acts = second(&mut call, Event::ByeReceived { reason: None });
    assert_eq!(acts[0], Act::SecondLeg(Step::End(hang_up(Cause::CalleeHungUp))));
    assert_eq!(acts[1], Act::EndLeg(hang_up(Cause::CalleeHungUp)));
    let ends = acts.iter().filter(|act| matches!(act, Act::End(_))).count();
    assert_eq!(ends, 1, "{acts:?}");
    assert_eq!(call.leg(Event::Gone), []);
}

#[test]
fn a_joined_call_ends_when_its_time_is_over_or_the_gateway_stops_or_the_second_legs_media_fails() {
    let mut call = joined();
    let due = call.conductor.poll_timeout().unwrap();
    call.conductor.handle_timeout(due);
    assert!(call.acts().contains(&Act::End(Outcome::answered(Cause::DurationMax))));
    let mut call = joined();
    let acts = call.hear(Input::Finish);
    assert!(acts.contains(&Act::End(Outcome::answered(Cause::Drained))));
    assert!(acts.contains(&Act::SecondLeg(Step::End(hang_up(Cause::Drained)))));
    let mut call = joined();
    let acts = call.report(Report::SecondLegLost(Cause::MediaTimeout));
    assert!(acts.contains(&Act::End(Outcome::answered(Cause::MediaTimeout))));
}

#[test]
fn keys_of_the_caller_go_to_the_second_leg_in_a_way_that_it_takes() {
    let mut call = joined();
    let acts = call.report(Report::Digit('5'));
    let event = Act::Media(Order::SecondLeg(SecondLegOrder::SendDigits("5".to_owned())));
    assert_eq!(acts, [Act::Note(Note::Digit('5')), event]);
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    assert_eq!(call.report(Report::Digit('5')), [Act::Note(Note::Digit('5'))]);
    second(&mut call, answer_without_events());
    let acts = call.report(Report::Digit('5'));
    assert!(
        matches!(
            acts[1],
            Act::SecondLeg(Step::Leg(Command::SendDigit { digit: '5', .. }))
        ),
        "{acts:?}"
    );
}

#[test]
fn a_second_leg_nobody_takes_gives_the_caller_back_to_the_agent() {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    let acts = second(
        &mut call,
        Event::Rejected {
            status: 486,
            phrase: String::new(),
            retry_after: None,
        },
    );
    assert!(matches!(acts[0], Act::SecondLeg(Step::End(_))));
    assert_eq!(acts[1..3], [Act::Media(Order::Hold(false)), noted(Way::Bridge, 486)]);
    assert!(
        matches!(&acts[3], Act::Media(Order::ToolResult { output, respond: true, .. }) if output.contains("busy")),
        "{acts:?}"
    );
    assert!(!call.conductor.ended());
    let acts = call.tool_named("again", "transfer", r#"{"target":"desk"}"#);
    assert!(
        acts.iter().any(|act| matches!(act, Act::SecondLeg(Step::Place(_)))),
        "{acts:?}"
    );
}

#[test]
fn one_that_cannot_be_placed_is_told_like_one_nobody_takes() {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    call.tool("transfer", r#"{"target":"desk"}"#);
    call.conductor.second_leg_refused(call.now, Cause::TrunkCallsMax);
    let acts = call.acts();
    assert!(acts.contains(&noted(Way::Bridge, 503)), "{acts:?}");
    assert!(!call.conductor.second_leg_placed(), "it is too late for a leg");
}

#[test]
fn a_caller_who_hangs_up_while_it_rings_has_it_cancelled_before_the_call_is_over() {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    let acts = call.leg(Event::ByeReceived { reason: None });
    let at = |wanted: &dyn Fn(&Act) -> bool| acts.iter().position(wanted).unwrap();
    let cancelled = at(&|act| matches!(act, Act::SecondLeg(Step::End(_))));
    assert!(cancelled < at(&|act| matches!(act, Act::End(_))), "{acts:?}");
    assert!(!call.conductor.second_leg_placed());
}

#[test]
fn an_agent_that_hangs_up_while_it_rings_is_told_to_wait() {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    let acts = call.tool_named("u", "hang_up", "{}");
    assert!(
        matches!(&acts[1], Act::Media(Order::ToolResult { output, .. }) if output.contains("being transferred")),
        "{acts:?}"
    );
    assert!(answered(&mut call).contains(&Act::SecondLeg(Step::Join)));
}

#[test]
fn one_that_answers_a_call_that_is_ending_is_hung_up_on() {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    call.hear(Input::CallerIdle);
    let acts = answered(&mut call);
    assert!(matches!(acts[1..], [Act::SecondLeg(Step::End(_))]), "{acts:?}");
}

#[test]
fn a_call_whose_agent_has_gone_for_good_is_joined_with_a_human() {
    let mut settings = bridging(TransferWays::ReferOrBridge);
    settings.failover.transfer = Some("sip:desk@a".to_owned());
    let mut call = Call::talking_by(settings);
    call.hear(Input::SessionGone);
    let acts = call.leg(Event::TransferProgress { status: 603 });
    assert!(
        acts.contains(&Act::SecondLeg(Step::Place("sip:desk@a".to_owned()))),
        "{acts:?}"
    );
    place(&mut call);
    assert!(answered(&mut call).contains(&Act::SecondLeg(Step::Join)));
    let ends_at = call.conductor.poll_timeout().unwrap();
    assert!(
        ends_at <= call.now + Duration::from_secs(7200),
        "it does not last for ever"
    );
    let acts = second(&mut call, Event::ByeReceived { reason: None });
    assert!(acts.contains(&Act::End(Outcome::answered(Cause::CalleeHungUp))));
}

#[test]
fn a_caller_on_hold_is_off_hold_before_a_second_leg_rings() {
    let mut settings = bridging(TransferWays::Bridge);
    let targets = [("desk".to_owned(), "sip:desk@a".to_owned())].into();
    settings.toolbox = Toolbox::new(vec![Tool::Transfer, Tool::Hold], targets, false);
    let mut call = Call::talking_by(settings);
    call.tool_named("h", "hold", r#"{"seconds":9}"#);
    let acts = call.tool("transfer", r#"{"target":"desk"}"#);
    let holds: Vec<&Act> = acts
        .iter()
        .filter(|act| matches!(act, Act::Media(Order::Hold(_))))
        .collect();
    assert_eq!(holds, [&Act::Media(Order::Hold(false)), &Act::Media(Order::Hold(true))]);
    let acts = call.tool_named("i", "hold", r#"{"seconds":9}"#);
    assert!(
        matches!(&acts[1], Act::Media(Order::ToolResult { output, .. }) if output.contains("transfer is under way")),
        "{acts:?}"
    );
}

impl Call {
    fn tool_named(&mut self, call_id: &str, name: &str, arguments: &str) -> Vec<Act> {
        self.report(Report::ToolCall {
            session: 1,
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    }
}

fn bridging(ways: TransferWays) -> Settings {
    let mut settings = settings();
    settings.transfers.ways = ways;
    settings
}

/// Has the agent hand the call on, and the second phone ring.
fn ring(call: &mut Call) -> Vec<Act> {
    let mut acts = call.tool("transfer", r#"{"target":"desk"}"#);
    acts.extend(place(call));
    acts
}

fn place(call: &mut Call) -> Vec<Act> {
    assert!(call.conductor.second_leg_placed());
    let ip = local().address;
    second(
        call,
        Event::Located {
            local_ip: ip,
            advertised_ip: ip,
        },
    );
    call.conductor.second_leg_located(call.now, Ok(local()));
    let mut acts = call.acts();
    acts.extend(second(call, Event::Ringing));
    assert_eq!(acts.last(), Some(&noted(Way::Bridge, 180)));
    acts
}

fn joined() -> Call {
    let mut call = Call::talking_by(bridging(TransferWays::Bridge));
    ring(&mut call);
    answered(&mut call);
    call
}

fn answered(call: &mut Call) -> Vec<Act> {
    let answer = Some(answer("0 101"));
    second(call, Event::Answered { answer })
}

fn answer_without_events() -> Event {
    Event::Answered {
        answer: Some(answer("0")),
    }
}

fn second(call: &mut Call, event: Event) -> Vec<Act> {
    call.conductor.handle_second_leg(call.now, event);
    call.acts()
}

fn noted(way: Way, status: u16) -> Act {
    Act::Note(Note::Transfer {
        to: "sip:desk@a".to_owned(),
        way,
        status,
    })
}
