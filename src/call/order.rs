//! What the call's decisions ask of its media and session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    bridge::away,
    keys,
    recording::{Prompt, Sound},
    turns,
};
use crate::{realtime::ToolSpec, sdp::Negotiated};

/// What every caller hears before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disclosure {
    /// A sound of ours.
    Sound(Arc<Sound>),
    /// The agent says it; its session knows the words.
    Words,
}

/// An order that is about the second leg; without one it is obeyed by nobody.
#[derive(Debug, Clone, PartialEq)]
pub enum SecondLegOrder {
    /// Take in what its offer and answer settled, now or again.
    Apply(Box<Negotiated>),
    /// Press these keys there, as telephone-events.
    SendDigits(String),
    /// Press these keys there, as tones in the sound.
    PlayDigits(String),
}

/// An order to [`Bridge::obey`](super::Bridge::obey).
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Take in what offer and answer settled, now or again.
    Apply(Box<Negotiated>),
    /// Whether the call is not answered yet, so that the other side need not send anything.
    Early(bool),
    /// Let the agent speak first.
    Greet,
    /// What the caller hears while there is no session, and what is kept meanwhile.
    Away(away::Settings),
    /// Have the other side hear this.
    Play(Arc<Sound>),
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
    /// [`Disclosed`](super::bridge::Report::Disclosed) or [`NotDisclosed`](super::bridge::Report::NotDisclosed).
    Disclose(Disclosure),
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
    /// What the agent may call from now on.
    Tools(Vec<ToolSpec>),
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
    /// Have the agent say these words, behind what it is saying.
    Say(String),
    /// Have the other side wait: it hears the tone behind what is being said, whether there is a session or not, and the
    /// session hears silence in its place. Or no more.
    Hold(bool),
    /// For the second leg and those who hear each other through it.
    SecondLeg(SecondLegOrder),
    /// Let the session hear silence in place of the other side, or the other side again.
    Hush(bool),
    /// Tell of keys as [`VaultKey`](super::bridge::Report::VaultKey), and nobody else, or as usual again.
    Divert(bool),
}
