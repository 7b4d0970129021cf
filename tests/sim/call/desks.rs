//! The Call actor and the Session actor.

use std::time::Instant;

use patchcord::{
    call::{Outcome, conductor::Act as Decided, machine::Input, outage::Verdict},
    realtime::FaultClass,
    sip::{Command, Event},
};

use super::{Act, Call, Desk, Mail, Order};

/// The Call actor.
impl Call {
    pub(super) fn leg_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Gone => self.conductor.leg_gone(now),
            event => self.conductor.handle_leg(now, event),
        }
    }

    pub(super) fn perform(&mut self) {
        while let Some(decided) = self.conductor.poll_act() {
            match decided {
                Decided::Leg(command) => self.command(command),
                Decided::EndLeg(command) => self.end_leg(command),
                Decided::Media(order) => self.order(Order::Bridge(order)),
                Decided::StartMedia { .. } => panic!("nobody is called here"),
                // Nobody records here, and no tool is done elsewhere.
                Decided::Record(_) | Decided::Tool(_) | Decided::SecondLeg(_) | Decided::Note(_) => {}
                Decided::End(outcome) => self.ended(outcome),
            }
        }
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.order(Order::Close);
    }

    pub(super) fn command(&mut self, command: Command) {
        if self.held {
            self.acts
                .push_back(Act::Post(Desk::Sip, Mail::Command(self.leg, command)));
        }
    }

    pub(super) fn end_leg(&mut self, command: Command) {
        self.command(command);
        self.held = false;
    }

    pub(super) fn order(&mut self, order: Order) {
        self.acts.push_back(Act::Post(Desk::Media, Mail::Order(order)));
    }
}

/// The Session actor.
impl Call {
    pub(super) fn session_ready(&mut self, now: Instant) {
        self.outage.ready(now);
        self.tell(Input::SessionReady);
    }

    pub(super) fn session_lost(&mut self, now: Instant, class: FaultClass) {
        match self.outage.lost(now, class, self.dice.number()) {
            Verdict::Dial { after } => {
                self.tell(Input::SessionAway);
                self.acts.push_back(Act::PostAt(now + after, Mail::DialAgain));
            }
            Verdict::GiveUp => self.tell(Input::SessionGone),
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.acts.push_back(Act::Post(Desk::Call, Mail::Session(input)));
    }
}
