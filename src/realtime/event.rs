//! The neutral events: what every dialect is turned into and made from.
//!
//! Server events borrow from the text they were read from, so that the audio in them is copied once, into samples.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use super::{
    audio::AudioFormat,
    history::{HistoryItem, Speaker},
    settings::{Settings, ToolSpec},
    usage::Usage,
};

/// The longest text frame that is read: a minute of agent audio in one event. A longer one is dropped.
pub const TEXT_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the server says, as far as a client acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// The session's configuration as it is in effect.
    SessionUpdated(SessionView),
    /// The caller began to speak.
    SpeechStarted {
        /// The conversation item that it will be; empty when the server does not say.
        item: Cow<'a, str>,
    },
    /// The caller stopped speaking.
    SpeechStopped {
        /// The conversation item.
        item: Cow<'a, str>,
    },
    /// What the caller said has become an item of the conversation.
    TurnCommitted {
        /// The conversation item.
        item: Cow<'a, str>,
    },
    /// A piece of what the caller says; the whole comes later.
    CallerTranscriptDelta {
        /// The conversation item.
        item: Cow<'a, str>,
        /// The words.
        text: Cow<'a, str>,
    },
    /// Nobody will write down what the caller said.
    CallerTranscriptFailed {
        /// The conversation item.
        item: Cow<'a, str>,
        /// Why.
        error: ServerError,
    },
    /// What the caller said.
    CallerTranscript {
        /// The conversation item.
        item: Cow<'a, str>,
        /// The words.
        text: Cow<'a, str>,
        /// What writing them down took.
        usage: Usage,
    },
    /// A response began.
    ResponseCreated {
        /// Its id.
        id: String,
    },
    /// A response ended, one way or another.
    ResponseDone(ResponseDone),
    /// A piece of agent audio.
    AudioDelta {
        /// The part it belongs to.
        part: PartName<'a>,
        /// The samples in base64.
        audio: Cow<'a, str>,
    },
    /// No more audio comes for a part.
    AudioDone {
        /// The part.
        part: PartName<'a>,
    },
    /// A piece of what the agent says in a part; the whole comes later.
    AgentTranscriptDelta {
        /// The part.
        part: PartName<'a>,
        /// The words.
        text: Cow<'a, str>,
    },
    /// What the agent says in a part.
    AgentTranscript {
        /// The part.
        part: PartName<'a>,
        /// The words.
        text: Cow<'a, str>,
    },
    /// The agent wrote instead of speaking: nobody hears it.
    AgentText {
        /// The part.
        part: PartName<'a>,
        /// The words.
        text: Cow<'a, str>,
    },
    /// An item was cut to what had been heard of it.
    Truncated {
        /// The conversation item.
        item: Cow<'a, str>,
    },
    /// A piece of the arguments of a tool call; the whole comes with the call.
    ToolArgumentsDelta {
        /// The response that calls.
        response: Cow<'a, str>,
        /// The id to answer with.
        call: Cow<'a, str>,
        /// JSON text, a piece of it.
        delta: Cow<'a, str>,
    },
    /// The agent calls a tool; the same call may be told more than once.
    ToolCall {
        /// The response that calls.
        response: Cow<'a, str>,
        /// The id to answer with.
        call: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// Its arguments as JSON text.
        arguments: Cow<'a, str>,
    },
    /// The server wants leave to call a tool of a server it knows, and waits for [`ClientEvent::Approve`].
    Approval {
        /// The id of the request.
        request: String,
        /// The tool's server, by the label it was configured with.
        server: String,
        /// The tool.
        name: String,
        /// Its arguments as JSON text.
        arguments: String,
    },
    /// How far the server is with a tool of another server, or with the list of its tools.
    RemoteTool {
        /// The conversation item.
        item: Cow<'a, str>,
        /// How far.
        progress: Progress,
    },
    /// A key was pressed on the server's own telephone line.
    Key(char),
    /// What may still be used of the account.
    RateLimits(Vec<RateLimit>),
    /// The audio of the session that is billed, up to now.
    Billed(Duration),
    /// Tokens that were used outside of any response.
    Used(Usage),
    /// The server shows that it is there; it wants no answer.
    Ping,
    /// The server complains.
    Error(ServerError),
    /// An event of this dialect that asks nothing of a client.
    Noted,
    /// An event this dialect does not have.
    Unknown,
}

/// One content part of one item of one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartName<'a> {
    /// The response.
    pub response: Cow<'a, str>,
    /// The item.
    pub item: Cow<'a, str>,
    /// Which of the item's parts.
    pub content_index: u32,
}

