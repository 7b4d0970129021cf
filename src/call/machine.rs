//! The call's decisions, from the first INVITE to its outcome, whoever sent it.
//!
//! The machine hears what the leg, the session, the media and the clock report, and says what to do: ring, answer,
//! greet, play the comfort tone, apologise, hang up. It knows no SIP, no RTP and no session protocol; the
//! [`Conductor`](super::Conductor) translates. It ends exactly once, with an [`Outcome`].

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::outcome::{Cause, Outcome};
pub use failover::Failover;
use failover::Step;

mod failover;

/// How long last words (an apology, the agent's goodbye) may take before the call ends anyway.
const LAST_WORDS_MAX: Duration = Duration::from_secs(15);

/// How long a caller is greeted before the answer; then the call is answered wherever the greeting has come to.
const EARLY_MAX: Duration = Duration::from_secs(20);

/// How much longer than it may ring a call we place is waited for: the SIP side, which cancels it in time, knows better
/// how it ended.
const RING_SLACK: Duration = Duration::from_secs(5);

/// When the caller's INVITE is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As soon as the session can hear and speak; the caller hears ringing until then.
    WhenReady,
    /// At once; the caller hears the comfort tone until the session is there.
    AtOnce,
    /// Once the caller has heard the greeting, which plays before the answer as soon as the session is ready; also when
    /// the caller speaks or presses a key meanwhile, and after twenty seconds of it.
    AfterGreeting,
}

/// What the configuration says about one call.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// When to answer a call that comes in.
    pub answer: Answer,
    /// How long it may ring.
    pub ring_max: Duration,
    /// How long an answered call may last.
    pub duration_max: Duration,
    /// What is left to a caller whose agent has gone for good.
    pub failover: Failover,
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
    /// The greeting has been heard, or the caller cut in, after [`Output::AwaitSaid`].
    Said,
    /// The callee's phone rings, or its side plays something.
    Rung,
    /// The callee answered.
    Accepted,
    /// The call we placed was turned down with this status.
    Rejected(u16),
    /// The other side has been handed on: our part is over.
    Transferred,
    /// It could not be handed on.
    NotTransferred,
    /// The other side has been joined with somebody we called: the agent has no more to do with it.
    Joined,
    /// Whom it was joined with is not there any more.
    Parted(Cause),
    /// The control API ends the call, now.
    HangUpOrdered,
    /// The other side hung up.
    ByeReceived,
    /// The leg ended by itself: no ACK, a lost connection.
    LegFailed(Cause),
    /// The offer or answer that came late cannot be used, or there are no ports for the media.
    MediaRefused(Cause),
    /// The agent asked to end the call.
    HangUpAsked,
    /// Everything the caller was to hear has left as RTP.
    Quiet,
    /// Neither side has said anything, and the caller did not answer when asked.
    CallerIdle,
    /// No RTP has come from the caller for the configured time.
    CallerSilent,
    /// The other side has heard nothing of us for too long.
    Unheard,
    /// The media driver or another part of this call failed.
    PartFailed,
    /// The gateway is stopping: finish the sentence and end.
    Finish,
    /// A budget is spent, and whether there is something to say about it.
    BudgetSpent {
        /// There is.
        goodbye: bool,
    },
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Tell the caller that it rings.
    Ring,
    /// Start the media before the answer, and tell the caller.
    Progress,
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
    /// Play the prompt of a call whose agent has gone for good.
    FailoverPrompt,
    /// Hand the call on to whom such calls go to, and report [`Input::Transferred`] or [`Input::NotTransferred`].
    HandOn,
    /// Report [`Input::Quiet`] once nothing is left to be heard.
    AwaitQuiet,
    /// Report [`Input::Said`] once the agent has said something and it has been heard, or the caller cuts in.
    AwaitSaid,
    /// Hang up on the other side, or cancel the call we place.
    HangUp(Cause),
    /// The call is over.
    End(Outcome),
    /// Have the agent say goodbye.
    SayGoodbye,
}

