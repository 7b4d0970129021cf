//! Session timer (RFC 4028): both sides agree how long a call may live without a sign of life, and who gives it.
//!
//! [`Terms`] is what one message says of it, [`answer`] what we make of a request, [`accept`] what we make of the 2xx to
//! a request of ours, and [`SessionTimer`] runs what was agreed: it says when to refresh and when the call is over. It
//! sends nothing and does not know by which request a session is refreshed.

use std::fmt;
use std::time::{Duration, Instant};

use super::defect::{HeaderError, Malformed};
use super::headers::Headers;
use super::params::Params;

/// The shortest interval we agree to unless we want a shorter one ourselves; it is also the least the RFC allows
/// (section 4).
pub const MIN_SE: Duration = Duration::from_secs(90);
/// The interval we ask for unless the peer's settings say otherwise; what section 4 recommends.
pub const SESSION_EXPIRES: Duration = Duration::from_secs(1800);
/// How long before the end a side gives up that has seen no refresh, at most (section 10).
const MARGIN_MAX: Duration = Duration::from_secs(32);
/// How long a refresh waits to be tried again after it was refused without a time to wait.
const RETRY: Duration = Duration::from_secs(5);

/// The shortest interval we agree to with a peer whose sessions we want to be this long. One that is set below
/// [`MIN_SE`] is a peer that is known to go below the RFC's minimum.
pub fn floor(wanted: Option<Duration>) -> Duration {
    wanted.map_or(MIN_SE, |wanted| wanted.min(MIN_SE))
}

/// Who refreshes, in the words of the header: the sender of the request or its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that sent the request.
    Uac,
    /// The side that answers it.
    Uas,
}

/// What one message says of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Session-Expires.
    pub interval: Option<Duration>,
    /// Its `refresher`.
    pub refresher: Option<Role>,
    /// Min-SE; the shortest interval we agree to when it is not there or shorter.
    pub min: Duration,
    /// Supported (or Require) lists `timer`.
    pub supported: bool,
}

impl Terms {
    /// Reads what a message says. `floor` is the shortest interval we agree to.
    pub fn read(headers: &Headers, floor: Duration) -> Result<Self, HeaderError> {
        let expires = delta(headers, "Session-Expires")?;
        let (interval, refresher) = match expires {
            Some((interval, params)) => (Some(interval), refresher_of(&params)?),
            None => (None, None),
        };
        let min = delta(headers, "Min-SE")?.map_or(floor, |(min, _)| min);
        let mut named = headers.tokens("Supported").chain(headers.tokens("Require"));
        Ok(Self {
            interval,
            refresher,
            min: min.max(floor),
            supported: named.any(|token| token.eq_ignore_ascii_case("timer")),
        })
    }
}

/// What was agreed. It prints as the value of Session-Expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// How long the session lives without a refresh.
    pub interval: Duration,
    /// Who refreshes it, seen from the request this was agreed with.
    pub refresher: Role,
    /// Whether the peer can do session timers, so that our 2xx may require them.
    pub mutual: bool,
}

impl fmt::Display for Agreed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = match self.refresher {
            Role::Uac => "uac",
            Role::Uas => "uas",
        };
        write!(out, "{};refresher={refresher}", self.interval.as_secs())
    }
}

/// The peer asked for an interval below this: 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Session-Expires is below {} s", .0.as_secs())]
pub struct TooSmall(pub Duration);

/// What we answer a request with; `None`: there is no session timer. `wanted` is the longest interval we like; without
/// one we want no timer and agree to whatever is asked for.
///
/// A peer that says nothing of timers gets none. An interval that is too small is refused only where the peer can ask
/// again (section 9); from others it is taken for a mistake and there is no timer.
pub fn answer(asked: &Terms, wanted: Option<Duration>) -> Result<Option<Agreed>, TooSmall> {
    let floor = floor(wanted);
    let longest = wanted.map(|wanted| wanted.max(asked.min));
    let interval = match asked.interval {
        Some(interval) if interval < floor && asked.supported => return Err(TooSmall(floor)),
        Some(interval) if interval < floor => return Ok(None),
        Some(interval) => Some(longest.map_or(interval, |longest| interval.min(longest))),
        None => longest.filter(|_| asked.supported),
    };
    let Some(interval) = interval else { return Ok(None) };
    let refresher = match asked.supported {
        true => asked.refresher.unwrap_or(Role::Uac),
        false => Role::Uas,
    };
    Ok(Some(Agreed {
        interval,
        refresher,
        mutual: asked.supported,
    }))
}

