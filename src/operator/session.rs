//! The session object: the effective configuration, and its deep partial update by `session.update`.
//!
//! An update is applied to a copy and taken over only as a whole, so a refused update changes nothing. Members that do
//! not concern the operator (reasoning, tracing, truncation and so on) are checked for their JSON type and echoed.

use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::field::Field;
use super::format;
use super::tools;
use super::turn_detection::TurnDetection;
use crate::realtime::AudioFormat;

/// What the session is set to.
#[derive(Clone, Debug)]
pub struct Session {
    id: String,
    model: String,
    expires_at: u64,
    /// How the caller's audio comes.
    pub input_format: AudioFormat,
    /// How the operator's audio goes.
    pub output_format: AudioFormat,
    /// Who decides that a turn is over; `None` leaves it to the client.
    pub turn_detection: Option<TurnDetection>,
    /// The transcription settings as they came; null is off.
    pub transcription: Value,
    /// Defaults of every response.
    pub defaults: Defaults,
    noise_reduction: Value,
    speed: f64,
    /// Members that are only echoed.
    echoed: Map<String, Value>,
}

/// What a response inherits from the session and `response.create` may override.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The system prompt; the operator does not read it, but counts its tokens.
    pub instructions: String,
    /// Speech or text.
    pub modality: Modality,
    /// A name, or an object with an id.
    pub voice: Value,
    /// Checked by [`tools`].
    pub tools: Vec<Value>,
    /// Checked by [`tools`].
    pub tool_choice: Value,
    /// An integer, or "inf".
    pub tokens_max: Value,
}

/// What a response consists of: one or the other, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Speech with its transcript.
    Audio,
    /// Text alone.
    Text,
}

const ECHOED: [&str; 4] = ["tracing", "prompt", "include", "truncation"];

impl Session {
    /// What a client finds before its first update.
    pub fn new(id: String, model: &str, expires_at: u64) -> Self {
        let nulls = ECHOED.iter().map(|name| ((*name).to_owned(), Value::Null));
        let mut echoed: Map<String, Value> = nulls.collect();
        echoed.insert("truncation".to_owned(), json!("auto"));
        Self {
            id,
            model: model.to_owned(),
            expires_at,
            input_format: AudioFormat::PCM_24K,
            output_format: AudioFormat::PCM_24K,
            turn_detection: Some(TurnDetection::default()),
            transcription: Value::Null,
            defaults: Defaults::default(),
            noise_reduction: Value::Null,
            speed: 1.0,
            echoed,
        }
    }

    /// The session after `update`; `spoken` says that audio has been produced, which fixes the voice.
    pub fn updated(&self, update: &Field<'_>, spoken: bool) -> Result<Self, Refusal> {
        update.require("type")?.one_of(&["realtime"])?;
        let mut next = self.clone();
        for (name, field) in update.members()? {
            next.apply(name, &field)?;
        }
        if spoken && next.defaults.voice != self.defaults.voice {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            return Err(Refusal::at(
                "session.audio.output.voice",
                "cannot_update_voice",
                message,
            ));
        }
        Ok(next)
    }

    /// The full object of `session.created` and `session.updated`.
    pub fn to_json(&self) -> Value {
        let mut session = json!({
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id,
            "model": self.model,
            "expires_at": self.expires_at,
            "output_modalities": [self.defaults.modality.word()],
            "instructions": self.defaults.instructions,
            "tools": self.defaults.tools,
            "tool_choice": self.defaults.tool_choice,
            "max_output_tokens": self.defaults.tokens_max,
            "audio": {
                "input": {
                    "format": format::to_json(self.input_format),
                    "transcription": self.transcription,
                    "noise_reduction": self.noise_reduction,
                    "turn_detection": self.turn_detection.as_ref().map(TurnDetection::to_json),
                },
                "output": {
                    "format": format::to_json(self.output_format),
                    "voice": self.defaults.voice,
                    "speed": self.speed,
                },
            },
        });
        if let Some(members) = session.as_object_mut() {
            members.extend(self.echoed.clone());
        }
        session
    }

    fn apply(&mut self, name: &str, field: &Field<'_>) -> Result<(), Refusal> {
        match name {
            "type" => Ok(()),
            // The model belongs to the connection; SDKs repeat it, so it is read and has no effect.
            "model" => field.string().map(drop),
            "audio" => self.apply_audio(field),
            "parallel_tool_calls" => field.boolean().map(|_| self.echo(name, field)),
            "reasoning" => read_reasoning(field).map(|()| self.echo(name, field)),
            "tracing" => self.apply_tracing(field),
            "prompt" => optional_map(field).map(|()| self.echo(name, field)),
            "include" => read_include(field).map(|()| self.echo(name, field)),
            "truncation" => read_truncation(field).map(|()| self.echo(name, field)),
            _ => self.defaults.apply(name, field).unwrap_or_else(|| Err(field.unknown())),
        }
    }

    fn apply_audio(&mut self, audio: &Field<'_>) -> Result<(), Refusal> {
        for (side, field) in audio.members()? {
            match side {
                "input" => self.apply_input(&field)?,
                "output" => self.apply_output(&field)?,
                _ => return Err(field.unknown()),
            }
        }
        Ok(())
    }