/// What matters of the session's effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// What the session takes the caller's audio for.
    pub input_format: FormatView,
    /// What the session sends as the agent's audio.
    pub output_format: FormatView,
    /// Whether the server cancels a response by itself when the caller speaks; none when it does not say.
    pub interrupt_response: Option<bool>,
}

/// An audio format as the server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatView {
    /// One that this gateway speaks.
    Known(AudioFormat),
    /// Anything else, in the server's words.
    Other(String),
    /// The server does not say.
    Absent,
}

/// How far the server is with something it does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has begun.
    Begun,
    /// It is done.
    Done,
    /// It has failed.
    Failed,
}

/// One limit of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What is limited: `requests` or `tokens`.
    pub name: String,
    /// What is left of it.
    pub remaining: Option<u64>,
    /// How much there is.
    pub limit: Option<u64>,
}

/// A tool call as a response lists it at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The id to answer with.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments as JSON text.
    pub arguments: String,
}

/// How a response ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseDone {
    /// Its id.
    pub id: String,
    /// The server's word for how: `completed`, `cancelled`, `incomplete`, `failed`; empty when it does not say.
    pub status: String,
    /// The tools it called; told before as well by most servers.
    pub calls: Vec<Call>,
    /// What it cost.
    pub usage: Usage,
    /// Why it failed, if it did.
    pub error: Option<ServerError>,
}

/// An error as the server words it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// The error's family.
    pub kind: String,
    /// The error's name; may be empty.
    pub code: String,
    /// What it tells a person.
    pub message: String,
    /// The number of the client event that failed, when it is one of ours.
    pub event_id: Option<u64>,
}

/// A text that is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame is too long to be read at all.
    #[error("the event is {0} bytes long, the most that is read are {max}", max = TEXT_FRAME_BYTES_MAX)]
    TooLong(usize),
    /// Not JSON, or not an object with a type.
    #[error("not a JSON object with a type: {0}")]
    NotAnEvent(String),
    /// A known event without a field it must have, or with one of the wrong shape.
    #[error("the {kind} event has no usable {field}")]
    Field {
        /// The event's type.
        kind: String,
        /// What is missing.
        field: &'static str,
    },
}

/// What the client says.
#[derive(Debug, Clone, Copy)]
pub enum ClientEvent<'a> {
    /// Configures the session.
    Configure(&'a Settings, AudioFormat),
    /// Tells what was said before this session.
    Recall(&'a HistoryItem),
    /// Says something as the caller, in words.
    Say(&'a str),
    /// Answers a tool call.
    ToolResult {
        /// The id of the call.
        call: &'a str,
        /// The answer.
        output: &'a str,
    },
    /// Tells how much of the agent's audio was heard.
    Truncate {
        /// The conversation item.
        item: &'a str,
        /// Which of its parts.
        content_index: u32,
        /// The audio heard.
        audio_end_ms: u32,
    },
    /// Asks for a response.
    Respond {
        /// For this response only, instead of the session's.
        instructions: Option<&'a str>,
    },
    /// Stops a response.
    Cancel {
        /// Which.
        response: &'a str,
    },
    /// Changes the session; what is none stays as it is.
    Update {
        /// What the agent is and how it should behave.
        instructions: Option<&'a str>,
        /// What it may call.
        tools: Option<&'a [ToolSpec]>,
        /// Turn taking, passed on as it is; `Null` switches it off.
        turn_detection: Option<&'a Value>,
    },
    /// Says that the caller's turn is over, where the server does not find out itself.
    Commit,
    /// Forgets the caller's audio that is no item yet.
    ClearInput,
    /// Takes an item out of the conversation.
    Delete {
        /// Which.
        item: &'a str,
    },
    /// Asks for an item as the server knows it.
    Retrieve {
        /// Which.
        item: &'a str,
    },
    /// Answers [`ServerEvent::Approval`].
    Approve {
        /// The id of the request.
        request: &'a str,
        /// Whether it may.
        approve: bool,
        /// Why not, in words for the model.
        reason: &'a str,
    },
}

impl SessionView {
    /// Whether the server says anything about audio formats.
    pub(super) fn names_a_format(&self) -> bool {
        self.input_format != FormatView::Absent || self.output_format != FormatView::Absent
    }
}

impl Speaker {
    /// The protocol's word for the role.
    pub fn role(self) -> &'static str {
        match self {
            Self::Caller => "user",
            Self::Agent => "assistant",
        }
    }
}
