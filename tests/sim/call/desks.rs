//! The Call actor and the Session actor.

use std::time::Instant;

use patchcord::{
    call::{
        Cause, Outcome,
        bridge::Report,
        machine::{Input, Output},
        outage::Verdict,
    },
    realtime::FaultClass,
    sip::{Command, Event},
    tools,
};

use super::{Act, Call, Desk, Mail, Order, refuse};

/// The Call actor.
impl Call {
    pub(super) fn leg_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Cancelled => self.machine.handle(now, Input::Cancelled),
            Event::Confirmed { answer } => self.confirmed(now, answer.as_deref()),
            Event::ByeReceived { .. } => self.machine.handle(now, Input::ByeReceived),
            Event::Failed { reason } => {
                let cause = Cause::from_word(reason).unwrap_or(Cause::FlowLost);
                self.machine.handle(now, Input::LegFailed(cause));
            }
            Event::Gone => self.machine.handle(now, Input::LegFailed(Cause::Crashed)),
            Event::Reoffered { offer } => self.reoffered(offer.as_deref()),
            other => assert!(matches!(other, Event::Incoming(_)), "{other:?}"),
        }
    }

    pub(super) fn reoffered(&mut self, offer: Option<&[u8]>) {
        match self.terms.reoffer(offer) {
            Ok(()) => {
                self.apply_terms();
                self.answer_leg();
            }
            Err(refusal) => self.command(refuse(refusal.into())),
        }
    }

    pub(super) fn confirmed(&mut self, now: Instant, answer: Option<&[u8]>) {
        match self.terms.acknowledge(answer) {
            Ok(true) => self.apply_terms(),
            Ok(false) => {}
            Err(refusal) => {
                self.machine.handle(now, Input::Confirmed);
                return self.machine.handle(now, Input::MediaRefused(refusal.into()));
            }
        }
        self.machine.handle(now, Input::Confirmed);
    }

    pub(super) fn report(&mut self, now: Instant, report: Report) {
        match report {
            Report::Quiet => self.machine.handle(now, Input::Quiet),
            Report::CallerSilent => self.machine.handle(now, Input::CallerSilent),
            Report::ToolCall {
                call_id,
                name,
                arguments,
            } => self.tool_call(now, call_id, &name, &arguments),
            _ => {}
        }
    }

    pub(super) fn tool_call(&mut self, now: Instant, call_id: String, name: &str, arguments: &str) {
        match (tools::Invocation { name, arguments }).read() {
            Ok(tools::Action::HangUp { .. }) => {
                self.order(Order::ToolResult(call_id, "the call is being ended".to_owned(), false));
                self.machine.handle(now, Input::HangUpAsked);
            }
            Err(misuse) => self.order(Order::ToolResult(call_id, misuse.to_string(), true)),
        }
    }

    pub(super) fn perform(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Ring => self.command(Command::Ring),
                Output::Answer => self.answer(),
                Output::Refuse(cause) => self.end_leg(refuse(cause)),
                Output::Greet => self.order(Order::Greet),
                Output::Comfort(on) => self.order(Order::Comfort(on)),
                Output::Apologise => self.order(Order::Apologise),
                Output::AwaitQuiet => self.order(Order::AwaitQuiet),
                Output::HangUp(cause) => self.end_leg(Command::HangUp {
                    reason: cause.word().into(),
                }),
                Output::End(outcome) => self.ended(outcome),
            }
        }
    }

    pub(super) fn answer(&mut self) {
        self.apply_terms();
        self.answer_leg();
    }

    pub(super) fn apply_terms(&mut self) {
        if let Some(agreed) = self.terms.agreed().cloned() {
            self.order(Order::Apply(Box::new(agreed)));
        }
    }

    pub(super) fn answer_leg(&mut self) {
        let sdp = self.terms.body().to_vec();
        self.command(Command::Answer { sdp });
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.end_leg(Command::HangUp {
            reason: outcome.cause.word().into(),
        });
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
