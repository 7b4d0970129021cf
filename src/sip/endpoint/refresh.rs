//! Session timers (RFC 4028) of legs: what requests of the peer agree to, and what is done when a timer is due.

use std::time::{Duration, Instant};

use super::errands::{LegErrand, Purpose};
use super::{Endpoint, Event, Refusal};
use crate::sip::errand::{Draft, Outcome};
use crate::sip::headers::Headers;
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::session_timer::{Agreed, MIN_SE, Role, SessionTimer, Terms, TooSmall, accept, answer, floor};

impl Endpoint {
    /// What the 2xx to a request of this peer agrees to.
    pub(super) fn timer_offered(&self, peer: usize, request: &Request) -> Result<Option<Agreed>, Refusal> {
        let terms = Terms::read(&request.headers, self.timer_floor(peer));
        let terms = terms.map_err(|error| Refusal::new(400, "bad_request", error.to_string()))?;
        answer(&terms, self.admission.session_expires(peer)).map_err(|error| {
            let TooSmall(floor) = error;
            let refusal = Refusal::new(422, "bad_request", error.to_string());
            refusal.with_header("Min-SE", floor.as_secs().to_string())
        })
    }

    /// The shortest session timer we agree to with this peer.
    pub(super) fn timer_floor(&self, peer: usize) -> Duration {
        floor(self.admission.session_expires(peer))
    }

    /// The same for a request inside the dialog of a leg.
    pub(super) fn timer_for(&self, id: LegId, request: &Request) -> Result<Option<Agreed>, Refusal> {
        match self.legs.get(&id) {
            Some(leg) => self.timer_offered(leg.peer, request),
            None => Err(Refusal::no_dialog()),
        }
    }

    /// A 2xx to a request of the peer leaves now, and with it the timer starts anew, or stops. Before the answer to the
    /// call there is no session to time.
    pub(super) fn start_timer(&mut self, now: Instant, id: LegId, agreed: Option<Agreed>) {
        self.run_timer(now, id, agreed, Role::Uas);
    }

    /// `ours`: which role we had in the request this was agreed with.
    pub(super) fn run_timer(&mut self, now: Instant, id: LegId, agreed: Option<Agreed>, ours: Role) {
        let floor = self.leg_floor(id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if matches!(&leg.phase, Phase::Asked(asked) if asked.first) {
            return;
        }
        let start = |agreed: Agreed| SessionTimer::start(now, agreed.interval, agreed.refresher == ours, floor);
        leg.usages.timer = agreed.map(start);
        self.arm(id);
    }

    fn leg_floor(&self, id: LegId) -> Duration {
        self.legs.get(&id).map_or(MIN_SE, |leg| self.timer_floor(leg.peer))
    }

    /// No refresh came, or none of ours succeeded.
    pub(super) fn expire(&mut self, now: Instant, id: LegId) {
        let reason = "session_expired";
        let Some(leg) = self.legs.get(&id) else { return };
        if leg.course().is_none() {
            return self.fail(id, reason);
        }
        self.tell(id, Event::Failed { reason });
        self.hang_up(now, id, reason.into());
    }
}

/// Refreshes of ours: an UPDATE that offers nothing where the peer takes it, else the offer it knows in a re-INVITE.
impl Endpoint {
    pub(super) fn refresh(&mut self, now: Instant, id: LegId) {
        let Some(usages) = self.usages(id) else { return };
        match usages.peer_updates {
            true => {
                let update = usages.write_timer(Draft::new(Method::Update)).with_contact();
                self.send_in_dialog(now, id, update, Purpose::Leg(id, LegErrand::Refresh));
            }
            false => self.refresh_by_invite(now, id),
        }
    }

    /// A refresh was answered, or not. A peer that does not know the call any more has none (RFC 4028 section 10).
    pub(super) fn refresh_done(&mut self, now: Instant, id: LegId, outcome: Outcome) {
        let response = match outcome {
            Outcome::Response(response) => response,
            Outcome::TimedOut | Outcome::Unreachable(_) => return self.expire(now, id),
        };
        match response.status {
            200..=299 => self.refreshed(now, id, &response),
            408 | 481 => self.expire(now, id),
            status => self.refresh_refused(now, id, status, &response.headers),
        }
    }

