//! Server transactions (RFC 3261 section 17.2, INVITE as corrected by RFC 6026): one machine stands for one received
//! request, absorbs its retransmissions and repeats its own answer for as long as the peer may have missed it.
//!
//! They keep bytes they were given and know nothing of dialogs. A 2xx to an INVITE passes once; repeating it until the
//! ACK is the duty of the user agent (section 13.3.1.4), because that ACK belongs to no transaction.

use std::time::{Duration, Instant};

use super::timers::{GIVE_UP, T1, T4, doubled};

/// What a server transaction wants done after a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStep<'a> {
    /// Nothing.
    Nothing,
    /// Repeat this response.
    Send(&'a [u8]),
    /// The peer never acknowledged the final response (timer H); the transaction is over.
    TimedOut,
}

/// The INVITE server transaction.
#[derive(Debug)]
pub struct InviteServer {
    reliable: bool,
    state: InviteState,
}

#[derive(Debug)]
enum InviteState {
    Proceeding {
        last: Vec<u8>,
    },
    Completed {
        response: Vec<u8>,
        interval: Duration,
        resend_at: Option<Instant>,
        give_up_at: Instant,
    },
    Confirmed {
        until: Instant,
    },
    Accepted {
        until: Instant,
    },
    Terminated,
}

impl InviteServer {
    /// A transaction that has heard its INVITE and answered nothing yet. `reliable` is true for TCP.
    pub fn new(reliable: bool) -> Self {
        Self {
            reliable,
            state: InviteState::Proceeding { last: Vec::new() },
        }
    }

    /// Takes note of a response; true when it is to be sent. After a final one every other response is refused: an
    /// INVITE has exactly one final answer.
    #[must_use]
    pub fn respond(&mut self, now: Instant, status: u16, bytes: &[u8]) -> bool {
        if !self.is_proceeding() {
            return false;
        }
        self.state = match status {
            100..=199 => InviteState::Proceeding { last: bytes.to_vec() },
            200..=299 => InviteState::Accepted { until: now + GIVE_UP },
            _ => self.completed(now, bytes),
        };
        true
    }

    /// The same INVITE came again: what to repeat, if anything.
    pub fn handle_retransmission(&self) -> Option<&[u8]> {
        match &self.state {
            InviteState::Proceeding { last } if !last.is_empty() => Some(last),
            InviteState::Completed { response, .. } => Some(response),
            _ => None,
        }
    }

    /// An ACK with the branch of the INVITE came: the peer has our 3xx-6xx.
    pub fn handle_ack(&mut self, now: Instant) {
        if !matches!(self.state, InviteState::Completed { .. }) {
            return;
        }
        self.state = match self.reliable {
            true => InviteState::Terminated,
            false => InviteState::Confirmed { until: now + T4 },
        };
    }

    /// Runs timers G, H, I and L.
    pub fn handle_timeout(&mut self, now: Instant) -> ServerStep<'_> {
        if self.ends_at().is_some_and(|at| now >= at) {
            return self.end();
        }
        match &mut self.state {
            InviteState::Completed {
                resend_at: Some(at),
                interval,
                response,
                ..
            } if now >= *at => {
                *interval = doubled(*interval);
                *at += *interval;
                ServerStep::Send(response)
            }
            _ => ServerStep::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            InviteState::Completed {
                resend_at: Some(at),
                give_up_at,
                ..
            } => Some((*at).min(*give_up_at)),
            _ => self.ends_at(),
        }
    }

    /// No final response has been given yet.
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, InviteState::Proceeding { .. })
    }

    /// The transaction may be forgotten.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, InviteState::Terminated)
    }

    fn ends_at(&self) -> Option<Instant> {
        match &self.state {
            InviteState::Proceeding { .. } | InviteState::Terminated => None,
            InviteState::Completed { give_up_at: at, .. } => Some(*at),
            InviteState::Confirmed { until: at } | InviteState::Accepted { until: at } => Some(*at),
        }
    }

    fn end(&mut self) -> ServerStep<'_> {
        match std::mem::replace(&mut self.state, InviteState::Terminated) {
            InviteState::Completed { .. } => ServerStep::TimedOut,
            _ => ServerStep::Nothing,
        }
    }

    fn completed(&self, now: Instant, bytes: &[u8]) -> InviteState {
        InviteState::Completed {
            response: bytes.to_vec(),
            interval: T1,
            resend_at: (!self.reliable).then(|| now + T1),
            give_up_at: now + GIVE_UP,
        }
    }
}

/// The server transaction of any other request. Most are answered at once and begin in Completed (timer J); a few wait
/// for the application, in silence, because nothing may be said to them but the final answer (RFC 4320).
#[derive(Debug)]
pub struct RequestServer {
    response: Option<Vec<u8>>,
    until: Instant,
}

