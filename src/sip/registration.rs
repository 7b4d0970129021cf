//! Registration: keeps one address of ours known at one registrar (RFC 3261 section 10.2, RFC 5626, RFC 3608).
//!
//! It decides when to send which REGISTER, what its answer means, how long to wait after a failure, and when the way to
//! the registrar wants a sign of life. It owns the Call-ID and the numbers of its requests, because a registrar believes
//! only what comes later. It deliberately knows nothing of passwords and hops: its requests are errands, which answer
//! challenges and try every address before they fail. Chance comes in as `dice`, a number from 0 to [`DICE_MAX`].

use std::time::{Duration, Instant};

use super::address::NameAddr;
use super::flow::Flow;
use super::message::{Request, Response};
use super::uri::{Scheme, Uri};

/// The largest number dice show.
pub const DICE_MAX: u64 = 255;

/// The wait after the first failure; it doubles with each further one.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait after a failure, and the wait after one that will not go away by itself, such as a wrong password.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// The longest a registrar can have us stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The longest registration asked for or believed.
const EXPIRES_MAX: Duration = Duration::from_secs(86_400);
/// How long before its end a registration is refreshed at the latest, when it is long enough for that.
const REFRESH_MARGIN: Duration = Duration::from_secs(5);
/// A connection that closes sooner after the answer than this is a failure; later, it is just an end.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// Redirections followed in a row. More are a failure, because they may lead in a circle.
const REDIRECTS_MAX: u8 = 3;
/// By how much the sequence number rises after a failure at least: every attempt of an errand may have used one up.
const SEQUENCE_STEP: u32 = 64;
/// Most routes taken from a Service-Route; a longer one is not followed.
const SERVICE_ROUTES_MAX: usize = 16;

/// How often the way is kept open through a NAT that forgets datagrams (RFC 5626 section 4.4.2).
const KEEP_ALIVE_DATAGRAM: Duration = Duration::from_secs(30);
/// How often a connection is kept alive (RFC 5626 section 4.4.1).
const KEEP_ALIVE_CONNECTION: Duration = Duration::from_secs(95);

/// The registration of one trunk.
#[derive(Debug)]
pub struct Registration {
    address: Uri,
    call_id: String,
    tag: String,
    sequence: u32,
    expires: Duration,
    /// Where a redirection has sent us.
    elsewhere: Option<Uri>,
    redirects: u8,
    phase: Phase,
    valid: Option<Valid>,
    failures: u32,
    keep_alive_at: Option<Instant>,
    service_routes: Vec<NameAddr>,
    error: String,
    changed: bool,
    leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next REGISTER is due then.
    Waiting(Instant),
    /// A REGISTER is under way.
    Asking,
    /// Nothing more is sent.
    Over,
}

/// A registration the registrar has confirmed.
#[derive(Debug, Clone, Copy)]
struct Valid {
    since: Instant,
    until: Instant,
    flow: Flow,
}

/// What a registration wants to have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Send this REGISTER, and tell how it went.
    Register(Box<Asking>),
    /// Show a sign of life on this flow.
    KeepAlive(Flow),
}

/// What a REGISTER says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Where to.
    pub address: Uri,
    /// The Call-ID.
    pub call_id: String,
    /// Our tag in From.
    pub tag: String,
    /// The number for CSeq.
    pub sequence: u32,
    /// How long it is to last; zero takes it back.
    pub expires: Duration,
    /// The way we are registered by, while nothing speaks against it; without it the address is looked up.
    pub flow: Option<Flow>,
}

/// Where a registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether we are registered.
    pub registered: bool,
    /// For how long from now.
    pub expires: Option<Duration>,
    /// What went wrong last; empty when nothing did.
    pub error: String,
}

impl Registration {
    /// A registration at `address`, asked to last `expires`, that begins at `first_at`.
    pub fn new(address: Uri, expires: Duration, first_at: Instant, call_id: String, tag: String) -> Self {
        Self {
            address,
            call_id,
            tag,
            sequence: 0,
            expires: expires.min(EXPIRES_MAX),
            elsewhere: None,
            redirects: 0,
            phase: Phase::Waiting(first_at),
            valid: None,
            failures: 0,
            keep_alive_at: None,
            service_routes: Vec::new(),
            error: String::new(),
            changed: true,
            leaving: false,
        }
    }

