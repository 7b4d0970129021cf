//! What the bridge tells the call's actors.

use std::time::Duration;

#[cfg(doc)]
use crate::call::Order;
use crate::{call::Cause, media, realtime, tools::Concealed};

/// What the call's actors learn from the bridge.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The session confirmed its configuration.
    SessionReady,
    /// The session cannot go on, although its connection may still be open.
    SessionFault(realtime::Fault),
    /// The session said something that nobody here knows.
    Unknown(realtime::Unknown),
    /// The caller pressed a digit.
    Digit(char),
    /// The caller pressed a key that nobody is to see.
    VaultKey(Concealed),
    /// The agent is about to call a tool: its arguments as far as they have come.
    ToolArguments {
        /// The session's id of the call.
        call_id: String,
        /// JSON text without its end.
        so_far: String,
    },
    /// The agent calls a tool.
    ToolCall {
        /// The how manieth session of the call, from 1.
        session: u32,
        /// The session's id of the call, to be given back with the result.
        call_id: String,
        /// The tool's name.
        name: String,
        /// Its arguments, as JSON text.
        arguments: String,
    },
    /// Something was said.
    Transcript(realtime::Transcript),
    /// Nothing is left to be heard, after [`Order::AwaitQuiet`].
    Quiet,
    /// The agent has been heard to its end, or the caller cut in, after [`Order::AwaitSaid`].
    Said,
    /// The prompt of [`Order::Prompt`] has been heard to its end.
    PromptHeard,
    /// It has not, and will not be.
    PromptCut,
    /// The far end began to speak and went on without a pause for as long as [`Order::WatchVoice`] said, as an
    /// answering machine does.
    MachineLikely,
    /// No RTP has come from the caller for the configured time.
    CallerSilent,
    /// The caller's side has heard nothing of us for the configured time.
    Unheard,
    /// The second leg is not there any more, as far as its media tells; why.
    SecondLegLost(Cause),
    /// What is wrong with the line has changed.
    Diagnosis(media::Diagnosis),
    /// How the call sounds has changed.
    Quality(media::Quality),
    /// The media must be protected and cannot be; why, in one word.
    SecurityFailed(&'static str),
    /// The agent's first packet after the caller's last voice left this much later.
    Responded(Duration),
    /// Agent audio came faster than there is room for it, and was lost.
    PlayoutDropped,
    /// Neither side has said anything for as long as the agent waits.
    CallerIdle,
    /// What [`Order::Disclose`] asked for has been heard to its end: so much of it left.
    Disclosed {
        /// In milliseconds.
        sent_ms: u32,
    },
    /// It has not, however often it was said.
    NotDisclosed,
    /// The agent was cut off because it had spoken for too long.
    AgentStopped,
    /// The last packet of interrupted agent audio left this long after the session heard the caller.
    BargedIn(Duration),
    /// The caller began to hear words of ours this long after the session was lost.
    Filled(Duration),
    /// The caller began to hear the next session this long after the last was lost.
    Recovered(Duration),
    /// The call has gone over to a second session; so much time lay between the last frame of the caller that the first
    /// was told and the first that the second was.
    Renewed(Duration),
    /// A second session that was made behind the first cannot go on.
    StandbyFault(realtime::Fault),
    /// Somebody says more; all of it follows as a [`Report::Transcript`].
    TranscriptDelta(realtime::Transcript),
    /// A backend counted this besides what was told before.
    Used(Box<realtime::Used>),
}

/// What a call's media amounted to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The leg's RTP.
    pub media: media::Statistics,
    /// Tokens, over all sessions of the call.
    pub usage: realtime::Usage,
    /// How long the caller spoke.
    pub caller_talk: Duration,
    /// How long the agent was heard.
    pub agent_talk: Duration,
    /// How often the caller cut the agent off.
    pub barge_ins: u32,
    /// How often the agent was cut off because it had spoken for too long.
    pub agent_turns_cut: u32,
    /// Digits pressed.
    pub digits: u32,
    /// How much of what the caller said was told again to a session that had not heard it.
    pub replayed: Duration,
    /// How much of it was lost because there was too much.
    pub replay_lost: Duration,
    /// How often the call went over to a second session made behind the first.
    pub renewals: u32,
}
