//! The figures of a call's survival: counted, held against their goals, and told.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{super::clock::MS, setup::WORDS_AFTER_MS};

/// What is measured, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// From the end of a backend to the first packet of the comfort tone.
    Tone,
    /// From there to the first packet of words, beyond what is configured.
    Words,
    /// From the end of a backend to the voice of the next session on the same.
    Redialled,
    /// To that of the next session on the agent's next backend.
    MovedOn,
    /// The longest time without a packet from before the end to behind the recovery.
    HoleAtDeath,
    /// What the next session is not told of a caller who spoke meanwhile, or twice.
    SpokenMissing,
    /// How late the next session is behind the caller once it has been told.
    SpokenLate,
    /// What a renewal adds to the time between two packets of the caller, as the backend sees it.
    RenewalAdded,
    /// What is lost of the caller then, or told to both sessions.
    RenewalMissing,
    /// The longest time without a packet around it.
    HoleAtRenewal,
    /// From the caller's voice to the last packet of the agent, with a backend that says at once that it hears it.
    CutByBackend,
    /// From the caller's voice to the first packet in which the agent is quieter, with the gateway's own ear.
    Ducked,
    /// From the caller's voice to the last packet of the agent.
    CutByGateway,
    /// From the INVITE to its 200, with a session dialled for it.
    AnsweredCold,
    /// The same where the session is in TLS.
    AnsweredColdTls,
    /// With one that was waiting.
    AnsweredWarm,
    /// From the caller's last packet of voice to the backend.
    PacketToAppend,
    /// From the first delta to the caller.
    DeltaToPacket,
    /// Both together.
    Overhead,
}

