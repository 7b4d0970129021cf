//! Why one side does not hear the other: one word at a time, told once when it begins and once when it is over.
//!
//! The doctor is shown what came and went and looks at it twice a second; whatever is wrong is told within three seconds
//! of its beginning. It is a hint for people and alarms. Nothing is decided by it: whether a silent call ends is
//! the affair of `watch`.

use std::time::{Duration, Instant};

use super::event::{Event, Events};
use crate::sdp::Negotiated;

/// What is wrong. Of several the first in this order is told: what is seen outranks what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ailment {
    /// Packets come, and none can be verified: the keys of the two sides differ.
    SrtpFailures,
    /// Packets come, but from elsewhere than the far end's packets came from before.
    WrongSource,
    /// Packets come, but of a payload type nobody agreed on.
    WrongPayloadType,
    /// The far end's host says that nobody listens where we send (ICMP port unreachable).
    Refused,
    /// Nothing of ours leaves: there is nowhere to send it, or the network does not take it.
    NotSending,
    /// Nothing has come since the media was agreed on.
    NoPackets,
    /// Packets came, and come no more.
    PacketsStopped,
    /// Packets come, and there is nothing in them, not even the noise of a quiet room: a microphone that is switched off,
    /// or sound lost before it reached the line.
    AllSilence,
}

impl Ailment {
    /// Every one, in the order of [`AilmentSums`].
    pub const ALL: [Self; 8] = [
        Self::SrtpFailures,
        Self::WrongSource,
        Self::WrongPayloadType,
        Self::Refused,
        Self::NotSending,
        Self::NoPackets,
        Self::PacketsStopped,
        Self::AllSilence,
    ];

    /// The one cause word, in log, metric, event and record.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SrtpFailures => "srtp_failures",
            Self::WrongSource => "wrong_source",
            Self::WrongPayloadType => "wrong_payload_type",
            Self::Refused => "refused",
            Self::NotSending => "not_sending",
            Self::NoPackets => "no_packets",
            Self::PacketsStopped => "packets_stopped",
            Self::AllSilence => "all_silence",
        }
    }

    /// What to look at, for people.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::SrtpFailures => "packets come but none verifies: the two sides have different SRTP keys",
            Self::WrongSource => {
                "packets come only from another address than those before: a NAT or a media relay moved"
            }
            Self::WrongPayloadType => "packets come with a payload type that offer and answer did not agree on",
            Self::Refused => "nobody listens where our packets go (ICMP port unreachable)",
            Self::NotSending => "none of our packets leaves: no address to send to, or the network refuses them",
            Self::NoPackets => "no packet has come since the answer: a firewall, or a wrong address in our description",
            Self::PacketsStopped => "packets came and have stopped: the phone or the way from it is gone",
            Self::AllSilence => "packets come but hold nothing but digital silence: a microphone that is off",
        }
    }
}

/// A change of what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What.
    pub ailment: Ailment,
    /// None when it begins; how long it was told when it is over.
    pub lasted: Option<Duration>,
}

/// How often each ailment was told, and for how long, in the order of [`Ailment::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AilmentSums([(u32, Duration); Ailment::ALL.len()]);

impl AilmentSums {
    /// Those that were seen: how often, and how long in all.
    pub fn seen(&self) -> impl Iterator<Item = (Ailment, u32, Duration)> + '_ {
        let sums = Ailment::ALL.into_iter().zip(self.0);
        sums.filter(|(_, (times, _))| *times > 0)
            .map(|(ailment, (times, lasted))| (ailment, times, lasted))
    }

    fn of(&mut self, ailment: Ailment) -> &mut (u32, Duration) {
        &mut self.0[ailment as usize]
    }
}

/// A packet that is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// Not verified.
    Unverified,
    /// From elsewhere.
    Foreign,
    /// Of no payload type we know.
    Unexpected,
}

/// Watches one leg.
#[derive(Debug)]
pub(super) struct Doctor {
    terms: Option<Terms>,
    /// Before the answer a caller need not send anything.
    early: bool,
    due: Option<Instant>,
    /// When last a good packet came.
    good: Option<Instant>,
    /// The last good packet said that silence follows.
    paused: bool,
    /// Packets that were no use since the last good one: how many, and when the last.
    useless: [Seen; 3],
    /// Since when nothing but digital silence has been heard in good packets; whether anything was ever heard.
    silent_since: Option<Instant>,
    heard: bool,
    /// Something was heard since the last look.
    sound: bool,
    /// When the last packet left, and the one before it.
    sent: [Option<Instant>; 2],
    refused: Option<Refusal>,
    present: Option<(Ailment, Instant)>,
    sums: AilmentSums,
}

