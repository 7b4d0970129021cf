//! When a call is recorded, and what the caller hears before.

use super::*;
use crate::{
    audio::SampleRate,
    call::recording::{Ask, Misfit, Policy, Prompt, Step},
};

#[test]
fn a_recorded_agent_is_recorded_from_the_answer_at_the_rate_of_the_leg() {
    let mut call = Call::located();
    call.conductor.settings.recording = Policy::On;
    call.hear(Input::SessionReady);
    let acts = call.leg(Event::Answered {
        answer: Some(answer("0 101")),
    });
    assert_eq!(steps(&acts), [begin(1, Wanted::Agent, false)]);
    assert_eq!(steps(&call.report(Report::Quiet)), []);
}

#[test]
fn the_control_api_records_only_while_somebody_talks() {
    let mut call = Call::located();
    assert_eq!(call.conductor.record(call.now, Ask::Start), Err(NotNow::NotTalking));
    let mut call = Call::talking();
    assert_eq!(call.ask(Ask::Pause), Err(NotNow::Recording(Misfit::NotRecording)));
    assert_eq!(call.ask(Ask::Start), Ok(vec![begin(1, Wanted::Api, false)]));
    assert_eq!(call.ask(Ask::Pause), Ok(vec![Step::Pause(true)]));
    assert_eq!(call.ask(Ask::Stop), Ok(vec![Step::End]));
    assert_eq!(call.ask(Ask::Start), Ok(vec![begin(2, Wanted::Api, false)]));
}

#[test]
fn one_that_fails_by_itself_is_ended_once_and_leaves_a_later_one_alone() {
    let mut call = Call::talking();
    call.ask(Ask::Start).unwrap();
    call.conductor.recording_failed(1);
    assert_eq!(steps(&call.acts()), [Step::End]);
    call.ask(Ask::Start).unwrap();
    call.conductor.recording_failed(1);
    assert_eq!(call.acts(), []);
}

#[test]
fn with_consent_the_prompt_comes_first_then_the_recording_then_the_greeting() {
    let mut call = Call::asking();
    let acts = call.report(Report::PromptHeard);
    assert_eq!(
        acts,
        [Act::Record(begin(1, Wanted::Agent, true)), Act::Media(Order::Greet)]
    );
    assert_eq!(call.report(Report::PromptHeard), []);
}

#[test]
fn a_prompt_that_is_cut_off_is_said_again_and_at_last_given_up() {
    let mut call = Call::asking();
    for _ in 0..2 {
        assert_eq!(call.report(Report::PromptCut), [Act::Media(Order::Prompt(prompt()))]);
    }
    let acts = call.report(Report::PromptCut);
    assert_eq!(acts, [Act::Note(Note::NoConsent), Act::Media(Order::Greet)]);
    // By hand it can be tried again; the greeting is not repeated.
    call.conductor.record(call.now, Ask::Start).unwrap();
    assert_eq!(call.acts(), [Act::Media(Order::Prompt(prompt()))]);
    assert_eq!(
        call.report(Report::PromptHeard),
        [Act::Record(begin(1, Wanted::Api, true))]
    );
}

#[test]
fn a_prompt_that_nobody_says_anything_of_counts_as_cut_off() {
    let mut call = Call::asking();
    for _ in 0..2 {
        call.now = call.conductor.poll_timeout().unwrap();
        call.conductor.handle_timeout(call.now);
        assert_eq!(call.acts(), [Act::Media(Order::Prompt(prompt()))]);
    }
    call.now = call.conductor.poll_timeout().unwrap();
    call.conductor.handle_timeout(call.now);
    assert_eq!(call.acts(), [Act::Note(Note::NoConsent), Act::Media(Order::Greet)]);
}

#[test]
fn a_session_that_takes_over_says_the_prompt_anew() {
    let mut call = Call::asking();
    call.hear(Input::SessionAway);
    let acts = call.hear(Input::SessionReady);
    assert!(acts.contains(&Act::Media(Order::Prompt(prompt()))), "{acts:?}");
    assert!(!acts.contains(&Act::Media(Order::Greet)), "{acts:?}");
}

impl Call {
    /// The caller is to be recorded, and hears the prompt.
    fn asking() -> Self {
        let mut call = Self::located();
        call.conductor.settings.recording = Policy::Consent(prompt());
        call.hear(Input::SessionReady);
        let acts = call.leg(Event::Answered {
            answer: Some(answer("0 101")),
        });
        assert_eq!(acts.last(), Some(&Act::Media(Order::Prompt(prompt()))));
        assert_eq!(steps(&acts), []);
        call
    }

    fn ask(&mut self, ask: Ask) -> Result<Vec<Step>, NotNow> {
        self.conductor.record(self.now, ask)?;
        Ok(steps(&self.acts()))
    }
}

fn prompt() -> Prompt {
    Prompt::Words("This call is recorded.".to_owned())
}

fn begin(number: u32, by: Wanted, told: bool) -> Step {
    Step::Begin {
        number,
        rate: SampleRate::Hz8000,
        by,
        told,
    }
}

fn steps(acts: &[Act]) -> Vec<Step> {
    let step = |act: &Act| match act {
        Act::Record(step) => Some(*step),
        _ => None,
    };
    acts.iter().filter_map(step).collect()
}
