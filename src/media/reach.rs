//! What of the agent's words cannot have been heard, because the far end says that their packets never came.
//!
//! What left counts as heard (see the ledger), unless reports show that nothing arrives any more: the highest sequence
//! number received stays behind packets that left long enough before the report. Then no word counts that left after that
//! number. It only ever takes away: packets lost here and there are concealed and move nothing, a report says nothing once
//! it is old, and a far end that was never seen to keep up, as behind a gateway that numbers anew, is not believed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::ticks::Ticks;
use crate::audio::Utterance;

/// A report older than this says nothing about now; the usual ones come every 2.5 to 7.5 s.
const REPORT_AGE_MAX: Duration = Duration::from_secs(8);

/// The way there and back, where nobody has measured it.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// What a packet may be late besides.
const LATE_MAX: Duration = Duration::from_millis(500);

/// The shortest time between two packets.
const PACKET_MIN: Duration = Duration::from_millis(10);

/// Stretches of packets remembered; past it the oldest is forgotten, and counts as heard.
const STRETCHES_MAX: usize = 32;

/// Which packets hold whose words, and which of them arrived.
#[derive(Debug)]
pub(super) struct Reach {
    /// The packet being made: the how manieth, and when it leaves.
    packet: (u64, Option<Instant>),
    stretches: VecDeque<Stretch>,
    /// The far end keeps up, or did.
    believed: bool,
    /// The last packet it says it has.
    highest: Option<u64>,
    /// When it last said so, and up to when what left by then would have been in it.
    told: Option<(Instant, Instant)>,
}

/// What the far end reports of our packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported {
    /// The last one it has; none if it has had no more since it last reported.
    pub highest: Option<u64>,
    /// How many had left.
    pub sent: u64,
    /// The way there and back, where somebody has measured it.
    pub round_trip: Option<Duration>,
}

/// Packets one behind the other, each with as many words of one utterance.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    utterance: Utterance,
    first: (u64, Instant),
    last: (u64, Instant),
    /// In each of them.
    ticks: Ticks,
}

impl Reach {
    pub(super) fn new() -> Self {
        Self {
            packet: (0, None),
            // No packet is to cost memory.
            stretches: VecDeque::with_capacity(STRETCHES_MAX),
            believed: false,
            highest: None,
            told: None,
        }
    }

    /// The words that follow leave in the packet behind it.
    pub(super) fn follow(&mut self, now: Instant) {
        self.next_packet(self.packet.0 + 1, now);
    }

    /// The words that follow leave in this packet.
    pub(super) fn next_packet(&mut self, number: u64, now: Instant) {
        self.packet = (number, Some(now));
    }

    /// So many words of an utterance leave.
    pub(super) fn send(&mut self, utterance: Utterance, ticks: Ticks) {
        let (number, Some(at)) = self.packet else { return };
        match self.stretches.back_mut() {
            Some(last) if last.goes_on_with(utterance, ticks, number) => last.last = (number, at),
            _ => {
                if self.stretches.len() >= STRETCHES_MAX {
                    self.stretches.pop_front();
                }
                self.stretches.push_back(Stretch {
                    utterance,
                    first: (number, at),
                    last: (number, at),
                    ticks,
                });
            }
        }
    }

    /// The far end reports; `highest` is the last packet it has of so many that left, none if it has had no more since it
    /// last reported.
    pub(super) fn hear(&mut self, now: Instant, highest: Option<u64>, sent: u64, round_trip: Option<Duration>) {
        let delay = round_trip.unwrap_or(ROUND_TRIP) + LATE_MAX;
        if let Some(highest) = highest {
            if highest >= sent || self.highest.is_some_and(|before| highest < before) {
                return self.disbelieve();
            }
            let behind = sent - 1 - highest;
            self.believed |= u128::from(behind) <= delay.as_millis() / PACKET_MIN.as_millis();
            self.highest = Some(highest);
        }
        self.told = now.checked_sub(delay).map(|reflected| (now, reflected));
    }

    /// What it says cannot be.
    pub(super) fn disbelieve(&mut self) {
        (self.believed, self.highest, self.told) = (false, None, None);
    }

    /// How much of an utterance left and cannot have been heard.
    pub(super) fn unheard(&self, now: Instant, utterance: Utterance) -> Ticks {
        let Some(highest) = self.highest.filter(|_| self.believed && self.is_behind(now)) else {
            return 0;
        };
        let of_it = self.stretches.iter().filter(|stretch| stretch.utterance == utterance);
        of_it.map(|stretch| stretch.behind(highest)).sum()
    }

    /// An utterance is over.
    pub(super) fn forget(&mut self, utterance: Utterance) {
        self.stretches.retain(|stretch| stretch.utterance != utterance);
    }

