//! Registrar: where the phones that registered here are (RFC 3261 section 10.3).
//!
//! It keeps, for each user, the Contacts and the flow each came by, because behind a NAT or over a connection only that
//! way leads back. It deliberately neither challenges nor answers: who may register is asked before, and the endpoint
//! writes what [`Registrar::handle_register`] decides. Nothing survives a restart; phones register again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::admission::{Credentials, Network};
use super::flow::Flow;
use super::headers::Headers;
use super::uri::{Scheme, Uri};

/// The validity when a phone asks for none (RFC 3261 section 10.2.1.1).
const EXPIRES_DEFAULT: Duration = Duration::from_secs(3600);
/// Most bytes of a Contact's URI; a longer one is refused, because it would be kept.
const CONTACT_BYTES_MAX: usize = 1024;

/// How the registrar is set up.
#[derive(Debug, Clone)]
pub struct RegistrarSettings {
    /// Where phones may register from.
    pub networks: Vec<Network>,
    /// Who may register.
    pub users: Vec<Credentials>,
    /// The shortest registration.
    pub expires_min: Duration,
    /// The longest registration.
    pub expires_max: Duration,
    /// Contacts of one user; one more takes the place of the oldest.
    pub contacts_max: usize,
}

/// Who registered from where.
#[derive(Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    /// Never an empty list.
    contacts: BTreeMap<String, Vec<Contact>>,
    /// Nothing runs out before.
    next_end: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Contact {
    uri: Uri,
    flow: Flow,
    call_id: String,
    sequence: u32,
    since: Instant,
    until: Instant,
}

/// Why a REGISTER changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It cannot be read or contradicts itself: 400.
    #[error("{0}")]
    Bad(&'static str),
    /// It asks for too short a time: 423 with this Min-Expires in seconds.
    #[error("a registration lasts {0} s at least")]
    TooBrief(u64),
}

/// What one REGISTER asks for.
enum Wish {
    /// To hear what there is.
    Nothing,
    /// To forget all.
    Forget,
    /// To set these, or to forget those with no time.
    Set(Vec<(Uri, Duration)>),
}

impl Registrar {
    /// A registrar nobody has registered at.
    pub fn new(settings: RegistrarSettings) -> Self {
        Self {
            settings,
            contacts: BTreeMap::new(),
            next_end: None,
        }
    }

    /// How it is set up.
    pub fn settings(&self) -> &RegistrarSettings {
        &self.settings
    }

    /// The credentials of a user.
    pub fn user(&self, name: &str) -> Option<&Credentials> {
        self.settings.users.iter().find(|user| user.username == name)
    }

    /// Takes the REGISTER of this user, who has proved to be it, and says what is registered then and for how long.
    /// Either all of it is done or nothing.
    pub fn handle_register(
        &mut self,
        now: Instant,
        user: &str,
        flow: Flow,
        headers: &Headers,
    ) -> Result<Vec<(Uri, Duration)>, Rejected> {
        self.handle_timeout(now);
        let wish = self.read_wish(headers)?;
        let call_id = headers.call_id().map_err(|_| Rejected::Bad("there is no Call-ID"))?;
        let sequence = headers.cseq().map_err(|_| Rejected::Bad("there is no CSeq"))?.number;
        let own = self.contacts.get(user).map(Vec::as_slice).unwrap_or_default();
        let is_late = own
            .iter()
            .any(|contact| contact.call_id == call_id && contact.sequence >= sequence);
        if is_late && !matches!(wish, Wish::Nothing) {
            return Err(Rejected::Bad("its CSeq is not higher than the one before"));
        }
        match wish {
            Wish::Nothing => {}
            Wish::Forget => drop(self.contacts.remove(user)),
            Wish::Set(wanted) => self.set(now, user, flow, (call_id, sequence), wanted),
        }
        Ok(self.registered(now, user))
    }

    /// Where a user is, the newest first.
    pub fn find(&self, user: &str) -> Vec<(Uri, Flow)> {
        let mut contacts: Vec<_> = self.contacts.get(user).into_iter().flatten().collect();
        contacts.sort_by_key(|contact| std::cmp::Reverse(contact.since));
        contacts
            .into_iter()
            .map(|contact| (contact.uri.clone(), contact.flow))
            .collect()
    }

    /// The users that registered by this flow.
    pub fn users_at(&self, flow: &Flow) -> Vec<&str> {
        let is_there = |contact: &Contact| match flow.transport.is_reliable() {
            true => contact.flow.shares_connection(flow),
            false => contact.flow.transport == flow.transport && contact.flow.remote == flow.remote,
        };
        let there = self.contacts.iter().filter(|(_, own)| own.iter().any(is_there));
        there.map(|(user, _)| user.as_str()).collect()
    }

