//! What the machine does about everything that may happen to a call.

use super::*;

#[test]
fn a_call_rings_until_the_session_is_ready_then_greets_after_the_ack() {
    let mut call = Call::new(Answer::WhenReady);
    assert_eq!(call.outputs(), [Output::Ring]);
    assert_eq!(call.hear(Input::SessionReady), [Output::Answer]);
    assert_eq!(call.hear(Input::Confirmed), [Output::Comfort(false), Output::Greet]);
    assert_eq!(call.hear(Input::ByeReceived), [ended(Cause::CallerHungUp)]);
}

#[test]
fn a_call_answered_at_once_hears_the_comfort_tone_until_the_session_is_ready() {
    let mut call = Call::new(Answer::AtOnce);
    assert_eq!(call.outputs(), [Output::Answer]);
    assert_eq!(call.hear(Input::Confirmed), [Output::Comfort(true)]);
    assert_eq!(call.hear(Input::SessionReady), [Output::Comfort(false), Output::Greet]);
}

#[test]
fn a_reconnected_session_does_not_greet_again() {
    let mut call = Call::talking();
    assert_eq!(call.hear(Input::SessionAway), [Output::Comfort(true)]);
    assert_eq!(call.hear(Input::SessionReady), [Output::Comfort(false)]);
}

#[test]
fn a_session_that_is_gone_is_apologised_for_and_the_call_ends_after_the_words() {
    let mut call = Call::talking();
    let spoken = call.hear(Input::SessionGone);
    assert_eq!(spoken, [Output::Comfort(false), Output::Apologise, Output::AwaitQuiet]);
    let over = call.hear(Input::Quiet);
    assert_eq!(over, [Output::HangUp(Cause::SessionLost), ended(Cause::SessionLost)]);
}

#[test]
fn a_session_that_never_comes_refuses_the_call() {
    let mut call = Call::new(Answer::WhenReady);
    call.outputs();
    let refused = call.hear(Input::SessionGone);
    let outcome = Output::End(Outcome {
        cause: Cause::SessionUnavailable,
        sip_code: 503,
    });
    assert_eq!(refused, [Output::Refuse(Cause::SessionUnavailable), outcome]);
}

#[test]
fn ringing_is_bounded() {
    let mut call = Call::new(Answer::WhenReady);
    call.outputs();
    assert_eq!(
        call.wait(Duration::from_secs(60))[0],
        Output::Refuse(Cause::SessionUnavailable)
    );
}

#[test]
fn a_call_of_the_maximum_length_ends_after_the_sentence() {
    let mut call = Call::talking();
    assert_eq!(call.wait(Duration::from_secs(7200)), [Output::AwaitQuiet]);
    assert_eq!(call.hear(Input::Quiet)[0], Output::HangUp(Cause::DurationMax));
}

#[test]
fn last_words_are_bounded() {
    let mut call = Call::talking();
    call.hear(Input::HangUpAsked);
    assert_eq!(call.wait(LAST_WORDS_MAX)[0], Output::HangUp(Cause::AgentHungUp));
}

#[test]
fn a_stopping_gateway_refuses_the_ringing_and_lets_the_talking_finish() {
    let mut ringing = Call::new(Answer::WhenReady);
    ringing.outputs();
    assert_eq!(ringing.hear(Input::Finish)[0], Output::Refuse(Cause::Draining));
    let mut talking = Call::talking();
    assert_eq!(talking.hear(Input::Finish), [Output::AwaitQuiet]);
    assert_eq!(talking.hear(Input::Quiet)[0], Output::HangUp(Cause::Drained));
}

#[test]
fn a_callee_is_greeted_the_moment_it_answers() {
    let mut call = Call::dialling();
    assert_eq!(call.hear(Input::SessionReady), []);
    assert_eq!(call.hear(Input::Rung), []);
    assert_eq!(call.hear(Input::Accepted), [Output::Comfort(false), Output::Greet]);
    assert_eq!(call.hear(Input::ByeReceived), [ended(Cause::CalleeHungUp)]);
}

#[test]
fn a_callee_that_answers_before_the_session_is_ready_hears_the_comfort_tone_first() {
    let mut call = Call::dialling();
    assert_eq!(call.hear(Input::Accepted), [Output::Comfort(true)]);
    assert_eq!(call.hear(Input::SessionReady), [Output::Comfort(false), Output::Greet]);
}

#[test]
fn a_session_that_cannot_be_had_cancels_the_call_we_place() {
    let mut call = Call::dialling();
    let outcome = Output::End(Outcome::given_up(Cause::SessionUnavailable));
    assert_eq!(
        call.hear(Input::SessionGone),
        [Output::HangUp(Cause::SessionUnavailable), outcome]
    );
}

#[test]
fn a_call_turned_down_keeps_the_status_it_was_turned_down_with() {
    for (status, cause) in [(486, Cause::Busy), (603, Cause::Declined), (404, Cause::NotFound)] {
        let mut call = Call::dialling();
        let outcome = Outcome {
            cause,
            sip_code: status,
        };
        assert_eq!(call.hear(Input::Rejected(status)), [Output::End(outcome)]);
    }
}

#[test]
fn nobody_answering_is_told_from_nobody_being_there() {
    for (inputs, cause) in [(&[Input::Rung][..], Cause::NoAnswer), (&[], Cause::Unreachable)] {
        let mut call = Call::dialling();
        inputs.iter().for_each(|input| drop(call.hear(*input)));
        let given_up = call.wait(Duration::from_secs(60) + RING_SLACK);
        assert_eq!(given_up, [Output::HangUp(cause), Output::End(Outcome::given_up(cause))]);
    }
}