    pub(super) fn clear(&mut self) {
        self.stretches.clear();
    }

    /// Whether words that left early enough to be in a report of late are not in it.
    fn is_behind(&self, now: Instant) -> bool {
        let (Some(highest), Some((at, reflected))) = (self.highest, self.told) else {
            return false;
        };
        let fresh = now.saturating_duration_since(at) <= REPORT_AGE_MAX;
        fresh
            && self
                .stretches
                .iter()
                .any(|stretch| stretch.left_behind(highest, reflected))
    }
}

impl Stretch {
    fn goes_on_with(&self, utterance: Utterance, ticks: Ticks, number: u64) -> bool {
        self.utterance == utterance && self.ticks == ticks && self.last.0 + 1 == number
    }

    /// Words in packets behind this one.
    fn behind(&self, highest: u64) -> Ticks {
        let packets = self.last.0 - self.first.0 + 1;
        self.ticks * self.last.0.saturating_sub(highest).min(packets)
    }

    /// Whether one of its packets behind this one had left by then.
    fn left_behind(&self, highest: u64, by: Instant) -> bool {
        if self.last.0 <= highest {
            return false;
        }
        let (first, last) = (self.first.0, self.last.0);
        let begin = (highest + 1).max(first);
        let took = self.last.1.saturating_duration_since(self.first.1);
        let share = (begin - first) as f64 / (last - first).max(1) as f64;
        self.first.1 + took.mul_f64(share) <= by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Utterance = Utterance(1);
    const FRAME: Duration = Duration::from_millis(20);
    const TICKS: Ticks = 960;

    #[test]
    fn a_far_end_that_keeps_up_takes_nothing_away() {
        let (mut reach, now) = said(500);
        reach.hear(now, Some(490), 500, None);
        assert_eq!(reach.unheard(now, ONE), 0);
    }

    #[test]
    fn what_left_behind_the_last_packet_that_came_does_not_count() {
        let (mut reach, now) = said(500);
        reach.hear(now, Some(499), 500, None);
        let (mut reach, now) = more(reach, now, 500, 300);
        for highest in [Some(510), None] {
            reach.hear(now, highest, 800, None);
            assert_eq!(reach.unheard(now, ONE), 289 * TICKS);
        }
        assert_eq!(reach.unheard(now, Utterance(2)), 0);
        assert_eq!(reach.unheard(now + REPORT_AGE_MAX + FRAME, ONE), 0, "it is too old");
        reach.hear(now, Some(799), 800, None);
        assert_eq!(reach.unheard(now, ONE), 0, "it came after all");
    }

    #[test]
    fn packets_that_may_still_be_on_their_way_prove_nothing() {
        let (mut reach, now) = said(500);
        reach.hear(now, Some(499), 500, None);
        let (mut reach, now) = more(reach, now, 500, 70);
        reach.hear(now, Some(499), 570, None);
        assert_eq!(reach.unheard(now, ONE), 0);
        reach.hear(now, Some(499), 570, Some(Duration::from_millis(100)));
        assert_eq!(reach.unheard(now, ONE), 70 * TICKS);
    }

    #[test]
    fn a_far_end_that_never_kept_up_or_contradicts_itself_is_not_believed() {
        let (mut reach, now) = said(500);
        reach.hear(now, Some(7), 500, None);
        assert_eq!(reach.unheard(now, ONE), 0);
        for nonsense in [900, 3] {
            let (mut reach, now) = said(500);
            reach.hear(now, Some(499), 500, None);
            let (mut reach, now) = more(reach, now, 500, 300);
            reach.hear(now, Some(nonsense), 800, None);
            reach.hear(now, Some(499), 800, None);
            assert_eq!(reach.unheard(now, ONE), 0, "{nonsense}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_forgotten_counts_as_heard() {
        let (mut reach, mut now) = (Reach::new(), Instant::now());
        for number in 0..1_000 {
            now += FRAME;
            reach.next_packet(number * 2, now);
            reach.send(ONE, TICKS);
        }
        reach.hear(now, Some(0), 20, None);
        now += Duration::from_secs(2);
        reach.hear(now, Some(0), 2_000, None);
        assert_eq!(reach.unheard(now, ONE), STRETCHES_MAX as u64 * TICKS);
        reach.forget(ONE);
        assert_eq!(reach.unheard(now, ONE), 0);
    }

    fn said(packets: u64) -> (Reach, Instant) {
        more(Reach::new(), Instant::now(), 0, packets)
    }

    fn more(mut reach: Reach, mut now: Instant, from: u64, packets: u64) -> (Reach, Instant) {
        for number in from..from + packets {
            now += FRAME;
            reach.next_packet(number, now);
            reach.send(ONE, TICKS);
        }
        (reach, now)
    }
}
