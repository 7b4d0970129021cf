//! What a live session is set to, said once at its start.

use serde_json::{Value, json};

use super::super::{error::Refusal, field::Field, tools};
use crate::{
    audio::{Law, SampleRate},
    realtime::AudioFormat,
};

/// The settings of one session.
#[derive(Debug)]
pub struct Config {
    /// How audio goes, both ways.
    pub format: AudioFormat,
    model: String,
    voice: Value,
    instructions: Value,
    input: Value,
    delegation: Value,
    /// The tools of the model that calls them.
    tools: Option<Vec<Value>>,
    store: bool,
    expires_s: u64,
}

impl Config {
    /// Reads the session of `session.start`; what nobody knows is refused.
    pub fn read(session: &Field<'_>, expires_s: u64) -> Result<Self, Refusal> {
        let mut config = Self {
            format: AudioFormat::PCM_24K,
            model: session.require("model")?.string()?.to_owned(),
            voice: json!("marin"),
            instructions: Value::Null,
            input: Value::Null,
            delegation: Value::Null,
            tools: None,
            store: false,
            expires_s,
        };
        for (name, field) in session.members()? {
            match name {
                "model" => {}
                "audio" => config.read_audio(&field)?,
                "instructions" => config.instructions = field.string()?.into(),
                "input" => config.input = read_input(&field)?,
                "delegation" => config.read_delegation(&field)?,
                "store" => config.store = field.boolean()?,
                _ => return Err(field.unknown()),
            }
        }
        Ok(config)
    }

    /// Takes what may change later on.
    pub fn update(&mut self, session: &Field<'_>) -> Result<(), Refusal> {
        session.only(&["delegation"])?;
        self.read_delegation(&session.require("delegation")?)
    }

    /// The session as the client is told of it.
    pub fn to_json(&self, id: &str) -> Value {
        json!({
            "id": id,
            "expires_at": self.expires_s,
            "model": self.model,
            "status": "active",
            "audio": { "format": format_json(self.format), "output": { "voice": self.voice } },
            "delegation": self.delegation,
            "input": self.input,
            "instructions": self.instructions,
            "store": self.store,
        })
    }

    /// What the model behind the one that speaks may call; none when there is no such model.
    pub fn delegation_tools(&self) -> Option<&[Value]> {
        self.tools.as_deref()
    }

    fn read_audio(&mut self, audio: &Field<'_>) -> Result<(), Refusal> {
        audio.only(&["format", "output"])?;
        if let Some(format) = audio.get("format") {
            self.format = read_format(&format)?;
        }
        if let Some(output) = audio.get("output") {
            output.only(&["voice"])?;
            self.voice = output.require("voice")?.string()?.into();
        }
        Ok(())
    }

    fn read_delegation(&mut self, delegation: &Field<'_>) -> Result<(), Refusal> {
        let Some(delegation) = delegation.clone().present() else {
            return Ok(());
        };
        delegation.only(&["type", "responses", "acknowledgement_delay_ms"])?;
        let kind = delegation.require("type")?.one_of(&["client", "responses"])?;
        if kind == "responses" {
            let responses = delegation.require("responses")?;
            let before = self.tools.is_some();
            if !before {
                responses.require("model")?.string()?;
            }
            let listed = responses.get("tools").map(|field| tools::read(&field)).transpose()?;
            self.tools = listed.or(self.tools.take()).or(Some(Vec::new()));
            if before {
                for (name, field) in responses.members()? {
                    self.delegation["responses"][name] = field.value().clone();
                }
                return Ok(());
            }
        }
        self.delegation = delegation.value().clone();
        Ok(())
    }
}

/// A byte of silence.
pub fn silence(format: AudioFormat) -> u8 {
    match format {
        AudioFormat::Pcm16(_) => 0,
        AudioFormat::G711(Law::Mu) => 0xFF,
        AudioFormat::G711(Law::A) => 0xD5,
    }
}

fn read_format(format: &Field<'_>) -> Result<AudioFormat, Refusal> {
    format.only(&["type", "rate"])?;
    let rate = format.require("rate")?;
    let fixed = |hz: u64| rate.integer(hz..=hz).map(drop);
    match format
        .require("type")?
        .one_of(&["audio/pcm", "audio/pcmu", "audio/pcma"])?
    {
        "audio/pcmu" => fixed(8_000).map(|()| AudioFormat::G711(Law::Mu)),
        "audio/pcma" => fixed(8_000).map(|()| AudioFormat::G711(Law::A)),
        _ => match rate.value().as_u64() {
            Some(16_000) => Ok(AudioFormat::Pcm16(SampleRate::Hz16000)),
            _ => fixed(24_000).map(|()| AudioFormat::PCM_24K),
        },
    }
}

fn format_json(format: AudioFormat) -> Value {
    let mut json = super::super::format::to_json(format);
    json["rate"] = format.rate().hz().into();
    json
}

/// Messages of one text each.
fn read_input(input: &Field<'_>) -> Result<Value, Refusal> {
    for message in input.elements()? {
        message.require("role")?.one_of(&["developer", "user", "assistant"])?;
        for part in message.require("content")?.elements()? {
            part.require("text")?.string()?;
        }
    }
    Ok(input.value().clone())
}
