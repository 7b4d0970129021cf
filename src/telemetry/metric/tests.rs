//! A lint of the metric table.

use std::collections::HashSet;

use super::*;

#[test]
fn names_are_unique_and_carry_our_prefix_or_that_of_the_process() {
    let names: HashSet<_> = Metric::ALL.into_iter().map(Metric::name).collect();
    assert_eq!(names.len(), Metric::ALL.len());
    for name in names {
        assert!(name.starts_with("patchcord_") || name.starts_with("process_"), "{name}");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
    }
}

#[test]
fn counters_alone_end_in_total_and_histograms_name_their_unit() {
    for metric in Metric::ALL {
        let name = metric.name();
        assert_eq!(name.ends_with("_total"), metric.kind() == Kind::Counter, "{name}");
        if let Kind::Histogram(buckets) = metric.kind() {
            // A score has no unit.
            assert!(name.ends_with("_seconds") || metric == Metric::Mos, "{name}");
            assert!(buckets.is_sorted_by(|low, high| low < high), "{name}");
        }
    }
}

#[test]
fn names_avoid_what_the_exposition_format_or_its_linters_reserve() {
    for metric in Metric::ALL {
        for suffix in [
            "_count",
            "_sum",
            "_bucket",
            "_milliseconds",
            "_ms",
            "_percent",
            "_gauge",
            "_histogram",
        ] {
            assert!(!metric.name().ends_with(suffix), "{}", metric.name());
        }
        assert!(!metric.labels().contains(&"le"));
    }
}

#[test]
fn every_help_text_is_one_sentence() {
    for metric in Metric::ALL {
        assert!(
            metric.help().ends_with('.') && !metric.help().contains('\n'),
            "{}",
            metric.name()
        );
    }
}
