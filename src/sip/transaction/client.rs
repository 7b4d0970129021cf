//! Client transactions (RFC 3261 section 17.1, INVITE as corrected by RFC 6026): one machine stands for one request of ours,
//! repeats it over UDP until an answer comes, and absorbs repeated answers.
//!
//! They keep bytes they were given. The ACK of a 3xx-6xx is built by whoever owns the request and handed to
//! [`InviteClient::acknowledge`], which repeats it for each repeated refusal.

use std::time::{Duration, Instant};

use super::timers::{GIVE_UP, T1, T2, T4, TIMER_D, doubled};

/// What a client transaction wants done after a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStep<'a> {
    /// Nothing.
    Nothing,
    /// Send these bytes again.
    Send(&'a [u8]),
    /// No final response came (timer B or F); the transaction is over.
    TimedOut,
}

/// What a response means to the transaction it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// A provisional or the first final response (or, to an INVITE, any 2xx): the user agent wants it.
    Fresh,
    /// Seen before.
    Repeated,
}

/// The client transaction of any request but INVITE and ACK.
#[derive(Debug)]
pub struct RequestClient {
    reliable: bool,
    request: Vec<u8>,
    state: RequestState,
}

#[derive(Debug)]
enum RequestState {
    Trying { interval: Duration, resend_at: Option<Instant>, give_up_at: Instant },
    Proceeding { resend_at: Option<Instant>, give_up_at: Instant },
    Completed { until: Instant },
    Terminated,
}

impl RequestClient {
    /// A transaction whose request is being sent now.
    pub fn sent(now: Instant, reliable: bool, request: Vec<u8>) -> Self {
        let resend_at = (!reliable).then(|| now + T1);
        Self { reliable, request, state: RequestState::Trying { interval: T1, resend_at, give_up_at: now + GIVE_UP } }
    }

    /// Takes a response to the request.
    pub fn handle_response(&mut self, now: Instant, status: u16) -> Reception {
        match (&self.state, status) {
            (RequestState::Trying { resend_at, give_up_at, .. }, 100..=199) => {
                self.state = RequestState::Proceeding { resend_at: *resend_at, give_up_at: *give_up_at };
                Reception::Fresh
            }
            (RequestState::Trying { .. } | RequestState::Proceeding { .. }, 200..) => self.complete(now),
            _ => Reception::Repeated,
        }
    }

    /// Runs timers E, F and K.
    pub fn handle_timeout(&mut self, now: Instant) -> ClientStep<'_> {
        match &mut self.state {
            RequestState::Trying { give_up_at, .. } | RequestState::Proceeding { give_up_at, .. }
                if now >= *give_up_at =>
            {
                self.state = RequestState::Terminated;
                ClientStep::TimedOut
            }
            RequestState::Trying { interval, resend_at: Some(at), .. } if now >= *at => {
                *interval = doubled(*interval);
                *at += *interval;
                ClientStep::Send(&self.request)
            }
            RequestState::Proceeding { resend_at: Some(at), .. } if now >= *at => {
                *at += T2;
                ClientStep::Send(&self.request)
            }
            RequestState::Completed { until } if now >= *until => {
                self.state = RequestState::Terminated;
                ClientStep::Nothing
            }
            _ => ClientStep::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            RequestState::Trying { resend_at, give_up_at, .. } | RequestState::Proceeding { resend_at, give_up_at } => {
                Some(resend_at.map_or(*give_up_at, |at| at.min(*give_up_at)))
            }
            RequestState::Completed { until } => Some(*until),
            RequestState::Terminated => None,
        }
    }

    /// The transaction may be forgotten.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, RequestState::Terminated)
    }

    fn complete(&mut self, now: Instant) -> Reception {
        self.state = match self.reliable {
            true => RequestState::Terminated,
            false => RequestState::Completed { until: now + T4 },
        };
        Reception::Fresh
    }
}

/// The INVITE client transaction.
#[derive(Debug)]
pub struct InviteClient {
    reliable: bool,
    state: InviteState,
}

#[derive(Debug)]
enum InviteState {
    Calling { request: Vec<u8>, interval: Duration, resend_at: Option<Instant>, give_up_at: Instant },
    Proceeding,
    Completed { ack: Vec<u8>, until: Instant },
    Accepted { until: Instant },
    Terminated,
}

impl InviteClient {
    /// A transaction whose INVITE is being sent now.
    pub fn sent(now: Instant, reliable: bool, request: Vec<u8>) -> Self {
        let resend_at = (!reliable).then(|| now + T1);
        Self { reliable, state: InviteState::Calling { request, interval: T1, resend_at, give_up_at: now + GIVE_UP } }
    }

    /// Takes a response to the INVITE. After a fresh 3xx-6xx the owner calls [`Self::acknowledge`].
    pub fn handle_response(&mut self, now: Instant, status: u16) -> Reception {
        let pending = matches!(self.state, InviteState::Calling { .. } | InviteState::Proceeding);
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
            InviteState::Calling { request, interval, resend_at: Some(at), .. } if now >= *at => {
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
            InviteState::Calling { resend_at: Some(at), give_up_at, .. } => Some((*at).min(*give_up_at)),
            _ => self.ends_at(),
        }
    }

    /// The transaction may be forgotten.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, InviteState::Terminated)
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
    fn an_unanswered_request_is_repeated_and_given_up_after_64_t1() {
        let start = Instant::now();
        let mut client = RequestClient::sent(start, false, b"BYE".to_vec());
        let mut times_ms = Vec::new();
        let end = loop {
            let at = client.poll_timeout().expect("a live transaction has a deadline");
            match client.handle_timeout(at) {
                ClientStep::Send(bytes) => times_ms.push((bytes.len(), (at - start).as_millis())),
                ClientStep::TimedOut => break at,
                ClientStep::Nothing => {}
            }
        };
        assert_eq!(end, start + GIVE_UP);
        let times_ms: Vec<_> = times_ms.into_iter().map(|(_, at)| at).collect();
        assert_eq!(times_ms, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert!(client.is_terminated());
    }

    #[test]
    fn after_a_provisional_a_request_is_repeated_every_t2() {
        let start = Instant::now();
        let mut client = RequestClient::sent(start, false, b"BYE".to_vec());
        assert_eq!(client.handle_response(start, 100), Reception::Fresh);
        assert_eq!(client.handle_timeout(start + T1), ClientStep::Send(b"BYE"));
        assert_eq!(client.poll_timeout(), Some(start + T1 + T2));
    }

    #[test]
    fn a_final_response_is_fresh_once_and_then_absorbed_for_timer_k() {
        let start = Instant::now();
        let mut client = RequestClient::sent(start, false, b"BYE".to_vec());
        assert_eq!(client.handle_response(start, 481), Reception::Fresh);
        assert_eq!(client.handle_response(start, 481), Reception::Repeated);
        assert_eq!(client.poll_timeout(), Some(start + T4));
        assert_eq!(client.handle_timeout(start + T4), ClientStep::Nothing);
        assert!(client.is_terminated());
    }

    #[test]
    fn over_tcp_a_request_is_sent_once_and_its_answer_ends_it() {
        let start = Instant::now();
        let mut client = RequestClient::sent(start, true, b"BYE".to_vec());
        assert_eq!(client.poll_timeout(), Some(start + GIVE_UP));
        assert_eq!(client.handle_response(start, 200), Reception::Fresh);
        assert!(client.is_terminated());
    }

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
