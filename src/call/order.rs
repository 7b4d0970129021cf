//! What the call's decisions ask of its media and session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    keys,
    recording::{Prompt, Sound},
    turns,
};
use crate::sdp::Negotiated;

/// An order to [`Bridge::obey`](super::Bridge::obey).
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Take in what offer and answer settled, now or again.
    Apply(Box<Negotiated>),
    /// Whether the call is not answered yet, so that the other side need not send anything.
    Early(bool),
    /// Let the agent speak first.
    Greet,
    /// Start or stop the tone that tells the other side that the line lives.
    Comfort(bool),
    /// Play the spoken apology.
    Apologise,
    /// Report [`Quiet`](super::bridge::Report::Quiet) once nothing is left to be heard.
    AwaitQuiet,
    /// Report [`Said`](super::bridge::Report::Said) once the agent has said something and it has been heard.
    AwaitSaid,
    /// Have the other side hear this, and report [`PromptHeard`](super::bridge::Report::PromptHeard) or
    /// [`PromptCut`](super::bridge::Report::PromptCut).
    Prompt(Prompt),
    /// Have the other side hear this to its end, whatever happens meanwhile, and report
    /// [`Disclosed`](super::bridge::Report::Disclosed).
    Disclose(Arc<Sound>),
    /// How turns are kept from now on.
    Turns {
        /// As the agent's settings say.
        settings: Box<turns::Settings>,
        /// When the call ends at the latest.
        ends_at: Option<Instant>,
    },
    /// Report [`MachineLikely`](super::bridge::Report::MachineLikely) when what is heard first goes on for this long.
    WatchVoice(Duration),
    /// A tool's result.
    ToolResult {
        /// The session's id of the call.
        call_id: String,
        /// What came of it.
        output: String,
        /// Whether the agent should say something about it.
        respond: bool,
    },
    /// How keys travel in this call.
    Keys(keys::Settings),
    /// The other side pressed a digit by INFO.
    HearDigit(char),
    /// The other side wrote something.
    HearText(String),
    /// Press these keys, as telephone-events.
    SendDigits(String),
    /// Press these keys, as tones in the sound, behind what is being said.
    PlayDigits(String),
    /// Have the agent say exactly these words.
    Recite(String),
}
