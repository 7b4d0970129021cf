//! The second leg: whom we call because the call is to be handed on and the other side cannot, or may not, do that
//! itself.
//!
//! The machine is placed, rings, is joined and is over; it settles what is spoken on the second leg, bounds how long it
//! rings, and says what is to be done and what has become of it. It knows nothing of the first leg, which the
//! [`Conductor`](super::Conductor) has, of media, which the [`Bridge`](super::Bridge) joins, nor of sockets. A second leg
//! is never handed on itself: whoever answers it and asks for that is refused.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Cause, Terms};
use crate::{
    sdp::{Local, Negotiated},
    sip::{Command, Event},
};

/// How much longer than it may ring it is waited for: the SIP side, which cancels it in time, knows better how it ended.
const RING_SLACK: Duration = Duration::from_secs(5);

/// What is to be done about the second leg.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Call this number, name or URI, and say with [`SecondLeg::placed`] or [`SecondLeg::refused`] what came of it.
    Place(String),
    /// Give the leg this command.
    Leg(Command),
    /// Give the leg this last command and let it and its media go. Nothing may be left of it already.
    End(Command),
    /// Take ports, start its media beside the first leg's, and say so with [`SecondLeg::located`].
    StartMedia {
        /// The address for the sockets.
        local_ip: IpAddr,
        /// The address for the description.
        advertised_ip: IpAddr,
    },
    /// Close the session and have the two legs hear each other.
    Join,
}

/// What the machine says.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// To be done.
    Do(Step),
    /// Offer and answer settled its media, the first time or again.
    Agreed(Box<Negotiated>),
    /// Before the answer, this status came.
    Progress(u16),
    /// It was answered.
    Answered,
    /// There was no answer, and for this status there will be none. Nothing follows.
    Failed(u16),
    /// It is over after it had been answered. Nothing follows.
    Parted(Cause),
}

/// One second leg.
#[derive(Debug)]
pub struct SecondLeg {
    stage: Stage,
    terms: Option<Terms>,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has been asked for.
    Asked,
    /// There is a leg, and no answer.
    Ringing,
    /// It was answered.
    Joined,
    Over,
}

impl SecondLeg {
    /// Somebody is to be called, whose phone may ring for so long.
    pub fn new(now: Instant, to: String, ring_max: Duration) -> Self {
        Self {
            stage: Stage::Asked,
            terms: None,
            deadline: now.checked_add(ring_max.saturating_add(RING_SLACK)),
            outputs: [Output::Do(Step::Place(to))].into(),
        }
    }

    /// There is a leg. False when nobody wants it any more, and it is to be hung up.
    pub fn placed(&mut self) -> bool {
        let wanted = self.stage == Stage::Asked;
        if wanted {
            self.stage = Stage::Ringing;
        }
        wanted
    }

    /// There is none, and why.
    pub fn refused(&mut self, cause: Cause) {
        if self.stage == Stage::Asked {
            self.give_up(cause);
        }
    }

    /// There are ports for it, or there are none.
    pub fn located(&mut self, local: Result<Local, Cause>) {
        if self.stage != Stage::Ringing {
            return;
        }
        match local.and_then(|local| Ok(Terms::new(local, None)?)) {
            Ok(terms) => {
                let sdp = terms.body().to_vec();
                self.terms = Some(terms);
                self.command(Command::Offer { sdp });
            }
            Err(cause) => self.give_up(cause),
        }
    }

