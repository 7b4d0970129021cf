//! The keys of `[[trunk]]` that bound it: how many calls, how often, and by which transports.

use std::fmt;

use super::{
    effective::Writer,
    section::{Section, one_of},
};

const TRANSPORTS: &[(&str, AllowedTransport)] = &[
    ("udp", AllowedTransport::Udp),
    ("tcp", AllowedTransport::Tcp),
    ("tls", AllowedTransport::Tls),
    ("ws", AllowedTransport::Ws),
    ("wss", AllowedTransport::Wss),
];

/// Most calls a second that can be asked for; above it a limit would not be one.
pub(super) const CALLS_PER_S_MAX: u64 = 100_000;

/// What one trunk may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrunkLimits {
    /// Calls at the same time, in both directions; 0: as many as the gateway takes. One more is refused with
    /// `trunk_calls_max`.
    pub calls_max: usize,
    /// New calls a second, in both directions; 0: no limit. One more is refused with `calls_rate`.
    pub calls_per_s: u32,
    /// Calls kept free for those that come in: our own calls leave them alone.
    pub inbound_reserve: usize,
    /// The transports its requests may come by; empty: every one. Over another they are refused with
    /// `transport_not_allowed`.
    pub transports: Vec<AllowedTransport>,
}

/// A transport requests may come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedTransport {
    /// Datagrams.
    Udp,
    /// Plain connections.
    Tcp,
    /// Encrypted connections.
    Tls,
    /// WebSockets.
    Ws,
    /// Encrypted WebSockets.
    Wss,
}

impl TrunkLimits {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let limits = Self {
            calls_max: section.whole("calls_max", 0, 0..=100_000, "calls") as usize,
            calls_per_s: section.whole("calls_per_s", 0, 0..=CALLS_PER_S_MAX, "calls") as u32,
            inbound_reserve: section.whole("inbound_reserve", 0, 0..=100_000, "calls") as usize,
            transports: section.list("transports", Vec::new(), |word| one_of(word, TRANSPORTS)),
        };
        if limits.calls_max > 0 && limits.inbound_reserve > limits.calls_max {
            section.wrong("inbound_reserve", "is more than the trunk's calls_max");
        }
        limits
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.whole("calls_max", self.calls_max);
        out.whole("calls_per_s", self.calls_per_s);
        out.whole("inbound_reserve", self.inbound_reserve);
        out.list("transports", &self.transports);
    }
}

impl fmt::Display for AllowedTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = TRANSPORTS.iter().find(|(_, transport)| transport == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const TRUNK: &str = "[[trunk]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\"]\n";

    #[test]
    fn a_trunk_has_no_limits_of_its_own_unless_told() {
        assert_eq!(read(TRUNK).trunks[0].limits, TrunkLimits::default());
        let config = read(&format!(
            "{TRUNK}calls_max = 30\ncalls_per_s = 5\ninbound_reserve = 10\ntransports = [\"tls\", \"wss\"]"
        ));
        let limits = TrunkLimits {
            calls_max: 30,
            calls_per_s: 5,
            inbound_reserve: 10,
            transports: vec![AllowedTransport::Tls, AllowedTransport::Wss],
        };
        assert_eq!(config.trunks[0].limits, limits);
    }

    #[test]
    fn limits_that_cannot_be_meant_are_refused() {
        assert_eq!(
            problems(&format!("{TRUNK}calls_max = 3\ninbound_reserve = 4")),
            ["f.toml:5:19: trunk[0].inbound_reserve is more than the trunk's calls_max"]
        );
        assert_eq!(
            problems(&format!("{TRUNK}transports = [\"tsl\"]")),
            ["f.toml:4:15: trunk[0].transports[0] = \"tsl\" is not known: did you mean \"tls\"?"]
        );
        assert_eq!(
            problems(&format!("{TRUNK}calls_per_s = 0.5")),
            ["f.toml:4:15: trunk[0].calls_per_s = 0.5 is not a whole number: 0 to 100000 calls"]
        );
    }
}
