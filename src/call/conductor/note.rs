//! What the conductor notes for the log, the record and whoever watches.

use std::time::Duration;

use crate::{call::transfer::Way, media, realtime::Transcript, sdp::Negotiated, tools::Finished};

/// What is worth knowing about a call while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// It rings.
    Ringing,
    /// There is media before the answer.
    Early,
    /// It was answered.
    Answered,
    /// Offer and answer settled the media.
    Agreed(Box<Negotiated>),
    /// What offered or answered cannot be used, in words.
    Unusable(String),
    /// The agent calls a tool.
    ToolCalled {
        /// The session's id of the call.
        call_id: String,
        /// The tool.
        name: String,
        /// Its arguments as JSON text.
        arguments: String,
    },
    /// The other side pressed a digit.
    Digit(char),
    /// A transfer goes on: whom to, and the last status; 0 before the first.
    Transfer {
        /// Whom to.
        to: String,
        /// How.
        way: Way,
        /// The status.
        status: u16,
    },
    /// What answered is likely a machine.
    MachineLikely,
    /// What is wrong with the line has changed.
    Diagnosis(media::Diagnosis),
    /// How the call sounds has changed.
    Quality(media::Quality),
    /// The caller was to be recorded and has not heard the prompt to its end, however often it was said.
    NoConsent,
    /// The other side has heard what it has to hear: so much of it left.
    Disclosed {
        /// In milliseconds.
        sent_ms: u32,
    },
    /// The other side has not heard what it has to hear, however often it was said.
    NotDisclosed,
    /// The agent was cut off because it had spoken for too long.
    AgentStopped,
    /// The other side asked us to call somebody else, and was refused.
    TransferRefused(String),
    /// The call has gone over to a second session, with so much time between the last frame of the caller that the first
    /// was told and the first that the second was.
    Renewed(Duration),
    /// The agent is about to call a tool: its arguments as far as they have come.
    ToolArguments {
        /// The session's id of the call.
        call_id: String,
        /// JSON text without its end.
        so_far: String,
    },
    /// A tool call is over.
    ToolFinished(Box<Finished>),
    /// Somebody said something.
    Said(Transcript),
    /// Somebody says more; all of it follows as [`Note::Said`].
    Saying(Transcript),
}
