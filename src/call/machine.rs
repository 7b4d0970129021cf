//! The call's decisions, from the first INVITE to its outcome.
//!
//! The machine hears what the leg, the session, the media and the clock report, and says what to do: ring, answer,
//! greet, play the comfort tone, apologise, hang up. It knows no SIP, no RTP and no session protocol; the Call actor
//! translates. It ends exactly once, with an [`Outcome`].

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::outcome::{Cause, Outcome};

/// How long last words (an apology, the agent's goodbye) may take before the call ends anyway.
const LAST_WORDS_MAX: Duration = Duration::from_secs(15);

/// When the caller's INVITE is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As soon as the session can hear and speak; the caller hears ringing until then.
    WhenReady,
    /// At once; the caller hears the comfort tone until the session is there.
    AtOnce,
}

/// What the configuration says about one call.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// When to answer.
    pub answer: Answer,
    /// How long the caller may hear ringing.
    pub ring_max: Duration,
    /// How long an answered call may last.
    pub duration_max: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The session confirmed its configuration and can hear and speak.
    SessionReady,
    /// The session broke; it is being dialled again.
    SessionAway,
    /// The session broke and will not be dialled again.
    SessionGone,
    /// The caller cancelled before our answer.
    Cancelled,
    /// The caller acknowledged our answer.
    Confirmed,
    /// The caller hung up.
    ByeReceived,
    /// The leg ended by itself: no ACK, a lost connection.
    LegFailed(Cause),
    /// The offer or answer that came late cannot be used.
    MediaRefused(Cause),
    /// The agent asked to end the call.
    HangUpAsked,
    /// Everything the caller was to hear has left as RTP.
    Quiet,
    /// No RTP has come from the caller for the configured time.
    CallerSilent,
    /// The media driver or another part of this call failed.
    PartFailed,
    /// The gateway is stopping: finish the sentence and end.
    Finish,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Tell the caller that it rings.
    Ring,
    /// Answer the INVITE and start the media.
    Answer,
    /// Refuse the INVITE.
    Refuse(Cause),
    /// Let the agent speak first.
    Greet,
    /// Start or stop the comfort tone.
    Comfort(bool),
    /// Play the spoken apology.
    Apologise,
    /// Report [`Input::Quiet`] once nothing is left to be heard.
    AwaitQuiet,
    /// Hang up on the caller.
    HangUp(Cause),
    /// The call is over.
    End(Outcome),
}

/// The call's state machine.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    state: State,
    session: Session,
    greeted: bool,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The INVITE has no final response yet.
    Ringing,
    /// We answered and wait for the ACK.
    Answered,
    /// Both sides are there.
    Talking,
    /// Last words are being played; then the call ends for this cause.
    Closing(Cause),
    /// The outcome has been given.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Dialling,
    Ready,
    Gone,
}

