//! Conversation items: messages, function calls and their outputs.

use serde_json::{Value, json};

use super::error::Refusal;
use super::field::Field;
use super::sound::Sound;
use crate::realtime::AudioFormat;

/// One item, known by its id.
#[derive(Clone, Debug)]
pub struct Item {
    /// Chosen by the client or by the server.
    pub id: String,
    /// What it is.
    pub body: Body,
    /// Whether it is finished.
    pub status: Status,
    /// Cut by the client to what was heard; its transcript is gone for good.
    pub truncated: bool,
}

/// The kinds of items.
#[derive(Clone, Debug)]
pub enum Body {
    /// Something said or written.
    Message {
        /// By whom.
        role: Role,
        /// In order.
        content: Vec<Content>,
    },
    /// The agent calls a function.
    Call {
        /// Of this name.
        name: String,
        /// JSON in a string.
        arguments: String,
        /// To match the output with.
        call_id: String,
    },
    /// What came of a call.
    CallOutput {
        /// Of the call.
        call_id: String,
        /// Whatever the client says.
        output: String,
    },
}

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The developer.
    System,
    /// The caller.
    User,
    /// The agent.
    Assistant,
}

/// One part of a message.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text from the client.
    InputText(String),
    /// Audio of the caller.
    InputAudio {
        /// All that was committed.
        sound: Sound,
        /// The part with a voice in it; none when the caller kept silent.
        spoken: Option<Sound>,
        /// Only when transcription is on.
        transcript: Option<String>,
    },
    /// A picture, kept as it came and never looked at.
    InputImage(Value),
    /// Text of the agent.
    OutputText(String),
    /// Speech of the agent.
    OutputAudio {
        /// What is being said.
        sound: Sound,
        /// How much of it has been produced, or is left after truncation.
        ms: u32,
        /// Absent after truncation.
        transcript: Option<String>,
    },
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being produced.
    InProgress,
    /// All there.
    Completed,
    /// Cut short.
    Incomplete,
}

impl Item {
    /// A finished item.
    pub fn new(id: String, body: Body) -> Self {
        Self {
            id,
            body,
            status: Status::Completed,
            truncated: false,
        }
    }

    /// Reads an item the client creates; `id` is used when it brings none. Audio in it is in the session's input format.
    pub fn read(field: &Field<'_>, id: String, format: AudioFormat) -> Result<Self, Refusal> {
        let id = match field.get("id").and_then(Field::present) {
            Some(given) => given.string()?.to_owned(),
            None => id,
        };
        let body = match field
            .require("type")?
            .one_of(&["message", "function_call", "function_call_output"])?
        {
            "message" => read_message(field, format)?,
            "function_call" => Body::Call {
                name: text(field, "name")?,
                arguments: text(field, "arguments")?,
                call_id: field
                    .get("call_id")
                    .and_then(Field::present)
                    .map_or(Ok(id.as_str()), |id| id.string())?
                    .to_owned(),
            },
            _ => Body::CallOutput {
                call_id: text(field, "call_id")?,
                output: text(field, "output")?,
            },
        };
        Ok(Self::new(id, body))
    }

    /// The item without audio bytes.
    pub fn to_json(&self) -> Value {
        self.render(|_, _| None)
    }

    /// The item with its audio, as only `conversation.item.retrieved` shows it.
    pub fn to_json_with_audio(&self, input: AudioFormat, output: AudioFormat) -> Value {
        self.render(|sound, ms| match ms {
            Some(ms) => Some(sound.to_base64(output, ms)),
            None => Some(sound.to_base64(input, u32::MAX)),
        })
    }

    /// Memory it holds.
    pub fn bytes_held(&self) -> usize {
        match &self.body {
            Body::Message { content, .. } => content.iter().map(Content::bytes_held).sum(),
            Body::Call {
                name,
                arguments,
                call_id,
            } => name.len() + arguments.len() + call_id.len(),
            Body::CallOutput { call_id, output } => call_id.len() + output.len(),
        }
    }

    /// The part of it that is recorded audio.
    pub fn audio_bytes_held(&self) -> usize {
        let sounds = self.content().iter().filter_map(Content::sound);
        sounds.map(Sound::bytes_held).sum()
    }

    /// Lets go of recorded audio; everything else stays.
    pub fn silence(&mut self) {
        let Body::Message { content, .. } = &mut self.body else {
            return;
        };
        for part in content {
            match part {
                Content::InputAudio { sound, spoken, .. } => (*sound, *spoken) = (Sound::silence(), None),
                Content::OutputAudio { sound, .. } if sound.bytes_held() > 0 => *sound = Sound::silence(),
                _ => (),
            }
        }
    }

    fn content(&self) -> &[Content] {
        match &self.body {
            Body::Message { content, .. } => content,
            _ => &[],
        }
    }

