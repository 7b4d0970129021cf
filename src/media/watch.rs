//! Is the far end still there? Told once when no RTP came for too long, and once more only after it came again.

use std::time::{Duration, Instant};

use super::event::{Event, Events};

/// Watches only while the far end is expected to send.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    limit: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is expected: before the answer, and on hold.
    Off,
    Heard(Instant),
    Silent,
}

impl Watch {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            state: State::Off,
        }
    }

    /// New terms: the time starts again, or stops.
    pub(super) fn expect(&mut self, now: Instant, expected: bool) {
        self.state = match (expected, self.state) {
            (false, _) => State::Off,
            // Silence that was told is over only when something comes.
            (true, State::Silent) => State::Silent,
            (true, _) => State::Heard(now),
        };
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if self.state != State::Off {
            self.state = State::Heard(now);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_told_once_until_something_was_heard() {
        let (mut watch, mut events, now) = (Watch::new(LIMIT), Events::default(), Instant::now());
        watch.expect(now, true);
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
        let (mut watch, mut events, now) = (Watch::new(LIMIT), Events::default(), Instant::now());
        watch.expect(now, true);
        watch.expect(now, false);
        assert_eq!(watch.poll_timeout(), None);
        watch.handle_timeout(now + 5 * LIMIT, &mut events);
        watch.expect(now + 5 * LIMIT, true);
        assert_eq!(watch.poll_timeout(), Some(now + 6 * LIMIT));
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn a_limit_beyond_time_itself_never_comes() {
        let mut watch = Watch::new(Duration::MAX);
        watch.expect(Instant::now(), true);
        assert_eq!(watch.poll_timeout(), None);
    }
}
