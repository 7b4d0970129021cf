//! What one connection counted, for metrics and logs.

/// Counted since the connection opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Server events read.
    pub events: u64,
    /// Server events of a type this dialect does not know; ignored.
    pub events_unknown: u64,
    /// Texts that are no event, or an event whose fields make no sense; ignored.
    pub events_malformed: u64,
    /// Caller frames sent on.
    pub appends: u64,
    /// Caller frames dropped because the session was not ready.
    pub appends_dropped: u64,
    /// Agent audio events handed to the playout.
    pub deltas: u64,
    /// Agent audio events of interrupted responses, dropped.
    pub deltas_late: u64,
    /// Agent audio events whose base64 cannot be read, dropped.
    pub deltas_malformed: u64,
    /// Interruptions of the agent.
    pub interruptions: u64,
    /// Truncations sent.
    pub truncates: u64,
    /// Cancellations sent.
    pub cancels: u64,
    /// Responses the session was asked for.
    pub creates: u64,
    /// Responses not asked for because too many were waiting, or because the session kept refusing.
    pub creates_dropped: u64,
    /// Responses the session was asked for and never answered about.
    pub creates_unanswered: u64,
    /// Utterances no longer tracked because too many were unheard at once; they cannot be truncated.
    pub utterances_forgotten: u64,
    /// Tool calls whose arguments were too long.
    pub tool_calls_refused: u64,
    /// Digits and tool results that could not be delivered because the session was not ready.
    pub inputs_dropped: u64,
}