#[test]
fn a_call_handed_on_or_ended_by_order_ends_at_once() {
    for (input, cause) in [
        (Input::Transferred, Cause::Transferred),
        (Input::HangUpOrdered, Cause::ApiHungUp),
    ] {
        assert_eq!(Call::talking().hear(input), [Output::HangUp(cause), ended(cause)]);
    }
    let mut ringing = Call::new(Answer::WhenReady);
    ringing.outputs();
    let refused = ringing.hear(Input::HangUpOrdered);
    assert_eq!(refused[1], Output::End(Outcome::refused(Cause::ApiHungUp)));
}

#[test]
fn the_greeting_may_come_before_the_answer() {
    let mut call = Call::new(Answer::AfterGreeting);
    assert_eq!(call.outputs(), [Output::Ring]);
    let early = [Output::Progress, Output::Greet, Output::AwaitSaid];
    assert_eq!(call.hear(Input::SessionReady), early);
    assert_eq!(call.hear(Input::Said), [Output::Answer]);
    assert_eq!(call.hear(Input::Confirmed), [Output::Comfort(false)]);
}

#[test]
fn a_greeting_that_does_not_end_is_answered_into() {
    let mut call = Call::new(Answer::AfterGreeting);
    call.hear(Input::SessionReady);
    assert_eq!(call.wait(EARLY_MAX), [Output::Answer]);
}

#[test]
fn an_agent_may_refuse_the_call_with_its_greeting() {
    let mut call = Call::new(Answer::AfterGreeting);
    call.hear(Input::SessionReady);
    assert_eq!(call.hear(Input::HangUpAsked), [Output::AwaitQuiet]);
    let refused = Output::End(Outcome::refused(Cause::AgentHungUp));
    assert_eq!(call.hear(Input::Quiet), [Output::Refuse(Cause::AgentHungUp), refused]);
}

#[test]
fn a_spent_budget_is_told_by_the_agent_where_it_can_and_ends_the_call() {
    let spent = Input::BudgetSpent { goodbye: true };
    let mut call = Call::talking();
    assert_eq!(call.hear(spent), [Output::SayGoodbye, Output::AwaitSaid]);
    assert_eq!(call.hear(Input::Said), [Output::AwaitQuiet]);
    let over = [Output::HangUp(Cause::BudgetSpent), ended(Cause::BudgetSpent)];
    assert_eq!(call.hear(Input::Quiet), over);
    let mut silent = Call::talking();
    silent.hear(spent);
    assert_eq!(
        silent.wait(LAST_WORDS_MAX),
        over,
        "an agent that says nothing is not waited for"
    );
    let mut away = Call::talking();
    away.hear(Input::SessionAway);
    assert_eq!(away.hear(spent), [Output::AwaitQuiet]);
    let mut wordless = Call::talking();
    assert_eq!(
        wordless.hear(Input::BudgetSpent { goodbye: false }),
        [Output::AwaitQuiet]
    );
}

#[test]
fn the_outcome_is_given_exactly_once_whatever_comes_in_whatever_order() {
    for seed in 0..2000_u64 {
        let mut call = match seed % 4 {
            0 => Call::new(Answer::WhenReady),
            1 => Call::new(Answer::AtOnce),
            2 => Call::new(Answer::AfterGreeting),
            _ => Call::dialling(),
        };
        let mut ends = count_ends(&call.outputs());
        let mut state = seed;
        for _ in 0..40 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ends += count_ends(&call.hear(ANY[(state >> 33) as usize % ANY.len()]));
        }
        ends += count_ends(&call.wait(Duration::from_secs(8000)));
        ends += count_ends(&call.wait(LAST_WORDS_MAX));
        assert_eq!(ends, 1, "seed {seed}");
    }
}

const ANY: [Input; 20] = [
    Input::SessionReady,
    Input::SessionAway,
    Input::SessionGone,
    Input::Cancelled,
    Input::Confirmed,
    Input::ByeReceived,
    Input::LegFailed(Cause::AckTimeout),
    Input::MediaRefused(Cause::BadSdp),
    Input::HangUpAsked,
    Input::Quiet,
    Input::CallerSilent,
    Input::Unheard,
    Input::PartFailed,
    Input::Finish,
    Input::Said,
    Input::Rung,
    Input::Accepted,
    Input::Rejected(486),
    Input::Transferred,
    Input::HangUpOrdered,
];

struct Call {
    now: Instant,
    machine: Machine,
}

impl Call {
    fn new(answer: Answer) -> Self {
        let now = Instant::now();
        Self {
            now,
            machine: Machine::new(now, settings(answer)),
        }
    }

    fn dialling() -> Self {
        let now = Instant::now();
        Self {
            now,
            machine: Machine::dial(now, settings(Answer::WhenReady)),
        }
    }

    fn talking() -> Self {
        let mut call = Self::new(Answer::WhenReady);
        call.hear(Input::SessionReady);
        call.hear(Input::Confirmed);
        call
    }

    fn hear(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.outputs()
    }

    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.machine.handle_timeout(self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }
}

fn settings(answer: Answer) -> Settings {
    Settings {
        answer,
        ring_max: Duration::from_secs(60),
        duration_max: Duration::from_secs(7200),
        failover: Failover::default(),
    }
}

fn ended(cause: Cause) -> Output {
    Output::End(Outcome::answered(cause))
}

fn count_ends(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::End(_))).count()
}
