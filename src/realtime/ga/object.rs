//! The objects inside the server's events, read as loose JSON: they come once a turn, and servers differ in them.

use serde_json::Value;

use crate::audio::{Law, SampleRate};
use crate::realtime::{
    audio::AudioFormat,
    event::{Call, FormatView, RateLimit, ServerError, SessionView},
    quirks::{FormatWord, Quirks},
    usage::Usage,
};

use super::EVENT_ID_PREFIX;

/// The longest id that is kept. Real ones are under 40 bytes; a longer one makes its event malformed.
const ID_BYTES_MAX: usize = 256;

/// The longest word or sentence of the server's that is kept, in bytes; the rest is cut off.
const WORDS_BYTES_MAX: usize = 1024;

pub fn member_id<'v>(object: Option<&'v Value>, member: &str) -> Option<&'v str> {
    object?.get(member)?.as_str().filter(|id| is_id(id))
}

pub fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX
}

/// Nested as in `ga`, or flat as in `beta`; servers mix them.
pub fn session_view(session: Option<&Value>, quirks: &Quirks) -> SessionView {
    let at = |path: &str| session.and_then(|session| session.pointer(path));
    let flag = |path: &str| at(path).and_then(Value::as_bool);
    let format = |nested: &str, flat: &str, words| audio_format(at(nested).or_else(|| at(flat)), words);
    SessionView {
        input_format: format("/audio/input/format", "/input_audio_format", quirks.input_words),
        output_format: format("/audio/output/format", "/output_audio_format", quirks.output_words),
        interrupt_response: flag("/audio/input/turn_detection/interrupt_response")
            .or_else(|| flag("/turn_detection/interrupt_response")),
    }
}

pub fn audio_format(format: Option<&Value>, words_known: &[FormatWord]) -> FormatView {
    let Some(format) = format.filter(|format| !format.is_null()) else {
        return FormatView::Absent;
    };
    match known_format(format, words_known) {
        Some(known) => FormatView::Known(known),
        None => FormatView::Other(words(&format.to_string())),
    }
}

/// A server that does not repeat the rate means the usual one: 24 kHz, or what G.711 always has.
fn known_format(format: &Value, words_known: &[FormatWord]) -> Option<AudioFormat> {
    if let Some(word) = format.as_str() {
        return words_known
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, format)| *format);
    }
    let rate = format.get("rate").filter(|rate| !rate.is_null()).map(Value::as_f64);
    let is = |hz: f64| rate == Some(Some(hz));
    match format.get("type")?.as_str()? {
        "audio/pcm" if rate.is_none() || is(24_000.0) => Some(AudioFormat::PCM_24K),
        "audio/pcm" if is(16_000.0) => Some(AudioFormat::Pcm16(SampleRate::Hz16000)),
        "audio/pcmu" if rate.is_none() || is(8_000.0) => Some(AudioFormat::G711(Law::Mu)),
        "audio/pcma" if rate.is_none() || is(8_000.0) => Some(AudioFormat::G711(Law::A)),
        _ => None,
    }
}

pub fn usage(usage: &Value) -> Usage {
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let details_or_total = |details: &str, total: &str| {
        let audio = tokens(&format!("{details}/audio_tokens")).unwrap_or(0);
        let rest = || tokens(total).unwrap_or(0).saturating_sub(audio);
        (tokens(&format!("{details}/text_tokens")).unwrap_or_else(rest), audio)
    };
    let (input_text_tokens, input_audio_tokens) = details_or_total("/input_token_details", "/input_tokens");
    let (output_text_tokens, output_audio_tokens) = details_or_total("/output_token_details", "/output_tokens");
    Usage {
        input_text_tokens,
        input_audio_tokens,
        cached_tokens: tokens("/input_token_details/cached_tokens").unwrap_or(0),
        output_text_tokens,
        output_audio_tokens,
    }
}

/// The tool calls among a response's output.
pub fn calls(response: Option<&Value>) -> Vec<Call> {
    let output = response
        .and_then(|response| response.get("output"))
        .and_then(Value::as_array);
    output.into_iter().flatten().filter_map(call).collect()
}

/// One that is all there; an interrupted one is not.
pub fn call(item: &Value) -> Option<Call> {
    let word = |member: &str| item.get(member).and_then(Value::as_str);
    if word("type") != Some("function_call") || word("status") == Some("incomplete") {
        return None;
    }
    Some(Call {
        id: member_id(Some(item), "call_id")?.to_owned(),
        name: member_id(Some(item), "name")?.to_owned(),
        arguments: word("arguments")?.to_owned(),
    })
}

/// Limits kept of one event; there are two or three.
const RATE_LIMITS_MAX: usize = 16;

pub fn rate_limits(limits: Option<&Value>) -> Vec<RateLimit> {
    let limits = limits.and_then(Value::as_array).into_iter().flatten();
    let limit = |limit: &Value| RateLimit {
        name: limit.get("name").map(words_of).unwrap_or_default(),
        remaining: limit.get("remaining").and_then(Value::as_u64),
        limit: limit.get("limit").and_then(Value::as_u64),
    };
    limits.take(RATE_LIMITS_MAX).map(limit).collect()
}

/// Some servers say only a sentence.
pub fn server_error(error: Option<&Value>) -> ServerError {
    if let Some(sentence) = error.and_then(Value::as_str) {
        return ServerError {
            message: words(sentence),
            ..ServerError::default()
        };
    }
    let word = |member: &str| {
        error
            .and_then(|error| error.get(member))
            .map(words_of)
            .unwrap_or_default()
    };
    let event_id = ["event_id", "client_event_id"]
        .iter()
        .find_map(|member| error?.get(member)?.as_str());
    ServerError {
        kind: word("type"),
        code: word("code"),
        message: word("message"),
        event_id: event_id
            .and_then(|id| id.strip_prefix(EVENT_ID_PREFIX))
            .and_then(|number| number.parse().ok()),
    }
}

/// Some servers number their codes.
fn words_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => words(text),
        other => words(&other.to_string()),
    }
}

pub fn words(text: &str) -> String {
    text[..text.floor_char_boundary(WORDS_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let read = |text: &str, words| audio_format(Some(&serde_json::from_str(text).unwrap()), words);
        let format = |text: &str| read(text, &[]);
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":24000}"#),
            known(AudioFormat::PCM_24K)
        );
        assert_eq!(format(r#"{"type":"audio/pcm"}"#), known(AudioFormat::PCM_24K));
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":16000}"#),
            known(AudioFormat::Pcm16(SampleRate::Hz16000))
        );
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":44100}"#),
            other(r#"{"rate":44100,"type":"audio/pcm"}"#)
        );
        assert_eq!(format(r#"{"type":"audio/pcmu"}"#), known(AudioFormat::G711(Law::Mu)));
        assert_eq!(
            format(r#"{"type":"audio/pcma","rate":8000}"#),
            known(AudioFormat::G711(Law::A))
        );
        assert_eq!(format(r#""pcm16""#), other(r#""pcm16""#));
        let beta = Quirks::of("openai", crate::realtime::Dialect::Beta).unwrap();
        assert_eq!(read(r#""pcm16""#, beta.input_words), known(AudioFormat::PCM_24K));
        assert_eq!(
            read(r#""g711_alaw""#, beta.input_words),
            known(AudioFormat::G711(Law::A))
        );
        assert_eq!(audio_format(None, &[]), FormatView::Absent);
    }

    fn known(format: AudioFormat) -> FormatView {
        FormatView::Known(format)
    }

    fn other(text: &str) -> FormatView {
        FormatView::Other(text.to_owned())
    }
}
