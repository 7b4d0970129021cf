//! Reading `response.create`: what the client wants differently from the session's defaults.

use serde_json::Value;

use super::conversation::Conversation;
use super::error::Refusal;
use super::field::Field;
use super::format;
use super::item::Item;
use super::outbox::Outbox;
use super::session::{Defaults, Session, read_voice};
use crate::realtime::AudioFormat;

/// One response as asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Part of the default conversation, not beside it.
    pub in_conversation: bool,
    /// Session defaults with the request's overrides.
    pub defaults: Defaults,
    /// How its audio goes.
    pub format: AudioFormat,
    /// Echoed in every response object.
    pub metadata: Value,
    /// Replaces the conversation as context.
    pub input: Option<Vec<Item>>,
}

const METADATA_PAIRS_MAX: usize = 16;
const METADATA_KEY_LEN_MAX: usize = 64;
const METADATA_VALUE_LEN_MAX: usize = 512;

impl Request {
    /// What a finished turn asks for.
    pub fn automatic(session: &Session) -> Self {
        Self {
            in_conversation: true,
            defaults: session.defaults.clone(),
            format: session.output_format,
            metadata: Value::Null,
            input: None,
        }
    }

    /// Reads the `response` member.
    pub fn read(
        field: &Field<'_>,
        session: &Session,
        conversation: &Conversation,
        outbox: &mut Outbox,
    ) -> Result<Self, Refusal> {
        let mut request = Self::automatic(session);
        for (name, member) in field.members()? {
            match name {
                "conversation" => request.in_conversation = member.one_of(&["auto", "none"])? == "auto",
                "audio" => request.apply_audio(&member)?,
                "metadata" => request.metadata = read_metadata(&member)?,
                "input" => request.input = Some(read_input(&member, session, conversation, outbox)?),
                "parallel_tool_calls" => member.boolean().map(drop)?,
                "reasoning" | "prompt" => member
                    .clone()
                    .present()
                    .map_or(Ok(()), |member| member.map().map(drop))?,
                _ => request
                    .defaults
                    .apply(name, &member)
                    .unwrap_or_else(|| Err(member.unknown()))?,
            }
        }
        Ok(request)
    }

    fn apply_audio(&mut self, audio: &Field<'_>) -> Result<(), Refusal> {
        audio.only(&["output"])?;
        let Some(output) = audio.get("output") else {
            return Ok(());
        };
        for (name, member) in output.members()? {
            match name {
                "format" => self.format = format::read(&member)?,
                "voice" => self.defaults.voice = read_voice(&member)?,
                _ => return Err(member.unknown()),
            }
        }
        Ok(())
    }
}

fn read_metadata(field: &Field<'_>) -> Result<Value, Refusal> {
    let Some(present) = field.clone().present() else {
        return Ok(Value::Null);
    };
    if present.map()?.len() > METADATA_PAIRS_MAX {
        return Err(present.invalid(format!("Invalid metadata: at most {METADATA_PAIRS_MAX} pairs.")));
    }
    for (key, value) in present.members()? {
        if key.len() > METADATA_KEY_LEN_MAX || value.string()?.len() > METADATA_VALUE_LEN_MAX {
            return Err(value.invalid("Invalid metadata: keys have at most 64 bytes, values 512."));
        }
    }
    Ok(present.value().clone())
}

fn read_input(
    field: &Field<'_>,
    session: &Session,
    conversation: &Conversation,
    outbox: &mut Outbox,
) -> Result<Vec<Item>, Refusal> {
    let mut items = Vec::new();
    for item in field.elements()? {
        items.push(match item.get("type").and_then(|kind| kind.string().ok()) {
            Some("item_reference") => referred(&item.require("id")?, conversation)?,
            _ => Item::read(&item, outbox.id("item"), session.input_format)?,
        });
    }
    Ok(items)
}

fn referred(id: &Field<'_>, conversation: &Conversation) -> Result<Item, Refusal> {
    let known = conversation.get(id.string()?);
    known
        .cloned()
        .ok_or_else(|| id.invalid(format!("Invalid '{}': there is no such item.", id.path())))
}
