//! `[agents.NAME]`: what its callers hear while there is no session, and what becomes of them when none can be had.

use std::{path::PathBuf, time::Duration};

use super::{effective::Writer, section::Section};

/// What callers of an agent hear while its session is away, and afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSurvival {
    /// How long they hear the comfort tone alone before words.
    pub filler_after: Duration,
    /// A WAV file with the words; none is the built-in ones.
    pub filler_file: Option<PathBuf>,
    /// A WAV file that is played when no backend is left.
    pub failover_prompt_file: Option<PathBuf>,
    /// Whom the call is then handed on to.
    pub failover_transfer: Option<String>,
}

impl Default for AgentSurvival {
    fn default() -> Self {
        Self {
            filler_after: Duration::from_millis(2_500),
            filler_file: None,
            failover_prompt_file: None,
            failover_transfer: None,
        }
    }
}

impl AgentSurvival {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let path = |section: &mut Section<'_>, key| {
            Some(section.text(key, ""))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        Self {
            filler_after: section.millis("filler_after_ms", Self::default().filler_after, 200..=60_000),
            filler_file: path(section, "filler_file"),
            failover_prompt_file: path(section, "failover_prompt_file"),
            failover_transfer: Some(section.text("failover_transfer", "")).filter(|to| !to.is_empty()),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let file = |path: &Option<PathBuf>| path.as_deref().unwrap_or("".as_ref()).display().to_string();
        out.whole("filler_after_ms", self.filler_after.as_millis());
        out.text("filler_file", file(&self.filler_file));
        out.text("failover_prompt_file", file(&self.failover_prompt_file));
        out.text(
            "failover_transfer",
            self.failover_transfer.as_deref().unwrap_or_default(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const AGENT: &str = "[agents.a]\nbackends = [\"operator\"]\n";

    #[test]
    fn an_absence_is_filled_without_being_told() {
        assert_eq!(read(AGENT).agents["a"].survival, AgentSurvival::default());
    }

    #[test]
    fn settings_are_read() {
        let config = read(&format!(
            "{AGENT}filler_after_ms = 900\nfiller_file = \"a.wav\"\nfailover_prompt_file = \"b.wav\"\n\
             failover_transfer = \"sip:desk@pbx\""
        ));
        let expected = AgentSurvival {
            filler_after: Duration::from_millis(900),
            filler_file: Some("a.wav".into()),
            failover_prompt_file: Some("b.wav".into()),
            failover_transfer: Some("sip:desk@pbx".to_owned()),
        };
        assert_eq!(config.agents["a"].survival, expected);
        assert_eq!(problems(&format!("{AGENT}filler_after_ms = 1")).len(), 1);
    }
}
