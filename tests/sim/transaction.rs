//! The phone's client transactions (RFC 3261 section 17.1): what got no answer is repeated.

use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);

/// One request of the phone.
#[derive(Debug)]
pub struct Transaction {
    /// Its branch.
    pub branch: String,
    /// Its method.
    pub method: &'static str,
    /// The sequence number of its request.
    pub sequence: u32,
    /// The ACK that goes with its final response, to be repeated with it.
    pub ack: Option<Vec<u8>>,
    request: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waiting {
        resend_at: Option<Instant>,
        interval: Duration,
        give_up_at: Option<Instant>,
    },
    Over,
}

/// What is to be done when time has passed.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Send these bytes again.
    Send(Vec<u8>),
    /// No final response came.
    GiveUp,
}

impl Transaction {
    /// A transaction whose request is being sent now.
    pub fn sent(now: Instant, method: &'static str, sequence: u32, branch: String, request: Vec<u8>) -> Self {
        let state = State::Waiting {
            resend_at: Some(now + T1),
            interval: T1,
            give_up_at: Some(now + GIVE_UP),
        };
        Self {
            branch,
            method,
            sequence,
            ack: None,
            request,
            state,
        }
    }

    /// Takes a response; true for the first final one.
    pub fn responded(&mut self, status: u16) -> bool {
        let State::Waiting {
            resend_at,
            interval,
            give_up_at,
        } = &mut self.state
        else {
            return false;
        };
        if status >= 200 {
            self.state = State::Over;
            return true;
        }
        if self.method == "INVITE" {
            (*resend_at, *give_up_at) = (None, None);
        } else {
            *interval = T2;
        }
        false
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        let State::Waiting {
            resend_at,
            interval,
            give_up_at,
        } = &mut self.state
        else {
            return Step::Nothing;
        };
        if give_up_at.is_some_and(|at| at <= now) {
            self.state = State::Over;
            return Step::GiveUp;
        }
        let Some(at) = resend_at.filter(|at| *at <= now) else {
            return Step::Nothing;
        };
        *interval = if self.method == "INVITE" {
            *interval * 2
        } else {
            (*interval * 2).min(T2)
        };
        *resend_at = Some(at + *interval);
        Step::Send(self.request.clone())
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting {
                resend_at, give_up_at, ..
            } => resend_at.into_iter().chain(give_up_at).min(),
            State::Over => None,
        }
    }
}
