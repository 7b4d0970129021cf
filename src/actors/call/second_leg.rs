//! The Call actor's side of a second leg: has it placed, holds it and its place among the calls, and gives both back.
//!
//! The leg's sockets live in the media driver of the first leg, so that what passes between the two crosses no thread.

use std::{net::IpAddr, time::Instant};

use ractor::ActorRef;

use super::{Msg, Order, State, ring};
use crate::{
    actors::calls::{self, PlaceLeg},
    call::{Cause, second_leg::Step},
    drivers::{
        leg::{LegHandle, OutgoingLeg},
        media::second_leg::SecondLegOrder,
        post::{PostBox, Posted},
    },
    net::ports::Use,
    routing::Place,
    sip::{Command, Event, Outgoing},
};

/// A second leg; hangs up when dropped.
pub(super) struct SecondLeg {
    leg: LegHandle,
    events: PostBox<Event>,
    /// The trunk it was placed through.
    trunk: String,
    _place: Place,
}

/// A second leg that has been placed, on its way to the call.
#[derive(Debug)]
pub struct Placed {
    /// The leg.
    pub leg: OutgoingLeg,
    /// Its place among the calls.
    pub place: Place,
}

impl State {
    pub(super) fn second_leg(&mut self, myself: &ActorRef<Msg>, step: Step) {
        match step {
            Step::Place(to) => self.place_second_leg(myself, to),
            Step::Leg(command) => self.command_second_leg(command),
            Step::End(command) => self.end_second_leg(command),
            Step::StartMedia {
                local_ip,
                advertised_ip,
            } => self.locate_second_leg(local_ip, advertised_ip),
            Step::Join => self.join_second_leg(),
        }
    }

    /// What came of [`Step::Place`].
    pub(super) fn second_leg_placed(&mut self, myself: &ActorRef<Msg>, placed: Result<Placed, Cause>) {
        let now = Instant::now();
        match placed {
            Ok(Placed { leg, place }) => {
                let OutgoingLeg { leg, events, call_id } = leg;
                if !self.conductor.second_leg_placed() {
                    // Whoever wanted it has gone.
                    return leg.end(hang_up(Cause::Cancelled));
                }
                tracing::info!(sip_call_id = call_id, "the second leg is being called");
                ring(&events, myself, || Msg::SecondLegEvents);
                let trunk = self.transfer_trunk();
                self.second_leg = Some(SecondLeg {
                    leg,
                    events,
                    trunk,
                    _place: place,
                });
            }
            Err(cause) => self.conductor.second_leg_refused(now, cause),
        }
    }

    pub(super) fn read_second_leg_events(&mut self) {
        if let Some(second) = &self.second_leg {
            second.events.answer();
        }
        while let Some(second) = &mut self.second_leg {
            let now = Instant::now();
            match second.events.take() {
                Posted::Item(event) => self.conductor.handle_second_leg(now, event),
                Posted::Empty => return,
                Posted::Closed => return self.conductor.second_leg_lost(now, Cause::Crashed),
            }
        }
    }

    /// The trunk that second legs of this call go through.
    fn transfer_trunk(&self) -> String {
        let configured = self.agent.transfer.trunk.as_deref();
        configured.unwrap_or(self.ledger.trunk()).to_owned()
    }

    fn place_second_leg(&mut self, myself: &ActorRef<Msg>, to: String) {
        let caller = Some(&self.facts.caller).filter(|caller| !self.facts.private && !caller.is_empty());
        let order = PlaceLeg {
            outgoing: Outgoing {
                trunk: self.transfer_trunk(),
                to,
                from: None,
                display_name: caller.cloned(),
                headers: Vec::new(),
                ring_max: self.service.config.limits.ring_max,
            },
            call: myself.clone(),
        };
        let manager = self.service.manager.get();
        let asked = manager.map(|manager| manager.cast(calls::Msg::PlaceLeg(Box::new(order))));
        if !matches!(asked, Some(Ok(()))) {
            self.conductor.second_leg_refused(Instant::now(), Cause::Overloaded);
        }
    }

    fn locate_second_leg(&mut self, local_ip: IpAddr, advertised_ip: IpAddr) {
        let Some(trunk) = self.second_leg.as_ref().map(|second| second.trunk.clone()) else {
            return;
        };
        let taken = self.service.take_ports(&trunk, local_ip, advertised_ip, Use::Outbound);
        let local = taken.map(|(ports, local)| {
            let settings = Box::new(self.service.media_settings());
            self.order(Order::SecondLeg(SecondLegOrder::Start(ports, settings)));
            local
        });
        self.conductor.second_leg_located(Instant::now(), local);
    }

    /// The agent is out: nobody is to dial a session for this call any more.
    fn join_second_leg(&mut self) {
        if let Some(session) = self.session.take() {
            session.stop(None);
        }
        self.order(Order::SecondLeg(SecondLegOrder::Join));
    }

    fn command_second_leg(&mut self, command: Command) {
        if self
            .second_leg
            .as_ref()
            .is_some_and(|second| !second.leg.command(command))
        {
            self.conductor.second_leg_lost(Instant::now(), Cause::Crashed);
        }
    }

    fn end_second_leg(&mut self, command: Command) {
        if let Some(second) = self.second_leg.take() {
            second.leg.end(command);
            self.order(Order::SecondLeg(SecondLegOrder::End));
        }
    }
}

fn hang_up(cause: Cause) -> Command {
    Command::HangUp {
        reason: cause.word().into(),
    }
}