/// What a 2xx to a request of ours agreed to; `None`: there is no session timer. We asked for `asked`, and a peer may
/// shorten that but not lengthen it; one that goes below `floor` is held to it.
pub fn accept(answered: &Terms, asked: Duration, floor: Duration) -> Option<Agreed> {
    let interval = answered.interval?.clamp(floor, asked.max(floor));
    Some(Agreed {
        interval,
        refresher: answered.refresher.unwrap_or(Role::Uac),
        mutual: true,
    })
}

/// What a session timer wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerStep {
    /// Nothing.
    Nothing,
    /// Refresh the session.
    Refresh,
    /// No refresh came or succeeded: end the call.
    Expired,
}

/// A session timer that runs.
#[derive(Debug)]
pub struct SessionTimer {
    interval: Duration,
    min: Duration,
    refresh_at: Option<Instant>,
    end_at: Instant,
}

impl SessionTimer {
    /// The session was just agreed on or refreshed. `ours`: we refresh it. `floor` is the shortest interval we agree to.
    pub fn start(now: Instant, interval: Duration, ours: bool, floor: Duration) -> Self {
        let margin = MARGIN_MAX.min(interval / 3);
        Self {
            interval,
            min: floor,
            refresh_at: ours.then(|| now + interval / 2),
            end_at: now + interval.saturating_sub(margin),
        }
    }

    /// The interval agreed on.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The least interval we ask for from now on.
    pub fn min(&self) -> Duration {
        self.min
    }

    /// The peer wants no refresh below this interval (422): false when it had that already.
    pub fn lengthen(&mut self, min: Duration) -> bool {
        let longer = min > self.interval;
        self.min = self.min.max(min);
        self.interval = self.interval.max(min);
        longer
    }

    /// A refresh of ours was refused; it is tried again after this time.
    pub fn retry(&mut self, now: Instant, after: Option<Duration>) {
        self.refresh_at = Some(now + after.unwrap_or(RETRY));
    }