impl Machine {
    /// A call whose INVITE has just been accepted for service.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let mut machine = Self {
            settings,
            state: State::Ringing,
            session: Session::Dialling,
            greeted: false,
            deadline: now.checked_add(settings.ring_max),
            outputs: VecDeque::new(),
        };
        match settings.answer {
            Answer::WhenReady => machine.push(Output::Ring),
            Answer::AtOnce => machine.answer(now),
        }
        machine
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.state == State::Ended {
            return;
        }
        match input {
            Input::SessionReady => self.session_ready(now),
            Input::SessionAway => self.session_away(),
            Input::SessionGone => self.session_gone(now),
            Input::Cancelled => self.end(Outcome::refused(Cause::Cancelled)),
            Input::Confirmed => self.confirmed(now),
            Input::ByeReceived => self.bye_received(),
            Input::LegFailed(cause) => self.end(self.outcome(cause)),
            Input::MediaRefused(cause) => self.stop(cause),
            Input::HangUpAsked => self.close(now, Cause::AgentHungUp),
            Input::Quiet => self.quiet(),
            Input::CallerSilent => self.stop(Cause::MediaTimeout),
            Input::PartFailed => self.stop(Cause::Crashed),
            Input::Finish => self.finish(now),
        }
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::Ringing => self.stop(Cause::SessionUnavailable),
            State::Answered | State::Talking => self.close(now, Cause::DurationMax),
            State::Closing(cause) => self.stop(cause),
            State::Ended => {}
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the outcome has been given.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    fn session_ready(&mut self, now: Instant) {
        self.session = Session::Ready;
        match self.state {
            State::Ringing => self.answer(now),
            State::Talking => self.serve(),
            State::Answered | State::Closing(_) | State::Ended => {}
        }
    }

    fn session_away(&mut self) {
        self.session = Session::Dialling;
        if self.state == State::Talking {
            self.push(Output::Comfort(true));
        }
    }

    fn session_gone(&mut self, now: Instant) {
        self.session = Session::Gone;
        match self.state {
            State::Ringing => self.stop(Cause::SessionUnavailable),
            State::Talking => self.apologise(now),
            // The apology waits for the ACK: before it nobody listens.
            State::Answered | State::Closing(_) | State::Ended => {}
        }
    }

    fn confirmed(&mut self, now: Instant) {
        if self.state != State::Answered {
            return;
        }
        self.state = State::Talking;
        match self.session {
            Session::Ready => self.serve(),
            Session::Dialling => self.push(Output::Comfort(true)),
            Session::Gone => self.apologise(now),
        }
    }

    fn bye_received(&mut self) {
        let cause = match self.state {
            State::Closing(cause) => cause,
            _ => Cause::CallerHungUp,
        };
        self.end(Outcome::answered(cause));
    }

    fn quiet(&mut self) {
        if let State::Closing(cause) = self.state {
            self.stop(cause);
        }
    }

    fn finish(&mut self, now: Instant) {
        match self.state {
            State::Ringing => self.stop(Cause::Draining),
            State::Answered => self.stop(Cause::Drained),
            State::Talking => self.close(now, Cause::Drained),
            State::Closing(_) | State::Ended => {}
        }
    }

    fn answer(&mut self, now: Instant) {
        self.state = State::Answered;
        self.deadline = now.checked_add(self.settings.duration_max);
        self.push(Output::Answer);
    }

    /// The session is there and the caller listens.
    fn serve(&mut self) {
        self.push(Output::Comfort(false));
        if !self.greeted {
            self.greeted = true;
            self.push(Output::Greet);
        }
    }

    fn apologise(&mut self, now: Instant) {
        self.push(Output::Comfort(false));
        self.push(Output::Apologise);
        self.close(now, Cause::SessionLost);
    }

    /// Ends the call once what is being said has been heard.
    fn close(&mut self, now: Instant, cause: Cause) {
        match self.state {
            State::Talking => {
                self.state = State::Closing(cause);
                self.deadline = now.checked_add(LAST_WORDS_MAX);
                self.push(Output::AwaitQuiet);
            }
            State::Ringing | State::Answered => self.stop(cause),
            State::Closing(_) | State::Ended => {}
        }
    }

    /// Ends the call now, from our side.
    fn stop(&mut self, cause: Cause) {
        match self.state {
            State::Ringing => self.push(Output::Refuse(cause)),
            State::Answered | State::Talking | State::Closing(_) => self.push(Output::HangUp(cause)),
            State::Ended => {}
        }
        self.end(self.outcome(cause));
    }

    fn outcome(&self, cause: Cause) -> Outcome {
        match self.state {
            State::Ringing => Outcome::refused(cause),
            _ => Outcome::answered(cause),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.deadline = None;
        self.push(Output::End(outcome));
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

#[cfg(test)]
mod tests {
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
    fn the_outcome_is_given_exactly_once_whatever_comes_in_whatever_order() {
        for seed in 0..2000_u64 {
            let mut call = Call::new(if seed % 2 == 0 {
                Answer::WhenReady
            } else {
                Answer::AtOnce
            });
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

    const ANY: [Input; 13] = [
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
        Input::PartFailed,
        Input::Finish,
    ];

    struct Call {
        now: Instant,
        machine: Machine,
    }

    impl Call {
        fn new(answer: Answer) -> Self {
            let now = Instant::now();
            let settings = Settings {
                answer,
                ring_max: Duration::from_secs(60),
                duration_max: Duration::from_secs(7200),
            };
            Self {
                now,
                machine: Machine::new(now, settings),
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

    fn ended(cause: Cause) -> Output {
        Output::End(Outcome::answered(cause))
    }

    fn count_ends(outputs: &[Output]) -> usize {
        outputs.iter().filter(|output| matches!(output, Output::End(_))).count()
    }
}
