//! The objects inside the server's events, read as loose JSON: they come once a turn, and servers differ in them.

use serde_json::Value;

use crate::audio::{Law, SampleRate};
use crate::realtime::{
    audio::AudioFormat,
    event::{Call, FormatView, RateLimit, ServerError, SessionView},
    quirks::{FormatWord, Quirks},
    usage::{Transcription, Usage},
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
    let given = |path: &str| tokens(path).unwrap_or(0);
    let input_audio_tokens = given("/input_token_details/audio_tokens");
    let input_image_tokens = given("/input_token_details/image_tokens");
    let output_audio_tokens = given("/output_token_details/audio_tokens");
    // A server that does not say how much was text says how much there was.
    let rest = |total: &str, others: u64| given(total).saturating_sub(others);
    let input_text = tokens("/input_token_details/text_tokens");
    let output_text = tokens("/output_token_details/text_tokens");
    let cached = |kind: &str| given(&format!("/input_token_details/cached_tokens_details/{kind}"));
    let (cached_text_tokens, cached_audio_tokens) = (cached("text_tokens"), cached("audio_tokens"));
    let cached_image_tokens = cached("image_tokens");
    let cached_tokens = tokens("/input_token_details/cached_tokens");
    Usage {
        input_text_tokens: input_text
            .unwrap_or_else(|| rest("/input_tokens", input_audio_tokens.saturating_add(input_image_tokens))),
        input_audio_tokens,
        input_image_tokens,
        cached_tokens: cached_tokens.unwrap_or(
            cached_text_tokens
                .saturating_add(cached_audio_tokens)
                .saturating_add(cached_image_tokens),
        ),
        cached_text_tokens,
        cached_audio_tokens,
        cached_image_tokens,
        output_text_tokens: output_text.unwrap_or_else(|| rest("/output_tokens", output_audio_tokens)),
        output_audio_tokens,
        transcription: Transcription::default(),
    }
}

/// What writing down the caller's words took: tokens or seconds.
pub fn transcription_usage(usage: &Value) -> Usage {
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let audio = tokens("/input_token_details/audio_tokens");
    let text = tokens("/input_token_details/text_tokens");
    // What is transcribed is audio, unless the server says otherwise.
    let heard = || tokens("/input_tokens").unwrap_or(0).saturating_sub(text.unwrap_or(0));
    let seconds = usage.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    Usage {
        transcription: Transcription {
            input_text_tokens: text.unwrap_or(0),
            input_audio_tokens: audio.unwrap_or_else(heard),
            output_tokens: tokens("/output_tokens").unwrap_or(0),
            // The cast takes what is below zero, or no number, for none.
            heard_ms: (seconds * 1_000.0).round() as u64,
        },
        ..Usage::default()
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

    #[test]
    fn tokens_are_told_by_kind_and_text_is_what_is_left() {
        let read = |text: &str| usage(&serde_json::from_str(text).unwrap());
        let all = read(
            r#"{"input_tokens":60,"output_tokens":9,"input_token_details":{"audio_tokens":40,"image_tokens":5,
                "cached_tokens":30,"cached_tokens_details":{"text_tokens":10,"audio_tokens":19,"image_tokens":1}},
                "output_token_details":{"text_tokens":2,"audio_tokens":7}}"#,
        );
        assert_eq!(
            all.kinds().map(|(_, tokens)| tokens),
            [15, 40, 5, 30, 10, 19, 1, 2, 7, 0, 0, 0]
        );
        let plain = read(r#"{"input_token_details":{"cached_tokens_details":{"text_tokens":3}}}"#);
        assert_eq!((plain.cached_tokens, plain.cached_text_tokens), (3, 3));
    }

    #[test]
    fn a_transcription_is_counted_in_tokens_or_by_its_length() {
        let read = |text: &str| transcription_usage(&serde_json::from_str(text).unwrap()).transcription;
        let tokens = read(
            r#"{"type":"tokens","input_tokens":14,"output_tokens":6,"input_token_details":{"text_tokens":4,"audio_tokens":10}}"#,
        );
        assert_eq!(
            (
                tokens.input_text_tokens,
                tokens.input_audio_tokens,
                tokens.output_tokens,
                tokens.heard_ms
            ),
            (4, 10, 6, 0)
        );
        assert_eq!(read(r#"{"input_tokens":14,"output_tokens":6}"#).input_audio_tokens, 14);
        assert_eq!(read(r#"{"type":"duration","seconds":2.5}"#).heard_ms, 2_500);
        assert_eq!(read(r#"{"type":"duration","seconds":-1}"#), Transcription::default());
    }

    fn known(format: AudioFormat) -> FormatView {
        FormatView::Known(format)
    }

    fn other(text: &str) -> FormatView {
        FormatView::Other(text.to_owned())
    }
}
