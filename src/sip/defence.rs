//! Defence: how much of our time a source that no trunk lists may take, and when it is shut out.
//!
//! Such a source has a small allowance of requests; what comes faster is dropped before it is read. A source that fails
//! to log in too often is locked out: it then gets through only what belongs to calls it may already have. Sources that
//! a trunk lists never get here. Addresses of datagrams can be forged, so somebody who wants to can lock out the address
//! of another; who must not suffer that is listed by its network. Where phones register from, sources are no better known
//! than elsewhere, and are watched in the same way.
//!
//! One source is an IPv4 address or the /64 of an IPv6 one. What is remembered is bounded by [`SOURCES_MAX`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::defect::ReadError;
use super::message::Message;
use super::rate::{Allowance, Rate};

/// Sources remembered. When more come at the same time, one of those remembered is forgotten for each new one, locked
/// ones last; a forgotten source begins anew with a whole allowance.
pub const SOURCES_MAX: usize = 16_384;

/// How many remembered sources are looked at to find the one to forget.
const LOOKED_AT: usize = 8;

/// How long a source that logged in is not counted.
const VOUCHED: Duration = Duration::from_secs(600);

/// The reason word of requests that come too fast.
pub const REQUEST_RATE: &str = "request_rate";
/// The reason word of requests of a source that failed to log in too often.
pub const LOCKED_OUT: &str = "locked_out";

/// Methods that belong to calls there are.
const OF_CALLS: [&[u8]; 6] = [b"ACK", b"BYE", b"CANCEL", b"PRACK", b"UPDATE", b"INFO"];

/// How strict to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Requests a second from one source; 0: no limit.
    pub requests_per_s: u32,
    /// Whether strangers get no answer where nobody could log in.
    pub silent: bool,
    /// Failed logins that lock a source out; 0: never.
    pub lockout_failures: u32,
    /// How long they count, from the first of them.
    pub lockout_window: Duration,
    /// How long a source stays locked out.
    pub lockout: Duration,
}

/// What a datagram or message is, as far as its first word tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A response: only those that fit a request of ours do anything, so it is let through.
    Response,
    /// A request that belongs to a call, when there is one.
    OfCall,
    /// Anything else.
    Other,
}

/// The doorman for strangers.
#[derive(Debug)]
pub struct Defence {
    settings: Settings,
    rate: Option<Rate>,
    places: HashMap<Block, usize>,
    sources: Vec<Known>,
    hand: usize,
}

/// What counts as one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    is_v6: bool,
    bits: u64,
}

#[derive(Debug)]
struct Known {
    block: Block,
    allowance: Allowance,
    failures: u32,
    first_failure: Instant,
    locked_until: Option<Instant>,
    vouched_until: Option<Instant>,
}

impl Settings {
    /// No defence at all.
    pub const OFF: Self = Self {
        requests_per_s: 0,
        silent: false,
        lockout_failures: 0,
        lockout_window: Duration::ZERO,
        lockout: Duration::ZERO,
    };
}

impl Opening {
    /// What a message read from a connection is.
    pub fn of_message(message: &Result<Message, ReadError>) -> Self {
        match message {
            Ok(Message::Response(_)) => Self::Response,
            Ok(Message::Request(request)) if OF_CALLS.contains(&request.method.as_str().as_bytes()) => Self::OfCall,
            _ => Self::Other,
        }
    }

    /// What these bytes are.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"SIP/2.0 ") {
            return Self::Response;
        }
        let belongs = |method: &&[u8]| bytes.strip_prefix(*method).is_some_and(|rest| rest.starts_with(b" "));
        match OF_CALLS.iter().any(belongs) {
            true => Self::OfCall,
            false => Self::Other,
        }
    }
}

impl Block {
    /// The block this address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self {
                is_v6: false,
                bits: u64::from(address.to_bits()),
            },
            IpAddr::V6(address) => Self {
                is_v6: true,
                bits: (address.to_bits() >> 64) as u64,
            },
        }
    }
}

