//! The figures of a step as a row, and the goals they are held against.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    floor::Floor,
    joined::{Ends, Times},
};

/// The figures of one step.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Calls at the same time.
    pub calls: usize,
    /// Time on a core that the gateway took for each call.
    pub core_percent_per_call: f64,
    /// The same for 20 ms of one call: one packet in, one packet out.
    pub us_per_frame: f64,
    /// Calls that would fill a core at this price; computed, not tried.
    pub calls_per_core: f64,
    /// How long it was measured.
    pub seconds: f64,
    /// How often a second a thread of the gateway went to sleep.
    pub waits_per_s: f64,
    /// Memory of the gateway more than without calls, for each call.
    pub memory_kb_per_call: f64,
    /// Time on a core of all callers together.
    pub callers_core_percent: f64,
    /// Time on a core of the backend.
    pub backend_core_percent: f64,
    /// Time that all cores had nothing to do.
    pub idle_percent: f64,
    /// Time of the cores that went to other machines on the same hardware.
    pub steal_percent: f64,
    /// Datagrams of the whole machine that were dropped because their socket was full.
    pub datagrams_dropped: u64,
    /// Calls that never came to be, by what became of them.
    pub failed: BTreeMap<String, usize>,
    /// What the ends of the calls say.
    pub ends: Ends,
}

/// Something that is to be reached.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What.
    pub what: &'static str,
    /// The most it may be.
    pub at_most: f64,
    /// What it is; none when it could not be measured.
    pub measured: Option<f64>,
    /// In what both are.
    pub unit: &'static str,
    /// Whether it is reached.
    pub met: bool,
}

/// From here on the callers' own lateness is as large as what is measured.
const CALLERS_LATE_MS_MAX: f64 = 1.0;

/// The goal that a machine which is too busy cannot keep from being met.
pub const PRICE: &str = "CPU of the gateway per call";

/// The two lines above the rows.
pub const HEAD: &str = " \
 calls  % core µs per  calls   kB per  idle  packet→append, ms  delta→RTP, ms  off the grid, ms   delta callers' lost   right pitch
        /call  frame  /core    call     %    p50   p99  p99.9   p50    p99     p50   p99  p99.9  p99 ms late p99  in/out   in/out";

impl Figures {
    /// The row of the table.
    pub fn row(&self) -> String {
        let ends = &self.ends;
        format!(
            "{:>6} {:>7.3} {:>6.1} {:>6.0} {:>8.0} {:>5.0} {} {} {} {:>7} {:>8} {:>7} {:>11}",
            self.calls,
            self.core_percent_per_call,
            self.us_per_frame,
            self.calls_per_core,
            self.memory_kb_per_call,
            self.idle_percent,
            three(ends.packet_to_append),
            two(ends.delta_to_packet),
            three(ends.pacing),
            ms(ends.packet_delta, |times| times.p99_ms),
            ms(ends.callers_late, |times| times.p99_ms),
            format!("{}/{}", ends.lost_in, ends.lost_out),
            self.right_pitch(),
        )
    }

    /// Where not every caller listens, with how many did.
    fn right_pitch(&self) -> String {
        let Ends {
            right_pitch_in,
            right_pitch_out,
            listened,
            ..
        } = self.ends;
        let of = if listened < self.calls {
            format!(" of {listened}")
        } else {
            String::new()
        };
        format!("{right_pitch_in}/{right_pitch_out}{of}")
    }

    /// What is odd about this step, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let ends = &self.ends;
        let missing = self.calls - ends.talking;
        let counts = [
            (missing as u64, "calls were not up at the end"),
            (
                ends.marks_lost,
                "marked packets did not reach the backend within 190 ms",
            ),
            (
                ends.broken_responses,
                "responses were not heard, or heard with a gap in them",
            ),
            (ends.reordered_out, "packets came twice or after a later one"),
            (ends.surprises, "events from the gateway had no reason"),
            (
                self.datagrams_dropped,
                "datagrams were dropped by this machine because their socket was full",
            ),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let mut remarks: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let failed = self.failed.iter().map(|(why, count)| format!("{count} calls: {why}"));
        remarks.extend(failed);
        if self.is_too_busy() {
            let late =
                "the callers themselves were late: this machine is too busy, and nothing here is the gateway's alone";
            remarks.push(late.to_owned());
        }
        if self.steal_percent >= 0.5 {
            let steal = self.steal_percent;
            remarks.push(format!("{steal:.1} % of the cores' time went to other machines"));
        }
        remarks
    }

    /// Whether the machine had no time for the benchmark itself. Then times are not the gateway's alone, and its price
    /// looks lower than it is: who is woken late does more at once, or leaves it out.
    fn is_too_busy(&self) -> bool {
        let late = self.ends.callers_late;
        late.is_none_or(|late| late.p99_ms > CALLERS_LATE_MS_MAX)
    }

    /// How far a frame is from what it costs at least.
    pub fn beside(&self, floor: &Floor) -> String {
        let packets = (self.ends.packets_sent + self.ends.packets_heard).max(1) as f64;
        format!(
            "The system calls of a frame cost at least {:.1} µs here (--floor): it took {:.1} times that. For each packet the \
             gateway's threads went to sleep {:.2} times.",
            floor.frame_us(),
            self.us_per_frame / floor.frame_us(),
            self.waits_per_s * self.seconds / packets
        )
    }

