//! The conductor's side of a [`SecondLeg`]: when there is one, what becomes of the first leg meanwhile, and what both are
//! told.
//!
//! While it rings the caller waits and the session lives on, so that a call nobody takes goes back to the agent. Once it
//! is answered the agent is out: its session is closed, what it had under way is given up, and a recording ends, because
//! whoever answered has not been told of it. From then on either side that hangs up ends the call.

use std::time::Instant;

use super::{Act, Conductor, Input, Note, Order};
use crate::{
    call::{
        Cause, SecondLeg,
        order::SecondLegOrder,
        recording::Ask,
        second_leg::{Output, Step},
    },
    config::KeyWay,
    sdp::Local,
    sip::{Command, Event},
};

impl Conductor {
    /// Whether the caller speaks with somebody we called.
    pub fn is_joined(&self) -> bool {
        self.second_leg.as_ref().is_some_and(SecondLeg::is_joined)
    }

    /// The second leg has been placed. False when nobody wants it any more, and it is to be hung up.
    pub fn second_leg_placed(&mut self) -> bool {
        self.second_leg.as_mut().is_some_and(SecondLeg::placed)
    }

    /// It could not be placed, for this cause.
    pub fn second_leg_refused(&mut self, now: Instant, cause: Cause) {
        self.with_second_leg(now, |second| second.refused(cause));
    }

    /// There are ports for it, or there are none.
    pub fn second_leg_located(&mut self, now: Instant, local: Result<Local, Cause>) {
        self.with_second_leg(now, |second| second.located(local));
    }

    /// Takes in what happened to it.
    pub fn handle_second_leg(&mut self, now: Instant, event: Event) {
        self.with_second_leg(now, |second| second.handle(event));
    }

    /// It or its media is not there any more.
    pub fn second_leg_lost(&mut self, now: Instant, cause: Cause) {
        self.with_second_leg(now, |second| second.gone(cause));
    }

    /// Calls whom the call is to be handed on to.
    pub(super) fn call_second_leg(&mut self, now: Instant) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.bridge();
        let to = transfer.to().to_owned();
        self.note_transfer(0);
        self.end_hold(now, "The caller is being transferred and hears a tone meanwhile.");
        self.order(Order::Hold(true));
        self.second_leg = Some(SecondLeg::new(now, to, self.settings.transfers.ring_max));
        self.perform_second_leg(now);
    }

    /// The call is over, for this cause.
    pub(super) fn close_second_leg(&mut self, cause: Cause) {
        let Some(mut second) = self.second_leg.take() else {
            return;
        };
        second.close(cause);
        while let Some(output) = second.poll_output() {
            if let Output::Do(step) = output {
                self.acts.push_back(Act::SecondLeg(step));
            }
        }
    }

    pub(super) fn second_leg_timeout(&mut self, now: Instant) {
        self.with_second_leg(now, |second| second.handle_timeout(now));
    }

    /// The caller pressed a key. Whoever is on the second leg gets it by the first of the trunk's ways that it takes.
    pub(super) fn key_pressed(&mut self, key: char) {
        self.note(Note::Digit(key));
        let Some(second) = self.second_leg.as_ref().filter(|second| second.is_joined()) else {
            return;
        };
        let events = second.agreed().is_some_and(|agreed| agreed.event_send.is_some());
        let mut ways = self.settings.transfers.keys.iter();
        let act = match ways.find(|way| **way != KeyWay::Event || events) {
            Some(KeyWay::Event) => Act::Media(Order::SecondLeg(SecondLegOrder::SendDigits(key.to_string()))),
            Some(KeyWay::Info) => Act::SecondLeg(Step::Leg(Command::SendDigit {
                digit: key,
                duration: super::DIGIT_LENGTH,
            })),
            Some(KeyWay::Tone) => Act::Media(Order::SecondLeg(SecondLegOrder::PlayDigits(key.to_string()))),
            None => return,
        };
        self.acts.push_back(act);
    }

    fn with_second_leg(&mut self, now: Instant, act: impl FnOnce(&mut SecondLeg)) {
        if let Some(second) = &mut self.second_leg {
            act(second);
            self.perform_second_leg(now);
        }
    }

    fn perform_second_leg(&mut self, now: Instant) {
        while let Some(output) = self.second_leg.as_mut().and_then(SecondLeg::poll_output) {
            match output {
                Output::Do(step) => self.acts.push_back(Act::SecondLeg(step)),
                Output::Agreed(agreed) => self.order(Order::SecondLeg(SecondLegOrder::Apply(agreed))),
                Output::Progress(status) => self.note_transfer(status),
                Output::Answered => self.second_leg_answered(now),
                Output::Failed(status) => self.second_leg_failed(now, status),
                Output::Parted(cause) => self.handle(now, Input::Parted(cause)),
            }
        }
    }

    fn second_leg_answered(&mut self, now: Instant) {
        let Some(ended) = self.transfer.as_ref().map(|transfer| transfer.ended(200)) else {
            return;
        };
        if !self.machine.may_join() {
            // The call is ending, and whoever answered is called in vain.
            return self.close_second_leg(Cause::Cancelled);
        }
        self.note_transfer(ended.status);
        self.tell_asker(now, &ended);
        self.close_tools(now);
        self.recording.give_up();
        let recorded = self.recording.ask(Ask::Stop).ok().flatten();
        self.acts.extend(recorded.map(Act::Record));
        self.handle(now, Input::Joined);
    }

    /// Nobody takes the call: the caller is back with the agent.
    fn second_leg_failed(&mut self, now: Instant, status: u16) {
        self.second_leg = None;
        self.order(Order::Hold(false));
        if let Some(ended) = self.transfer.as_ref().map(|transfer| transfer.ended(status)) {
            self.transfer_ended(now, ended);
        }
    }
}