    /// The offer the peer knows is made again. While something else is being agreed on that has to wait.
    fn refresh_by_invite(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let free = matches!(leg.phase, Phase::Talking) && leg.retry.is_none() && leg.usages.reoffer.is_none();
        match leg.usages.local_sdp.clone().filter(|_| free) {
            Some(sdp) => {
                leg.usages.refreshing = true;
                self.send_reinvite(now, id, sdp, 1);
            }
            None => {
                if let Some(timer) = &mut leg.usages.timer {
                    timer.retry(now, None);
                }
                self.arm(id);
            }
        }
    }

    /// Our re-INVITE that refreshes was answered. What it was answered with changes nothing.
    pub(super) fn refresh_reanswered(&mut self, now: Instant, id: LegId, refused: Option<u16>) {
        if let Some(status) = refused {
            self.refresh_refused(now, id, status, &Headers::new());
        }
    }

    /// A 2xx to a request of ours: what it says of the timer holds from now on.
    pub(super) fn refreshed(&mut self, now: Instant, id: LegId, response: &Response) {
        let floor = self.leg_floor(id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.dialog.refresh_target(&response.headers);
        leg.usages.learn(&response.headers);
        let asked = leg.usages.timer.as_ref().map(SessionTimer::interval);
        let terms = Terms::read(&response.headers, floor).ok();
        let agreed = asked.zip(terms).and_then(|(asked, terms)| accept(&terms, asked, floor));
        self.run_timer(now, id, agreed, Role::Uac);
    }

    /// It is tried again until the session is over. A peer without UPDATE gets a re-INVITE at once.
    fn refresh_refused(&mut self, now: Instant, id: LegId, status: u16, headers: &Headers) {
        let spread = Duration::from_millis(GLARE_MS_MIN + self.mint.number(GLARE_STEPS) * GLARE_STEP_MS);
        let floor = self.leg_floor(id);
        let Some(usages) = self.usages(id) else { return };
        let at_once = usages.peer_updates && [405, 501].contains(&status);
        usages.peer_updates &= !at_once;
        let Some(timer) = &mut usages.timer else { return };
        let min = Terms::read(headers, floor).map_or(floor, |terms| terms.min);
        let after = match status {
            _ if at_once => Some(Duration::ZERO),
            422 if timer.lengthen(min) => Some(Duration::ZERO),
            491 => Some(spread),
            _ => retry_after(headers),
        };
        timer.retry(now, after);
        self.arm(id);
    }
}

/// Calls of ours.
impl Endpoint {
    /// The INVITE with the session timer we ask this peer for.
    pub(super) fn with_timer(&self, peer: usize, min: Option<Duration>, invite: Request) -> Request {
        let min = min.unwrap_or_else(|| self.timer_floor(peer));
        match self.admission.session_expires(peer) {
            Some(wanted) => invite
                .with_header("Session-Expires", wanted.max(min).as_secs().to_string())
                .with_header("Min-SE", min.as_secs().to_string()),
            None => invite,
        }
    }

    /// The callee answered: what both sides can do, and the session timer.
    pub(super) fn begin_session(&mut self, now: Instant, id: LegId, invite: &Request, response: &Response) {
        let floor = self.leg_floor(id);
        let Some(usages) = self.usages(id) else { return };
        usages.learn(&response.headers);
        usages.local_sdp = Some(invite.body.clone());
        let asked = Terms::read(&invite.headers, floor)
            .ok()
            .and_then(|terms| terms.interval);
        let terms = Terms::read(&response.headers, floor).ok();
        let agreed = terms.and_then(|terms| accept(&terms, asked.or(terms.interval)?, floor));
        self.run_timer(now, id, agreed, Role::Uac);
    }
}

/// How long a side that owns the Call-ID, or does not, waits after 491 (RFC 3261 section 14.1): both draw from here.
const GLARE_MS_MIN: u64 = 500;
const GLARE_STEP_MS: u64 = 20;
const GLARE_STEPS: u64 = 175;

/// The least and the most of a Retry-After that is believed, in seconds: a peer that names no time at all has us not ask
/// it as fast as it answers, and one that names all of time has no clock run over.
const RETRY_AFTER_S_MIN: u64 = 1;
const RETRY_AFTER_S_MAX: u64 = 3600;

fn retry_after(headers: &Headers) -> Option<Duration> {
    let digits = headers.first("Retry-After")?.split([';', '(', ' ']).next()?;
    let seconds: u64 = digits.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(RETRY_AFTER_S_MIN, RETRY_AFTER_S_MAX)))
}
