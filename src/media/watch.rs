//! Is the far end still there, and does it hear us? Each is told once when it was not so for too long, and once more only
//! after it was so again.
//!
//! That it is there, only RTP shows: whoever sends reports and no sound is silent all the same. That it hears us, its
//! own reports show and its host's refusals; where there are neither, nobody knows and nothing is told.

use std::time::{Duration, Instant};

use super::event::{Event, Events};
use crate::rtp::rtcp::Incoming;

/// Watches only while the far end is expected to send, and we to send.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    limit: Duration,
    state: State,
    hearing: Hearing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is expected: before the answer, and on hold.
    Off,
    Heard(Instant),
    Silent,
}

/// Whether the far end hears us.
#[derive(Clone, Debug)]
struct Hearing {
    limit: Duration,
    sending: bool,
    /// The last of our packets the far end reported; before it has reported any it may be one that never does.
    highest: Option<u32>,
    deaf_since: Option<Instant>,
    refused_since: Option<Instant>,
    told: bool,
}

impl Watch {
    pub(super) fn new(silence: Duration, unheard: Duration) -> Self {
        Self {
            limit: silence,
            state: State::Off,
            hearing: Hearing {
                limit: unheard,
                sending: false,
                highest: None,
                deaf_since: None,
                refused_since: None,
                told: false,
            },
        }
    }

    /// New terms: whether both sides send, and whether we do. The time starts again, or stops.
    pub(super) fn expect(&mut self, now: Instant, expected: bool, sending: bool) {
        self.state = match (expected, self.state) {
            (false, _) => State::Off,
            // Silence that was told is over only when something comes.
            (true, State::Silent) => State::Silent,
            (true, _) => State::Heard(now),
        };
        self.hearing.sending = sending;
        (self.hearing.deaf_since, self.hearing.refused_since) = (None, None);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if self.state != State::Off {
            self.state = State::Heard(now);
        }
    }

    /// The far end reports.
    pub(super) fn hear_report(&mut self, now: Instant, incoming: &Incoming, events: &mut Events) {
        self.hearing.hear_report(now, incoming, events);
    }

    /// Whether the far end's host refuses our packets.
    pub(super) fn set_refused(&mut self, now: Instant, refused: bool, events: &mut Events) {
        self.hearing.set_refused(now, refused, events);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.state = State::Silent;
            events.push(Event::Silent);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Heard(at) => at.checked_add(self.limit),
            State::Off | State::Silent => None,
        }
    }
}

impl Hearing {
    fn hear_report(&mut self, now: Instant, incoming: &Incoming, events: &mut Events) {
        let highest = incoming.feedback.map(|feedback| feedback.block.highest);
        let known = self.highest;
        self.highest = highest.or(known);
        if !self.sending || known.is_none() {
            return;
        }
        // Whoever has heard nothing since its last report leaves us out of it, or repeats itself.
        if highest.is_some_and(|highest| Some(highest) != known) {
            self.deaf_since = None;
            self.told = self.told && self.refused_since.is_some();
        } else {
            let since = *self.deaf_since.get_or_insert(now);
            self.tell(now, since, events);
        }
    }

    fn set_refused(&mut self, now: Instant, refused: bool, events: &mut Events) {
        if !refused || !self.sending {
            self.refused_since = None;
            return;
        }
        let since = *self.refused_since.get_or_insert(now);
        self.tell(now, since, events);
    }

    /// Told when it is seen again after so long, not when nothing more is seen of it.
    fn tell(&mut self, now: Instant, since: Instant, events: &mut Events) {
        if !self.told && now.saturating_duration_since(since) >= self.limit {
            self.told = true;
            events.push(Event::Unheard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{reception::Block, rtcp::Feedback};

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_told_once_until_something_was_heard() {
        let (mut watch, mut events, now) = (Watch::new(LIMIT, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        for start in [now, now + 20 * LIMIT] {
            for second in 0..100 {
                watch.handle_timeout(start + Duration::from_secs(second), &mut events);
            }
            assert_eq!((events.pop(), events.pop()), (Some(Event::Silent), None));
            watch.heard(start + 20 * LIMIT);
        }
    }

    #[test]
    fn nothing_is_expected_on_hold_and_the_time_starts_again_after_it() {
        let (mut watch, mut events, now) = (Watch::new(LIMIT, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        watch.expect(now, false, false);
        assert_eq!(watch.poll_timeout(), None);
        watch.handle_timeout(now + 5 * LIMIT, &mut events);
        watch.expect(now + 5 * LIMIT, true, true);
        assert_eq!(watch.poll_timeout(), Some(now + 6 * LIMIT));
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn a_limit_beyond_time_itself_never_comes() {
        let mut watch = Watch::new(Duration::MAX, LIMIT);
        watch.expect(Instant::now(), true, true);
        assert_eq!(watch.poll_timeout(), None);
    }

    #[test]
    fn a_far_end_that_reports_hearing_nothing_more_is_told_once() {
        let (mut watch, mut events, now) = (Watch::new(Duration::MAX, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        let mut told = Vec::new();
        for second in 0..60_u32 {
            // Deaf from second 5 to second 40: first it repeats itself, then it leaves us out.
            let highest = match second {
                0..5 | 40.. => Some(second),
                5..20 => Some(4),
                20..40 => None,
            };
            watch.hear_report(now + Duration::from_secs(second.into()), &report(highest), &mut events);
            told.extend(events.pop().map(|event| (second, event)));
        }
        assert_eq!(told, [(15, Event::Unheard)]);
    }

    #[test]
    fn a_far_end_that_never_mentions_us_may_hear_us_all_the_same() {
        let (mut watch, mut events, now) = (Watch::new(Duration::MAX, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        for second in 0..100 {
            watch.hear_report(now + Duration::from_secs(second), &report(None), &mut events);
        }
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn on_hold_nobody_need_hear_us() {
        let (mut watch, mut events, now) = (Watch::new(Duration::MAX, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        watch.hear_report(now, &report(Some(1)), &mut events);
        watch.expect(now, false, false);
        for second in 0..100 {
            watch.hear_report(now + Duration::from_secs(second), &report(Some(1)), &mut events);
            watch.set_refused(now + Duration::from_secs(second), true, &mut events);
        }
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn a_host_that_refuses_for_too_long_is_told_once() {
        let (mut watch, mut events, now) = (Watch::new(Duration::MAX, LIMIT), Events::default(), Instant::now());
        watch.expect(now, true, true);
        for second in 0..100 {
            watch.set_refused(now + Duration::from_secs(second), second != 5, &mut events);
        }
        assert_eq!((events.pop(), events.pop()), (Some(Event::Unheard), None));
    }

    fn report(highest: Option<u32>) -> Incoming {
        let block = |highest| Block {
            ssrc: 1,
            fraction_lost: 0,
            lost: 0,
            highest,
            jitter: 0,
        };
        Incoming {
            feedback: highest.map(|highest| Feedback {
                block: block(highest),
                last_report: 0,
                delay: 0,
            }),
            ..Incoming::default()
        }
    }
}