impl Defence {
    /// A doorman who knows nobody yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rate: Rate::per_second(settings.requests_per_s),
            places: HashMap::new(),
            sources: Vec::new(),
            hand: 0,
        }
    }

    /// Whether strangers get no answer.
    pub fn is_silent(&self) -> bool {
        self.settings.silent
    }

    /// Whether something from a source that no trunk lists is read at all; otherwise the reason word.
    pub fn screen(&mut self, now: Instant, source: IpAddr, opening: Opening) -> Result<(), &'static str> {
        if opening == Opening::Response || (self.rate.is_none() && self.settings.lockout_failures == 0) {
            return Ok(());
        }
        let rate = self.rate;
        let known = self.known(now, source);
        if opening == Opening::Other && known.is_locked(now) {
            return Err(LOCKED_OUT);
        }
        match rate {
            Some(rate) if !known.is_vouched(now) && !known.allowance.take(rate, now) => Err(REQUEST_RATE),
            _ => Ok(()),
        }
    }

    /// Somebody there gave a wrong password. True when that locks the source out.
    pub fn login_failed(&mut self, now: Instant, source: IpAddr) -> bool {
        let Settings {
            lockout_failures,
            lockout_window,
            lockout,
            ..
        } = self.settings;
        if lockout_failures == 0 {
            return false;
        }
        let known = self.known(now, source);
        if known.failures == 0 || now.saturating_duration_since(known.first_failure) >= lockout_window {
            (known.failures, known.first_failure) = (0, now);
        }
        known.failures += 1;
        let locks = known.failures >= lockout_failures;
        if locks {
            known.failures = 0;
            known.vouched_until = None;
            known.locked_until = Some(now + lockout);
        }
        locks
    }

    /// Somebody there logged in.
    pub fn logged_in(&mut self, now: Instant, source: IpAddr) {
        let known = self.known(now, source);
        known.failures = 0;
        known.vouched_until = Some(now + VOUCHED);
    }

    /// How many sources are remembered.
    pub fn remembered(&self) -> usize {
        self.sources.len()
    }

    fn known(&mut self, now: Instant, source: IpAddr) -> &mut Known {
        let block = Block::of(source);
        let place = match self.places.get(&block) {
            Some(place) => *place,
            None => self.remember(now, block),
        };
        &mut self.sources[place]
    }

    fn remember(&mut self, now: Instant, block: Block) -> usize {
        let known = Known::new(now, block);
        let place = match self.sources.len() < SOURCES_MAX {
            true => {
                self.sources.push(known);
                self.sources.len() - 1
            }
            false => {
                let place = self.find_forgettable(now);
                self.places.remove(&self.sources[place].block);
                self.sources[place] = known;
                place
            }
        };
        self.places.insert(block, place);
        place
    }

    /// The least worth remembering of the next few in turn.
    fn find_forgettable(&mut self, now: Instant) -> usize {
        let places = (0..LOOKED_AT).map(|step| (self.hand + step) % SOURCES_MAX);
        let found = places
            .min_by_key(|place| self.sources[*place].worth(now))
            .unwrap_or(self.hand);
        self.hand = (self.hand + LOOKED_AT) % SOURCES_MAX;
        found
    }
}

impl Known {
    fn new(now: Instant, block: Block) -> Self {
        Self {
            block,
            allowance: Allowance::default(),
            failures: 0,
            first_failure: now,
            locked_until: None,
            vouched_until: None,
        }
    }

    fn is_locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    fn is_vouched(&self, now: Instant) -> bool {
        self.vouched_until.is_some_and(|until| now < until)
    }

    /// Locked sources, then those that failed, then those that logged in, then those that used their allowance.
    fn worth(&self, now: Instant) -> (bool, u32, bool, bool) {
        let is_used = !self.allowance.is_whole(now);
        (self.is_locked(now), self.failures, self.is_vouched(now), is_used)
    }
}

#[cfg(test)]
mod tests;