    fn render(&self, audio: impl Fn(&Sound, Option<u32>) -> Option<String>) -> Value {
        let mut item = match &self.body {
            Body::Message { role, content } => json!({
                "type": "message",
                "role": role.word(),
                "content": content.iter().map(|part| part.render(&audio)).collect::<Vec<_>>(),
            }),
            Body::Call {
                name,
                arguments,
                call_id,
            } => {
                json!({"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id})
            }
            Body::CallOutput { call_id, output } => {
                json!({"type": "function_call_output", "call_id": call_id, "output": output})
            }
        };
        item["id"] = json!(self.id);
        item["object"] = json!("realtime.item");
        item["status"] = json!(self.status.word());
        item
    }
}

impl Content {
    fn render(&self, audio: impl Fn(&Sound, Option<u32>) -> Option<String>) -> Value {
        let (mut part, audio) = match self {
            Self::InputText(text) => (json!({"type": "input_text", "text": text}), None),
            Self::OutputText(text) => (json!({"type": "output_text", "text": text}), None),
            Self::InputImage(image) => (image.clone(), None),
            Self::InputAudio { sound, transcript, .. } => (
                json!({"type": "input_audio", "transcript": transcript}),
                audio(sound, None),
            ),
            Self::OutputAudio {
                sound,
                ms,
                transcript: Some(transcript),
            } => (
                json!({"type": "output_audio", "transcript": transcript}),
                audio(sound, Some(*ms)),
            ),
            Self::OutputAudio {
                sound,
                ms,
                transcript: None,
            } => (json!({"type": "output_audio"}), audio(sound, Some(*ms))),
        };
        if let Some(audio) = audio {
            part["audio"] = Value::String(audio);
        }
        part
    }

    fn sound(&self) -> Option<&Sound> {
        match self {
            Self::InputAudio { sound, .. } | Self::OutputAudio { sound, .. } => Some(sound),
            _ => None,
        }
    }

    fn bytes_held(&self) -> usize {
        match self {
            Self::InputText(text) | Self::OutputText(text) => text.len(),
            Self::InputAudio { sound, .. } | Self::OutputAudio { sound, .. } => sound.bytes_held(),
            Self::InputImage(image) => image["image_url"].as_str().map_or(0, str::len),
        }
    }
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

fn text(field: &Field<'_>, name: &str) -> Result<String, Refusal> {
    Ok(field.require(name)?.string()?.to_owned())
}

fn read_message(field: &Field<'_>, format: AudioFormat) -> Result<Body, Refusal> {
    let role = match field.require("role")?.one_of(&["system", "user", "assistant"])? {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let content = field.require("content")?;
    let content = content
        .elements()?
        .map(|part| read_content(&part, role, format))
        .collect::<Result<_, _>>()?;
    Ok(Body::Message { role, content })
}

/// Beta names without the direction are taken too: clients in the wild still use them.
fn read_content(part: &Field<'_>, role: Role, format: AudioFormat) -> Result<Content, Refusal> {
    let kind = part.require("type")?;
    match (role, kind.string()?) {
        (Role::System | Role::User, "input_text" | "text") => text(part, "text").map(Content::InputText),
        (Role::Assistant, "output_text" | "text") => text(part, "text").map(Content::OutputText),
        (Role::User, "input_audio" | "audio") => read_audio(part, format),
        (Role::User, "input_image") => {
            part.require("image_url")?.string()?;
            Ok(Content::InputImage(part.value().clone()))
        }
        (Role::System, _) => Err(unsupported(&kind, &["input_text"])),
        (Role::User, _) => Err(unsupported(&kind, &["input_text", "input_audio", "input_image"])),
        (Role::Assistant, _) => Err(unsupported(&kind, &["output_text"])),
    }
}

fn unsupported(kind: &Field<'_>, words: &[&'static str]) -> Refusal {
    kind.one_of(words).err().unwrap_or_else(|| kind.unknown())
}

fn read_audio(part: &Field<'_>, format: AudioFormat) -> Result<Content, Refusal> {
    let audio = part.require("audio")?;
    let bytes = base64_simd::STANDARD
        .decode_to_vec(audio.string()?)
        .map_err(|_| audio.invalid(not_base64(&audio)))?;
    let mut pcm = Vec::new();
    format.decode(None, &bytes, &mut pcm);
    let sound = Sound::recorded(format.rate(), &pcm);
    let transcript = part
        .get("transcript")
        .and_then(Field::present)
        .map(|text| text.string())
        .transpose()?;
    let spoken = Some(sound.clone()).filter(|sound| sound.ms() > 0);
    Ok(Content::InputAudio {
        sound,
        spoken,
        transcript: transcript.map(str::to_owned),
    })
}

fn not_base64(audio: &Field<'_>) -> String {
    format!(
        "Invalid '{}'. Expected base64-encoded audio bytes, but they could not be decoded.",
        audio.path()
    )
}
