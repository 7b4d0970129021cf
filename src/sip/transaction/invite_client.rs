//! The client transaction of an INVITE (RFC 3261 section 17.1.1 as corrected by RFC 6026): it repeats the INVITE over
//! UDP until any answer comes, lets every 2xx through, and acknowledges repeated refusals.
//!
//! The ACK of a refusal is built by whoever owns the request and handed to [`InviteClient::acknowledge`]. The ACK of a
//! 2xx is no part of the transaction.

use std::time::{Duration, Instant};

use super::client::{ClientStep, Reception};
use super::timers::{GIVE_UP, T1, TIMER_D};

/// The INVITE client transaction.
#[derive(Debug)]
pub struct InviteClient {
    reliable: bool,
    state: InviteState,
}

#[derive(Debug)]
enum InviteState {
    Calling {
        request: Vec<u8>,
        interval: Duration,
        resend_at: Option<Instant>,
        give_up_at: Instant,
    },
    Proceeding,
    Completed {
        ack: Vec<u8>,
        until: Instant,
    },
    Accepted {
        until: Instant,
    },
    Terminated,
}

impl InviteClient {
    /// A transaction whose INVITE is being sent now.
    pub fn sent(now: Instant, reliable: bool, request: Vec<u8>) -> Self {
        let resend_at = (!reliable).then(|| now + T1);
        Self {
            reliable,
            state: InviteState::Calling {
                request,
                interval: T1,
                resend_at,
                give_up_at: now + GIVE_UP,
            },
        }
    }

    /// Takes a response to the INVITE. After a fresh 3xx-6xx the owner calls [`Self::acknowledge`].
    pub fn handle_response(&mut self, now: Instant, status: u16) -> Reception {
        let pending = self.is_pending();
        match status {
            100..=199 if pending => self.state = InviteState::Proceeding,
            200..=299 if pending => self.state = InviteState::Accepted { until: now + GIVE_UP },
            200..=299 if matches!(self.state, InviteState::Accepted { .. }) => {}
            300.. if pending => self.state = self.completed(now),
            _ => return Reception::Repeated,
        }
        Reception::Fresh
    }

    /// Keeps the ACK of the refusal just received, to repeat it with each repeated refusal.
    pub fn acknowledge(&mut self, bytes: Vec<u8>) {
        if let InviteState::Completed { ack, .. } = &mut self.state {
            *ack = bytes;
        }
    }

    /// The ACK to repeat after a [`Reception::Repeated`] refusal.
    pub fn repeated_ack(&self) -> Option<&[u8]> {
        match &self.state {
            InviteState::Completed { ack, .. } if !ack.is_empty() => Some(ack),
            _ => None,
        }
    }

    /// Runs timers A, B, D and M.
    pub fn handle_timeout(&mut self, now: Instant) -> ClientStep<'_> {
        if self.ends_at().is_some_and(|at| now >= at) {
            return self.end();
        }
        match &mut self.state {
            InviteState::Calling {
                request,
                interval,
                resend_at: Some(at),
                ..
            } if now >= *at => {
                *interval = interval.saturating_mul(2);
                *at += *interval;
                ClientStep::Send(request)
            }
            _ => ClientStep::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            InviteState::Calling {
                resend_at: Some(at),
                give_up_at,
                ..
            } => Some((*at).min(*give_up_at)),
            _ => self.ends_at(),
        }
    }

    /// The transaction may be forgotten.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, InviteState::Terminated)
    }

    /// No final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, InviteState::Calling { .. } | InviteState::Proceeding)
    }

    fn ends_at(&self) -> Option<Instant> {
        match &self.state {
            InviteState::Calling { give_up_at: at, .. } => Some(*at),
            InviteState::Completed { until: at, .. } | InviteState::Accepted { until: at } => Some(*at),
            InviteState::Proceeding | InviteState::Terminated => None,
        }
    }

    fn end(&mut self) -> ClientStep<'_> {
        match std::mem::replace(&mut self.state, InviteState::Terminated) {
            InviteState::Calling { .. } => ClientStep::TimedOut,
            _ => ClientStep::Nothing,
        }
    }

    fn completed(&self, now: Instant) -> InviteState {
        let until = if self.reliable { now } else { now + TIMER_D };
        InviteState::Completed { ack: Vec::new(), until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_invite_is_acknowledged_again_for_each_repeated_refusal() {
        let start = Instant::now();
        let mut client = InviteClient::sent(start, false, b"INVITE".to_vec());
        assert_eq!(client.handle_timeout(start + T1), ClientStep::Send(b"INVITE"));
        assert_eq!(client.handle_response(start, 100), Reception::Fresh);
        assert_eq!(client.poll_timeout(), None);
        assert_eq!(client.handle_response(start, 486), Reception::Fresh);
        client.acknowledge(b"ACK".to_vec());
        assert_eq!(client.handle_response(start, 486), Reception::Repeated);
        assert_eq!(client.repeated_ack(), Some(&b"ACK"[..]));
        client.handle_timeout(start + TIMER_D);
        assert!(client.is_terminated());
    }

    #[test]
    fn every_2xx_of_an_accepted_invite_reaches_the_user_agent_until_timer_m() {
        let start = Instant::now();
        let mut client = InviteClient::sent(start, false, b"INVITE".to_vec());
        assert_eq!(client.handle_response(start, 200), Reception::Fresh);
        assert_eq!(client.handle_response(start, 200), Reception::Fresh);
        assert_eq!(client.handle_response(start, 486), Reception::Repeated);
        client.handle_timeout(start + GIVE_UP);
        assert!(client.is_terminated());
    }

    #[test]
    fn an_unanswered_invite_times_out_after_64_t1() {
        let start = Instant::now();
        let mut client = InviteClient::sent(start, false, b"INVITE".to_vec());
        let mut sent = 0;
        while let Some(at) = client.poll_timeout() {
            match client.handle_timeout(at) {
                ClientStep::Send(_) => sent += 1,
                ClientStep::TimedOut => assert_eq!(at, start + GIVE_UP),
                ClientStep::Nothing => {}
            }
        }
        assert_eq!(sent, 6);
    }
}
