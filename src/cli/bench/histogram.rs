//! Counts durations in memory that does not grow: 32 steps to every doubling, so a figure is at most 3 % too high.

use serde::{Deserialize, Serialize};

/// Steps within one doubling, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;

/// Doublings counted; 2^40 ns are 18 minutes, and what takes longer counts as that.
const DOUBLINGS: usize = 40;

const BUCKETS: usize = (DOUBLINGS - STEP_BITS as usize + 1) * STEPS;

/// Durations in nanoseconds, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration that this share of all, such as 0.99, do not exceed; none when nothing was counted. With fewer
    /// values than the share can tell apart it is the longest.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        at.map(|at| ceiling(at).min(self.max))
    }
}

fn bucket(ns: u64) -> usize {
    let doubling = ns.checked_ilog2().unwrap_or(0);
    if doubling < STEP_BITS {
        return ns as usize;
    }
    let shift = doubling - STEP_BITS;
    let step = (ns >> shift) as usize - STEPS;
    ((shift as usize + 1) * STEPS + step).min(BUCKETS - 1)
}

/// The longest duration of a bucket.
fn ceiling(bucket: usize) -> u64 {
    let (block, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    match block.checked_sub(1) {
        None => step,
        Some(shift) => ((STEPS as u64 + step + 1) << shift) - 1,
    }
}

/// Between processes only what was counted is written: pairs of bucket and count.
#[derive(Serialize, Deserialize)]
struct Written {
    max: u64,
    counts: Vec<(usize, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = self.counts.iter().copied().enumerate();
        Written {
            max: self.max,
            counts: counted.filter(|(_, count)| *count > 0).collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mut read = Self {
            max: written.max,
            ..Self::default()
        };
        for (bucket, count) in written.counts {
            let slot = read.counts.get_mut(bucket);
            *slot.ok_or_else(|| serde::de::Error::custom("no such bucket"))? += count;
            read.total += count;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_never_below_the_truth_and_at_most_a_step_above_it() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|n| histogram.record(n * 1_000));
        for share in [0.001, 0.5, 0.99, 0.999] {
            let truth = share * 1e8;
            let told = histogram.quantile(share).unwrap() as f64;
            assert!(told >= truth && told <= truth * 1.035, "{share}: {told} for {truth}");
        }
        assert_eq!(histogram.quantile(1.0), Some(100_000_000));
    }

    #[test]
    fn every_duration_lies_under_the_ceiling_of_its_own_bucket_alone() {
        for ns in (0..5_000).chain([1 << 20, (1 << 30) + 12_345, (1 << 39) + 1]) {
            assert!(ns <= ceiling(bucket(ns)), "{ns}");
            assert!(bucket(ns) == 0 || ns > ceiling(bucket(ns) - 1), "{ns}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_few_values_give_the_longest_and_none_gives_nothing() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        [7, 40_000, 900].into_iter().for_each(|ns| histogram.record(ns));
        assert_eq!((histogram.quantile(0.999), histogram.total()), (Some(40_000), 3));
    }

    #[test]
    fn a_histogram_survives_the_way_between_processes() {
        let mut histogram = Histogram::default();
        [1, 1, 77_000, u64::MAX].into_iter().for_each(|ns| histogram.record(ns));
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
        assert!(serde_json::from_str::<Histogram>(r#"{"max":1,"counts":[[99999,1]]}"#).is_err());
    }
}