    /// The next thing that is due; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant, dice: u64) -> Option<Task> {
        if self.valid.is_some_and(|valid| valid.until <= now) {
            self.lose("the registration has run out before it could be refreshed");
        }
        if let Phase::Waiting(at) = self.phase
            && at <= now
        {
            self.phase = Phase::Asking;
            self.sequence = self.sequence.saturating_add(1);
            return Some(Task::Register(Box::new(self.asking())));
        }
        let flow = self.valid.map(|valid| valid.flow)?;
        self.keep_alive_at.filter(|at| *at <= now)?;
        self.keep_alive_at = Some(now + keep_alive_after(&flow, dice));
        Some(Task::KeepAlive(flow))
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Asking => None,
            Phase::Over => return None,
        };
        let until = self.valid.map(|valid| valid.until);
        [next, until, self.keep_alive_at].into_iter().flatten().min()
    }

    /// Takes the final answer to the REGISTER under way, which was `sent` on this flow.
    pub fn handle_answer(&mut self, now: Instant, sent: &Request, flow: Flow, response: &Response, dice: u64) {
        if self.phase != Phase::Asking {
            return;
        }
        if let Ok(cseq) = sent.headers.cseq() {
            self.sequence = self.sequence.max(cseq.number);
        }
        let is_goodbye = sent.headers.first("Expires") == Some("0");
        match response.status {
            200..=299 if is_goodbye => self.end(),
            200..=299 => self.confirmed(now, sent, flow, response, dice),
            _ if is_goodbye => self.end(),
            423 => self.too_brief(now, response, dice),
            301 | 302 => self.redirected(now, response, dice),
            _ => self.refused(now, response, dice),
        }
    }

    /// The REGISTER under way was answered nowhere.
    pub fn handle_failure(&mut self, now: Instant, detail: &str, dice: u64) {
        if self.phase == Phase::Asking {
            // The way we know leads nowhere any more: look for another one at once.
            let wait = match self.kept_flow() {
                Some(_) => Duration::ZERO,
                None => self.back_off(),
            };
            self.fail(now, detail.to_owned(), wait, dice);
        }
    }

    /// A connection has closed; when it was ours, we register again over another one at once.
    pub fn handle_flow_closed(&mut self, now: Instant, flow: &Flow, dice: u64) {
        let Some(valid) = self.valid.filter(|valid| valid.flow.shares_connection(flow)) else {
            return;
        };
        self.lose("the connection to the registrar has closed");
        if !matches!(self.phase, Phase::Waiting(_)) {
            return;
        }
        match now.saturating_duration_since(valid.since) < SHORT_LIFE {
            true => self.fail(now, self.error.clone(), self.back_off(), dice),
            false => self.phase = Phase::Waiting(now),
        }
    }

    /// Takes the registration back as soon as that is possible.
    pub fn leave(&mut self, now: Instant) {
        self.leaving = true;
        match (self.phase, self.valid) {
            (Phase::Asking, _) => {}
            (_, Some(_)) => self.phase = Phase::Waiting(now),
            (_, None) => self.end(),
        }
    }

    /// Whether nothing more will be sent.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether a request that came by this flow came from the registrar: by the connection we registered over, or from
    /// the address we sent the datagram to.
    pub fn is_way_of(&self, flow: &Flow) -> bool {
        self.valid
            .is_some_and(|valid| match valid.flow.transport.is_reliable() {
                true => valid.flow.shares_connection(flow),
                false => valid.flow.transport == flow.transport && valid.flow.remote == flow.remote,
            })
    }

    /// The way requests of ours go while we are registered (RFC 3608), and the open flow to the registrar.
    pub fn service_routes(&self) -> &[NameAddr] {
        &self.service_routes
    }

    /// The flow we are registered over.
    pub fn flow(&self) -> Option<Flow> {
        self.valid.map(|valid| valid.flow)
    }

    /// Where it stands.
    pub fn standing(&self, now: Instant) -> Standing {
        let left = self.valid.map(|valid| valid.until.saturating_duration_since(now));
        Standing {
            registered: self.valid.is_some(),
            expires: left,
            error: self.error.clone(),
        }
    }

    /// Whether its standing is worth telling; true once for each change.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn asking(&self) -> Asking {
        let expires = if self.leaving { Duration::ZERO } else { self.expires };
        Asking {
            address: self.elsewhere.clone().unwrap_or_else(|| self.address.clone()),
            call_id: self.call_id.clone(),
            tag: self.tag.clone(),
            sequence: self.sequence,
            expires,
            flow: self.kept_flow(),
        }
    }

    /// A registrar is one of several servers perhaps, and the others need not know us.
    fn kept_flow(&self) -> Option<Flow> {
        let undisturbed = self.failures == 0 && self.elsewhere.is_none();
        self.valid.map(|valid| valid.flow).filter(|_| undisturbed)
    }

    fn confirmed(&mut self, now: Instant, sent: &Request, flow: Flow, response: &Response, dice: u64) {
        let granted = granted(sent, response).unwrap_or(self.expires).min(EXPIRES_MAX);
        if granted.is_zero() {
            let detail = "the registrar has answered 200 and not kept our address".to_owned();
            return self.fail(now, detail, BACK_OFF_MAX, dice);
        }
        self.valid = Some(Valid {
            since: now,
            until: now + granted,
            flow,
        });
        self.keep_alive_at = Some(now + keep_alive_after(&flow, dice));
        self.service_routes = service_routes(response);
        self.failures = 0;
        self.redirects = 0;
        self.error.clear();
        self.changed = true;
        self.phase = Phase::Waiting(match self.leaving {
            true => now,
            false => now + refresh_after(granted, dice),
        });
    }

    /// 423: the registrar wants less work (RFC 3261 section 10.2.8).
    fn too_brief(&mut self, now: Instant, response: &Response, dice: u64) {
        let min = response.headers.first("Min-Expires").and_then(seconds);
        match min.filter(|min| *min > self.expires && *min <= EXPIRES_MAX) {
            Some(min) => {
                self.expires = min;
                self.phase = Phase::Waiting(now);
            }
            None => self.refused(now, response, dice),
        }
    }

    fn redirected(&mut self, now: Instant, response: &Response, dice: u64) {
        let usable = |uri: &Uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) && uri.host().is_some();
        let contact = response.headers.contact().ok().map(|contact| contact.uri);
        match contact.filter(|uri| usable(uri) && self.redirects < REDIRECTS_MAX) {
            Some(uri) => {
                self.redirects += 1;
                self.elsewhere = Some(uri.for_request_line());
                self.phase = Phase::Waiting(now);
            }
            None => self.refused(now, response, dice),
        }
    }

    fn refused(&mut self, now: Instant, response: &Response, dice: u64) {
        let retry_after = response
            .headers
            .first("Retry-After")
            .and_then(seconds)
            .unwrap_or_default();
        let wait = match response.status {
            // Nothing that time heals, and asking often may lock the account.
            400..=407 | 410..=422 | 424..=479 | 481..=499 | 501 | 505 | 600..=699 => BACK_OFF_MAX,
            _ => self.back_off(),
        };
        let detail = format!("{} {}", response.status, response.reason);
        let wait = wait.max(retry_after.min(RETRY_AFTER_MAX));
        self.fail(now, detail.trim_end().to_owned(), wait, dice);
    }

    /// Tries again later. What is still valid stays so until it runs out.
    fn fail(&mut self, now: Instant, detail: String, wait: Duration, dice: u64) {
        self.failures = self.failures.saturating_add(1);
        self.redirects = 0;
        self.elsewhere = None;
        self.sequence = self.sequence.saturating_add(SEQUENCE_STEP);
        self.changed = true;
        self.error = detail;
        match self.leaving {
            true => self.end(),
            false => self.phase = Phase::Waiting(now + spread(wait, 50, dice)),
        }
    }

    fn back_off(&self) -> Duration {
        let doublings = self.failures.min(16);
        BACK_OFF_FIRST.saturating_mul(1 << doublings).min(BACK_OFF_MAX)
    }

    fn lose(&mut self, error: &str) {
        self.valid = None;
        self.keep_alive_at = None;
        self.service_routes.clear();
        self.error = error.to_owned();
        self.changed = true;
        if self.leaving && self.phase != Phase::Asking {
            self.phase = Phase::Over;
        }
    }

    fn end(&mut self) {
        self.changed |= self.valid.is_some();
        self.valid = None;
        self.keep_alive_at = None;
        self.service_routes.clear();
        self.phase = Phase::Over;
    }
}

