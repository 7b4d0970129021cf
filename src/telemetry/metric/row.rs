//! What there is to say about a metric, and the bounds of the histograms.

use super::Kind;

pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Row {
    pub const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }
}

/// From a reconnect on the same machine to a spent budget.
pub const RECOVERY_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0];
pub const CALL_SETUP_SECONDS: &[f64] = &[
    0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0,
];
pub const RESPONSE_SECONDS: &[f64] = &[
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0,
];
pub const BARGE_IN_SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5];
pub const JITTER_SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2];
pub const MOS: &[f64] = &[1.5, 2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.1, 4.2, 4.3, 4.4];
pub const ROUND_TRIP_SECONDS: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0];
pub const LAG_SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.25, 1.0];

pub const fn counter(name: &'static str, help: &'static str) -> Row {
    Row {
        name,
        kind: Kind::Counter,
        labels: &[],
        help,
    }
}

pub const fn gauge(name: &'static str, help: &'static str) -> Row {
    Row {
        name,
        kind: Kind::Gauge,
        labels: &[],
        help,
    }
}

pub const fn histogram(name: &'static str, help: &'static str, buckets: &'static [f64]) -> Row {
    Row {
        name,
        kind: Kind::Histogram(buckets),
        labels: &[],
        help,
    }
}
