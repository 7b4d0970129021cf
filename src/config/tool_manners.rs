//! `[tools.NAME]` and `[mcp.NAME]`: how long a tool may take, who has to agree, and what the caller hears meanwhile.

use std::time::Duration;

use super::{bounds::PROSE_BYTES_MAX, effective::Writer, section::Section};

const TIMEOUT: Duration = Duration::from_secs(10);
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(60);
const FILLER_AFTER: Duration = Duration::from_millis(1500);
const RESULT_BYTES: u64 = 16 * 1024;

/// What tools over HTTP and those of MCP servers have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolManners {
    /// How long one call of it may take, attempts and pauses between them included.
    pub timeout: Duration,
    /// How long a person may think about it, where one has to agree.
    pub approval_timeout: Duration,
    /// What the agent says while the caller waits, word for word; none says nothing.
    pub filler: Option<String>,
    /// How long the caller waits before that is said.
    pub filler_after: Duration,
    /// Bytes of a result that the model is told; the rest is cut off.
    pub result_bytes_max: usize,
}

impl Default for ToolManners {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            approval_timeout: APPROVAL_TIMEOUT,
            filler: None,
            filler_after: FILLER_AFTER,
            result_bytes_max: RESULT_BYTES as usize,
        }
    }
}

impl ToolManners {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let bytes = section.whole("result_bytes_max", RESULT_BYTES, 256..=262_144, "bytes");
        Self {
            timeout: section.millis("timeout_ms", TIMEOUT, 100..=600_000),
            approval_timeout: section.seconds("approval_timeout_s", APPROVAL_TIMEOUT, 5..=3600),
            filler: Some(section.prose("filler", PROSE_BYTES_MAX)).filter(|words| !words.is_empty()),
            filler_after: section.millis("filler_after_ms", FILLER_AFTER, 0..=60_000),
            result_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.whole("timeout_ms", self.timeout.as_millis());
        out.whole("approval_timeout_s", self.approval_timeout.as_secs());
        out.text("filler", self.filler.as_deref().unwrap_or_default());
        out.whole("filler_after_ms", self.filler_after.as_millis());
        out.whole("result_bytes_max", self.result_bytes_max);
    }
}