/// How long the registrar keeps our address: of the Contact that is ours, of the only one, or as Expires says
/// (RFC 3261 section 10.2.4). Registrars that look behind a NAT write another address into our Contact.
fn granted(sent: &Request, response: &Response) -> Option<Duration> {
    let ours = sent.headers.contact().ok()?;
    let contacts = response.headers.contacts().unwrap_or_default();
    let line = ours.uri.params().get("line");
    let is_ours = |contact: &&NameAddr| {
        contact.uri.same_resource(&ours.uri) || (line.is_some() && contact.uri.params().get("line") == line)
    };
    let only = || Some(contacts.first()?).filter(|_| contacts.len() == 1);
    let expires = contacts.iter().find(is_ours).or_else(only);
    let expires = expires.and_then(|contact| contact.params.get("expires").and_then(seconds));
    expires.or_else(|| response.headers.first("Expires").and_then(seconds))
}

/// Delta seconds; more than fit are as good as the most.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.split([';', ' ', '(']).next().unwrap_or_default();
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
}

/// Between 80 and 90 % of the validity, and some seconds before its end.
fn refresh_after(granted: Duration, dice: u64) -> Duration {
    let after = spread(granted.mul_f64(0.9), 89, dice);
    let latest = granted.saturating_sub(REFRESH_MARGIN).max(granted / 2);
    after.min(latest)
}

fn keep_alive_after(flow: &Flow, dice: u64) -> Duration {
    let most = match flow.transport.is_reliable() {
        true => KEEP_ALIVE_CONNECTION,
        false => KEEP_ALIVE_DATAGRAM,
    };
    spread(most, 80, dice)
}

/// Between this percentage of a span and all of it.
fn spread(span: Duration, percent_min: u32, dice: u64) -> Duration {
    let share = f64::from(u32::try_from(dice.min(DICE_MAX)).unwrap_or_default()) / DICE_MAX as f64;
    let least = f64::from(percent_min) / 100.0;
    span.mul_f64(least + (1.0 - least) * share)
}

fn service_routes(response: &Response) -> Vec<NameAddr> {
    let mut routes = Vec::new();
    for value in response.headers.all("Service-Route") {
        match NameAddr::read_list(value) {
            Ok(more) => routes.extend(more),
            Err(_) => return Vec::new(),
        }
    }
    match routes.len() > SERVICE_ROUTES_MAX {
        true => Vec::new(),
        false => routes,
    }
}

#[cfg(test)]
mod tests;
