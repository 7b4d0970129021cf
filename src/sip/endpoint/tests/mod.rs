//! The endpoint as phones and the application see it, in virtual time.

mod admission;
mod calls;
mod changes;
mod defence;
mod endings;
mod errands;
mod messages;
mod phones;
mod provisionals;
mod refusals;
mod registrations;
mod replacing;
mod routing;
mod timers;
mod transfers;
mod updates;
mod weather;

use std::time::Duration;

use crate::sip::endpoint::{Command, Counts, Event};
use crate::sip::flow::{Flow, Transport};
use crate::sip::leg::LegId;
use crate::sip::method::Method;
use crate::sip::test_line::TestLine;
use crate::sip::test_phone::{Habits, OFFER};

const SECOND: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"v=0\r\no=gateway";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn answer() -> Command {
    Command::Answer { sdp: ANSWER.to_vec() }
}

fn refuse(status: u16, reason: &'static str) -> Command {
    Command::Refuse {
        status,
        reason: reason.into(),
    }
}

fn hang_up() -> Command {
    Command::HangUp {
        reason: "agent_hung_up".into(),
    }
}

/// A line on which phone 0 calls with an offer.
fn ringing(transport: Transport, habits: Habits) -> (TestLine, LegId) {
    let mut line = TestLine::new();
    line.add_phone(transport, habits);
    line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
    let leg = line.leg();
    (line, leg)
}

/// A line on which phone 0 is in a call; the events so far are taken.
fn talking(transport: Transport, habits: Habits) -> (TestLine, LegId) {
    let (mut line, leg) = ringing(transport, habits);
    line.command(leg, answer());
    line.take_events();
    (line, leg)
}

/// Waits until every timer has run out and finds nothing left.
fn expect_nothing_left(line: &mut TestLine) {
    line.run_for(seconds(200));
    assert_eq!(line.endpoint.counts(), Counts::default());
    assert_eq!(line.endpoint.poll_timeout(), None);
}