impl Figure {
    /// What it is called in a report of figures.
    fn words(self) -> &'static str {
        match self {
            Self::Tone => "backend dies → comfort tone",
            Self::Words => "backend dies → words, beyond filler_after_ms",
            Self::Redialled => "backend dies → same backend's next voice",
            Self::MovedOn => "backend dies → next backend's voice",
            Self::HoleAtDeath => "longest hole at the caller from death to recovery",
            Self::SpokenMissing => "backend dies: caller's words the next is not told",
            Self::SpokenLate => "backend dies: next backend's lag behind the caller",
            Self::RenewalAdded => "renewal: added between two appends",
            Self::RenewalMissing => "renewal: caller's sound lost or told twice",
            Self::HoleAtRenewal => "renewal: longest hole at the caller",
            Self::CutByBackend => "caller's voice → agent's last packet, told by backend",
            Self::Ducked => "caller's voice → agent quieter, by own ear",
            Self::CutByGateway => "caller's voice → agent's last packet, by own ear",
            Self::AnsweredCold => "INVITE → 200, session dialled",
            Self::AnsweredColdTls => "INVITE → 200, session dialled in TLS",
            Self::AnsweredWarm => "INVITE → 200, session waiting",
            Self::PacketToAppend => "caller's last packet → append at the backend",
            Self::DeltaToPacket => "first delta → first packet with voice",
            Self::Overhead => "answer: what the gateway adds, both ways",
        }
    }

    /// The most it may ever be, in ms.
    fn at_most(self) -> Option<f64> {
        match self {
            Self::Tone | Self::Words => Some(100.0),
            Self::RenewalAdded => Some(20.0),
            Self::RenewalMissing | Self::SpokenMissing => Some(0.0),
            _ => None,
        }
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Tally {
    times: BTreeMap<Figure, Vec<u64>>,
    /// What could not be measured, and how often.
    pub missed: BTreeMap<String, usize>,
}

impl Tally {
    /// One more, in nanoseconds.
    pub fn add(&mut self, figure: Figure, ns: u64) {
        self.times.entry(figure).or_default().push(ns);
    }

    /// How many there are.
    pub fn count(&self, figure: Figure) -> usize {
        self.times.get(&figure).map_or(0, Vec::len)
    }

    /// What could not be measured.
    pub fn miss(&mut self, why: String) {
        *self.missed.entry(why).or_default() += 1;
    }

    /// Takes in another.
    pub fn merge(&mut self, other: Self) {
        for (figure, times) in other.times {
            self.times.entry(figure).or_default().extend(times);
        }
        for (why, count) in other.missed {
            *self.missed.entry(why).or_default() += count;
        }
    }

    /// A row for each of these.
    pub fn rows(&self, figures: &[Figure]) -> Vec<Row> {
        let complete = self.missed.is_empty();
        let rows = figures.iter().map(|figure| {
            let mut times = self.times.get(figure).cloned().unwrap_or_default();
            times.sort_unstable();
            Row::new(*figure, &times, complete)
        });
        rows.collect()
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub what: &'static str,
    /// How often it was measured.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 99 of a hundred took no longer.
    pub p99_ms: Option<f64>,
    /// None took longer.
    pub max_ms: Option<f64>,
    /// What the longest may be.
    pub at_most_ms: Option<f64>,
    /// Whether that is so, with nothing left unmeasured; where nothing is asked for, always.
    pub met: bool,
}

/// The line above the rows.
pub const HEAD: &str = "                                          ms      count     p50     p99     max    goal";

impl Row {
    fn new(figure: Figure, sorted: &[u64], complete: bool) -> Self {
        let at = |share: f64| quantile(sorted, share).map(|ns| ns as f64 / MS as f64);
        let (max_ms, at_most_ms) = (at(1.0), figure.at_most());
        let met = at_most_ms.is_none_or(|most| complete && max_ms.is_some_and(|max| max <= most));
        Self {
            what: figure.words(),
            count: sorted.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms,
            at_most_ms,
            met,
        }
    }

    /// The row of the table.
    pub fn line(&self) -> String {
        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.2}"));
        let goal = match (self.at_most_ms, self.met) {
            (None, _) => String::new(),
            (Some(most), true) => format!("{most:>7.0} met"),
            (Some(most), false) => format!("{most:>7.0} NOT MET"),
        };
        format!(
            "{:<54}{:>5}{:>8}{:>8}{:>8}{goal}",
            self.what,
            self.count,
            ms(self.p50_ms),
            ms(self.p99_ms),
            ms(self.max_ms)
        )
    }
}

/// The value that this share of all do not exceed.
pub fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// What the rows of a lost backend stand for.
pub fn terms() -> String {
    format!("filler_after_ms = {WORDS_AFTER_MS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_one_of_the_longest_and_not_of_most() {
        let mut tally = Tally::default();
        (0..1_000).for_each(|_| tally.add(Figure::Words, 3 * MS));
        assert!(tally.rows(&[Figure::Words])[0].met);
        tally.add(Figure::Words, 101 * MS);
        let row = &tally.rows(&[Figure::Words])[0];
        assert_eq!((row.p99_ms, row.max_ms, row.met), (Some(3.0), Some(101.0), false));
        assert!(row.line().ends_with("100 NOT MET"), "{}", row.line());
    }

    #[test]
    fn what_was_not_measured_or_not_always_is_not_met() {
        let mut tally = Tally::default();
        assert!(!tally.rows(&[Figure::Tone])[0].met);
        tally.add(Figure::Tone, MS);
        tally.add(Figure::MovedOn, 9_000 * MS);
        assert!(tally.rows(&[Figure::Tone, Figure::MovedOn]).iter().all(|row| row.met));
        tally.miss("the words did not come".to_owned());
        let met: Vec<bool> = tally
            .rows(&[Figure::Tone, Figure::MovedOn])
            .iter()
            .map(|row| row.met)
            .collect();
        assert_eq!(met, [false, true], "where nothing is asked for nothing is missed");
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<u64> = (1..=100).collect();
        let all = [0.5, 0.99, 1.0].map(|share| quantile(&sorted, share));
        assert_eq!(all, [Some(50), Some(99), Some(100)]);
        assert_eq!((quantile(&[7], 0.5), quantile(&[], 0.5)), (Some(7), None));
    }

    #[test]
    fn two_tallies_become_one() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.add(Figure::Tone, 1);
        other.add(Figure::Tone, 2);
        other.miss("x".to_owned());
        one.merge(other);
        assert_eq!((one.count(Figure::Tone), one.missed["x"]), (2, 1));
    }
}
