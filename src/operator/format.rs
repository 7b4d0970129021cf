//! The audio formats the operator takes: 24 and 16 kHz PCM, and G.711.

use serde_json::Value;

use super::error::Refusal;
use super::field::Field;
use crate::audio::{Law, SampleRate};
use crate::realtime::{AudioFormat, ga};

/// Reads a format object; `audio/pcm` must state its rate, G.711 has none.
pub fn read(field: &Field<'_>) -> Result<AudioFormat, Refusal> {
    let kind = field
        .require("type")?
        .one_of(&["audio/pcm", "audio/pcmu", "audio/pcma"])?;
    if kind == "audio/pcm" {
        field.only(&["type", "rate"])?;
        return Ok(AudioFormat::Pcm16(read_rate(&field.require("rate")?)?));
    }
    field.only(&["type"])?;
    Ok(AudioFormat::G711(if kind == "audio/pcmu" { Law::Mu } else { Law::A }))
}

/// The format object.
pub fn to_json(format: AudioFormat) -> Value {
    ga::format_object(format)
}

/// The official server takes 24 kHz alone; others of its kind take 16 kHz too.
fn read_rate(field: &Field<'_>) -> Result<SampleRate, Refusal> {
    match field.value().as_u64() {
        Some(16_000) => Ok(SampleRate::Hz16000),
        _ => field.integer(24_000..=24_000).map(|_| SampleRate::Hz24000),
    }
}