    /// A connection has closed, and with it the way to whoever registered over it.
    pub fn handle_flow_closed(&mut self, flow: &Flow) {
        self.keep(|contact| !contact.flow.shares_connection(flow));
    }

    /// Forgets what has run out.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_end.is_some_and(|end| end <= now) {
            self.keep(|contact| contact.until > now);
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_end
    }

    /// How many Contacts are registered.
    pub fn len(&self) -> usize {
        self.contacts.values().map(Vec::len).sum()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty()
    }

    fn read_wish(&self, headers: &Headers) -> Result<Wish, Rejected> {
        let default = read_expires(headers.first("Expires"))?;
        if headers.all("Contact").any(|value| value == "*") {
            let alone = headers.all("Contact").count() == 1;
            return match alone && default == Some(Duration::ZERO) {
                true => Ok(Wish::Forget),
                false => Err(Rejected::Bad("Contact: * needs Expires: 0 and nothing beside it")),
            };
        }
        let contacts = headers
            .contacts()
            .map_err(|_| Rejected::Bad("the Contact cannot be read"))?;
        if contacts.is_empty() {
            return Ok(Wish::Nothing);
        }
        let mut wanted = Vec::new();
        for contact in contacts {
            let sound = matches!(contact.uri.scheme(), Scheme::Sip | Scheme::Sips)
                && contact.uri.as_str().len() <= CONTACT_BYTES_MAX;
            if !sound {
                return Err(Rejected::Bad("a Contact is no SIP URI, or a very long one"));
            }
            let own = read_expires(contact.params.get("expires"))?;
            let expires = self.granted(own.or(default).unwrap_or(EXPIRES_DEFAULT))?;
            wanted.push((contact.uri, expires));
        }
        match wanted.len() > self.settings.contacts_max {
            true => Err(Rejected::Bad("these are more Contacts than a user may have")),
            false => Ok(Wish::Set(wanted)),
        }
    }

    fn granted(&self, asked: Duration) -> Result<Duration, Rejected> {
        match asked {
            Duration::ZERO => Ok(Duration::ZERO),
            asked if asked < self.settings.expires_min => Err(Rejected::TooBrief(self.settings.expires_min.as_secs())),
            asked => Ok(asked.min(self.settings.expires_max)),
        }
    }

    /// A phone that comes back under the same Call-ID has moved: what it registered before is gone.
    fn set(&mut self, now: Instant, user: &str, flow: Flow, order: (&str, u32), wanted: Vec<(Uri, Duration)>) {
        let own = self.contacts.entry(user.to_owned()).or_default();
        let (call_id, sequence) = order;
        own.retain(|contact| contact.call_id != call_id && !wanted.iter().any(|(uri, _)| is_same(uri, &contact.uri)));
        for (uri, expires) in wanted.into_iter().filter(|(_, expires)| !expires.is_zero()) {
            own.push(Contact {
                uri,
                flow,
                call_id: call_id.to_owned(),
                sequence,
                since: now,
                until: now + expires,
            });
            self.next_end = Some(self.next_end.map_or(now + expires, |end| end.min(now + expires)));
        }
        let excess = own.len().saturating_sub(self.settings.contacts_max);
        own.drain(..excess);
        if own.is_empty() {
            self.contacts.remove(user);
        }
    }

    fn registered(&self, now: Instant, user: &str) -> Vec<(Uri, Duration)> {
        let own = self.contacts.get(user).into_iter().flatten();
        own.map(|contact| (contact.uri.clone(), contact.until.saturating_duration_since(now)))
            .collect()
    }

    fn keep(&mut self, is_kept: impl Fn(&Contact) -> bool) {
        self.contacts.retain(|_, own| {
            own.retain(&is_kept);
            !own.is_empty()
        });
        self.next_end = self.contacts.values().flatten().map(|contact| contact.until).min();
    }
}

/// The same phone: the same address over the same transport.
fn is_same(one: &Uri, other: &Uri) -> bool {
    let transport = |uri: &Uri| uri.params().get("transport").map(str::to_ascii_lowercase);
    one.same_resource(other) && transport(one) == transport(other)
}

/// Delta seconds. What is no number is no wish (RFC 3261 section 10.3, step 6); what does not fit is a long time.
fn read_expires(text: Option<&str>) -> Result<Option<Duration>, Rejected> {
    let Some(text) = text else { return Ok(None) };
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))),
        false => Err(Rejected::Bad("an Expires is no number")),
    }
}

#[cfg(test)]
mod tests;