/// What there should be.
#[derive(Clone, Copy, Debug)]
struct Terms {
    remote: std::net::SocketAddr,
    /// Since when the far end should send; on hold it need not.
    receiving: Option<Instant>,
    /// Since when we should send.
    sending: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    packets: u32,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    first: Instant,
    last: Instant,
}

/// How often the doctor looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long something has to be missing.
const MISSING_FOR: Duration = Duration::from_secs(2);
/// How long a sender may be silent that said it would be: whoever sends comfort noise sends it anew now and then.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// As many useless packets explain why good ones are missing; fewer are stragglers.
const USELESS_MIN: u32 = 10;
/// How long refusals have to go on. A host may send only one a second.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// So long after the last refusal it is over.
const REFUSED_UNTIL: Duration = Duration::from_secs(3);
/// How long the beginning of a call is digital silence before that is told.
const SILENT_AT_FIRST: Duration = Duration::from_millis(2_500);
/// The same once the far end has been heard: people switch their microphone off and listen.
const SILENT_LATER: Duration = Duration::from_secs(30);
/// The loudest sample of digital silence: the idle pattern of A-law, and what resampling makes of it.
const IDLE_LEVEL: u16 = 12;

impl Doctor {
    pub(super) fn new() -> Self {
        Self {
            terms: None,
            early: false,
            due: None,
            good: None,
            paused: false,
            useless: [Seen::default(); 3],
            silent_since: None,
            heard: false,
            sound: false,
            sent: [None; 2],
            refused: None,
            present: None,
            sums: AilmentSums::default(),
        }
    }

    /// New terms. With another address everything begins afresh.
    pub(super) fn apply(&mut self, now: Instant, terms: &Negotiated) {
        let moved = self.terms.is_some_and(|known| known.remote != terms.remote_rtp);
        if moved {
            self.forget();
        }
        let kept = self.terms.filter(|_| !moved);
        let sends = terms.direction.sends();
        let receives = sends && terms.direction.receives();
        let since = |wanted: bool, kept: Option<Instant>| wanted.then(|| kept.unwrap_or(now));
        self.terms = Some(Terms {
            remote: terms.remote_rtp,
            receiving: since(receives, kept.and_then(|kept| kept.receiving)),
            sending: since(sends, kept.and_then(|kept| kept.sending)),
        });
        self.due.get_or_insert(now + LOOK_EVERY);
    }

    /// Whether the call is not answered yet, so that nothing need come.
    pub(super) fn set_early(&mut self, now: Instant, early: bool) {
        self.early = early;
        self.restart(now);
    }

    /// A packet of the far end that is heard. `pause` says that it announces silence.
    pub(super) fn receive(&mut self, now: Instant, pause: bool) {
        if self.good.is_none() {
            self.silent_since = Some(now);
        }
        self.good = Some(now);
        self.paused = pause;
        if self.useless.iter().any(|seen| seen.packets > 0) {
            self.useless = [Seen::default(); 3];
        }
    }

    /// A packet that is no use.
    pub(super) fn turn_away(&mut self, now: Instant, why: Useless) {
        let seen = &mut self.useless[why as usize];
        seen.packets = seen.packets.saturating_add(1);
        seen.last = Some(now);
    }

    /// What was heard. Looked at until there is something in it, and then not before the next look.
    pub(super) fn listen(&mut self, pcm: &[i16]) {
        if !self.sound {
            self.sound = pcm.iter().any(|sample| sample.unsigned_abs() > IDLE_LEVEL);
        }
    }

    /// A packet of ours left.
    pub(super) fn send(&mut self, now: Instant) {
        self.sent = [Some(now), self.sent[0]];
    }

    /// The last packet of ours did not leave after all.
    pub(super) fn unsend(&mut self) {
        self.sent[0] = self.sent[1];
    }

    /// A packet of ours was refused by the far end's host.
    pub(super) fn refuse(&mut self, now: Instant) {
        let going_on = self.refused.filter(|refusal| !refusal.is_over(now));
        let first = going_on.map_or(now, |refusal| refusal.first);
        self.refused = Some(Refusal { first, last: now });
    }

