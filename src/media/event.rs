//! What a leg's media has to tell, and the bounded queue it waits in.

use std::collections::VecDeque;

use super::{doctor::Diagnosis, quality::Quality};
use crate::audio::{Heard, Utterance};

/// Something the call should know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The caller pressed a key.
    Digit(char),
    /// The first packet of this utterance is in the outbox.
    Started(Utterance),
    /// The last packet of this utterance is in the outbox, and no more will come: so much of it left.
    Finished(Heard),
    /// No RTP has come for the configured time; told once, until it has come again.
    Silent,
    /// The far end has heard nothing of us for the configured time; told once, until it has heard us again.
    Unheard,
    /// What is wrong with the line has changed.
    Diagnosis(Diagnosis),
    /// How the call sounds has changed.
    Quality(Quality),
    /// The media must be protected and cannot be; why, in one word.
    SecurityFailed(&'static str),
    /// More came to be played than there was room for; the newest was dropped.
    Overflow {
        /// Whose words.
        utterance: Utterance,
        /// How much of them, in milliseconds.
        dropped_ms: u32,
    },
}

/// Events not yet asked for.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
}

/// Past this many the newest event is lost. An owner that asks after every input never has more than a few.
const EVENTS_MAX: usize = 256;

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.merges(event) || self.queue.len() >= EVENTS_MAX {
            return;
        }
        self.queue.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// A burst that overflows drops piece after piece: one event says how much in all.
    fn merges(&mut self, event: Event) -> bool {
        let (
            Event::Overflow { utterance, dropped_ms },
            Some(Event::Overflow {
                utterance: last,
                dropped_ms: sum,
            }),
        ) = (event, self.queue.back_mut())
        else {
            return false;
        };
        if *last == utterance {
            *sum = sum.saturating_add(dropped_ms);
        }
        *last == utterance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflows_of_one_utterance_are_told_as_one() {
        let mut events = Events::default();
        for utterance in [1, 1, 2] {
            let utterance = Utterance(utterance);
            events.push(Event::Overflow {
                utterance,
                dropped_ms: 20,
            });
        }
        assert_eq!(
            events.pop(),
            Some(Event::Overflow {
                utterance: Utterance(1),
                dropped_ms: 40
            })
        );
        assert_eq!(
            events.pop(),
            Some(Event::Overflow {
                utterance: Utterance(2),
                dropped_ms: 20
            })
        );
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn nobody_asking_costs_events_but_not_memory() {
        let mut events = Events::default();
        for _ in 0..10 * EVENTS_MAX {
            events.push(Event::Digit('1'));
        }
        assert_eq!(std::iter::from_fn(|| events.pop()).count(), EVENTS_MAX);
    }
}