    /// Runs the timer. A refresh is wanted once; [`Self::retry`] or a new timer wants the next.
    pub fn handle_timeout(&mut self, now: Instant) -> TimerStep {
        if now >= self.end_at {
            return TimerStep::Expired;
        }
        match self.refresh_at.filter(|at| now >= *at) {
            Some(_) => {
                self.refresh_at = None;
                TimerStep::Refresh
            }
            None => TimerStep::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Instant {
        self.refresh_at.map_or(self.end_at, |at| at.min(self.end_at))
    }
}

/// A header of seconds and parameters.
fn delta(headers: &Headers, name: &'static str) -> Result<Option<(Duration, Params)>, HeaderError> {
    let value = match headers.single(name) {
        Ok(value) => value,
        Err(HeaderError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (number, params) = value.split_at(value.find(';').unwrap_or(value.len()));
    let malformed = |problem| HeaderError::Malformed { name, problem };
    let seconds: u32 = number
        .trim()
        .parse()
        .map_err(|_| malformed(Malformed("it must start with a number of seconds")))?;
    let params = Params::read(params).map_err(malformed)?;
    Ok(Some((Duration::from_secs(seconds.into()), params)))
}

fn refresher_of(params: &Params) -> Result<Option<Role>, HeaderError> {
    match params.get("refresher") {
        None => Ok(None),
        Some(role) if role.eq_ignore_ascii_case("uac") => Ok(Some(Role::Uac)),
        Some(role) if role.eq_ignore_ascii_case("uas") => Ok(Some(Role::Uas)),
        Some(_) => Err(HeaderError::Malformed {
            name: "Session-Expires",
            problem: Malformed("its refresher must be uac or uas"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn every_combination_of_what_a_request_may_ask_gets_the_answer_of_the_rfc() {
        for (headers, expected) in [
            (&[][..], Ok(None)),
            (&[("Supported", "timer")], Ok(Some("1800;refresher=uac".to_owned()))),
            (
                &[("Supported", "timer"), ("x", "600")],
                Ok(Some("600;refresher=uac".to_owned())),
            ),
            (
                &[("Require", "timer"), ("x", "600;refresher=uas")],
                Ok(Some("600;refresher=uas".to_owned())),
            ),
            (
                &[("Supported", "timer"), ("x", "7200;refresher=UAC")],
                Ok(Some("1800;refresher=uac".to_owned())),
            ),
            (
                &[("Supported", "timer"), ("x", "7200"), ("Min-SE", "3600")],
                Ok(Some("3600;refresher=uac".to_owned())),
            ),
            (&[("x", "600")], Ok(Some("600;refresher=uas".to_owned()))),
            (&[("x", "600;refresher=uac")], Ok(Some("600;refresher=uas".to_owned()))),
            (&[("Supported", "timer"), ("x", "89")], Err(TooSmall(MIN_SE))),
            (&[("x", "89")], Ok(None)),
        ] {
            let answer = answer(&terms(headers).unwrap(), Some(SESSION_EXPIRES));
            assert_eq!(
                answer.map(|agreed| agreed.map(|agreed| agreed.to_string())),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn without_a_wish_of_our_own_only_what_is_asked_for_is_agreed_to() {
        let agreed = |headers| answer(&terms(headers).unwrap(), None).unwrap();
        assert_eq!(agreed(&[("Supported", "timer")]), None);
        assert_eq!(agreed(&[("x", "7200")]).unwrap().interval, 2 * HOUR);
    }

    #[test]
    fn a_2xx_may_shorten_what_we_asked_for_and_not_lengthen_it() {
        let interval = |headers: &[(&str, &str)]| {
            accept(&terms(headers).unwrap(), HOUR, MIN_SE).map(|agreed| (agreed.interval.as_secs(), agreed.refresher))
        };
        assert_eq!(interval(&[("x", "600;refresher=uas")]), Some((600, Role::Uas)));
        assert_eq!(interval(&[("x", "9000")]), Some((3600, Role::Uac)));
        assert_eq!(interval(&[("x", "1")]), Some((90, Role::Uac)));
        assert_eq!(interval(&[("Supported", "timer")]), None);
    }

    #[test]
    fn a_wish_below_the_minimum_of_the_rfc_lowers_ours_and_no_other_wish_does() {
        let short = Duration::from_secs(10);
        let floors = [None, Some(HOUR), Some(short)].map(|wanted| floor(wanted).as_secs());
        assert_eq!(floors, [90, 90, 10]);
        let read = |pairs: &[(&str, &str)]| {
            let mut headers = Headers::new();
            pairs.iter().for_each(|(name, value)| headers.push(name, *value));
            Terms::read(&headers, short).unwrap()
        };
        let interval = |pairs: &[(&str, &str)]| {
            let agreed = answer(&read(pairs), Some(short));
            agreed.map(|agreed| agreed.map(|agreed| agreed.interval.as_secs()))
        };
        assert_eq!(interval(&[("Supported", "timer")]), Ok(Some(10)));
        assert_eq!(interval(&[("Supported", "timer"), ("x", "600")]), Ok(Some(10)));
        assert_eq!(
            interval(&[("Supported", "timer"), ("x", "600"), ("Min-SE", "60")]),
            Ok(Some(60))
        );
        assert_eq!(interval(&[("Supported", "timer"), ("x", "9")]), Err(TooSmall(short)));
        let accepted = accept(&read(&[("x", "1")]), short, short).unwrap();
        assert_eq!(accepted.interval, short);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_the_header() {
        for headers in [
            &[("x", "soon")][..],
            &[("x", "")],
            &[("x", "-1")],
            &[("x", "600;refresher=me")],
            &[("x", "99999999999999999999")],
            &[("x", "600"), ("x", "700")],
            &[("Min-SE", "often")],
        ] {
            let error = terms(headers).unwrap_err().to_string();
            assert!(error.contains("Session-Expires") || error.contains("Min-SE"), "{error}");
        }
    }

    #[test]
    fn the_refresher_refreshes_at_half_time_and_both_give_up_shortly_before_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ours = SessionTimer::start(start, HOUR, true, MIN_SE);
        assert_eq!(ours.poll_timeout(), at(1800));
        assert_eq!(ours.handle_timeout(at(1799)), TimerStep::Nothing);
        assert_eq!(ours.handle_timeout(at(1800)), TimerStep::Refresh);
        assert_eq!(ours.handle_timeout(at(1800)), TimerStep::Nothing);
        ours.retry(at(1801), None);
        assert_eq!(ours.handle_timeout(at(1806)), TimerStep::Refresh);
        assert_eq!(ours.poll_timeout(), at(3568));
        assert_eq!(ours.handle_timeout(at(3568)), TimerStep::Expired);
        let theirs = SessionTimer::start(start, MIN_SE, false, MIN_SE);
        assert_eq!(theirs.poll_timeout(), at(60));
    }

    fn terms(pairs: &[(&str, &str)]) -> Result<Terms, HeaderError> {
        let mut headers = Headers::new();
        pairs.iter().for_each(|(name, value)| headers.push(name, *value));
        Terms::read(&headers, MIN_SE)
    }
}
