//! Tool calls from a session's word to what is done, and back.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    call::recording::{Ask, Step as Recorded},
    tools::{Concealed, Ended, External, Origin, Reply, desk::Decision},
};

#[test]
fn a_tool_that_is_done_elsewhere_is_begun_and_its_reply_goes_to_the_session() {
    let mut call = equipped(false);
    let acts = call.tool("look_up", r#"{"id":1}"#);
    assert!(matches!(&acts[0], Act::Note(Note::ToolCalled { name, .. }) if name == "look_up"));
    assert!(matches!(&acts[1], Act::Tool(Work::Start(errand)) if errand.arguments == json!({ "id": 1 })));
    call.conductor
        .tool_replied(call.now, "t", Reply::Done("found".to_owned()));
    let acts = call.acts();
    assert_eq!(word(&acts[0]), Some(("look_up", Ended::Ok)));
    assert_eq!(acts[1], result("found"));
}

#[test]
fn tools_that_change_are_told_to_the_session_once_and_may_be_called() {
    let mut call = equipped(false);
    let fewer = Toolbox::new(vec![Tool::HangUp], Default::default(), false);
    call.conductor.retool(fewer.clone());
    assert_eq!(call.acts(), [Act::Media(Order::Tools(fewer.specs()))]);
    call.conductor.retool(fewer);
    assert_eq!(call.acts(), []);
    let acts = call.tool("look_up", r#"{"id":1}"#);
    assert!(
        !acts.iter().any(|act| matches!(act, Act::Tool(_))),
        "it is gone: {acts:?}"
    );
}

#[test]
fn arguments_that_do_not_fit_are_explained_and_nothing_is_begun() {
    let mut call = equipped(false);
    let acts = call.tool("look_up", r#"{"id":"one"}"#);
    assert!(
        matches!(&acts[1], Act::Media(Order::ToolResult { output, respond: true, .. })
        if output.contains("id must be of type integer")),
        "{acts:?}"
    );
    assert_eq!((word(&acts[2]), acts.len()), (Some(("look_up", Ended::Failed)), 3));
}

#[test]
fn a_tool_call_told_again_by_the_next_session_runs_once() {
    let mut call = equipped(false);
    call.tool("look_up", r#"{"id":1}"#);
    call.hear(Input::SessionAway);
    call.hear(Input::SessionReady);
    assert_eq!(call.tool("look_up", r#"{"id":1}"#), []);
    call.conductor
        .tool_replied(call.now, "t", Reply::Done("found".to_owned()));
    call.acts();
    assert_eq!(call.tool("look_up", r#"{"id":1}"#), [result("found")]);
}

#[test]
fn what_a_person_has_to_agree_to_waits_and_a_reason_reaches_the_agent() {
    let mut call = equipped(true);
    let acts = call.tool("look_up", r#"{"id":1}"#);
    assert!(matches!(acts[1], Act::Tool(Work::Ask(..))), "{acts:?}");
    let no = Decision {
        approved: false,
        reason: "not today".to_owned(),
    };
    assert!(call.conductor.decide(call.now, "t", &no));
    let acts = call.acts();
    assert_eq!(acts[0], Act::Tool(Work::Withdraw("t".to_owned(), Some(false))));
    assert_eq!(word(&acts[1]), Some(("look_up", Ended::Rejected)));
    assert!(matches!(&acts[2], Act::Media(Order::ToolResult { output, .. }) if output.contains("not today")));
    assert!(!call.conductor.decide(call.now, "t", &no));
}

#[test]
fn the_end_of_the_call_stops_what_is_under_way_before_it_ends() {
    let mut call = equipped(false);
    call.tool("look_up", r#"{"id":1}"#);
    let acts = call.leg(Event::ByeReceived { reason: None });
    let at = |wanted: &dyn Fn(&Act) -> bool| acts.iter().position(wanted).unwrap();
    let stopped = at(&|act| matches!(act, Act::Tool(Work::Stop(_))));
    let told = at(&|act| word(act) == Some(("look_up", Ended::Cancelled)));
    assert!(
        stopped < told && told < at(&|act| matches!(act, Act::End(_))),
        "{acts:?}"
    );
    assert_eq!(call.conductor.poll_timeout(), None);
}

#[test]
fn what_is_collected_is_seen_by_the_tool_alone() {
    let mut call = equipped(false);
    call.conductor.settings.recording = crate::call::recording::Policy::On;
    let mut call = call.again();
    let acts = call.tool("collect_digits", r#"{"length":4}"#);
    assert_eq!(
        acts[1..3],
        [Act::Media(Order::Hush(true)), Act::Media(Order::Divert(true))]
    );
    assert_eq!(acts[3], Act::Record(Recorded::Pause(true)));
    assert_eq!(call.conductor.record(call.now, Ask::Resume), Err(NotNow::Collecting));
    for key in "471".chars() {
        assert_eq!(call.report(Report::VaultKey(Concealed(key))), []);
    }
    let acts = call.report(Report::VaultKey(Concealed('1')));
    assert_eq!(
        acts[..2],
        [Act::Media(Order::Divert(false)), Act::Media(Order::Hush(false))]
    );
    assert_eq!(acts[2], Act::Record(Recorded::Pause(false)));
    let told = format!("{acts:?}");
    assert!(told.contains("Collected 4 digits") && !told.contains("4711"), "{told}");
    let acts = call.report(tool_call("u", "look_up", r#"{"id":1,"pin":"digits_1"}"#));
    let Act::Tool(Work::Start(errand)) = &acts[1] else {
        panic!("{acts:?}")
    };
    assert_eq!(errand.digits.reveal("pin"), Some("4711"));
    assert!(!format!("{acts:?}").contains("4711"));
    call.conductor
        .tool_replied(call.now, "u", Reply::Done("4711 is right".to_owned()));
    assert!(format!("{:?}", call.acts()).contains("**** is right"));
}

#[test]
fn whoever_takes_the_call_over_from_the_agent_gets_the_callers_keys() {
    let mut call = equipped(false);
    call.tool("collect_digits", "{}");
    call.conductor.close_tools(call.now);
    let acts = call.acts();
    let given_back = [Act::Media(Order::Divert(false)), Act::Media(Order::Hush(false))];
    assert!(acts.starts_with(&given_back), "{acts:?}");
}

#[test]
fn a_caller_who_types_nothing_is_not_waited_for_without_end() {
    let mut call = equipped(false);
    call.tool("collect_digits", "{}");
    let due = call.conductor.poll_timeout().unwrap();
    call.conductor.handle_timeout(due);
    assert!(format!("{:?}", call.acts()).contains("typed nothing"));
}

#[test]
fn a_caller_on_hold_hears_a_tone_until_a_tool_answers_or_the_time_is_over() {
    let mut call = equipped(false);
    call.tool("look_up", r#"{"id":1}"#);
    let acts = call.report(tool_call("h", "hold", r#"{"seconds":9}"#));
    assert_eq!(acts[1..], [Act::Media(Order::Hold(true))]);
    call.conductor
        .tool_replied(call.now, "t", Reply::Done("found".to_owned()));
    let acts = call.acts();
    assert!(acts.contains(&Act::Media(Order::Hold(false))) && acts.contains(&result("found")));
    assert!(
        acts.iter().any(|act| word(act) == Some(("hold", Ended::Ok))),
        "{acts:?}"
    );
    call.report(tool_call("i", "hold", r#"{"seconds":9}"#));
    call.conductor.handle_timeout(call.now + Duration::from_secs(9));
    assert!(call.acts().contains(&Act::Media(Order::Hold(false))));
}

#[test]
fn every_tool_call_leaves_one_word_whatever_becomes_of_it() {
    let mut call = equipped(false);
    let words = |acts: Vec<Act>| {
        acts.iter()
            .filter_map(|act| word(act).map(|(_, ended)| ended))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(call.report(tool_call("1", "send_dtmf", r#"{"digits":"1"}"#))),
        [Ended::Ok]
    );
    assert_eq!(words(call.report(tool_call("2", "no_such", "{}"))), [Ended::Failed]);
    assert_eq!(
        words(call.report(tool_call("3", "transfer", r#"{"target":"desk"}"#))),
        []
    );
    assert_eq!(
        words(call.leg(Event::TransferProgress { status: 486 })),
        [Ended::Failed]
    );
    assert_eq!(
        words(call.report(tool_call("4", "transfer", r#"{"target":"desk"}"#))),
        []
    );
    assert_eq!(words(call.leg(Event::ByeReceived { reason: None })), [Ended::Cancelled]);
}

fn equipped(approval: bool) -> Call {
    let tool = External {
        name: "look_up".to_owned(),
        description: String::new(),
        parameters: json!({ "type": "object", "properties": { "id": { "type": "integer" } } }),
        origin: Origin::Http,
        approval,
        manners: Default::default(),
    };
    let own = vec![Tool::Transfer, Tool::SendDtmf, Tool::CollectDigits, Tool::Hold];
    let targets = [("desk".to_owned(), "sip:desk@a".to_owned())].into();
    let mut call = Call::talking();
    call.conductor.settings.toolbox = Toolbox::new(own, targets, false).with([Arc::new(tool)]);
    call
}

impl Call {
    /// Another call with the same settings, answered.
    fn again(&self) -> Self {
        let conductor = Conductor::placing(self.now, self.conductor.settings.clone());
        let mut call = Self {
            now: self.now,
            conductor,
        };
        let ip = local().address;
        call.leg(Event::Located {
            local_ip: ip,
            advertised_ip: ip,
        });
        call.conductor.located(call.now, Ok(local()));
        call.hear(Input::SessionReady);
        call.leg(Event::Answered {
            answer: Some(answer("0 101")),
        });
        call
    }
}

fn tool_call(call_id: &str, name: &str, arguments: &str) -> Report {
    Report::ToolCall {
        session: 1,
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn word(act: &Act) -> Option<(&str, Ended)> {
    match act {
        Act::Note(Note::ToolFinished(finished)) => Some((&finished.name, finished.ended)),
        _ => None,
    }
}

fn result(output: &str) -> Act {
    Act::Media(Order::ToolResult {
        call_id: "t".to_owned(),
        output: output.to_owned(),
        respond: true,
    })
}
