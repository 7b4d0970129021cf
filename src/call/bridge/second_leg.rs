//! Two legs that hear each other: the media of a second leg, and what passes between it and the first.
//!
//! Both legs are decoded to samples, so each may speak a codec of its own; the narrower of the two settles the rate
//! between them. The second leg's machine lives in the bridge of the first, whose driver has its sockets too: a frame
//! goes from one leg to the other in one step, on one thread, through no queue but the playout of the leg it leaves by.
//! That playout makes up for clocks that disagree, and what it may hold is bounded here. Keys do not pass here: the call
//! decides how they travel.

use std::{net::SocketAddr, time::Instant};

use super::{Bridge, PARTY, Report};
use crate::{
    audio::SampleRate,
    call::{Cause, order::SecondLegOrder},
    media::{self, Channel},
    sdp::Negotiated,
};

/// How much sound of one leg may wait to leave by the other, in milliseconds. When more does, all of it is dropped, the
/// oldest with it, and what comes next is heard at once: on the telephone late is worse than gone.
pub const BETWEEN_MS_MAX: u32 = 240;

/// The media of a second leg.
#[derive(Debug)]
pub(super) struct SecondLeg {
    media: media::Machine,
    line: SampleRate,
    /// The two hear each other.
    joined: bool,
}

impl Bridge {
    /// There are sockets for a second leg. What was there of another is gone.
    pub fn begin_second_leg(&mut self, now: Instant, settings: media::Settings) {
        self.second_leg = Some(Box::new(SecondLeg {
            media: media::Machine::new(now, settings),
            line: SampleRate::Hz8000,
            joined: false,
        }));
    }

    /// Says goodbye to the second leg on RTCP.
    pub fn bye_second_leg(&mut self, now: Instant) {
        if let Some(second) = &mut self.second_leg {
            second.media.bye(now);
        }
    }

    /// The second leg's sockets are closed.
    pub fn end_second_leg(&mut self) {
        self.second_leg = None;
    }

    /// Has the two legs hear each other; what the agent had not said is dropped. The session must have been lost before.
    pub fn join(&mut self, now: Instant) {
        self.media.flush(now);
        self.set_held(false);
        self.set_waiting(false);
        self.end_filler(now);
        self.media.duck(false);
        self.spoken_before = Some(self.media.statistics().spoken_ms);
        if let Some(second) = &mut self.second_leg {
            second.joined = true;
        }
        self.follow_lines();
        self.carry(now);
    }

    /// Whether the two legs hear each other.
    pub fn is_joined(&self) -> bool {
        self.second_leg.as_ref().is_some_and(|second| second.joined)
    }

    /// A datagram on a port of the second leg.
    pub fn handle_second_leg(&mut self, now: Instant, channel: Channel, from: SocketAddr, datagram: &mut [u8]) {
        if let Some(second) = &mut self.second_leg {
            match channel {
                Channel::Rtp => second.media.handle_rtp(now, from, datagram),
                Channel::Rtcp => second.media.handle_rtcp(now, from, datagram),
            }
            self.carry(now);
        }
    }

    /// The second leg's host refused a packet of ours.
    pub fn handle_second_leg_refused(&mut self, now: Instant) {
        if let Some(second) = &mut self.second_leg {
            second.media.handle_refused(now);
        }
    }

    /// The next packet to send to the second leg.
    pub fn poll_second_leg_transmit(&mut self) -> Option<media::Transmit<'_>> {
        self.second_leg.as_mut()?.media.poll_transmit()
    }

    pub(super) fn obey_second_leg(&mut self, now: Instant, order: SecondLegOrder) {
        match order {
            SecondLegOrder::Apply(agreed) => self.apply_second_leg(now, &agreed),
            SecondLegOrder::SendDigits(digits) => {
                if let Some(second) = &mut self.second_leg {
                    second.media.send_digits(&digits);
                }
            }
            SecondLegOrder::PlayDigits(digits) => {
                let pcm = super::presses::pressed(self.rate, &digits);
                if let Some(second) = &mut self.second_leg {
                    pass(now, &mut second.media, &pcm);
                }
            }
        }
    }

    fn apply_second_leg(&mut self, now: Instant, agreed: &Negotiated) {
        if let Some(second) = &mut self.second_leg {
            second.line = agreed.send.codec.line_rate(SampleRate::Hz24000);
            second.media.apply(now, agreed);
        }
        self.follow_lines();
    }

    /// What neither line carries is not worth a resampler.
    pub(super) fn follow_lines(&mut self) {
        let Some(second) = self.second_leg.as_mut().filter(|second| second.joined) else {
            return;
        };
        self.rate = narrower(self.line, second.line);
        self.media.set_session_rate(self.rate);
        second.media.set_session_rate(self.rate);
    }

    pub(super) fn second_leg_timeout(&mut self, now: Instant) {
        if let Some(second) = &mut self.second_leg {
            second.media.handle_timeout(now);
        }
    }

    pub(super) fn poll_second_leg_timeout(&self) -> Option<Instant> {
        self.second_leg.as_ref()?.media.poll_timeout()
    }

    /// Carries what either leg has to the other. False when they do not hear each other.
    pub(super) fn carry_between(&mut self, now: Instant) -> bool {
        let Self {
            media,
            second_leg,
            reports,
            ..
        } = self;
        let Some(second) = second_leg else { return false };
        let joined = second.joined;
        if joined {
            while let Some(pcm) = media.poll_caller() {
                pass(now, &mut second.media, pcm);
            }
        }
        while let Some(pcm) = second.media.poll_caller() {
            if joined {
                pass(now, media, pcm);
            }
        }
        while let Some(event) = second.media.poll_event() {
            reports.extend(loss(event).map(Report::SecondLegLost));
        }
        joined
    }
}

/// Gives a leg more to say. When it has too much to say already, that is dropped.
fn pass(now: Instant, to: &mut media::Machine, pcm: &[i16]) {
    if to.waiting_ms() > BETWEEN_MS_MAX {
        to.flush(now);
    }
    to.play(now, PARTY, pcm);
}

/// What means that the second leg is not there any more. How it sounds is the far end's matter.
fn loss(event: media::Event) -> Option<Cause> {
    match event {
        media::Event::Silent => Some(Cause::MediaTimeout),
        media::Event::Unheard => Some(Cause::Unheard),
        media::Event::SecurityFailed(word) => Some(Cause::from_word(word).unwrap_or(Cause::DtlsFailed)),
        media::Event::Digit(_)
        | media::Event::Started(_)
        | media::Event::Finished(_)
        | media::Event::Diagnosis(_)
        | media::Event::Quality(_)
        | media::Event::Overflow { .. } => None,
    }
}

fn narrower(one: SampleRate, other: SampleRate) -> SampleRate {
    if one.hz() < other.hz() { one } else { other }
}

#[cfg(test)]
mod tests;
