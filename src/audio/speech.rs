//! What the agent says, as the playout counts it: one number per stretch of speech and how much of it was heard.

/// One stretch of agent audio: one audio content part of one response. Numbered by whoever receives it from the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Utterance(pub u32);

/// How much of an utterance reached the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which stretch of speech.
    pub utterance: Utterance,
    /// Audio that left as RTP, in milliseconds.
    pub sent_ms: u32,
    /// Audio that had come from the session until then, in milliseconds; never less than `sent_ms`.
    pub received_ms: u32,
    /// The session had finished it and every millisecond left.
    pub complete: bool,
}
