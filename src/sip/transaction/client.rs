//! The client transaction of a request other than INVITE (RFC 3261 section 17.1.2): it stands for one request of ours,
//! repeats it over UDP until an answer comes, and absorbs repeated answers. It keeps bytes it was given and knows no
//! dialogs.

use std::time::{Duration, Instant};

use super::timers::{GIVE_UP, T1, T2, T4, doubled};

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
    Trying {
        interval: Duration,
        resend_at: Option<Instant>,
        give_up_at: Instant,
    },
    Proceeding {
        resend_at: Option<Instant>,
        give_up_at: Instant,
    },
    Completed {
        until: Instant,
    },
    Terminated,
}

impl RequestClient {
    /// A transaction whose request is being sent now.
    pub fn sent(now: Instant, reliable: bool, request: Vec<u8>) -> Self {
        let resend_at = (!reliable).then(|| now + T1);
        Self {
            reliable,
            request,
            state: RequestState::Trying {
                interval: T1,
                resend_at,
                give_up_at: now + GIVE_UP,
            },
        }
    }

    /// Takes a response to the request.
    pub fn handle_response(&mut self, now: Instant, status: u16) -> Reception {
        match (&self.state, status) {
            (
                RequestState::Trying {
                    resend_at, give_up_at, ..
                },
                100..=199,
            ) => {
                self.state = RequestState::Proceeding {
                    resend_at: *resend_at,
                    give_up_at: *give_up_at,
                };
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
            RequestState::Trying {
                interval,
                resend_at: Some(at),
                ..
            } if now >= *at => {
                *interval = doubled(*interval);
                *at += *interval;
                ClientStep::Send(&self.request)
            }
            RequestState::Proceeding {
                resend_at: Some(at), ..
            } if now >= *at => {
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
            RequestState::Trying {
                resend_at, give_up_at, ..
            }
            | RequestState::Proceeding { resend_at, give_up_at } => {
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

    /// No final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.state,
            RequestState::Trying { .. } | RequestState::Proceeding { .. }
        )
    }

    fn complete(&mut self, now: Instant) -> Reception {
        self.state = match self.reliable {
            true => RequestState::Terminated,
            false => RequestState::Completed { until: now + T4 },
        };
        Reception::Fresh
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
        assert_eq!(
            times_ms,
            [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
        );
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
}