impl RequestServer {
    /// A transaction whose final response is being sent now over UDP. Over TCP timer J is zero, so none is needed.
    pub fn answered(now: Instant, response: Vec<u8>) -> Self {
        Self {
            response: Some(response),
            until: now + GIVE_UP,
        }
    }

    /// A transaction that is answered later. The peer gives up after the same time (timer F), so an answer after it
    /// would be for nobody.
    pub fn waiting(now: Instant) -> Self {
        Self {
            response: None,
            until: now + GIVE_UP,
        }
    }

    /// Takes note of the final response; true when it is to be sent, which it is once.
    #[must_use]
    pub fn respond(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let fresh = self.response.is_none();
        if fresh {
            *self = Self::answered(now, bytes.to_vec());
        }
        fresh
    }

    /// The same request came again: what to repeat, if anything.
    pub fn handle_retransmission(&self) -> Option<&[u8]> {
        self.response.as_deref()
    }

    /// When the transaction may be forgotten.
    pub fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_repeated_until_its_ack() {
        let start = Instant::now();
        let mut server = InviteServer::new(false);
        assert!(server.respond(start, 100, b"100"));
        assert!(server.respond(start, 486, b"486"));
        assert_eq!(resend_times_ms(&mut server, start, 8000), [500, 1500, 3500, 7500]);
        server.handle_ack(start + Duration::from_secs(8));
        assert_eq!(server.handle_retransmission(), None);
        assert_eq!(server.poll_timeout(), Some(start + Duration::from_secs(8) + T4));
        server.handle_timeout(start + Duration::from_secs(8) + T4);
        assert!(server.is_terminated());
    }

    #[test]
    fn a_refusal_without_ack_times_out_after_64_t1() {
        let start = Instant::now();
        let mut server = InviteServer::new(false);
        assert!(server.respond(start, 503, b"503"));
        resend_times_ms(&mut server, start, 31_999);
        assert_eq!(server.handle_timeout(start + GIVE_UP), ServerStep::TimedOut);
        assert!(server.is_terminated());
    }

    #[test]
    fn over_tcp_a_refusal_is_sent_once_and_ends_with_its_ack() {
        let start = Instant::now();
        let mut server = InviteServer::new(true);
        assert!(server.respond(start, 486, b"486"));
        assert_eq!(server.poll_timeout(), Some(start + GIVE_UP));
        server.handle_ack(start);
        assert!(server.is_terminated());
    }

    #[test]
    fn a_retransmitted_invite_gets_the_last_provisional_again() {
        let now = Instant::now();
        let mut server = InviteServer::new(false);
        assert_eq!(server.handle_retransmission(), None);
        assert!(server.respond(now, 100, b"100"));
        assert!(server.respond(now, 180, b"180"));
        assert_eq!(server.handle_retransmission(), Some(&b"180"[..]));
    }

    #[test]
    fn an_accepted_invite_absorbs_retransmissions_for_64_t1_on_either_transport() {
        for reliable in [false, true] {
            let start = Instant::now();
            let mut server = InviteServer::new(reliable);
            assert!(server.respond(start, 200, b"200"));
            assert_eq!(server.handle_retransmission(), None);
            server.handle_ack(start);
            assert_eq!(server.poll_timeout(), Some(start + GIVE_UP));
            assert_eq!(server.handle_timeout(start + GIVE_UP), ServerStep::Nothing);
            assert!(server.is_terminated());
        }
    }

    #[test]
    fn a_second_final_response_is_refused() {
        let now = Instant::now();
        let mut server = InviteServer::new(false);
        assert!(server.respond(now, 200, b"200"));
        assert!(!server.respond(now, 487, b"487"));
        let mut server = InviteServer::new(false);
        assert!(server.respond(now, 487, b"487"));
        assert!(!server.respond(now, 200, b"200"));
        assert_eq!(server.handle_retransmission(), Some(&b"487"[..]));
    }

    #[test]
    fn another_request_repeats_its_answer_for_timer_j() {
        let now = Instant::now();
        let server = RequestServer::answered(now, b"200".to_vec());
        assert_eq!(server.handle_retransmission(), Some(&b"200"[..]));
        assert_eq!(server.until(), now + GIVE_UP);
    }

    fn resend_times_ms(server: &mut InviteServer, start: Instant, until_ms: u64) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(at) = server
            .poll_timeout()
            .filter(|at| *at <= start + Duration::from_millis(until_ms))
        {
            if let ServerStep::Send(_) = server.handle_timeout(at) {
                times.push(u64::try_from((at - start).as_millis()).unwrap());
            }
        }
        times
    }
}