    /// The goals, held against this step; the price of a call has one when it is given, in percent of a core.
    pub fn goals(&self, price: Option<f64>) -> Vec<Goal> {
        let ends = &self.ends;
        let per_call = (!self.is_too_busy()).then_some(self.core_percent_per_call);
        let of = |times: Option<Times>, pick: fn(Times) -> f64| times.map(pick);
        let wrong = self.calls + ends.listened - ends.right_pitch_in - ends.right_pitch_out;
        let goals = [
            (PRICE, price, per_call, "% of a core"),
            (
                "packet in to append, p99",
                Some(2.0),
                of(ends.packet_to_append, |t| t.p99_ms),
                "ms",
            ),
            // A frame of 20 ms that may just have left, and a tick of the clock.
            (
                "first delta to first packet, p99",
                Some(21.0),
                of(ends.delta_to_packet, |t| t.p99_ms),
                "ms",
            ),
            (
                "packets off their grid, p99",
                Some(1.0),
                of(ends.pacing, |t| t.p99_ms),
                "ms",
            ),
            (
                "packets off their grid, p99.9",
                Some(5.0),
                of(ends.pacing, |t| t.p999_ms),
                "ms",
            ),
            ("memory per call", Some(100.0), Some(self.memory_kb_per_call), "kB"),
            (
                "packets lost, both ways",
                Some(0.0),
                Some((ends.lost_in + ends.lost_out) as f64),
                "packets",
            ),
            (
                "directions without their own pitch",
                Some(0.0),
                Some(wrong as f64),
                "directions",
            ),
        ];
        let set = goals.into_iter();
        set.filter_map(|(what, at_most, measured, unit)| Goal::new(what, at_most?, measured, unit))
            .collect()
    }
}

impl Goal {
    fn new(what: &'static str, at_most: f64, measured: Option<f64>, unit: &'static str) -> Option<Self> {
        Some(Self {
            what,
            at_most,
            measured,
            unit,
            met: measured.is_some_and(|measured| measured <= at_most),
        })
    }

    /// The line about it.
    pub fn line(&self) -> String {
        let measured = self
            .measured
            .map_or("not measured".to_owned(), |value| format!("{value:.3}"));
        let met = if self.met { "met" } else { "NOT MET" };
        format!(
            "{:<36} {measured:>12} of at most {:>6.2} {:<12} {met}",
            self.what, self.at_most, self.unit
        )
    }
}

fn three(times: Option<Times>) -> String {
    let [p50, p99, p999] = [|t: Times| t.p50_ms, |t: Times| t.p99_ms, |t: Times| t.p999_ms].map(|pick| ms(times, pick));
    format!("{p50:>6}{p99:>6}{p999:>6}")
}

fn two(times: Option<Times>) -> String {
    format!("{:>6}{:>7}", ms(times, |t| t.p50_ms), ms(times, |t| t.p99_ms))
}

/// Short enough for a column: two digits behind the point as long as there are few before it.
fn ms(times: Option<Times>, pick: impl Fn(Times) -> f64) -> String {
    match times.map(pick) {
        None => "–".to_owned(),
        Some(ms) if ms < 100.0 => format!("{ms:.2}"),
        Some(ms) => format!("{ms:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::Codec,
        cli::bench::{
            clock::MS,
            joined,
            reports::{Heard, Served},
        },
    };

    #[test]
    fn what_was_not_measured_is_not_met_and_a_busy_machine_names_no_price() {
        let goals = figures(2 * MS).goals(Some(0.1));
        let price = goals.iter().find(|goal| goal.what == PRICE).unwrap();
        assert_eq!((price.measured, price.met), (None, false));
        assert!(price.line().contains("not measured") && price.line().contains("NOT MET"));
        let append = goals.iter().find(|goal| goal.what.contains("append")).unwrap();
        assert!(!append.met);
        assert!(
            figures(2 * MS)
                .remarks()
                .iter()
                .any(|remark| remark.contains("too busy"))
        );
    }

    #[test]
    fn a_price_below_the_goal_is_met_and_one_above_it_is_not() {
        let met = |goal| figures(MS / 10).goals(Some(goal))[0].met;
        assert!(met(0.06) && !met(0.04));
        assert!(figures(MS / 10).goals(None).iter().all(|goal| goal.what != PRICE));
        assert_eq!(figures(MS / 10).remarks(), ["1 calls were not up at the end"]);
    }

    fn figures(callers_late: u64) -> Figures {
        let mut heard = Heard::default();
        heard.lateness.record(callers_late);
        Figures {
            calls: 1,
            core_percent_per_call: 0.05,
            us_per_frame: 10.0,
            calls_per_core: 2_000.0,
            seconds: 10.0,
            waits_per_s: 100.0,
            memory_kb_per_call: 50.0,
            callers_core_percent: 1.0,
            backend_core_percent: 1.0,
            idle_percent: 90.0,
            steal_percent: 0.0,
            datagrams_dropped: 0,
            failed: BTreeMap::new(),
            ends: joined::join(&heard, &Served::default(), &(0..1), Codec::Pcmu),
        }
    }
}
