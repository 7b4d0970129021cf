//! `[agents.NAME]`: how the agent's calls are handed on.

use std::fmt;

use super::{effective::Writer, section::Section};

const WAYS: &[(&str, TransferWays)] = &[
    ("refer", TransferWays::Refer),
    ("bridge", TransferWays::Bridge),
    ("refer_or_bridge", TransferWays::ReferOrBridge),
];

/// The ways a call may be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferWays {
    /// The far end is asked to call somebody else.
    Refer,
    /// We call somebody else and join the two.
    Bridge,
    /// We do so when the far end was asked in vain.
    #[default]
    ReferOrBridge,
}

/// How an agent's calls are handed on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentTransfer {
    /// The ways.
    pub ways: TransferWays,
    /// The trunk we call through; none is that of the call.
    pub trunk: Option<String>,
}

impl fmt::Display for TransferWays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = WAYS.iter().find(|(_, ways)| ways == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

impl AgentTransfer {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            ways: section.choice("transfer", WAYS, TransferWays::default()),
            trunk: Some(section.text("transfer_trunk", "")).filter(|trunk| !trunk.is_empty()),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.text("transfer", self.ways);
        out.text("transfer_trunk", self.trunk.as_deref().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const AGENT: &str = "[agents.a]\nbackends = [\"operator\"]\n";

    #[test]
    fn a_call_is_bridged_when_refer_fails_unless_told_otherwise() {
        assert_eq!(read(AGENT).agents["a"].transfer, AgentTransfer::default());
        let config = read(&format!(
            "{AGENT}transfer = \"bridge\"\ntransfer_trunk = \"pbx\"\n[[trunk]]\nname = \"pbx\"\nhost = \"pbx.example.com\""
        ));
        let expected = AgentTransfer {
            ways: TransferWays::Bridge,
            trunk: Some("pbx".to_owned()),
        };
        assert_eq!(config.agents["a"].transfer, expected);
    }

    #[test]
    fn a_trunk_that_calls_only_come_from_is_refused() {
        let text = format!("{AGENT}transfer_trunk = \"pbx\"\n[[trunk]]\nname = \"pbx\"\nfrom = [\"192.0.2.1\"]");
        assert_eq!(
            problems(&text),
            [
                "f.toml:3:18: agents.a.transfer_trunk = \"pbx\" cannot be called through: give that trunk the key \"host\""
            ]
        );
    }

    #[test]
    fn a_trunk_that_is_none_gets_the_nearest_one() {
        let text = format!("{AGENT}transfer_trunk = \"pbxx\"\n[[trunk]]\nname = \"pbx\"\nfrom = [\"192.0.2.1\"]");
        assert_eq!(
            problems(&text),
            ["f.toml:3:18: agents.a.transfer_trunk = \"pbxx\" names no trunk: did you mean \"pbx\"?"]
        );
    }
}