    /// Whether the far end's host refuses our packets now.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.present, Some((Ailment::Refused, _)))
    }

    /// Looks, if it is time to.
    pub(super) fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        let Some(due) = self.due.filter(|due| now >= *due) else {
            return;
        };
        self.due = Some(now + LOOK_EVERY);
        self.note_sound(now);
        if now - due > LOOK_EVERY {
            // Nobody served this call for a while: what came meanwhile has not been read yet.
            return self.restart(now);
        }
        let found = self.examine(now);
        self.tell(now, found, events);
    }

    /// The call is over. What is wrong stays so, for the record.
    pub(super) fn close(&mut self, now: Instant) {
        self.due = None;
        if let Some((ailment, since)) = self.present.take() {
            self.sums.of(ailment).1 += now.saturating_duration_since(since);
        }
    }

    /// What was wrong so far.
    pub(super) fn sums(&self) -> AilmentSums {
        self.sums
    }

    fn examine(&self, now: Instant) -> Option<Ailment> {
        let terms = self.terms?;
        let missing = self.missing(now, &terms);
        let useless = missing.and_then(|_| self.useless(now));
        useless
            .or_else(|| self.outgoing(now, &terms))
            .or(missing)
            .or_else(|| self.silence(now, &terms))
    }

    /// Whether good packets are missing.
    fn missing(&self, now: Instant, terms: &Terms) -> Option<Ailment> {
        let since = terms.receiving.filter(|_| !self.early)?;
        let last = self.good.map_or(since, |good| good.max(since));
        let patience = if self.paused { PAUSE_MAX } else { MISSING_FOR };
        let ailment = self.good.map_or(Ailment::NoPackets, |_| Ailment::PacketsStopped);
        (now.saturating_duration_since(last) >= patience).then_some(ailment)
    }

    /// What comes in place of good packets.
    fn useless(&self, now: Instant) -> Option<Ailment> {
        let seen = |why: Useless| {
            let seen = self.useless[why as usize];
            let lately = seen
                .last
                .is_some_and(|last| now.saturating_duration_since(last) < MISSING_FOR);
            lately && seen.packets >= USELESS_MIN
        };
        match () {
            () if seen(Useless::Unverified) => Some(Ailment::SrtpFailures),
            () if seen(Useless::Foreign) => Some(Ailment::WrongSource),
            () if seen(Useless::Unexpected) => Some(Ailment::WrongPayloadType),
            () => None,
        }
    }

    fn outgoing(&self, now: Instant, terms: &Terms) -> Option<Ailment> {
        let since = terms.sending?;
        let going_on = self.refused.filter(|refusal| !refusal.is_over(now));
        if going_on.is_some_and(|refusal| refusal.last - refusal.first >= REFUSED_FOR) {
            return Some(Ailment::Refused);
        }
        let last = self.sent[0].map_or(since, |sent| sent.max(since));
        (now.saturating_duration_since(last) >= MISSING_FOR).then_some(Ailment::NotSending)
    }

    fn silence(&self, now: Instant, terms: &Terms) -> Option<Ailment> {
        let since = terms.receiving.filter(|_| !self.early && !self.paused)?;
        let patience = if self.heard { SILENT_LATER } else { SILENT_AT_FIRST };
        let long = now.saturating_duration_since(self.silent_since?.max(since)) >= patience;
        long.then_some(Ailment::AllSilence)
    }

    fn note_sound(&mut self, now: Instant) {
        if std::mem::take(&mut self.sound) {
            self.heard = true;
            self.silent_since = Some(now);
        }
    }

    fn tell(&mut self, now: Instant, found: Option<Ailment>, events: &mut Events) {
        if self.present.map(|(ailment, _)| ailment) == found {
            return;
        }
        if let Some((ailment, since)) = self.present.take() {
            let lasted = now.saturating_duration_since(since);
            self.sums.of(ailment).1 += lasted;
            events.push(Event::Diagnosis(Diagnosis {
                ailment,
                lasted: Some(lasted),
            }));
        }
        if let Some(ailment) = found {
            self.sums.of(ailment).0 += 1;
            self.present = Some((ailment, now));
            events.push(Event::Diagnosis(Diagnosis { ailment, lasted: None }));
        }
    }

    /// Another far end: what is known of the last one is of no use.
    fn forget(&mut self) {
        self.good = None;
        self.paused = false;
        self.useless = [Seen::default(); 3];
        (self.silent_since, self.heard, self.sound) = (None, false, false);
        self.refused = None;
    }

    /// Whatever is missing is missing from now on.
    fn restart(&mut self, now: Instant) {
        if let Some(terms) = &mut self.terms {
            terms.receiving = terms.receiving.map(|_| now);
            terms.sending = terms.sending.map(|_| now);
        }
        self.silent_since = self.silent_since.map(|_| now);
    }
}

impl Refusal {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= REFUSED_UNTIL
    }
}

#[cfg(test)]
mod tests;