/// The call's state machine.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    outgoing: bool,
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
    /// The same, but the agent speaks already.
    Early,
    /// The call we place has no final response yet; whether it rings.
    Dialling { rung: bool },
    /// We answered and wait for the ACK.
    Answered,
    /// Both sides are there.
    Talking,
    /// No session can be had any more.
    FailingOver(Step),
    /// The other side speaks with somebody we called.
    Joined,
    /// Last words are being played; then the call ends for this cause. Whether it was answered.
    Closing { cause: Cause, answered: bool },
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
            outgoing: false,
            state: State::Ringing,
            session: Session::Dialling,
            greeted: false,
            deadline: now.checked_add(settings.ring_max),
            outputs: VecDeque::new(),
        };
        match settings.answer {
            Answer::WhenReady | Answer::AfterGreeting => machine.push(Output::Ring),
            Answer::AtOnce => machine.answer(now),
        }
        machine
    }

    /// A call that is being placed.
    pub fn dial(now: Instant, settings: Settings) -> Self {
        Self {
            settings,
            outgoing: true,
            state: State::Dialling { rung: false },
            session: Session::Dialling,
            greeted: false,
            deadline: now.checked_add(settings.ring_max.saturating_add(RING_SLACK)),
            outputs: VecDeque::new(),
        }
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
            Input::Said => self.said(now),
            Input::Rung => self.rung(),
            Input::Accepted => self.accepted(now),
            Input::Rejected(status) => self.rejected(status),
            Input::Transferred => self.stop(Cause::Transferred),
            Input::NotTransferred => self.not_handed_on(now),
            Input::Joined => self.joined(now),
            Input::Parted(cause) => self.stop(cause),
            Input::HangUpOrdered => self.stop(Cause::ApiHungUp),
            Input::ByeReceived => self.bye_received(),
            Input::LegFailed(cause) => self.end(self.failure(cause)),
            Input::MediaRefused(cause) => self.stop(cause),
            Input::HangUpAsked => self.close(now, Cause::AgentHungUp),
            Input::Quiet => self.quiet(now),
            Input::CallerIdle => self.close(now, Cause::CallerIdle),
            Input::CallerSilent => self.stop(Cause::MediaTimeout),
            Input::Unheard => self.stop(Cause::Unheard),
            Input::PartFailed => self.stop(Cause::Crashed),
            Input::Finish => self.finish(now),
            Input::BudgetSpent { goodbye } => self.budget_spent(now, goodbye),
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
            State::Early => self.answer(now),
            State::Dialling { rung: false } => self.stop(Cause::Unreachable),
            State::Dialling { rung: true } => self.stop(Cause::NoAnswer),
            State::Answered | State::Talking => self.close(now, Cause::DurationMax),
            State::FailingOver(_) => self.hand_on(now),
            State::Joined => self.stop(Cause::DurationMax),
            State::Closing { cause, .. } => self.stop(cause),
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
            State::Ringing if self.settings.answer == Answer::AfterGreeting => self.greet_early(now),
            State::Ringing => self.answer(now),
            State::Talking => self.serve(),
            State::Early
            | State::Dialling { .. }
            | State::Answered
            | State::FailingOver(_)
            | State::Joined
            | State::Closing { .. }
            | State::Ended => {}
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
            State::Ringing | State::Early | State::Dialling { .. } => self.stop(Cause::SessionUnavailable),
            State::Talking => self.fail_over(now),
            // What is said then waits for the ACK: before it nobody listens.
            State::Answered | State::FailingOver(_) | State::Joined | State::Closing { .. } | State::Ended => {}
        }
    }

    fn confirmed(&mut self, now: Instant) {
        if self.state == State::Answered {
            self.talk(now);
        }
    }

    /// Both sides are there.
    fn talk(&mut self, now: Instant) {
        self.state = State::Talking;
        match self.session {
            Session::Ready => self.serve(),
            Session::Dialling => self.push(Output::Comfort(true)),
            Session::Gone => self.fail_over(now),
        }
    }

    /// The greeting before the answer, or the goodbye, has been heard.
    fn said(&mut self, now: Instant) {
        match self.state {
            State::Early => self.answer(now),
            State::Closing { .. } => self.push(Output::AwaitQuiet),
            _ => {}
        }
    }

    /// The agent says goodbye where it can.
    fn budget_spent(&mut self, now: Instant, goodbye: bool) {
        if self.state == State::Joined {
            // The agent costs nothing any more.
            return;
        }
        if !goodbye || self.state != State::Talking || self.session != Session::Ready {
            return self.close(now, Cause::BudgetSpent);
        }
        self.state = State::Closing {
            cause: Cause::BudgetSpent,
            answered: true,
        };
        self.deadline = now.checked_add(LAST_WORDS_MAX);
        self.push(Output::SayGoodbye);
        self.push(Output::AwaitSaid);
    }

    fn rung(&mut self) {
        if let State::Dialling { rung } = &mut self.state {
            *rung = true;
        }
    }

    /// The callee answered: it says hello now, and so does the agent.
    fn accepted(&mut self, now: Instant) {
        if matches!(self.state, State::Dialling { .. }) {
            self.deadline = now.checked_add(self.settings.duration_max);
            self.talk(now);
        }
    }

    fn rejected(&mut self, status: u16) {
        if let State::Dialling { rung } = self.state {
            self.end(Outcome::rejected(status, rung));
        }
    }

    /// Whether the other side can be joined with somebody we called.
    pub fn may_join(&self) -> bool {
        matches!(self.state, State::Talking | State::FailingOver(_))
    }

    fn joined(&mut self, now: Instant) {
        if self.may_join() {
            // A call whose agent had gone was not to last, so it had no bound any more.
            self.deadline = self.deadline.or(now.checked_add(self.settings.duration_max));
            self.state = State::Joined;
        }
    }

    fn bye_received(&mut self) {
        let cause = match self.state {
            State::Closing { cause, .. } => cause,
            _ if self.outgoing => Cause::CalleeHungUp,
            _ => Cause::CallerHungUp,
        };
        self.end(Outcome::answered(cause));
    }

    fn quiet(&mut self, now: Instant) {
        match self.state {
            State::Closing { cause, .. } => self.stop(cause),
            State::FailingOver(Step::Prompting) => self.hand_on(now),
            _ => {}
        }
    }

    fn finish(&mut self, now: Instant) {
        match self.state {
            State::Ringing | State::Early | State::Dialling { .. } => self.stop(Cause::Draining),
            State::Answered => self.stop(Cause::Drained),
            State::Talking => self.close(now, Cause::Drained),
            State::FailingOver(_) | State::Joined => self.stop(Cause::Drained),
            State::Closing { .. } | State::Ended => {}
        }
    }

    fn greet_early(&mut self, now: Instant) {
        self.state = State::Early;
        self.greeted = true;
        let bound = now.checked_add(EARLY_MAX);
        self.deadline = self.deadline.into_iter().chain(bound).min();
        [Output::Progress, Output::Greet, Output::AwaitSaid]
            .into_iter()
            .for_each(|output| self.push(output));
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
            State::Talking | State::Early | State::FailingOver(_) => {
                let answered = self.state != State::Early;
                self.state = State::Closing { cause, answered };
                self.deadline = now.checked_add(LAST_WORDS_MAX);
                self.push(Output::AwaitQuiet);
            }
            State::Ringing | State::Dialling { .. } | State::Answered => self.stop(cause),
            State::Joined | State::Closing { .. } | State::Ended => {}
        }
    }

    /// Ends the call now, from our side.
    fn stop(&mut self, cause: Cause) {
        let (output, outcome) = match self.state {
            State::Ringing | State::Early | State::Closing { answered: false, .. } => {
                (Output::Refuse(cause), Outcome::refused(cause))
            }
            State::Dialling { .. } => (Output::HangUp(cause), Outcome::given_up(cause)),
            State::Answered
            | State::Talking
            | State::FailingOver(_)
            | State::Joined
            | State::Closing { answered: true, .. } => (Output::HangUp(cause), Outcome::answered(cause)),
            State::Ended => return,
        };
        self.push(output);
        self.end(outcome);
    }

    /// How it ends when the leg is over already.
    fn failure(&self, cause: Cause) -> Outcome {
        match self.state {
            State::Ringing | State::Early | State::Dialling { .. } | State::Closing { answered: false, .. } => {
                Outcome::refused(cause)
            }
            State::Answered
            | State::Talking
            | State::FailingOver(_)
            | State::Joined
            | State::Closing { answered: true, .. }
            | State::Ended => Outcome::answered(cause),
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
mod tests;