    fn apply_input(&mut self, input: &Field<'_>) -> Result<(), Refusal> {
        for (name, field) in input.members()? {
            match name {
                "format" => self.input_format = format::read(&field)?,
                "turn_detection" => self.turn_detection = TurnDetection::updated(self.turn_detection.as_ref(), &field)?,
                "transcription" => self.transcription = read_transcription(&field)?,
                "noise_reduction" => self.noise_reduction = read_noise_reduction(&field)?,
                _ => return Err(field.unknown()),
            }
        }
        Ok(())
    }

    fn apply_output(&mut self, output: &Field<'_>) -> Result<(), Refusal> {
        for (name, field) in output.members()? {
            match name {
                "format" => self.output_format = format::read(&field)?,
                "voice" => self.defaults.voice = read_voice(&field)?,
                "speed" => self.speed = field.number(0.25..=1.5)?,
                _ => return Err(field.unknown()),
            }
        }
        Ok(())
    }

    fn apply_tracing(&mut self, field: &Field<'_>) -> Result<(), Refusal> {
        let before = self.echoed.get("tracing").filter(|before| !before.is_null());
        if before.is_some_and(|before| before != field.value()) {
            return Err(field.invalid("Tracing is already set for this session and cannot be changed."));
        }
        match field.value() {
            Value::String(_) => field.one_of(&["auto"]).map(drop)?,
            _ => optional_map(field)?,
        }
        self.echo("tracing", field);
        Ok(())
    }

    fn echo(&mut self, name: &str, field: &Field<'_>) {
        self.echoed.insert(name.to_owned(), field.value().clone());
    }
}

impl Defaults {
    /// Applies one member that session and response share; `None` when it is none of them.
    pub fn apply(&mut self, name: &str, field: &Field<'_>) -> Option<Result<(), Refusal>> {
        Some(match name {
            "instructions" => field.string().map(|text| text.clone_into(&mut self.instructions)),
            "output_modalities" => Modality::read(field).map(|modality| self.modality = modality),
            "tools" => tools::read(field).map(|tools| self.tools = tools),
            "tool_choice" => tools::read_choice(field).map(|choice| self.tool_choice = choice),
            "max_output_tokens" => read_tokens_max(field).map(|tokens| self.tokens_max = tokens),
            _ => return None,
        })
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            instructions: String::new(),
            modality: Modality::Audio,
            voice: json!("marin"),
            tools: Vec::new(),
            tool_choice: json!("auto"),
            tokens_max: json!("inf"),
        }
    }
}

impl Modality {
    /// The protocol's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Text => "text",
        }
    }

    fn read(field: &Field<'_>) -> Result<Self, Refusal> {
        let words = field
            .elements()?
            .map(|word| word.one_of(&["audio", "text"]))
            .collect::<Result<Vec<_>, _>>()?;
        match words[..] {
            ["audio"] => Ok(Self::Audio),
            ["text"] => Ok(Self::Text),
            _ => Err(field.invalid("Invalid modalities: supported combinations are: ['text'] and ['audio'].")),
        }
    }
}

/// A voice is any name, or the id of a custom one.
pub fn read_voice(field: &Field<'_>) -> Result<Value, Refusal> {
    match field.value() {
        Value::Object(_) => field.require("id")?.string().map(drop)?,
        _ => field.string().map(drop)?,
    }
    Ok(field.value().clone())
}

fn read_tokens_max(field: &Field<'_>) -> Result<Value, Refusal> {
    match field.value() {
        Value::String(_) => field.one_of(&["inf"]).map(drop)?,
        _ => field.integer(1..=4_096).map(drop)?,
    }
    Ok(field.value().clone())
}

fn read_transcription(field: &Field<'_>) -> Result<Value, Refusal> {
    const MEMBERS: [&str; 6] = ["model", "language", "languages", "prompt", "keywords", "delay"];
    if let Some(present) = field.clone().present() {
        present.only(&MEMBERS)?;
        present.get("model").map_or(Ok(""), |model| model.string())?;
    }
    Ok(field.value().clone())
}

fn read_noise_reduction(field: &Field<'_>) -> Result<Value, Refusal> {
    if let Some(present) = field.clone().present() {
        present.only(&["type", "strength"])?;
        present
            .get("type")
            .map_or(Ok(""), |kind| kind.one_of(&["near_field", "far_field"]))?;
        present
            .get("strength")
            .map_or(Ok(1.0), |strength| strength.number(0.0..=1.0))?;
    }
    Ok(field.value().clone())
}

fn read_reasoning(field: &Field<'_>) -> Result<(), Refusal> {
    field.only(&["effort"])?;
    let effort = field.get("effort").and_then(Field::present);
    effort.map_or(Ok(()), |effort| {
        effort.one_of(&["minimal", "low", "medium", "high", "xhigh"]).map(drop)
    })
}

fn read_include(field: &Field<'_>) -> Result<(), Refusal> {
    match field.clone().present() {
        Some(list) => list.elements()?.try_for_each(|word| word.string().map(drop)),
        None => Ok(()),
    }
}

fn read_truncation(field: &Field<'_>) -> Result<(), Refusal> {
    match field.value() {
        Value::String(_) => field.one_of(&["auto", "disabled"]).map(drop),
        _ => {
            field.only(&["type", "retention_ratio", "token_limits"])?;
            field.require("type")?.one_of(&["retention_ratio"])?;
            field.require("retention_ratio")?.number(0.0..=1.0).map(drop)
        }
    }
}

fn optional_map(field: &Field<'_>) -> Result<(), Refusal> {
    field.clone().present().map_or(Ok(()), |field| field.map().map(drop))
}

#[cfg(test)]
mod tests;