    /// Takes in what happened to the leg.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Located {
                local_ip,
                advertised_ip,
            } => self.push(Output::Do(Step::StartMedia {
                local_ip,
                advertised_ip,
            })),
            Event::Ringing => self.push(Output::Progress(180)),
            Event::Progressed { answer } => self.progressed(&answer),
            Event::Answered { answer } => self.answered(answer.as_deref()),
            Event::Rejected { status, .. } => self.rejected(status),
            Event::Reoffered { offer } => self.reoffered(offer.as_deref()),
            Event::Confirmed { answer } => self.confirmed(answer.as_deref()),
            Event::ByeReceived { .. } => self.gone(Cause::CalleeHungUp),
            Event::Failed { reason } => self.gone(Cause::from_word(reason).unwrap_or(Cause::FlowLost)),
            Event::Gone => self.gone(Cause::Crashed),
            Event::TransferAsked { .. } => self.command(Command::AnswerTransfer { accept: false }),
            // Keys and texts of whoever was called are for nobody, and we ask nothing inside this leg.
            Event::Incoming(_)
            | Event::Cancelled
            | Event::Reanswered { .. }
            | Event::TransferProgress { .. }
            | Event::Digit { .. }
            | Event::MessageReceived { .. } => {}
        }
    }

    /// Nothing more happens to the leg, or its media has failed: why.
    pub fn gone(&mut self, cause: Cause) {
        match self.stage {
            Stage::Asked | Stage::Ringing => self.give_up(cause),
            Stage::Joined => {
                self.end(cause);
                self.over(Output::Parted(cause));
            }
            Stage::Over => {}
        }
    }

    /// Nobody wants it any more: the first leg ended for this cause.
    pub fn close(&mut self, cause: Cause) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.deadline = None;
            // What it had to say is not wanted any more.
            self.outputs.clear();
            self.end(cause);
        }
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.give_up(Cause::NoAnswer);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing it says.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether it has been answered and is not over.
    pub fn is_joined(&self) -> bool {
        self.stage == Stage::Joined
    }

    /// What both sides of it agreed on.
    pub fn agreed(&self) -> Option<&Negotiated> {
        self.terms.as_ref()?.agreed()
    }

    /// What its side plays before the answer is not passed on: the caller hears a tone of ours.
    fn progressed(&mut self, answer: &[u8]) {
        // One that cannot be used may be followed by one that can.
        let _ = self.terms.as_mut().map(|terms| terms.answered(Some(answer)));
        self.push(Output::Progress(183));
    }

    fn answered(&mut self, answer: Option<&[u8]>) {
        if self.stage != Stage::Ringing {
            return;
        }
        let Some(terms) = &mut self.terms else {
            return self.give_up(Cause::Crashed);
        };
        if let Err(refusal) = terms.answered(answer) {
            return self.give_up(refusal.into());
        }
        self.stage = Stage::Joined;
        self.deadline = None;
        self.push_agreed();
        self.push(Output::Answered);
        self.push(Output::Do(Step::Join));
    }

    /// The leg is over by itself; what is left of it is ours.
    fn rejected(&mut self, status: u16) {
        if self.stage != Stage::Over {
            self.end(Cause::Rejected);
            self.over(Output::Failed(status));
        }
    }

    /// A re-INVITE, as for the first leg: hold, another address or codec, or a question for our offer.
    fn reoffered(&mut self, offer: Option<&[u8]>) {
        let Some(terms) = &mut self.terms else { return };
        match terms.reoffer(offer) {
            Ok(()) => {
                let sdp = terms.body().to_vec();
                self.push_agreed();
                self.command(Command::Answer { sdp });
            }
            Err(refusal) => self.command(super::conductor::refuse(refusal.into())),
        }
    }

    /// The ACK to a re-INVITE came, perhaps with the answer to our offer.
    fn confirmed(&mut self, answer: Option<&[u8]>) {
        let Some(terms) = &mut self.terms else { return };
        match terms.acknowledge(answer) {
            Ok(true) => self.push_agreed(),
            Ok(false) => {}
            Err(refusal) => self.gone(refusal.into()),
        }
    }

    fn push_agreed(&mut self) {
        if let Some(agreed) = self.agreed() {
            let agreed = Box::new(agreed.clone());
            self.push(Output::Agreed(agreed));
        }
    }

    /// There will be no answer, and for this cause.
    fn give_up(&mut self, cause: Cause) {
        let status = match cause {
            // What the SIP side says when it has rung for long enough.
            Cause::NoAnswer => 408,
            cause => super::Outcome::refused(cause).sip_code,
        };
        self.end(cause);
        self.over(Output::Failed(status));
    }

    fn over(&mut self, last: Output) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.deadline = None;
            self.push(last);
        }
    }

    fn end(&mut self, cause: Cause) {
        self.push(Output::Do(Step::End(Command::HangUp {
            reason: cause.word().into(),
        })));
    }

    fn command(&mut self, command: Command) {
        self.push(Output::Do(Step::Leg(command)));
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_placed_rings_is_answered_and_joined() {
        let mut leg = Leg::ringing();
        assert_eq!(leg.hear(Event::Ringing), [Output::Progress(180)]);
        let outputs = leg.hear(Event::Answered {
            answer: Some(description("0 101")),
        });
        assert!(matches!(&outputs[0], Output::Agreed(agreed) if agreed.event_send.is_some()));
        assert_eq!(outputs[1..], [Output::Answered, Output::Do(Step::Join)]);
        assert_eq!((leg.machine.is_joined(), leg.machine.poll_timeout()), (true, None));
        let over = leg.hear(Event::ByeReceived { reason: None });
        assert_eq!(over, [hang_up("callee_hung_up"), Output::Parted(Cause::CalleeHungUp)]);
        assert_eq!(leg.hear(Event::Gone), []);
    }

    #[test]
    fn one_that_is_turned_down_fails_with_that_status_and_once() {
        for status in [486, 603, 408, 503] {
            let mut leg = Leg::ringing();
            let rejected = leg.hear(Event::Rejected {
                status,
                phrase: String::new(),
                retry_after: None,
            });
            assert_eq!(rejected, [hang_up("rejected"), Output::Failed(status)]);
            assert_eq!(leg.hear(Event::Gone), []);
        }
    }

    #[test]
    fn one_that_nobody_answers_is_cancelled_in_time() {
        let mut leg = Leg::ringing();
        let due = leg.machine.poll_timeout().unwrap();
        assert_eq!(due, leg.began + RING + RING_SLACK);
        leg.machine.handle_timeout(due - Duration::from_millis(1));
        assert_eq!(leg.outputs(), []);
        leg.machine.handle_timeout(due);
        assert_eq!(leg.outputs(), [hang_up("no_answer"), Output::Failed(408)]);
        assert_eq!(leg.machine.poll_timeout(), None);
    }

    #[test]
    fn one_whose_caller_has_gone_is_cancelled_and_says_no_more() {
        let mut leg = Leg::ringing();
        leg.machine.close(Cause::CallerHungUp);
        assert_eq!(leg.outputs(), [hang_up("caller_hung_up")]);
        assert_eq!(leg.hear(Event::Gone), []);
        let mut late = SecondLeg::new(leg.began, "200".to_owned(), RING);
        late.close(Cause::CallerHungUp);
        assert!(!late.placed(), "nobody wants it any more");
    }

    #[test]
    fn one_that_cannot_be_placed_or_has_no_ports_fails() {
        let mut leg = Leg::asked();
        leg.machine.refused(Cause::TrunkCallsMax);
        assert_eq!(leg.outputs(), [hang_up("trunk_calls_max"), Output::Failed(503)]);
        let mut leg = Leg::asked();
        assert!(leg.machine.placed());
        leg.machine.located(Err(Cause::NoPorts));
        assert_eq!(leg.outputs(), [hang_up("no_ports"), Output::Failed(503)]);
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_hung_up_on() {
        for answer in [None, Some(description("96"))] {
            let mut leg = Leg::ringing();
            let outputs = leg.hear(Event::Answered { answer });
            assert!(matches!(outputs[..], [Output::Do(Step::End(_)), Output::Failed(_)]));
        }
    }

    #[test]
    fn a_second_leg_is_put_on_hold_and_asked_for_an_offer_like_a_first() {
        let mut leg = Leg::joined();
        let mut held = description("0");
        held.extend_from_slice(b"a=sendonly\r\n");
        let outputs = leg.hear(Event::Reoffered { offer: Some(held) });
        assert!(matches!(&outputs[0], Output::Agreed(agreed) if !agreed.direction.sends()));
        assert!(matches!(outputs[1], Output::Do(Step::Leg(Command::Answer { .. }))));
        let outputs = leg.hear(Event::Reoffered {
            offer: Some(description("96")),
        });
        assert!(matches!(outputs[..], [Output::Do(Step::Leg(Command::Refuse { .. }))]));
        let outputs = leg.hear(Event::Reoffered { offer: None });
        assert!(matches!(outputs[..], [Output::Do(Step::Leg(Command::Answer { .. }))]));
        let answer = Some(description("0"));
        assert!(matches!(leg.hear(Event::Confirmed { answer })[..], [Output::Agreed(_)]));
    }

    #[test]
    fn a_second_leg_is_not_handed_on() {
        let mut leg = Leg::joined();
        let asked = leg.hear(Event::TransferAsked {
            to: Box::new(crate::sip::Uri::read("sip:premium@x").unwrap()),
            replaces: None,
            referred_by: None,
        });
        let refused = Output::Do(Step::Leg(Command::AnswerTransfer { accept: false }));
        assert_eq!(asked, [refused]);
    }

    const RING: Duration = Duration::from_secs(30);

    struct Leg {
        began: Instant,
        machine: SecondLeg,
    }

    impl Leg {
        fn asked() -> Self {
            let began = Instant::now();
            let mut leg = Self {
                began,
                machine: SecondLeg::new(began, "200".to_owned(), RING),
            };
            assert_eq!(leg.outputs(), [Output::Do(Step::Place("200".to_owned()))]);
            leg
        }

        fn ringing() -> Self {
            let mut leg = Self::asked();
            assert!(leg.machine.placed());
            let local_ip = "127.0.0.1".parse().unwrap();
            let located = leg.hear(Event::Located {
                local_ip,
                advertised_ip: local_ip,
            });
            let start = Step::StartMedia {
                local_ip,
                advertised_ip: local_ip,
            };
            assert_eq!(located, [Output::Do(start)]);
            leg.machine.located(Ok(Local::new(local_ip, 5000, 1)));
            assert!(matches!(
                leg.outputs()[..],
                [Output::Do(Step::Leg(Command::Offer { .. }))]
            ));
            leg
        }

        fn joined() -> Self {
            let mut leg = Self::ringing();
            leg.hear(Event::Answered {
                answer: Some(description("0 101")),
            });
            leg
        }

        fn hear(&mut self, event: Event) -> Vec<Output> {
            self.machine.handle(event);
            self.outputs()
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.machine.poll_output()).collect()
        }
    }

    fn hang_up(reason: &'static str) -> Output {
        Output::Do(Step::End(Command::HangUp { reason: reason.into() }))
    }

    fn description(formats: &str) -> Vec<u8> {
        let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        let map = "a=rtpmap:101 telephone-event/8000\r\n";
        format!("{head}m=audio 4000 RTP/AVP {formats}\r\n{map}").into_bytes()
    }
}
